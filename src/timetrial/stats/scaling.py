"""What more workers and a faster network are worth: measured ratios, and a model that predicts.

The model is of synchronous training by ring all-reduce. A step of k workers takes

    T(k) = C(k) + m (k - 1) R + 2 (k - 1) / k 8 S / B

with C(k) the computing of one worker, m messages with S bytes of gradients in all, R the round trip
and B the bandwidth of one direction of a worker's link. Nothing overlaps: where a framework sends
while it computes, this is an upper bound. TCP limits B to a window per round trip.

Strong scaling: the work of a step stays the same, so each worker's share shrinks with k.
Weak scaling: each worker's work stays the same, so a step does k times as much.

Source: Thakur, Rabenseifner and Gropp, IJHPCA 19 (2005), section 4.3 (ring); Amdahl, AFIPS 1967
(strong); Gustafson, Comm. ACM 31 (1988), 532-533 (weak); Mathis, Semke, Mahdavi and Ott, Comput.
Commun. Rev. 27 (1997), 67-82, section 2 (a window per round trip).
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from timetrial.errors import UsageError
from timetrial.spec import Record
from timetrial.stats.compare import compare_means
from timetrial.stats.exchanges import Line, from_draws
from timetrial.stats.intervals import Estimate

Kind: TypeAlias = Literal["strong", "weak"]


class Network(Record, frozen=True, kw_only=True):
    """One direction of a worker's link, and how long a message is on its way and back."""

    bandwidth_bit_per_s: float
    round_trip_s: float
    window_bytes: float = math.inf  # most that TCP has under way; see /proc/sys/net/ipv4/tcp_wmem

    def reachable_bit_per_s(self) -> float:
        """Return the bandwidth that one TCP connection reaches: no more than a window per trip."""
        if self.round_trip_s == 0:
            return self.bandwidth_bit_per_s
        return min(self.bandwidth_bit_per_s, 8 * self.window_bytes / self.round_trip_s)


# --- measured ------------------------------------------------------------------------------------


def speed_up(
    one_s: Float[np.ndarray, " runs_1"],
    many_s: Float[np.ndarray, " runs_k"],
    workers: int,
    kind: Kind = "strong",
) -> Estimate:
    """Return how many times as much work k workers do in the same time as one.

    The arrays hold a run's seconds for the same unit: strong, for the same work (a whole training
    to the target, an epoch); weak, for k times the work. The interval is Student's on the log of
    the ratio of the means. `n` is the smaller number of runs.

    Raises:
        UsageError: No run on a side, or a time that is NaN, infinite or not above 0.
    """
    factor = 1 if kind == "strong" else workers
    return _ratio(one_s, many_s, factor)


def efficiency(
    one_s: Float[np.ndarray, " runs_1"],
    many_s: Float[np.ndarray, " runs_k"],
    workers: int,
    kind: Kind = "strong",
) -> Estimate:
    """Return the speed-up over the number of workers, 1 where nothing is lost.

    Raises:
        UsageError: As `speed_up`.
    """
    factor = 1 / workers if kind == "strong" else 1
    return _ratio(one_s, many_s, factor)


def _ratio(
    one_s: Float[np.ndarray, " runs_1"], many_s: Float[np.ndarray, " runs_k"], factor: float
) -> Estimate:
    if min(len(one_s), len(many_s)) == 0:
        raise UsageError("No speed-up without runs of both. Run one worker and several.")
    found = compare_means(one_s, many_s)
    value, low, high = (
        None if number is None else factor * number
        for number in (found.ratio, found.low, found.high)
    )
    n = min(len(one_s), len(many_s))
    return Estimate(value=value, low=low, high=high, n=n, method=found.method)


# --- predicted -----------------------------------------------------------------------------------


def exchange_s(size_bytes: float, workers: int, network: Network, *, messages: int = 1) -> float:
    """Return the seconds of an all-reduce of `size_bytes` in all, sent as so many messages.

    One worker exchanges nothing: 0.
    """
    rounds = messages * (workers - 1)
    bits = 8 * 2 * (workers - 1) / workers * size_bytes
    return rounds * network.round_trip_s + bits / network.reachable_bit_per_s()


def measured_exchange(line: Line, size_bytes: float, *, messages: int = 1) -> Estimate:
    """Return the seconds of messages of `size_bytes` in all, by a line fitted for these workers."""
    draws = messages * line.latency_draws_s + size_bytes * line.s_per_byte_draws
    value = messages * line.latency_s + size_bytes * line.s_per_byte
    return from_draws(value, draws, line.repetitions)


def step_estimate(
    compute_s: Float[np.ndarray, " runs"], line: Line, size_bytes: float, *, messages: int = 1
) -> Estimate:
    """Return the seconds of a step: the mean of its computing, and the exchange of its gradients.

    The interval is of resampled runs and the line's draws together; with one run there is none.

    Raises:
        UsageError: No run.
    """
    exchange = messages * line.latency_s + size_bytes * line.s_per_byte
    drawn = messages * line.latency_draws_s + size_bytes * line.s_per_byte_draws
    value = _mean(compute_s) + exchange
    if len(compute_s) < 2:
        return Estimate(value=value, low=None, high=None, n=len(compute_s), method="one run")
    return from_draws(value, mean_draws(compute_s, len(drawn)) + drawn, len(compute_s))


# --- what still pays -----------------------------------------------------------------------------


def paying_bandwidth_bit_per_s(
    compute_s: Float[np.ndarray, " draws"],
    compute_next_s: Float[np.ndarray, " draws"],
    size_bytes: float,
    workers: int,
    *,
    round_trip_s: Float[np.ndarray, " draws"],
    messages: int = 1,
    kind: Kind = "strong",
) -> Float[np.ndarray, " draws"]:
    """Return the bandwidth below which worker number `workers` + 1 stops paying.

    With k = `workers`, C(k) = `compute_s` and C(k + 1) = `compute_next_s`, seconds of computing of
    a step. Strong: it pays where T(k + 1) < T(k), so where B is above
    16 S / (k (k + 1) (C(k) - C(k + 1) - m R)). Weak: it pays where k + 1 workers do more examples
    per second, (k + 1) / T(k + 1) > k / T(k). For k = 1 so where B is above
    8 S / (2 C(1) - C(2) - m R); a further worker adds ever less to a ring's time for a byte, so for
    k >= 2 it pays at any bandwidth (0) if it does at infinite bandwidth.

    Infinite: no bandwidth is enough, as computing gains less than the further round trips cost.
    The arrays hold draws (see `mean_draws` and `exchanges.Line`), or a single number each.

    Raises:
        UsageError: Fewer than one worker, no bytes, or no message.
    """
    _check_work(size_bytes, workers, messages)
    k = workers
    if kind == "strong":
        gain = k * (k + 1) * (compute_s - compute_next_s - messages * round_trip_s)
        bits = 16 * size_bytes
    else:
        gain = (k + 1) * compute_s - k * compute_next_s - messages * round_trip_s
        bits = 8 * size_bytes if k == 1 else 0.0
    with np.errstate(divide="ignore"):
        found: Float[np.ndarray, " draws"] = np.where(gain > 0, bits / gain, math.inf)
    return found


def paying_workers(
    compute_s: Float[np.ndarray, " draws"],
    size_bytes: float,
    *,
    bandwidth_bit_per_s: Float[np.ndarray, " draws"],
    round_trip_s: Float[np.ndarray, " draws"],
    messages: int = 1,
) -> Float[np.ndarray, " draws"]:
    """Return the break-even number of workers: the last whose coming shortens a step.

    Strong scaling, with the computing of one worker, `compute_s`, divided evenly: C(k) = C / k. The
    k-th worker pays where C - 16 S / B > m R k (k - 1). 1: not even a second pays. Infinite
    where nothing but ever smaller work is lost: no round trip.

    Raises:
        UsageError: No bytes, or no message.
    """
    _check_work(size_bytes, 1, messages)
    left = compute_s - 16 * size_bytes / bandwidth_bit_per_s
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(left > 0, left / (messages * round_trip_s), 0.0)
        last = np.ceil((1 + np.sqrt(1 + 4 * ratio)) / 2) - 1  # the largest k below the root
    found: Float[np.ndarray, " draws"] = np.maximum(last, 1.0)
    return found


def mean_draws(
    values: Float[np.ndarray, " runs"], count: int, *, seed: int = 0
) -> Float[np.ndarray, " draws"]:
    """Return means of resampled runs (bootstrap, fixed seed): draws for the functions above."""
    generator = np.random.default_rng(seed)
    means: Float[np.ndarray, " draws"] = generator.choice(values, (count, len(values))).mean(axis=1)
    return means


def _mean(values: Float[np.ndarray, " runs"]) -> float:
    if len(values) == 0:
        raise UsageError("No step without a run. Run one worker first: its computing is needed.")
    return float(values.mean())


def _check_work(size_bytes: float, workers: int, messages: int) -> None:
    for name, value in (("workers", workers), ("messages", messages)):
        if value < 1:
            raise UsageError(f"Not a number of {name}: {value}. Allowed: 1 and more.")
    if not size_bytes > 0:
        raise UsageError(f"Not the bytes of gradients: {size_bytes}. Allowed: above 0.")
