"""The trials of a search: the value of each against each rule that was chosen, a panel per rule."""

from __future__ import annotations

import math
from typing import Final

from timetrial.report.axes import Axis, Tick, number_axis, value_axis
from timetrial.report.svg import WIDE, Frame, class_of, line_at, marker, opened, text_at
from timetrial.report.words import measure_label, optional, sentence, trimmed
from timetrial.rows import Search, SearchAxis, SearchPoint
from timetrial.units import percent, significant

PARTS: Final = {"trial": 0, "leader": 1, "reference": 2, "winner": 3}  # marker and colour
NO_VALUE: Final = 6  # a hollow marker
_PANEL: Final = 250.0  # height of one panel, in px
_GAP: Final = 26.0
_LETTER: Final = 7.2  # width of a digit of the ticks, in px
_TICKS: Final = 4


def search_chart(search: Search, *, frame: Frame, identity: str) -> str:
    """Return one chart: a marker per trial in every panel; those without a value stand on top."""
    across = min(3, len(search.axes)) if frame is WIDE else 1
    rows = math.ceil(len(search.axes) / across)
    title = f"{sentence(measure_label(search.measure))} by rule, {search.title}"
    said = " ".join(f"{_spoken(point, search)}." for point in search.points)
    size = (frame.width, rows * _PANEL)
    pieces = [opened(identity, frame.name, size, (title, said))]
    values = _values(search)
    left = max(float(frame.left), 12 + _LETTER * max(len(tick.label) for tick in values.ticks))
    width = (frame.width - left - (across - 1) * _GAP - 8) / across
    for place, axis in enumerate(search.axes):
        row, column = divmod(place, across)
        panel = _Panel(axis, values, left=left + column * (width + _GAP), width=width,
                       top=row * _PANEL)  # fmt: skip
        pieces += panel.grid(labels=column == 0)
        pieces += [panel.point(point, point.at[place]) for point in _on_top_last(search)]
    return "".join([*pieces, "</svg>"])


def _spoken(point: SearchPoint, search: Search) -> str:
    value = point.words if point.value is None else optional(point.value, search.unit)
    return f"trial {point.trial}: {value}"


def _on_top_last(search: Search) -> list[SearchPoint]:
    """Return the points so that those that matter most are drawn over the others."""
    return sorted(search.points, key=lambda point: (point.value is not None, PARTS[point.part]))


def _values(search: Search) -> Axis:
    known = [point.value for point in search.points if point.value is not None] or [0.0, 1.0]
    return value_axis(known, search.unit, _TICKS, whole=search.unit != "fraction")


class _Panel:
    """Where the points of one rule lie."""

    def __init__(
        self, axis: SearchAxis, values: Axis, *, left: float, width: float, top: float
    ) -> None:
        self._axis = axis
        self._values = values
        self._across = _across(axis)
        self._left, self._right = left, left + width
        self._none = top + 38  # where trials without a value stand
        self._top, self._bottom = top + 52, top + _PANEL - 44

    def _x(self, value: float) -> float:
        share = self._across.at(1 - value if self._axis.scale == "log-one-minus" else value)
        if self._axis.scale == "log-one-minus":
            share = 1 - share
        return self._left + (self._right - self._left) * share

    def _y(self, value: float) -> float:
        return self._bottom - (self._bottom - self._top) * self._values.at(value)

    def grid(self, *, labels: bool) -> list[str]:
        """Return gridlines, axis, ticks and the name of the rule; `labels`: of the values too."""
        name = self._axis.name
        if self._axis.importance is not None:
            name += f" ({percent(self._axis.importance, 0)})"
        pieces = [text_at(self._left, self._none - 20, name, kind="name")]
        for tick in self._values.ticks:
            y = self._y(tick.value)
            pieces.append(line_at((self._left, y), (self._right, y), "grid"))
            if labels:
                pieces.append(text_at(self._left - 9, y + 4.5, tick.label, anchor="end"))
        pieces.append(line_at((self._left, self._bottom), (self._right, self._bottom), "axis"))
        for tick in self._ticks():
            x = self._x(tick.value)
            pieces.append(line_at((x, self._bottom), (x, self._bottom + 5), "axis"))
            pieces.append(text_at(x, self._bottom + 20, tick.label, anchor="middle"))
        return pieces

    def _ticks(self) -> list[Tick]:
        """Return the ticks in the rule's own terms."""
        if self._axis.choices:
            return [Tick(place, name) for place, name in enumerate(self._axis.choices)]
        if self._axis.scale != "log-one-minus":
            return list(self._across.ticks)
        return [
            Tick(1 - tick.value, trimmed(significant(1 - tick.value)))
            for tick in self._across.ticks
        ]

    def point(self, point: SearchPoint, at: float) -> str:
        """Return the marker of one trial."""
        x = self._x(at)
        if point.value is None:
            return f'<g class="{class_of(NO_VALUE)}">{marker(NO_VALUE, x, self._none)}</g>'
        index = PARTS[point.part]
        return f'<g class="{class_of(index)}">{marker(index, x, self._y(point.value))}</g>'


def _across(axis: SearchAxis) -> Axis:
    """Return the axis of a rule; of choices their places, with white at both ends."""
    if axis.choices:
        last = len(axis.choices) - 1
        return Axis(-0.5, last + 0.5, ())
    if axis.scale == "log-one-minus":
        return number_axis(1 - axis.high, 1 - axis.low, _TICKS, log=True)
    return number_axis(axis.low, axis.high, _TICKS, log=axis.scale == "log")


def lone_marker(index: int) -> str:
    """Return a marker for the legend."""
    return (
        f'<svg class="swatch {class_of(index)}" viewBox="0 0 34 12" aria-hidden="true">'
        f"{marker(index, 17, 6)}</svg>"
    )
