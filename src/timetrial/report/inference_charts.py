"""Time of a call of `predict` against the number of examples in it, both on logarithmic scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timetrial.report.axes import count_axis, span_axis
from timetrial.report.log_plot import LogPlot
from timetrial.report.svg import Frame, class_of, marker, opened, px, stroke
from timetrial.report.words import value_text
from timetrial.rows import Inference, InferenceLine

_MIDDLE: Final = "inference_latency_p50"
_TAIL: Final = "inference_latency_p99"
_ASIDE: Final = 6.0  # px between the tails of two systems


def is_drawn(inferences: Sequence[Inference]) -> bool:
    """Return whether there is something to draw: two numbers of examples of one system."""
    return any(len(_points(one)) > 1 for one in inferences)


def inference_chart(
    inferences: Sequence[Inference],
    labels: Sequence[str],
    indices: Sequence[int],
    *,
    frame: Frame,
    identity: str,
) -> str:
    """Return one chart: for each system the p50 at each number of examples, up to the p99.

    `labels` and `indices` name and number the system of each.
    """
    title = f"Time of a call of predict against the examples in it, {inferences[0].task}"
    description = " ".join(
        f"{label}: {_in_words(one)}" for one, label in zip(inferences, labels, strict=True)
    )
    size = (frame.width, frame.height)
    pieces = [opened(identity, frame.name, size, (title, description))]
    batches = sorted({line.batch for one in inferences for line in _points(one)})
    times = [end for one in inferences for line in _points(one) for end in _ends(line)]
    plot = LogPlot(
        count_axis(batches),
        span_axis(min(times), max(times), 6),
        frame,
        ("examples at a time, logarithmic", "Time of a call, logarithmic"),
    )
    pieces += plot.grid()
    for place, (one, index) in enumerate(zip(inferences, indices, strict=True)):
        aside = _ASIDE * (place - (len(inferences) - 1) / 2)
        pieces.append(_drawn(plot, one, index, aside))
    return "".join([*pieces, "</svg>"])


def _points(inference: Inference) -> list[InferenceLine]:
    """Return the lines whose p50 and p99 are known."""
    return [line for line in inference.lines if len(_ends(line)) == 2]


def _ends(line: InferenceLine) -> list[float]:
    values = [line.cells[name].value for name in (_MIDDLE, _TAIL) if name in line.cells]
    return [value for value in values if value is not None and value > 0]


def _in_words(inference: Inference) -> str:
    return ", ".join(
        f"{line.batch:,} in {value_text(line.cells[_MIDDLE])}" for line in _points(inference)
    )


def _drawn(plot: LogPlot, inference: Inference, index: int, aside: float) -> str:
    """Return the marks of one system, moved aside by so many px: tails lie beside each other."""
    points = _points(inference)
    if not points:
        return ""
    places = [
        (plot.x(line.batch) + aside, *(plot.y(end) for end in _ends(line))) for line in points
    ]
    pieces = [stroke("M" + "L".join(f"{px(x)} {px(low)}" for x, low, _ in places), index)]
    for x, low, high in places:
        if low - high > 1:
            pieces.append(f'<path class="whisker" d="M{px(x)} {px(low)}V{px(high)}"/>')
        pieces.append(marker(index, x, low))
    return f'<g class="{class_of(index)}">{"".join(pieces)}</g>'
