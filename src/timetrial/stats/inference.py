"""What calls of a trained model's `predict` took: percentiles, means, examples per second.

Calls of one run follow each other on one machine, whose speed changes for longer than a call takes:
neighbours resemble each other. So they count for fewer than they are, as many as the spread between
stretches of them allows (`worth`). What models, machines and hours differ by is in no interval of
one run: that takes several runs, of whose values the mean is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import scipy  # its parts are loaded at their first use
from jaxtyping import Float

from timetrial.engine.events import Inferred, Rescored
from timetrial.errors import UsageError
from timetrial.spec import Precision
from timetrial.stats import measures
from timetrial.stats.intervals import Estimate, check_finite, check_level, mean_interval, t_quantile
from timetrial.store import RunRecord, by_attempt

STRETCHES: Final = 25  # that a run's calls are cut into, to see how alike neighbours are
STRETCHES_MIN: Final = 5  # with fewer nobody can tell: calls then count as independent
CALLS_OF_STRETCH: Final = 4
TOLERANCE: Final[Mapping[Precision, float]] = {
    "float64": 1e-6, "float32": 1e-4, "mixed": 1e-4, "bfloat16": 0.05,
}  # fmt: skip
"""How far a score may lie from that of the whole split, over the largest of these.

How many examples are computed at once changes which of a library's routines runs, and so the
rounding: 4e-7 in a ResNet-20 of float32 between two memory layouts. Ours, with room; another
model's scores lie at 0.1 and more.
"""
ACCURACY_TOLERANCE: Final = 1e-3  # on devices that do not promise to repeat the same bits


class Calls(NamedTuple):
    """The calls of one run that count, with so many examples at a time, in their order."""

    batch: int
    seconds: Float[np.ndarray, " calls"]
    first_s: float | None  # of the very first, which warms up and may compile

    @property
    def examples_per_s(self) -> float:
        """Examples over the seconds of the calls, nothing in between counted."""
        return self.batch * len(self.seconds) / math.fsum(self.seconds)


class Seen(NamedTuple):
    """What one run's model predicted after its training."""

    step: int
    split: str
    examples: int  # of the split
    accuracy: float
    scores_sha256: str
    calls: Mapping[int, Calls]  # by examples at a time, rising
    left_out: Mapping[int, str]  # examples at a time -> why not
    furthest: float | None  # any score from that of the whole split, over the largest; None: NaN
    changed: int  # examples whose class came out as another, warm-up included


def inference_of(record: RunRecord) -> Seen | None:
    """Return what the last attempt's log has of inference, None where there is nothing."""
    attempts = by_attempt(record.launcher, record.worker)
    events = attempts[max(attempts)] if attempts else []
    begun = next((event for event in events if isinstance(event, Rescored)), None)
    if begun is None:
        return None
    inferred = [event for event in events if isinstance(event, Inferred)]
    seconds: dict[int, list[float]] = {}
    first_s: dict[int, float] = {}
    for event in inferred:
        if event.warm_up and event.ns:
            first_s.setdefault(event.batch, event.ns[0] / 1e9)
        elif not event.warm_up:
            seconds.setdefault(event.batch, []).extend(ns / 1e9 for ns in event.ns)
    apart = [event.furthest for event in inferred if event.ns]
    return Seen(
        step=begun.step,
        split=begun.split,
        examples=begun.examples,
        accuracy=begun.accuracy,
        scores_sha256=begun.scores_sha256,
        calls={
            batch: Calls(batch, np.array(seconds[batch]), first_s.get(batch))
            for batch in sorted(seconds)
            if seconds[batch]
        },
        left_out={event.batch: event.left_out for event in inferred if event.left_out},
        furthest=None if None in apart else max((one or 0.0 for one in apart), default=0.0),
        changed=sum(event.changed for event in inferred),
    )


def fault_of(record: RunRecord, seen: Seen) -> str | None:
    """Return why what was timed is not the model that was evaluated, None where it is.

    The scores of the whole split must be those of its last evaluation, on a CPU bit for bit, and
    those of single examples and batches must be the same but for rounding.
    """
    last = measures.last(record, seen.split)
    if last is None or last.step != seen.step:
        return f"{seen.split} was not evaluated after step {seen.step}"
    same = seen.scores_sha256 == last.scores_sha256
    if record.plan.device != "cpu":
        same = same or abs(seen.accuracy - last.accuracy) <= ACCURACY_TOLERANCE
    if not same:
        return f"scores of {seen.split} are not those of its evaluation after step {seen.step}"
    allowed = TOLERANCE[record.plan.precision]
    if seen.furthest is None:
        return "a score of a smaller number of examples is no number"
    if seen.furthest > allowed:
        return (
            f"scores of smaller numbers of examples lie up to {seen.furthest:.2g} of the largest "
            f"from those of all at once; allowed in {record.plan.precision}: {allowed:g}"
        )
    return None


# --- estimates -----------------------------------------------------------------------------------


def percentile(seconds: Float[np.ndarray, " calls"], share: float, level: float = 0.95) -> Estimate:
    """Return the time within which `share` of the calls of one run were over; n counts calls.

    The value is a time that was seen, the least that so large a share did not exceed. The ends are
    seen times too: order statistics, between which the true percentile lies with probability
    `level` whatever the distribution, as the number of calls below it is binomial. An end is None
    where there are too few calls for it: the upper one of p99 below 368 independent calls.

    Source: Conover, Practical Nonparametric Statistics, 3rd ed. (1999), section 3.2; correlated
    calls count as `worth` of their being below the value.

    Raises:
        UsageError: No call, or one without a positive finite time.
    """
    check_level(level)
    _check_seconds(seconds)
    if not 0 < share < 1:
        raise UsageError(f"Not a percentile: {share:g}. Allowed: between 0 and 1, such as 0.99.")
    ordered = np.sort(seconds)
    value = float(np.quantile(ordered, share, method="inverted_cdf"))
    n = len(seconds)
    count = max(1, math.floor(worth((seconds <= value).astype(np.float64))))
    low_rank, high_rank = order_ranks(count, share, level)
    low = None if low_rank is None else ordered[math.floor((low_rank - 1) * n / count)]
    high = None if high_rank is None else ordered[math.ceil(high_rank * n / count) - 1]
    return Estimate(
        value=value,
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        n=n,
        method="order statistics",
    )


def order_ranks(count: int, share: float, level: float = 0.95) -> tuple[int | None, int | None]:
    """Return which of `count` independent ordered values hold a percentile between them, from 1.

    None: not even the least, or the largest, is sure enough.
    """
    tail = (1 - level) / 2
    below = scipy.special.bdtr(np.arange(count + 1, dtype=np.float64), count, share)
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return (low or None), (high if high <= count else None)


def mean_seconds(seconds: Float[np.ndarray, " calls"], level: float = 0.95) -> Estimate:
    """Return the mean time of the calls of one run; n counts calls.

    Student's t over the means of STRETCHES stretches of calls, which are as good as independent
    where a stretch is longer than what neighbouring calls share.

    Source: batch means; Law, Simulation Modeling and Analysis, 5th ed. (2015), section 9.5.3.

    Raises:
        UsageError: No call, or one without a positive finite time.
    """
    _check_seconds(seconds)
    found = mean_interval(_means(seconds), level)
    value = float(seconds.mean())
    ends = (found.low, found.high)
    low, high = (None if e is None else value + e - (found.value or 0.0) for e in ends)
    method = "mean, Student t over stretches"
    return Estimate(value=value, low=low, high=high, n=len(seconds), method=method)


def throughput(calls: Calls) -> Estimate:
    """Return the examples per second of one run's calls: their number over the mean time."""
    mean = mean_seconds(calls.seconds)

    def rate(seconds: float | None) -> float | None:
        return calls.batch / seconds if seconds is not None and seconds > 0 else None

    return Estimate(
        value=calls.examples_per_s,
        low=rate(mean.high),
        high=rate(mean.low),
        n=mean.n,
        method=mean.method,
    )


def worth(values: Float[np.ndarray, " calls"]) -> float:
    """Return as how many independent values a series counts for its mean; at most all of them.

    The variance of the mean is read off stretches of the series; over that of independent values
    it says how many of them one counts for. Few stretches tell it roughly, so it is enlarged as
    Student's t enlarges an interval.
    """
    n, spread = len(values), float(values.var())
    if _stretches(n) == 0 or spread == 0:
        return float(n)
    means = _means(values)
    wider = t_quantile(0.95, len(means) - 1) / float(scipy.special.ndtri(0.975))
    ratio = float(means.var(ddof=1)) / len(means) / (spread / n) * wider**2
    return n / max(1.0, ratio)


def _means(values: Float[np.ndarray, " calls"]) -> Float[np.ndarray, " stretches"]:
    """Return the means of the stretches of a series; the values themselves where it is short."""
    count = _stretches(len(values))
    if count == 0:
        return values
    return np.array([part.mean() for part in np.array_split(values, count)])


def _stretches(calls: int) -> int:
    """Return how many stretches to cut so many calls into, 0: too few."""
    count = min(STRETCHES, calls // CALLS_OF_STRETCH)
    return count if count >= STRETCHES_MIN else 0


def _check_seconds(seconds: Float[np.ndarray, " calls"]) -> None:
    if len(seconds) == 0:
        raise UsageError("No call was timed. Leave this number of examples out, or time it.")
    check_finite(seconds, "times")
    if seconds.min() <= 0:
        raise UsageError(f"Not the time of a call: {seconds.min()} s. Allowed: above 0.")
