"""Axes of charts: their ends, their ticks, and the words on the ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from timetrial.report.words import metric_unit, trimmed
from timetrial.rows import Curve, StepCurve
from timetrial.units import bytes_, duration, percent, quantity, significant

_LOG_FROM: Final = 8.0  # longest over shortest curve: beyond it a linear axis hides the short one
_CLOCK_STEPS: Final = (10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600)


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick: where, and what it says."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its two ends and its ticks, all in SI."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Return where `value` lies, 0 at the low end to 1 at the high end; may lie outside."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def time_axis(curves: Sequence[Curve], count: int) -> Axis:
    """Return the axis of time of one chart: linear from 0, or logarithmic where that fits."""
    ends = [curve.times_s[-1] for curve in curves if curve.times_s and curve.times_s[-1] > 0]
    if not ends:
        return duration_axis(1.0, count)
    positive = [time for curve in curves for time in curve.times_s if time > 0]
    if max(ends) / min(ends) > _LOG_FROM:
        return _log_axis(min(positive), max(ends), count)
    return duration_axis(max(ends), count)


def duration_axis(high: float, count: int) -> Axis:
    """Return a linear axis of seconds from 0 to `high`, with about `count` ticks."""
    step = _clock_step(high / count)
    values = [step * place for place in range(math.floor(high / step * (1 + 1e-9)) + 1)]
    return Axis(0.0, high * 1.02, tuple(Tick(value, time_label(value)) for value in values))


def _log_axis(
    low: float, high: float, count: int, label: Callable[[float], str] | None = None
) -> Axis:
    """Return a logarithmic axis with a little white at both ends; ticks are durations, or `label`.

    Where no round value lies inside, the ends are the ticks.
    """
    words = label or time_label
    low, high = low / 1.1, high * 1.1
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        values = [digit * 10.0**power for power in decades for digit in digits]
        inside = [value for value in values if low <= value <= high]
        if len(inside) <= count:
            break
    ticks = inside if len(inside) > 1 else [low * 1.1, high / 1.1]
    return Axis(low, high, tuple(Tick(value, words(value)) for value in ticks), log=True)


def step_axis(curves: Sequence[StepCurve], count: int) -> Axis:
    """Return the linear axis of training steps of one chart, from 0."""
    high = max((curve.steps[-1] for curve in curves if curve.steps), default=0.0) or 1.0
    step = max(_nice_step(high / count), 1.0)
    values = [step * place for place in range(math.floor(high / step * (1 + 1e-9)) + 1)]
    return Axis(0.0, high * 1.02, tuple(Tick(value, f"{value:,.0f}") for value in values))


def quality_axis(curves: Sequence[Curve | StepCurve], count: int) -> Axis:
    """Return the axis of quality of one chart, wide enough for bands and targets."""
    first = curves[0]
    values = [
        value
        for curve in curves
        for value in (*curve.mean, *curve.low, *curve.high, curve.threshold)
        if value is not None and math.isfinite(value)
    ] or [0.0, 1.0]
    low, high = min(values), max(values)
    spread = (high - low) or abs(high) or 1.0
    step = _nice_step(spread / count)
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    stop = max(stop, start + 1)
    unit = metric_unit(first.metric)
    ticks = tuple(Tick(step * n, _quality_label(step * n, unit)) for n in range(start, stop + 1))
    return Axis(ticks[0].value, ticks[-1].value, ticks)


def value_axis(values: Sequence[float], unit: str, count: int, *, whole: bool) -> Axis:
    """Return a linear axis of any quantity over all values; `whole`: it begins at 0."""
    finite = [value for value in values if math.isfinite(value)] or [1.0]
    high = max(finite)
    low = 0.0 if whole else min(finite)
    if unit == "s" and whole:
        return duration_axis(high or 1.0, count)
    step = _nice_step(((high - low) or abs(high) or 1.0) / count)
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    places = range(start, max(stop, start + 1) + 1)
    ticks = tuple(Tick(step * n, _quality_label(step * n, unit)) for n in places)
    return Axis(ticks[0].value, ticks[-1].value, ticks)


def worker_axis(counts: Sequence[int]) -> Axis:
    """Return the axis of numbers of workers: a tick for each, logarithmic where they lie far apart.

    A little white is left at both ends, so that no marker is cut.
    """
    low, high = min(counts), max(counts)
    ticks = tuple(Tick(count, f"{count:,}") for count in sorted(set(counts)))
    if low > 0 and high / low > _LOG_FROM:
        return Axis(low / 1.2, high * 1.2, ticks, log=True)
    white = 0.06 * (high - low) or 0.5
    return Axis(low - white, high + white, ticks)


def time_label(seconds: float) -> str:
    """Return the words of a tick: "0 s", "500 ms", "12 s", "2 min", "1 h 30 min"."""
    if seconds == 0:
        return "0 s"
    return trimmed(duration(seconds))


def _quality_label(value: float, unit: str) -> str:
    if unit == "fraction":
        return trimmed(percent(value))
    return trimmed(quantity(value, unit))


def _clock_step(rough: float) -> float:
    """Return the next step that people count time in: 1, 2, 5, 10, 15, 30 s, 1, 2, 5 min …"""
    if rough < _CLOCK_STEPS[0]:
        return _nice_step(rough)
    return next((step for step in _CLOCK_STEPS if step >= rough), _nice_step(rough / 3600) * 3600)


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * (1 - 1e-9))


def span_axis(low: float, high: float, count: int) -> Axis:
    """Return a logarithmic axis of seconds that holds both ends, with about `count` ticks."""
    return _log_axis(low, high, count)


def money_axis(low: float, high: float, count: int, currency: str) -> Axis:
    """Return a logarithmic axis of amounts that holds both ends, with about `count` ticks."""
    return _log_axis(low, high, count, lambda value: trimmed(quantity(value, currency)))


def size_axis(sizes: Sequence[int], count: int) -> Axis:
    """Return the logarithmic axis of sizes in bytes, its ticks on powers of two that were used."""
    every = math.ceil(len(sizes) / count)
    ticks = tuple(Tick(size, trimmed(bytes_(size))) for size in sizes[::every])
    return Axis(sizes[0] / 1.6, sizes[-1] * 1.6, ticks, log=True)


def count_axis(counts: Sequence[int]) -> Axis:
    """Return the logarithmic axis of numbers of examples, a tick for each: they lie far apart."""
    ticks = tuple(Tick(count, f"{count:,}") for count in counts)
    return Axis(counts[0] / 1.6, counts[-1] * 1.6, ticks, log=True)


def number_axis(low: float, high: float, count: int, *, log: bool = False) -> Axis:
    """Return an axis of plain numbers that holds both ends, with about `count` ticks."""
    if log:
        return _log_axis(low, high, count, lambda value: trimmed(significant(value, 2)))
    return value_axis([low, high], "1", count, whole=False)
