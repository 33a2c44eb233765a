"""The Kaplan-Meier curve of times some of which are right-censored, and its band.

Source: Kaplan and Meier, J. Am. Stat. Assoc. 53 (1958), 457-481; Greenwood's variance and the
log-log band as in Klein and Moeschberger, Survival Analysis, 2nd ed. (2003), section 4.3. The tests
hold it against scipy.stats.ecdf, which takes over a second to load.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int


class Curve(NamedTuple):
    """How large a share has not reached after each of the distinct times."""

    times: Float[np.ndarray, " knots"]  # ascending, seconds
    running: Int[np.ndarray, " knots"]  # not reached and not lost before that time
    reaching: Int[np.ndarray, " knots"]  # at that time
    survival: Float[np.ndarray, " knots"]


def curve_of(times: Float[np.ndarray, " runs"], reached: Bool[np.ndarray, " runs"]) -> Curve:
    """Return the curve of runs that reached, or where `reached` is False were lost, at `times`.

    A run lost at the moment at which another reaches is still running then.
    """
    knots = np.unique(times)
    running = (times[None, :] >= knots[:, None]).sum(axis=1)
    reaching = ((times[None, :] == knots[:, None]) & reached[None, :]).sum(axis=1)
    return Curve(knots, running, reaching, np.cumprod(1 - reaching / running))


def log_log_band(
    curve: Curve, level: float
) -> tuple[Float[np.ndarray, " knots"], Float[np.ndarray, " knots"]]:
    """Return the lower and upper end of the curve's band at each time; NaN where it is 0 or 1."""
    left = curve.running - curve.reaching
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(curve.reaching / (curve.running * left))
        log = np.log(curve.survival)
        half = scipy.special.ndtri(0.5 + level / 2) * np.sqrt(greenwood) / -log
        low, high = (np.exp(log * np.exp(sign * half)) for sign in (1, -1))
    known = (curve.survival > 0) & (curve.survival < 1)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)
