"""The words for what was measured between workers: the answer, the table by size, the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timetrial.report.words import ABSENT, interval_text, known, plain, span, trimmed, value_text
from timetrial.rows import ExchangeCurve, ExchangePoint, Row
from timetrial.units import bytes_, duration, percent

HEADINGS: Final = ("Array", "Median", "5th to 95th percentile", "n", "Line")
BANDWIDTH: Final = "bandwidth"
LATENCY: Final = "latency"


def answer_sentences(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Return a sentence for each system with a bandwidth; `names` are the rows' systems."""
    trips = {
        (row.task, name): row
        for row, name in zip(rows, names, strict=True)
        if row.measure == LATENCY and known(row.value)
    }
    return [
        _answer(row, name, trips.get((row.task, name)))
        for row, name in zip(rows, names, strict=True)
        if row.measure == BANDWIDTH and known(row.value)
    ]


def _answer(row: Row, name: str, trip: Row | None) -> str:
    text = f"{plain(row.task)}, {name}: {value_text(row)} each way between {row.workers} workers"
    evidence = [_ends(row)]
    if trip is not None:
        text += f", a round trip takes {value_text(trip)}"
        evidence.append(_ends(trip))
    return f"{text} (95 % intervals {' and '.join(evidence)}; n = {row.n})."


def _ends(row: Row) -> str:
    return interval_text(row)


def caption(curve: ExchangeCurve) -> str:
    """Return what the table or picture of one system and dtype shows."""
    runs = "1 run" if curve.n == 1 else f"{curve.n} runs"
    return (
        f"Time of an all-reduce among {curve.workers} workers, {plain(curve.dtype)}, all "
        f"repetitions of {runs}"
    )


def line_words(curve: ExchangeCurve) -> str:
    """Return the fitted line and how well it fits."""
    if curve.latency_s is None or curve.s_per_byte is None or curve.error is None:
        return "Fewer than two sizes were measured: no line."
    return (
        f"Line: {duration(curve.latency_s)} and {duration(curve.s_per_byte * 2**20)} for each MiB; "
        f"half of the medians lie within {percent(curve.error, 1)} of it."
    )


def size_label(size: int) -> str:
    """Return the size of an array: "4 B", "64 KiB"."""
    return trimmed(bytes_(size))


def cells(curve: ExchangeCurve) -> list[list[str]]:
    """Return the table by size, a list of texts per line, under HEADINGS."""
    return [_cells(point, curve) for point in curve.points]


def _cells(point: ExchangePoint, curve: ExchangeCurve) -> list[str]:
    line = ABSENT
    if curve.latency_s is not None and curve.s_per_byte is not None:
        line = duration(curve.latency_s + curve.s_per_byte * point.bytes)
    if point.median_s is None:
        return [size_label(point.bytes), "left out", ABSENT, "0", line]
    spread = span(point.p5_s, point.p95_s, "s")
    return [size_label(point.bytes), duration(point.median_s), spread, str(point.n), line]


def left_out_words(curve: ExchangeCurve) -> list[str]:
    """Say which arrays were left out and why."""
    return [
        f"{size_label(point.bytes)} left out: {plain(point.left_out)}"
        for point in curve.points
        if point.left_out is not None
    ]
