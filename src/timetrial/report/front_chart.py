"""Systems by time and cost, both on logarithmic scales: the front, the limits, what lies behind."""

from __future__ import annotations

from typing import Final

from timetrial.report.axes import Axis, money_axis, span_axis
from timetrial.report.front_words import point_words
from timetrial.report.svg import Frame, class_of, line_at, marker, opened, px, text_at
from timetrial.report.words import trimmed
from timetrial.rows import Front, FrontPoint
from timetrial.units import duration, quantity

_LETTER: Final = 7.2  # width of a digit of the ticks, in px


def front_chart(front: Front, *, frame: Frame, identity: str) -> str:
    """Return one chart: a marker per system with its 95 % intervals, a line along the front."""
    title = f"Cost against time of the next run, {front.title}"
    said = " ".join(f"{point.system}: {point_words(point, front.currency)}." for point in
                    front.points)  # fmt: skip
    pieces = [opened(identity, frame.name, (frame.width, frame.height), (title, said))]
    plot = _Plot(front, frame)
    pieces += [*plot.grid(), *plot.limits(), plot.line()]
    pieces += [plot.point(point, index) for index, point in enumerate(front.points)]
    return "".join([*pieces, "</svg>"])


class _Plot:
    """Where times and costs lie in the frame."""

    def __init__(self, front: Front, frame: Frame) -> None:
        self._front = front
        points = front.points
        times = [end for p in points for end in (p.time_s, p.time_low_s, p.time_high_s) if end] + [
            front.deadline_s or points[0].time_s
        ]
        costs = [end for p in points for end in (p.cost, p.cost_low, p.cost_high) if end]
        costs.append(front.cost_limit or points[0].cost)
        self._times: Axis = span_axis(min(times), max(times), frame.ticks)
        self._costs: Axis = money_axis(min(costs), max(costs), 6, front.currency)
        longest = max(len(tick.label) for tick in self._costs.ticks)
        self._left = max(float(frame.left), 12 + _LETTER * longest)
        self._right = frame.width - 14
        self._top, self._bottom = 34, frame.height - 46

    def _x(self, seconds: float) -> float:
        return self._left + (self._right - self._left) * self._times.at(seconds)

    def _y(self, cost: float) -> float:
        return self._bottom - (self._bottom - self._top) * self._costs.at(cost)

    def grid(self) -> list[str]:
        """Return gridlines, axes, ticks and the names of both axes."""
        pieces = [text_at(0, 14, "Cost of a run, logarithmic", kind="name")]
        for tick in self._costs.ticks:
            y = self._y(tick.value)
            pieces.append(line_at((self._left, y), (self._right, y), "grid"))
            pieces.append(text_at(self._left - 9, y + 4.5, tick.label, anchor="end"))
        pieces.append(line_at((self._left, self._bottom), (self._right, self._bottom), "axis"))
        for tick in self._times.ticks:
            x = self._x(tick.value)
            pieces.append(line_at((x, self._bottom), (x, self._bottom + 5), "axis"))
            pieces.append(text_at(x, self._bottom + 20, tick.label, anchor="middle"))
        below = self._bottom + 40
        name = "time of the next run, logarithmic"
        return [*pieces, text_at(self._right, below, name, anchor="end", kind="name")]

    def limits(self) -> list[str]:
        """Return the deadline and the most that a run may cost, as lines with their names."""
        pieces = []
        front = self._front
        if front.deadline_s is not None:
            x = self._x(front.deadline_s)
            pieces.append(line_at((x, self._top), (x, self._bottom), "target"))
            words = f"deadline {trimmed(duration(front.deadline_s))}"
            pieces.append(text_at(x - 5, self._top + 10, words, anchor="end", kind="target-name"))
        if front.cost_limit is not None:
            y = self._y(front.cost_limit)
            pieces.append(line_at((self._left, y), (self._right, y), "target"))
            words = f"at most {trimmed(quantity(front.cost_limit, front.currency))}"
            pieces.append(text_at(self._left + 5, y - 6, words, kind="target-name"))
        return pieces

    def line(self) -> str:
        """Return the front: no system here lies left of it and below it."""
        best = sorted((p.time_s, p.cost) for p in self._front.points if p.on_front)
        if len(best) < 2:
            return ""
        path = [f"M{px(self._x(best[0][0]))} {px(self._y(best[0][1]))}"]
        path += [f"H{px(self._x(time))}V{px(self._y(cost))}" for time, cost in best[1:]]
        return f'<path class="target" fill="none" d="{"".join(path)}"/>'

    def point(self, point: FrontPoint, index: int) -> str:
        """Return the marker of a system and both of its intervals."""
        x, y = self._x(point.time_s), self._y(point.cost)
        pieces = []
        if point.time_low_s is not None and point.time_high_s is not None:
            low, high = self._x(point.time_low_s), self._x(point.time_high_s)
            pieces.append(f'<path class="whisker" d="M{px(low)} {px(y)}H{px(high)}"/>')
        if point.cost_low is not None and point.cost_high is not None:
            low, high = self._y(point.cost_low), self._y(point.cost_high)
            pieces.append(f'<path class="whisker" d="M{px(x)} {px(low)}V{px(high)}"/>')
        pieces.append(marker(index, x, y))
        return f'<g class="{class_of(index)}">{"".join(pieces)}</g>'
