"""Time of an all-reduce against the size of the array, both on logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from timetrial.report.axes import Axis, size_axis, span_axis
from timetrial.report.exchange_words import line_words, size_label
from timetrial.report.svg import Frame, class_of, line_at, marker, opened, px, stroke, text_at
from timetrial.rows import ExchangeCurve
from timetrial.units import duration

_STEPS: Final = 60  # of a drawn line: straight in time and size, it is bent on these scales


def exchange_chart(
    curves: Sequence[ExchangeCurve],
    labels: Sequence[str],
    indices: Sequence[int],
    *,
    frame: Frame,
    identity: str,
) -> str:
    """Return one chart: for each system its medians with their spread, and its line.

    `labels` and `indices` name and number the system of each curve.
    """
    title = f"Time of an all-reduce against the size of the array, {curves[0].task}"
    description = " ".join(
        f"{label}: {_in_words(curve)}" for curve, label in zip(curves, labels, strict=True)
    )
    size = (frame.width, frame.height)
    pieces = [opened(identity, frame.name, size, (title, description))]
    sizes = sorted({p.bytes for curve in curves for p in curve.points if p.median_s is not None})
    if not sizes:
        return "".join([*pieces, "</svg>"])
    plot = _Plot(curves, sizes, frame)
    pieces += plot.grid()
    for curve, index in zip(curves, indices, strict=True):
        pieces.append(plot.drawn(curve, index))
    return "".join([*pieces, "</svg>"])


def _in_words(curve: ExchangeCurve) -> str:
    known = [point for point in curve.points if point.median_s is not None]
    ends = [known[0], known[-1]] if known else []
    said = ", ".join(
        f"{size_label(end.bytes)} in {duration(end.median_s)}" for end in ends if end.median_s
    )
    return f"{said}. {line_words(curve)}"


class _Plot:
    """Where sizes and times of one chart lie in its frame."""

    def __init__(self, curves: Sequence[ExchangeCurve], sizes: Sequence[int], frame: Frame) -> None:
        seconds = [
            end
            for curve in curves
            for point in curve.points
            for end in (point.median_s, point.p5_s, point.p95_s)
            if end is not None
        ]
        self._sizes: Axis = size_axis(sizes, frame.ticks)
        self._times: Axis = span_axis(min(seconds), max(seconds), 6)
        self._left, self._right = frame.left, frame.width - 14
        self._top, self._bottom = 34, frame.height - 46

    def _x(self, size: float) -> float:
        return self._left + (self._right - self._left) * self._sizes.at(size)

    def _y(self, seconds: float) -> float:
        return self._bottom - (self._bottom - self._top) * self._times.at(seconds)

    def grid(self) -> list[str]:
        """Return gridlines, axes, ticks and the names of both axes."""
        pieces = [text_at(0, 14, "Time, logarithmic", kind="name")]
        for tick in self._times.ticks:
            y = self._y(tick.value)
            pieces.append(line_at((self._left, y), (self._right, y), "grid"))
            pieces.append(text_at(self._left - 9, y + 4.5, tick.label, anchor="end"))
        pieces.append(line_at((self._left, self._bottom), (self._right, self._bottom), "axis"))
        for tick in self._sizes.ticks:
            x = self._x(tick.value)
            pieces.append(line_at((x, self._bottom), (x, self._bottom + 5), "axis"))
            pieces.append(text_at(x, self._bottom + 20, tick.label, anchor="middle"))
        name = "bytes of the array in one worker, logarithmic"
        below = self._bottom + 40
        return [*pieces, text_at(self._right, below, name, anchor="end", kind="name")]

    def drawn(self, curve: ExchangeCurve, index: int) -> str:
        """Return the line of one system, its medians, and from the 5th to the 95th percentile."""
        pieces = [self._line(curve, index)]
        for point in curve.points:
            if point.median_s is None or point.p5_s is None or point.p95_s is None:
                continue
            x = self._x(point.bytes)
            low, high = self._y(point.p5_s), self._y(point.p95_s)
            if low - high > 1:
                pieces.append(f'<path class="whisker" d="M{px(x)} {px(low)}V{px(high)}"/>')
            pieces.append(marker(index, x, self._y(point.median_s)))
        return f'<g class="{class_of(index)}">{"".join(pieces)}</g>'

    def _line(self, curve: ExchangeCurve, index: int) -> str:
        if curve.latency_s is None or curve.s_per_byte is None:
            return ""
        known = [point.bytes for point in curve.points if point.median_s is not None]
        ratio = math.log(known[-1] / known[0])
        sizes = [known[0] * math.exp(ratio * step / _STEPS) for step in range(_STEPS + 1)]
        seconds = [curve.latency_s + curve.s_per_byte * size for size in sizes]
        inside = [
            f"{px(self._x(size))} {px(self._y(second))}"
            for size, second in zip(sizes, seconds, strict=True)
            if second > 0 and 0 <= self._times.at(second) <= 1
        ]
        return stroke("M" + "L".join(inside), index) if inside else ""
