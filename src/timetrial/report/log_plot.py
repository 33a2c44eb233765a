"""A frame with two logarithmic axes: where values lie in it, its grid, the names of both axes."""

from __future__ import annotations

from typing import Final

from timetrial.report.axes import Axis
from timetrial.report.svg import Frame, line_at, text_at

_LETTER: Final = 6.6  # width of a letter of the ticks, in px


class LogPlot:
    """Places values of one chart in its frame; `names` are those of the axes, across and up."""

    def __init__(self, across: Axis, up: Axis, frame: Frame, names: tuple[str, str]) -> None:
        """Leave room for the ticks and the names around the plot."""
        self._across, self._up, self._names = across, up, names
        widest = max((len(tick.label) for tick in up.ticks), default=0) * _LETTER
        self._left, self._right = max(frame.left, 10 + widest), frame.width - 14
        self._top, self._bottom = 34, frame.height - 46

    def x(self, value: float) -> float:
        """Return how far to the right a value lies."""
        return self._left + (self._right - self._left) * self._across.at(value)

    def y(self, value: float) -> float:
        """Return how far down a value lies."""
        return self._bottom - (self._bottom - self._top) * self._up.at(value)

    def holds(self, value: float) -> bool:
        """Return whether a value of the axis up lies inside."""
        return value > 0 and 0 <= self._up.at(value) <= 1

    def grid(self) -> list[str]:
        """Return gridlines, axes, ticks and the names of both axes."""
        across, up = self._names
        pieces = [text_at(0, 14, up, kind="name")]
        for tick in self._up.ticks:
            y = self.y(tick.value)
            pieces.append(line_at((self._left, y), (self._right, y), "grid"))
            pieces.append(text_at(self._left - 9, y + 4.5, tick.label, anchor="end"))
        pieces.append(line_at((self._left, self._bottom), (self._right, self._bottom), "axis"))
        for tick in self._across.ticks:
            x = self.x(tick.value)
            pieces.append(line_at((x, self._bottom), (x, self._bottom + 5), "axis"))
            pieces.append(text_at(x, self._bottom + 20, tick.label, anchor="middle"))
        below = self._bottom + 40
        return [*pieces, text_at(self._right, below, across, anchor="end", kind="name")]
