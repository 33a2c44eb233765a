"""What more workers bring, from measured runs: speed-up, efficiency, and where it stops paying.

Speed-up is the ratio of two means, time of the fewest workers over time of k, so it carries the
interval of `stats.compare`; efficiency is that over the ratio of workers. Strong scaling: the same
work is divided (Amdahl). Weak scaling: each worker has the work that one has (Gustafson); times are
then compared for the same number of examples.

Source: Amdahl, AFIPS Spring Joint Computer Conference 30 (1967), 483-485; Gustafson, Communications
of the ACM 31 (1988), 532-533.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from timetrial.errors import UsageError
from timetrial.stats import compare, intervals
from timetrial.stats.intervals import Estimate

LEVEL: Final = 0.95


class Side(NamedTuple):
    """The times of so many workers: one per run, and whether the run came to what is timed."""

    workers: int
    times_s: Float[np.ndarray, " runs"]
    reached: Bool[np.ndarray, " runs"]


def side(workers: int, times_s: Sequence[float]) -> Side:
    """Return the side of runs that all came to what is timed."""
    return Side(workers, np.array(times_s, dtype=np.float64), np.ones(len(times_s), np.bool_))


def speed_up(base: Side, other: Side) -> tuple[Estimate, tuple[str, ...]]:
    """Return the time of `base` over the time of `other`, and what is to be said of it.

    The value is None where a side has no run that came so far; without two such runs on both sides
    there is no interval.

    Raises:
        UsageError: A time is NaN, infinite or not above 0.
    """
    found = _compared(base, other)
    estimate = Estimate(
        value=found.ratio, low=found.low, high=found.high, n=found.n_b, method=found.method
    )
    return estimate, found.notes


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """Return the estimate times an exact factor above 0."""
    value, low, high = (
        None if end is None else end * factor
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return Estimate(value=value, low=low, high=high, n=estimate.n, method=estimate.method)


def _compared(a: Side, b: Side) -> compare.Comparison:
    return compare.compare_times(a.times_s, a.reached, b.times_s, b.reached, LEVEL)


# --- how many workers pay ------------------------------------------------------------------------


class Stop(NamedTuple):
    """More workers that were measured and do not clearly pay, and why."""

    workers: int
    slower: bool  # False: cannot be told apart
    more_runs: int | None  # further runs a side that would tell, where known


class BreakEven(NamedTuple):
    """The most workers that clearly pay, and the next ones measured, which do not.

    `stop` of None: as many workers as were measured still pay.
    """

    workers: int
    runs: int
    stop: Stop | None


def break_even(sides: Sequence[Side]) -> BreakEven:
    """Return the most workers that pay: clearly faster than all fewer that pay.

    From the fewest on, each is compared with the best so far; only a verdict of "faster" counts.

    Raises:
        UsageError: Fewer than two sides, or the same number of workers twice.
    """
    ordered = _ordered(sides)
    best, stop = ordered[0], None
    for other in ordered[1:]:
        found = _compared(best, other)
        if found.verdict == "B faster":
            best, stop = other, None
        elif stop is None:
            stop = Stop(other.workers, found.verdict == "A faster", found.more_runs)
    return BreakEven(best.workers, len(best.times_s), stop)


class Cheapest(NamedTuple):
    """The number of workers of the lowest mean, and those that cannot be told from it."""

    workers: int
    runs: int
    ties: tuple[int, ...]


def cheapest(sides: Sequence[Side]) -> Cheapest:
    """Return which of the sides has the lowest mean; `times_s` may be any cost.

    Raises:
        UsageError: Fewer than two sides, or the same number of workers twice.
    """
    ordered = _ordered(sides)
    best = min(ordered, key=lambda one: float(one.times_s.mean()))
    ties = [
        other.workers
        for other in ordered
        if other is not best and _compared(best, other).verdict == "not distinguishable"
    ]
    return Cheapest(best.workers, len(best.times_s), tuple(ties))


def _ordered(sides: Sequence[Side]) -> list[Side]:
    ordered = sorted(sides, key=lambda one: one.workers)
    counts = [one.workers for one in ordered]
    if len(counts) < 2 or len(set(counts)) < len(counts):
        raise UsageError(
            f"Nothing to choose between: {counts} workers. Give two or more different numbers."
        )
    return ordered


# --- how fast the network must be ----------------------------------------------------------------


class Demand(NamedTuple):
    """What a step of so many workers takes apart from the exchange, and what it exchanges."""

    workers: int
    computing_s: Float[np.ndarray, " runs"]  # of a step, without its exchange
    batch: float  # examples of a step, of all workers together
    ring_bytes: float  # that each worker sends in a step
    latency_s: float = 0.0  # of a step's exchange, where it is known apart


BandwidthVerdict = Literal["needs", "always", "never", "untold"]


class LeastBandwidth(NamedTuple):
    """Below which bandwidth the step of more workers does no more examples a second.

    `bit_per_s` has a value for "needs" alone; its `high` is None where the runs do not show that
    any bandwidth is enough. "always": at any bandwidth they do more; "never": at none; "untold":
    the runs do not show which.
    """

    fewer: int
    more: int
    verdict: BandwidthVerdict
    bit_per_s: Estimate


def ring_bytes(array_bytes: float, workers: int) -> float:
    """Return the bytes that each worker sends, and receives, to sum an array over all of them.

    Source: Patarasuk and Yuan, J. Parallel Distrib. Comput. 69 (2009), 117-124: the least that any
    all-reduce can do; a ring does it.
    """
    return 2 * (workers - 1) / workers * array_bytes


def least_bandwidth(fewer: Demand, more: Demand) -> LeastBandwidth:
    """Return the bandwidth at which both do as many examples a second, with its interval.

    With c the seconds without exchange, V the bytes that each worker sends, L the latency of the
    exchange and b the examples of a step, both steps take (c + L + V / B) / b for an example; they
    are equal at B = (V'/b' - V/b) / ((c - c') per example - (L'/b' - L/b)). The interval is that of
    the difference of the two mean c / b, by Welch and Satterthwaite (`stats.compare`).
    """
    per_example = [one.computing_s / one.batch for one in (fewer, more)]
    moments = [intervals.plain_moments(values) for values in per_example]
    saved = moments[0].mean - moments[1].mean
    saved -= more.latency_s / more.batch - fewer.latency_s / fewer.batch
    sent = 8 * (more.ring_bytes / more.batch - fewer.ring_bytes / fewer.batch)
    half = _half_width(moments)
    low = None if half is None else saved - half
    high = None if half is None else saved + half
    n = min(len(values) for values in per_example)
    nothing = Estimate(value=None, low=None, high=None, n=n, method="none")
    if sent <= 0 or saved <= 0:
        verdict: BandwidthVerdict = "untold"
        if low is not None and low > 0 and sent <= 0:
            verdict = "always"
        elif high is not None and high <= 0 and sent > 0:
            verdict = "never"
        return LeastBandwidth(fewer.workers, more.workers, verdict, nothing)
    found = Estimate(
        value=sent / saved,
        low=None if high is None else sent / high,
        high=None if low is None or low <= 0 else sent / low,
        n=n,
        method="bytes over seconds saved, Student t, Welch",
    )
    return LeastBandwidth(fewer.workers, more.workers, "needs", found)


def _half_width(moments: Sequence[intervals.Moments]) -> float | None:
    """Return half the interval of a difference of two means; None with a single run on a side."""
    variances = [one.variance for one in moments]
    if any(math.isnan(variance) for variance in variances):
        return None
    variance = sum(variances)
    if variance == 0:
        return 0.0
    degrees = 1 / sum(
        (one.variance / variance) ** 2 / (one.reached - 1) for one in moments if one.reached > 1
    )
    return intervals.t_quantile(LEVEL, degrees) * math.sqrt(variance)
