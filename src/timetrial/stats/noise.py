"""A/A calibration: how much two runs of the very same work differ on this machine."""

from __future__ import annotations

import math

import numpy as np
import scipy  # its parts are loaded at their first use: scipy.stats takes over a second
from jaxtyping import Float

from timetrial.errors import UsageError
from timetrial.spec import Record
from timetrial.stats.compare import POWER, power_of
from timetrial.stats.intervals import check_finite, check_level, mean_interval, t_quantile


class Noise(Record, frozen=True, kw_only=True):
    """The spread of one run's time that the machine alone causes, and the bias of first to second.

    `relative_sd` is of the log of the time, so a fraction: 0.02 is 2 %. Its interval is the
    chi-square one. `ratio` is the geometric mean of first / second; its t interval should hold 1.
    """

    n: int  # pairs
    relative_sd: float | None
    relative_sd_low: float | None
    relative_sd_high: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


def machine_noise(pairs: Float[np.ndarray, "pairs 2"], level: float = 0.95) -> Noise:
    """Return the noise of one run from pairs of seconds of two runs with one seed and one work.

    A pair's log ratio has twice the variance of one run. Taking ratios within a pair keeps slow
    drifts of the machine (heat, a neighbour that stays) out; they belong into the spread over runs.
    Below two pairs there is no spread.

    Raises:
        UsageError: A time is NaN, infinite or not above 0, or the level is not between 0 and 1.
    """
    check_finite(pairs, "times")
    check_level(level)
    if pairs.size and pairs.min() <= 0:
        raise UsageError(f"Not the time of a run: {pairs.min()} s. Allowed: above 0.")
    n = len(pairs)
    logs = np.log(pairs[:, 0] / pairs[:, 1])
    bias = mean_interval(logs, level)
    sd = low = high = None
    if n >= 2:
        sd = float(logs.std(ddof=1)) / math.sqrt(2)
        tails = scipy.special.chdtri(n - 1, np.array([0.5 - level / 2, 0.5 + level / 2]))
        low, high = (sd * math.sqrt((n - 1) / float(tail)) for tail in tails)
    return Noise(
        n=n,
        relative_sd=sd,
        relative_sd_low=low,
        relative_sd_high=high,
        ratio=_exp(bias.value),
        ratio_low=_exp(bias.low),
        ratio_high=_exp(bias.high),
    )


def smallest_distinguishable(
    relative_sd: float, runs: int, level: float = 0.95, power: float = POWER
) -> float:
    """Return the smallest ratio above 1 that `runs` runs a side tell from 1 with that power.

    This is for the machine's noise alone: runs with different seeds also differ in how many steps
    they need, so a comparison of those needs more.

    Raises:
        UsageError: Fewer than two runs a side, or a negative noise.
    """
    check_level(level)
    if runs < 2:
        raise UsageError(f"Not enough runs a side to tell anything: {runs}. Allowed: 2 and more.")
    if not relative_sd >= 0:
        raise UsageError(f"Not a relative standard deviation: {relative_sd}. Allowed: 0 and above.")
    if not 0.5 <= power < 1:
        raise UsageError(f"Not a power to plan for: {power}. Allowed: 0.5 up to below 1.")
    degrees = 2 * (runs - 1)

    def excess(noncentrality: float) -> float:
        return power_of(noncentrality, 1.0, degrees, level) - power

    enough = t_quantile(level, degrees)  # the power there is about one half
    while excess(enough) < 0:
        enough *= 1.5
    noncentrality = float(scipy.optimize.brentq(excess, 0.0, enough))
    return math.exp(noncentrality * relative_sd * math.sqrt(2 / runs))


def _exp(log: float | None) -> float | None:
    return None if log is None else math.exp(log)
