"""The words for what trained models take to predict: the answer, the table by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from timetrial.report.words import estimate_text, interval_text, known, plain, value_text
from timetrial.rows import Inference, InferenceLine, Row

FIRST: Final = "At a time"
COLUMNS: Final[Mapping[str, str]] = {  # measure -> heading
    "inference_latency_p50": "p50",
    "inference_latency_p90": "p90",
    "inference_latency_p99": "p99",
    "inference_throughput": "Examples per second",
}
LEAST: Final = ("inference_latency_p90", "inference_latency_p99")  # left out where it is narrow
MEASURES: Final = (*COLUMNS, "inference_latency_dawnbench")
ABOUT: Final = (
    "p50, p90 and p99 are the times within which so many of 100 calls are over, one call after the "
    "other, from the examples in the machine's memory to their scores there."
)
_LATENCY: Final = "inference_latency_p50"
_TAIL: Final = "inference_latency_p99"
_RATE: Final = "inference_throughput"


def caption(inference: Inference) -> str:
    """Return what the table of one system shows."""
    runs = "1 run" if inference.n == 1 else f"{inference.n} runs"
    return f"Predicting examples of {plain(inference.split)} with the trained model, {runs}"


def rows_in(line: InferenceLine) -> list[Row]:
    """Return the rows of a line, as COLUMNS has them; [] where it was left out."""
    return [line.cells[measure] for measure in COLUMNS if measure in line.cells]


def dawnbench_words(inference: Inference, marks: str = "") -> str:
    """Return the latency by DAWNBench's rule; `marks` are those of footnotes: why it has none."""
    row = inference.dawnbench
    counted = f", n = {row.n}" if known(row.value) else ""
    return f"Latency by DAWNBench's rule: {estimate_text(row)}{counted}{marks}"


def left_out_words(inference: Inference) -> list[str]:
    """Say which batches were left out and why."""
    return [
        f"{line.batch:,} at a time left out: {plain(line.left_out)}"
        for line in inference.lines
        if line.left_out is not None
    ]


def answer_sentences(inferences: Sequence[Inference], names: Sequence[str]) -> list[str]:
    """Return a sentence for each system that was timed; `names` are theirs."""
    return [
        _answer(one, name)
        for one, name in zip(inferences, names, strict=True)
        if any(line.cells for line in one.lines)
    ]


def _answer(inference: Inference, name: str) -> str:
    timed = [line for line in inference.lines if line.cells]
    alone, fastest = timed[0], max(timed, key=lambda line: line.cells[_RATE].value or 0.0)
    latency, tail, rate = alone.cells[_LATENCY], alone.cells[_TAIL], fastest.cells[_RATE]
    text = (
        f"{plain(inference.task)}, {name}: one prediction takes {value_text(latency)}, 99 of 100 "
        f"up to {value_text(tail)}; {fastest.batch:,} at a time, {value_text(rate)}"
    )
    ends = " and ".join(interval_text(row) for row in (latency, tail, rate))
    return f"{text} (95 % intervals {ends}; n = {inference.n})."
