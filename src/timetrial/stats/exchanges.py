"""What an all-reduce costs: a latency and a time per byte, fitted to measured times.

The model is Hockney's line, t(S) = a + b S for an array of S bytes in each of k workers. For a ring
a is 2 (k - 1) one-way delays and b is 2 (k - 1) / k over the bandwidth of one direction of a link:
each worker sends, and receives, k - 1 parts of S / k bytes twice.

Source: Hockney, Parallel Computing 20 (1994), 389-398; Thakur, Rabenseifner and Gropp, IJHPCA 19
(2005), section 4.3 (ring: reduce-scatter, then all-gather); Patarasuk and Yuan, J. Parallel
Distrib. Comput. 69 (2009), section 3 (no algorithm sends fewer bytes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from timetrial.errors import UsageError
from timetrial.stats.intervals import Estimate, check_finite, check_level
from timetrial.stats.speedup import ring_bytes

RESAMPLES: Final = 1000
_HUBER: Final = 1.345  # in standard deviations
"""Source: Holland and Welsch, Commun. Stat. A 6 (1977), 813-827: 95 % efficient."""
_ITERATIONS: Final = 30  # measured: 12 are enough for 1e-9 on 13 sizes of lognormal times


class Line(NamedTuple):
    """A fitted line, the medians it was fitted to, and the same of resampled repetitions."""

    latency_s: float  # a
    s_per_byte: float  # b
    latency_draws_s: Float[np.ndarray, " draws"]
    s_per_byte_draws: Float[np.ndarray, " draws"]
    error: float  # median over the sizes of |line / median - 1|
    repetitions: int
    sizes_bytes: Float[np.ndarray, " sizes"]  # rising
    medians_s: Float[np.ndarray, " sizes"]
    median_draws_s: Float[np.ndarray, "draws sizes"]


class Time(NamedTuple):
    """Seconds, and draws of them."""

    seconds: float
    draws_s: Float[np.ndarray, " draws"]

    def times(self, count: int) -> Time:
        """Return the time of so many, one after the other."""
        return Time(count * self.seconds, count * self.draws_s)


class Spread(NamedTuple):
    """Repeated times of one array."""

    median_s: float
    p5_s: float
    p95_s: float
    n: int


def spread(seconds: Float[np.ndarray, " repetitions"]) -> Spread:
    """Return median, 5th and 95th percentile.

    Raises:
        UsageError: No repetition, or a time that is NaN, infinite or not above 0.
    """
    _check_seconds([seconds])
    p5, median, p95 = np.quantile(seconds, [0.05, 0.5, 0.95])
    return Spread(float(median), float(p5), float(p95), len(seconds))


def fit_line(
    sizes_bytes: Float[np.ndarray, " sizes"],
    seconds: Sequence[Float[np.ndarray, " _"]],
    resamples: int = RESAMPLES,
) -> Line:
    """Return the line through the median time of each size, the relative error of each as small.

    Errors count relative to the time, as sizes and times span seven orders of magnitude; large ones
    count less (Huber), as the line is only a model. Neither parameter is below 0. The draws come
    from resampled repetitions of each size (bootstrap, fixed seed): they hold what varies within
    the repetitions given, and nothing of what varies from run to run.

    Raises:
        UsageError: Fewer than two sizes, or a time that is NaN, infinite or not above 0.

    Source: Huber, Robust Statistics (1981), section 7.8 (iterative reweighting); Efron and
    Tibshirani, An Introduction to the Bootstrap (1993), section 9.
    """
    if len(sizes_bytes) != len(seconds):
        raise UsageError(f"{len(sizes_bytes)} sizes have times of {len(seconds)}.")
    if len(np.unique(sizes_bytes)) < 2:
        raise UsageError(
            f"A line needs at least two sizes; given: {len(np.unique(sizes_bytes))}. Measure more."
        )
    _check_seconds(seconds)
    order = np.argsort(sizes_bytes, kind="stable")
    sizes_bytes, seconds = sizes_bytes[order], [seconds[place] for place in order]
    generator = np.random.default_rng(0)
    medians = np.array([[np.median(times) for times in seconds]])
    drawn = np.stack(
        [np.median(generator.choice(times, (resamples, len(times))), axis=1) for times in seconds],
        axis=1,
    )
    latency, slope = _huber_lines(sizes_bytes, medians)
    latencies, slopes = _huber_lines(sizes_bytes, drawn)
    errors = np.abs((latency[0] + slope[0] * sizes_bytes) / medians[0] - 1)
    return Line(
        latency_s=float(latency[0]),
        s_per_byte=float(slope[0]),
        latency_draws_s=latencies,
        s_per_byte_draws=slopes,
        error=float(np.median(errors)),
        repetitions=sum(map(len, seconds)),
        sizes_bytes=sizes_bytes,
        medians_s=medians[0],
        median_draws_s=drawn,
    )


def by_line(line: Line, size_bytes: float) -> Time:
    """Return the line's time for an array of that size."""
    return Time(
        line.latency_s + line.s_per_byte * size_bytes,
        line.latency_draws_s + line.s_per_byte_draws * size_bytes,
    )


def by_neighbours(line: Line, size_bytes: float) -> Time:
    """Return the time between those of the two nearest sizes, straight on two logarithmic scales.

    It follows what the line leaves out, such as a TCP connection that opens its window step by
    step. Below the smallest size it is that one's time; above the largest each further byte takes
    what it does on the line.
    """
    sizes, whole = line.sizes_bytes, np.vstack([line.medians_s, line.median_draws_s])
    beyond = max(0.0, size_bytes - float(sizes[-1]))
    place = np.clip(np.searchsorted(sizes, size_bytes), 1, len(sizes) - 1)
    span = np.log(sizes[place] / sizes[place - 1])
    share = np.clip(np.log(max(size_bytes, 1.0) / sizes[place - 1]) / span, 0.0, 1.0)
    found = np.exp((1 - share) * np.log(whole[:, place - 1]) + share * np.log(whole[:, place]))
    slopes = np.concatenate([[line.s_per_byte], line.s_per_byte_draws])
    found = found + beyond * slopes
    return Time(float(found[0]), found[1:])


def _huber_lines(
    sizes: Float[np.ndarray, " sizes"], medians: Float[np.ndarray, "draws sizes"]
) -> tuple[Float[np.ndarray, " draws"], Float[np.ndarray, " draws"]]:
    """Return latency and time per byte of a line per row, by reweighted least squares."""
    weights = np.ones_like(medians)
    latency = slope = np.zeros(len(medians))
    for _ in range(_ITERATIONS):
        latency, slope = _weighted_lines(sizes, medians, weights)
        errors = np.abs((latency[:, None] + slope[:, None] * sizes) / medians - 1)
        scale = np.maximum(np.median(errors, axis=1, keepdims=True) / 0.6745, 1e-12)
        weights = np.minimum(1.0, _HUBER * scale / np.maximum(errors, 1e-300))
    return latency, slope


def _weighted_lines(
    sizes: Float[np.ndarray, " sizes"],
    medians: Float[np.ndarray, "draws sizes"],
    weights: Float[np.ndarray, "draws sizes"],
) -> tuple[Float[np.ndarray, " draws"], Float[np.ndarray, " draws"]]:
    """Return the lines with the least weighted squares of relative errors, at or above 0."""
    each = weights / medians**2
    whole, first, second = each.sum(1), (each * sizes).sum(1), (each * sizes**2).sum(1)
    time, moment = (each * medians).sum(1), (each * medians * sizes).sum(1)
    determinant = whole * second - first**2
    latency = (second * time - first * moment) / determinant
    slope = (whole * moment - first * time) / determinant
    flat, steep = slope < 0, latency < 0  # the nearest line that is allowed lies on an edge
    latency = np.where(flat, time / whole, np.maximum(latency, 0.0))
    slope = np.where(steep, moment / second, np.maximum(slope, 0.0))
    return latency, slope


def bandwidth_bit_per_s(
    s_per_byte: Float[np.ndarray, "*shape"], workers: int
) -> Float[np.ndarray, "*shape"]:
    """Return what one direction of a worker's link carries: bits over seconds.

    The bits are those of 2 (k - 1) / k bytes for each byte of the array (k workers), the fewest
    that an all-reduce can send and receive per worker; the seconds are `s_per_byte`. With two
    workers that is 8 / s_per_byte. Infinite where a byte takes no time.

    Raises:
        UsageError: Fewer than two workers.

    Source: Patarasuk and Yuan (2009), section 3; the same figure is "busbw" of NCCL tests,
    doc/PERFORMANCE.md, read 2026-11-22.
    """
    _check_workers(workers)
    with np.errstate(divide="ignore"):
        return np.float64(8) * ring_bytes(1.0, workers) / np.asarray(s_per_byte)


def round_trip_s(
    seconds: Float[np.ndarray, " repetitions"], workers: int
) -> Float[np.ndarray, " repetitions"]:
    """Return times of the smallest all-reduce (4 bytes) as round trips: over k - 1.

    A ring passes 2 (k - 1) messages one after the other, each one way. With two workers it is the
    time itself. What the workers' own software takes is in it.

    Raises:
        UsageError: Fewer than two workers.
    """
    _check_workers(workers)
    return seconds / (workers - 1)


def median_draws(
    seconds: Float[np.ndarray, " repetitions"], resamples: int = RESAMPLES
) -> Float[np.ndarray, " draws"]:
    """Return medians of resampled repetitions (bootstrap, fixed seed)."""
    _check_seconds([seconds])
    generator = np.random.default_rng(0)
    return _median_draws(generator, seconds, resamples)


def _median_draws(
    generator: np.random.Generator, seconds: Float[np.ndarray, " repetitions"], resamples: int
) -> Float[np.ndarray, " draws"]:
    drawn: Float[np.ndarray, " draws"] = np.median(
        generator.choice(seconds, (resamples, len(seconds))), axis=1
    )
    return drawn


def from_draws(
    value: float, draws: Float[np.ndarray, " draws"], n: int, *, level: float = 0.95
) -> Estimate:
    """Return the value with the central `level` of the draws; what is infinite is None."""
    check_level(level)
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], method="nearest")
    ends = [float(end) if math.isfinite(end) else None for end in (value, low, high)]
    return Estimate(value=ends[0], low=ends[1], high=ends[2], n=n, method="bootstrap percentiles")


def _check_seconds(seconds: Sequence[Float[np.ndarray, " _"]]) -> None:
    for times in seconds:
        if len(times) == 0:
            raise UsageError("A size has no repetition. Leave it out, or measure it.")
        check_finite(times, "times")
        if times.min() <= 0:
            raise UsageError(f"Not the time of an exchange: {times.min()} s. Allowed: above 0.")


def _check_workers(workers: int) -> None:
    if workers < 2:
        raise UsageError(
            f"{workers} worker exchanges nothing with others. Allowed: 2 workers and more."
        )
