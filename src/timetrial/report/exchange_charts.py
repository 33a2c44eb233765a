"""Time of an all-reduce against the size of the array, both on logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from timetrial.report.axes import size_axis, span_axis
from timetrial.report.exchange_words import line_words, size_label
from timetrial.report.log_plot import LogPlot
from timetrial.report.svg import Frame, class_of, marker, opened, px, stroke
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
    plot = _plot(curves, sizes, frame)
    pieces += plot.grid()
    for curve, index in zip(curves, indices, strict=True):
        pieces.append(_drawn(plot, curve, index))
    return "".join([*pieces, "</svg>"])


def _in_words(curve: ExchangeCurve) -> str:
    known = [point for point in curve.points if point.median_s is not None]
    ends = [known[0], known[-1]] if known else []
    said = ", ".join(
        f"{size_label(end.bytes)} in {duration(end.median_s)}" for end in ends if end.median_s
    )
    return f"{said}. {line_words(curve)}"


def _plot(curves: Sequence[ExchangeCurve], sizes: Sequence[int], frame: Frame) -> LogPlot:
    seconds = [
        end
        for curve in curves
        for point in curve.points
        for end in (point.median_s, point.p5_s, point.p95_s)
        if end is not None
    ]
    across, up = size_axis(sizes, frame.ticks), span_axis(min(seconds), max(seconds), 6)
    names = ("bytes of the array in one worker, logarithmic", "Time, logarithmic")
    return LogPlot(across, up, frame, names)


def _drawn(plot: LogPlot, curve: ExchangeCurve, index: int) -> str:
    """Return the line of one system, its medians, and from the 5th to the 95th percentile."""
    pieces = [_line(plot, curve, index)]
    for point in curve.points:
        if point.median_s is None or point.p5_s is None or point.p95_s is None:
            continue
        x = plot.x(point.bytes)
        low, high = plot.y(point.p5_s), plot.y(point.p95_s)
        if low - high > 1:
            pieces.append(f'<path class="whisker" d="M{px(x)} {px(low)}V{px(high)}"/>')
        pieces.append(marker(index, x, plot.y(point.median_s)))
    return f'<g class="{class_of(index)}">{"".join(pieces)}</g>'


def _line(plot: LogPlot, curve: ExchangeCurve, index: int) -> str:
    if curve.latency_s is None or curve.s_per_byte is None:
        return ""
    known = [point.bytes for point in curve.points if point.median_s is not None]
    ratio = math.log(known[-1] / known[0])
    sizes = [known[0] * math.exp(ratio * step / _STEPS) for step in range(_STEPS + 1)]
    seconds = [curve.latency_s + curve.s_per_byte * size for size in sizes]
    inside = [
        f"{px(plot.x(size))} {px(plot.y(second))}"
        for size, second in zip(sizes, seconds, strict=True)
        if plot.holds(second)
    ]
    return stroke("M" + "L".join(inside), index) if inside else ""
