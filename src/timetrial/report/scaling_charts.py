"""Charts against the number of workers: speed-up, efficiency, time, quality, cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timetrial.report.axes import Axis, value_axis, worker_axis
from timetrial.report.scaling_words import Picture, Study
from timetrial.report.svg import Frame, class_of, line_at, marker, opened, px, stroke, text_at
from timetrial.report.words import interval_text, known, value_text
from timetrial.rows import Scaling

HALF: Final = Frame("wide", 440, 290, 58, 5)
_LETTER: Final = 7.2  # width of a digit of the ticks, in px
_IDEAL_POINTS: Final = 24  # on a logarithmic axis the line is bent


class _Point(NamedTuple):
    """The estimate of one number of workers; its ends are None where there is no interval."""

    workers: int
    value: float
    low: float | None
    high: float | None
    words: str


def worker_chart(study: Study, picture: Picture, *, frame: Frame, identity: str) -> str:
    """Return one chart: a line with its 95 % band per scaling of the study."""
    series = [_points(one, picture) for one in study.scalings]
    ideals = _ideals(study) if picture.ideal else {}
    plot = _Plot(series, ideals, picture, frame=frame, unit=_unit(study, picture))
    words = [
        f"{label}: {', '.join(point.words for point in points)}."
        for label, points in zip(study.labels, series, strict=True)
    ]
    size = (frame.width, frame.height)
    title = f"{picture.title} by number of workers, {study.task}"
    pieces = [opened(identity, frame.name, size, (title, " ".join(words)))]
    pieces += [*plot.grid(), *plot.ideal(ideals)]
    pieces += [plot.band(points, index) for index, points in enumerate(series)]
    pieces += [plot.curve(points, index) for index, points in enumerate(series)]
    return "".join([*pieces, "</svg>"])


def _points(scaling: Scaling, picture: Picture) -> list[_Point]:
    """Return the points of one line; a ratio is exactly 1 for the fewest workers."""
    points = []
    for line in scaling.lines:
        row = line.cells.get(picture.cell)
        who = "1 worker" if line.workers == 1 else f"{line.workers} workers"
        if row is not None and row.value is not None and known(row.value):
            words = f"{who} {value_text(row)} ({interval_text(row)})"
            points.append(_Point(line.workers, row.value, row.low, row.high, words))
        elif line is scaling.lines[0] and _is_ratio(picture):
            points.append(_Point(line.workers, 1.0, 1.0, 1.0, f"{who}: the base"))
    return points


def _is_ratio(picture: Picture) -> bool:
    return picture.ideal or "efficiency" in picture.cell


def _ideals(study: Study) -> dict[int, float]:
    return {line.workers: line.ideal for one in study.scalings for line in one.lines}


def _unit(study: Study, picture: Picture) -> str:
    rows = [line.cells.get(picture.cell) for one in study.scalings for line in one.lines]
    return next((row.unit for row in rows if row is not None), "1")


class _Plot:
    """Where the points of one chart lie in its frame."""

    def __init__(
        self,
        series: Sequence[Sequence[_Point]],
        ideals: dict[int, float],
        picture: Picture,
        *,
        frame: Frame,
        unit: str,
    ) -> None:
        points = [point for points in series for point in points]
        ends = [end for p in points for end in (p.value, p.low, p.high) if end is not None]
        ends += list(ideals.values())
        ends += [1.0] if "efficiency" in picture.cell else []
        self._counts: Axis = worker_axis([point.workers for point in points] + list(ideals))
        self._values: Axis = value_axis(ends, unit, 5, whole=picture.whole)
        longest = max(len(tick.label) for tick in self._values.ticks)
        self._left = max(float(frame.left), 12 + _LETTER * longest)
        self._right = frame.width - 14
        self._top, self._bottom = 12, frame.height - 46

    def _x(self, workers: float) -> float:
        return self._left + (self._right - self._left) * self._counts.at(workers)

    def _y(self, value: float) -> float:
        return self._bottom - (self._bottom - self._top) * self._values.at(value)

    def grid(self) -> list[str]:
        """Return gridlines, axis, ticks and the name of the horizontal axis."""
        pieces = []
        for tick in self._values.ticks:
            y = self._y(tick.value)
            pieces.append(line_at((self._left, y), (self._right, y), "grid"))
            pieces.append(text_at(self._left - 9, y + 4.5, tick.label, anchor="end"))
        pieces.append(line_at((self._left, self._bottom), (self._right, self._bottom), "axis"))
        for tick in self._counts.ticks:
            x = self._x(tick.value)
            pieces.append(line_at((x, self._bottom), (x, self._bottom + 5), "axis"))
            pieces.append(text_at(x, self._bottom + 20, tick.label, anchor="middle"))
        scale = ", logarithmic" if self._counts.log else ""
        name = text_at(self._right, self._bottom + 40, f"workers{scale}", anchor="end", kind="name")
        return [*pieces, name]

    def ideal(self, ideals: dict[int, float]) -> list[str]:
        """Return the line of a speed-up that loses nothing, with its name."""
        if len(ideals) < 2:
            return []
        first, last = min(ideals), max(ideals)
        slope = (ideals[last] - ideals[first]) / (last - first)
        further = [(last - first) * place / _IDEAL_POINTS for place in range(_IDEAL_POINTS + 1)]
        ends = [(self._x(first + more), self._y(ideals[first] + slope * more)) for more in further]
        path = "L".join(f"{px(x)} {px(y)}" for x, y in ends)
        x, y = ends[-1]
        name = text_at(x - 16, y + 2, "ideal", anchor="end", kind="target-name")
        return [f'<path class="target" fill="none" d="M{path}"/>', name]

    def band(self, points: Sequence[_Point], index: int) -> str:
        """Return the 95 % band over the points that have an interval, with an end cap at each."""
        ends = [(self._x(p.workers), p.low, p.high) for p in points]
        known_ends = [
            (x, self._y(low), self._y(high))
            for x, low, high in ends
            if low is not None and high is not None
        ]
        if not known_ends:
            return ""
        path = [f"{px(x)} {px(high)}" for x, _, high in known_ends]
        path += [f"{px(x)} {px(low)}" for x, low, _ in reversed(known_ends)]
        caps = "".join(
            f'<path class="whisker" d="M{px(x)} {px(low)}V{px(high)}"/>'
            for x, low, high in known_ends
            if abs(low - high) > 1
        )
        band = f'<path class="band" d="M{"L".join(path)}Z"/>'
        return f'<g class="{class_of(index)}">{band}{caps}</g>'

    def curve(self, points: Sequence[_Point], index: int) -> str:
        """Return the line through the means, a marker at each."""
        if not points:
            return ""
        places = [(self._x(point.workers), self._y(point.value)) for point in points]
        path = "M" + "L".join(f"{px(x)} {px(y)}" for x, y in places)
        marks = "".join(marker(index, x, y) for x, y in places)
        return f'<g class="{class_of(index)}">{stroke(path, index)}{marks}</g>'
