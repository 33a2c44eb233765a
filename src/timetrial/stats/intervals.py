"""Means, medians and proportions with their intervals; runs that missed the target are censored.

A run that ended without reaching its target is right-censored at its last moment: all that is known
is that reaching takes longer. Such runs count in every estimate here.

Every interval is two-sided and assumes independent runs. Measured coverage of the nominal 95 %,
from 20,000 repetitions (the median: 800) of lognormal and gamma times, spread 5 to 30 %:

| estimate                                 | n = 5          | n = 10         | n = 20         |
|------------------------------------------|----------------|----------------|----------------|
| `mean_interval`                          | 93.7 to 94.9 % | 93.9 to 95.1 % | 94.3 to 95.3 % |
| `restricted_mean`, 20 % censored         | 94.1 to 96.4 % | 93.9 to 96.0 % | 94.0 to 95.6 % |
| `restricted_mean`, 40 % censored         | 94.0 to 98.0 % | 93.6 to 96.9 % | 92.8 to 95.7 % |
| `median_time`, 0 to 40 % censored        | 94.0 to 98.2 % | 94.2 to 96.6 % | 93.4 to 97.6 % |

`largest_interval` has a table of its own.

The ranges run over three ways to lose runs: one common budget, a random time of the spread of the
times themselves, and a crash at any moment with that probability (the median: the first two). The
low ends belong to the spread of 30 %. With 40 % censored and n = 5, 6 to 9 % of the samples reach
fewer than twice and get no interval; they are not in the table.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy  # its parts are loaded at their first use; scipy.stats takes over a second
from jaxtyping import Bool, Float

from timetrial.errors import UsageError
from timetrial.spec import Record
from timetrial.stats.survival import curve_of, log_log_band
from timetrial.units import duration


class Estimate(Record, frozen=True, kw_only=True):
    """A number with the two ends of its interval and the number of runs it stands on.

    What cannot be had is None. A lower bound has `value` None, `low` set and `high` None.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str  # a short name, for people


class Moments(NamedTuple):
    """A (restricted) mean, the variance of that mean, and how many runs reached the target."""

    mean: float
    variance: float  # NaN below two reached runs
    reached: int


# --- means ---------------------------------------------------------------------------------------


def mean_interval(values: Float[np.ndarray, " runs"], level: float = 0.95) -> Estimate:
    """Return the arithmetic mean with Student's t interval.

    No run: all None. One run: no interval. All values equal: an interval of width zero.

    Raises:
        UsageError: A value is NaN or infinite, or the level is not between 0 and 1.
    """
    check_finite(values, "values")
    check_level(level)
    method = "mean, Student t"
    if len(values) == 0:
        return Estimate(value=None, low=None, high=None, n=0, method=method)
    return _t_interval(plain_moments(values), len(values), level=level, method=method)


def resampled_mean(
    values: Float[np.ndarray, " splits"], *, train: int, test: int, level: float = 0.95
) -> Estimate:
    """Return the mean over random splits of the same examples, `test` of `train` + `test` tested.

    The splits overlap, so their mean varies more than s²/J of J splits: its variance is taken as
    s² (1/J + test/train). `values` may be differences of two methods on the same splits. One
    split: no interval.

    Source: Nadeau and Bengio, Machine Learning 52 (2003), 239-281, section 3: the corrected
    resampled t.

    Raises:
        UsageError: A value is NaN or infinite, a count is below 1, or not a level.
    """
    check_finite(values, "values")
    check_level(level)
    if min(train, test) < 1:
        raise UsageError(f"Not a split: {train} train, {test} test. Allowed: 1 and more of both.")
    method = "mean over splits, corrected resampled t"
    if len(values) == 0:
        return Estimate(value=None, low=None, high=None, n=0, method=method)
    plain = plain_moments(values)
    inflated = plain.variance * (1 + len(values) * test / train)
    return _t_interval(plain._replace(variance=inflated), len(values), level=level, method=method)


def restricted_mean(
    times: Float[np.ndarray, " runs"],
    reached: Bool[np.ndarray, " runs"],
    level: float = 0.95,
    horizon: float | None = None,
) -> Estimate:
    """Return the Kaplan-Meier mean time to the target, counting no time beyond the horizon.

    `times` holds, in seconds, when a run reached the target or, where `reached` is False, when it
    ended without. The estimate is of E[min(T, horizon)]; `method` names the horizon where it
    matters. Without `horizon` the longest time seen is taken: if that run reached, the whole curve
    is known and nothing is cut off; if it did not, the true mean is larger than the value. When
    every run reached within the horizon, this is `mean_interval`.

    With one reached run there is no interval. With none, `value` is None and `low` is a lower bound
    of the true mean that holds for any distribution with probability `level`: the shortest time
    seen, c, times (1 - level)^(1/n), because n of n runs beyond c means P(T > c) is at least the
    exact binomial bound (1 - level)^(1/n), and E[T] >= c P(T > c).

    The t quantile has (reached runs - 1) degrees of freedom: with (runs - 1) the measured coverage
    at 40 % censored and n = 5 falls to 88 %.

    Raises:
        UsageError: A time is negative, NaN or infinite, or the curve is unknown at the horizon.
    """
    check_level(level)
    _check_times(times)
    if len(times) == 0:
        return Estimate(value=None, low=None, high=None, n=0, method="mean, Student t")
    if horizon is not None:
        _check_horizon(times, reached, horizon)
        reached = reached & (times <= horizon)
        times = np.minimum(times, horizon)
    n = len(times)
    if not reached.any():
        low = float(times.min()) * (1 - level) ** (1 / n)
        return Estimate(value=None, low=low, high=None, n=n, method="lower bound, none reached")
    if reached.all():
        method = "mean, Student t"
    elif last_reached(times, reached):
        method = "Kaplan-Meier mean, Student t"
    else:
        method = f"Kaplan-Meier mean up to {duration(float(times.max()))}, Student t"
    return _t_interval(restricted_moments(times, reached), n, level=level, method=method)


def plain_moments(values: Float[np.ndarray, " runs"]) -> Moments:
    """Return the arithmetic mean and its variance s²/n; equal values have exactly none."""
    n = len(values)
    if values.min() == values.max():
        return Moments(float(values[0]), 0.0 if n > 1 else math.nan, n)
    return Moments(float(values.mean()), float(values.var(ddof=1)) / n, n)


def restricted_moments(
    times: Float[np.ndarray, " runs"], reached: Bool[np.ndarray, " runs"]
) -> Moments:
    """Return the area under the Kaplan-Meier curve up to the longest time, and its variance.

    The variance is Greenwood's, sum of A_i² d_i / (Y_i (Y_i - d_i)) with A_i the area beyond the
    i-th time, d_i runs reaching then and Y_i still running, times m / (m - 1) for m reached runs.
    With nothing censored this is s²/n.

    Source: Kaplan and Meier, J. Am. Stat. Assoc. 53 (1958), section 6.2, with the factor m/(m-1);
    Klein and Moeschberger, Survival Analysis, 2nd ed. (2003), section 4.5.
    """
    if reached.all():
        return plain_moments(times)
    knots, running, reaching, survival = curve_of(times, reached)
    areas = np.diff(knots, prepend=0.0) * np.concatenate(([1.0], survival[:-1]))
    beyond = np.append(np.cumsum(areas[::-1])[::-1][1:], 0.0)
    left = running - reaching
    terms = np.divide(
        beyond**2 * reaching, running * left, out=np.zeros(len(knots)), where=left > 0
    )
    count = int(reached.sum())
    variance = float(terms.sum()) * count / (count - 1) if count > 1 else math.nan
    return Moments(float(areas.sum()), variance, count)


def last_reached(times: Float[np.ndarray, " runs"], reached: Bool[np.ndarray, " runs"]) -> bool:
    """Return whether the Kaplan-Meier curve comes down to 0: no run outlasted the last to reach."""
    return bool(reached[times == times.max()].all())


def _t_interval(moments: Moments, n: int, *, level: float, method: str) -> Estimate:
    """Return mean ± t quantile * standard error, without ends where the variance is unknown."""
    if math.isnan(moments.variance):
        return Estimate(value=moments.mean, low=None, high=None, n=n, method=method)
    half = t_quantile(level, moments.reached - 1) * math.sqrt(moments.variance)
    low, high = moments.mean - half, moments.mean + half
    return Estimate(value=moments.mean, low=low, high=high, n=n, method=method)


def t_quantile(level: float, degrees: float) -> float:
    """Return how many standard errors a two-sided Student interval reaches to each side."""
    return float(scipy.special.stdtrit(degrees, 0.5 + level / 2))


# --- other estimates -----------------------------------------------------------------------------


def median_time(
    times: Float[np.ndarray, " runs"], reached: Bool[np.ndarray, " runs"], level: float = 0.95
) -> Estimate:
    """Return the Kaplan-Meier median: the first time at which half of the runs have reached.

    None where fewer than half ever do. The interval holds the times at which the log-log band of
    the curve contains one half; an end is None where the band never leaves one half: the upper end
    up to 6 runs.

    Source: Brookmeyer and Crowley, Biometrics 38 (1982), 29-41; log-log band as in Klein and
    Moeschberger, Survival Analysis, 2nd ed. (2003), section 4.5.

    Raises:
        UsageError: A time is negative, NaN or infinite.
    """
    check_level(level)
    _check_times(times)
    n, method = len(times), "Kaplan-Meier median, log-log band"
    if not reached.any():
        return Estimate(value=None, low=None, high=None, n=n, method=method)
    curve = curve_of(times, reached)
    low, high = log_log_band(curve, level)
    return Estimate(
        value=_first_below_half(curve.times, curve.survival),
        low=_first_below_half(curve.times, low),
        high=_first_below_half(curve.times, high),
        n=n,
        method=method,
    )


def _first_below_half(
    knots: Float[np.ndarray, " knots"], survival: Float[np.ndarray, " knots"]
) -> float | None:
    """Return the first knot with at most half surviving; NaN counts as above."""
    below = np.flatnonzero(survival <= 0.5 + 1e-12)  # 1e-12: products such as 4/5 * 5/8
    return float(knots[below[0]]) if len(below) else None


def largest_interval(values: Float[np.ndarray, " rounds"], level: float = 0.95) -> Estimate:
    """Return the largest that such values can be: the largest seen, and how far above it may lie.

    The largest seen is the lower end too: so much was there. The upper end is L + c (L - S), with S
    the second largest and c = level / (1 - level); None for a single value. It is exact where
    values close below the largest possible one are about equally likely. Measured coverage of 95 %,
    from 20,000 samples of 8 on [0, 1]: 95.0 % uniform, 95.4 % with a density that rises towards 1,
    90.3 % with one that falls to 0 there.

    Source: Robson and Whitlock, Biometrika 51 (1964), 33-39.

    Raises:
        UsageError: No value, or one that is NaN or infinite.
    """
    check_level(level)
    check_finite(values, "rates")
    if len(values) == 0:
        raise UsageError("No largest of no values. Allowed: at least one.")
    *rest, largest = np.sort(values).tolist()
    high = largest + level / (1 - level) * (largest - rest[-1]) if rest else None
    return Estimate(
        value=largest,
        low=largest,
        high=high,
        n=len(values),
        method="largest seen, Robson and Whitlock",
    )


def proportion_interval(k: int, n: int, level: float = 0.95) -> Estimate:
    """Return k/n with the exact interval, which covers at least `level` whatever the proportion.

    Source: Clopper and Pearson, Biometrika 26 (1934), 404-413.

    Raises:
        UsageError: k is not between 0 and n.
    """
    check_level(level)
    if not 0 <= k <= n:
        raise UsageError(f"Not a proportion: {k} of {n}. Allowed: 0 up to {n}.")
    method = "proportion, Clopper-Pearson"
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0, method=method)
    tail = (1 - level) / 2
    low = float(scipy.special.betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(scipy.special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Estimate(value=k / n, low=low, high=high, n=n, method=method)


# --- checks --------------------------------------------------------------------------------------


def check_finite(values: Float[np.ndarray, "*shape"], what: str) -> None:
    """Raise UsageError if a value is NaN or infinite."""
    bad = values[~np.isfinite(values)]
    if len(bad):
        raise UsageError(
            f"Cannot average {what} with {bad[0]} among them. Allowed: finite numbers; give a run "
            "that failed as a time with reached=False."
        )


def check_level(level: float) -> None:
    """Raise UsageError unless the level of an interval lies between 0 and 1."""
    if not 0 < level < 1:
        raise UsageError(f"Not a level of confidence: {level}. Allowed: between 0 and 1: 0.95.")


def _check_times(times: Float[np.ndarray, " runs"]) -> None:
    check_finite(times, "times")
    if len(times) and times.min() < 0:
        raise UsageError(f"Not a time: {times.min()} s. Allowed: 0 and above.")


def _check_horizon(
    times: Float[np.ndarray, " runs"], reached: Bool[np.ndarray, " runs"], horizon: float
) -> None:
    """Raise UsageError where the Kaplan-Meier curve is not known as far as the horizon."""
    if not horizon > 0:
        raise UsageError(f"Not a horizon: {horizon} s. Allowed: above 0.")
    if horizon > times.max() and not last_reached(times, reached):
        raise UsageError(
            f"No run was watched until the horizon of {horizon} s: the longest ended after "
            f"{times.max()} s without reaching. Give a horizon up to {times.max()} s."
        )
