"""The Kaplan-Meier curve, its band and the quantiles of intervals, against scipy.stats."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from timetrial.stats import noise, proportion_interval
from timetrial.stats.forecast import median_interval
from timetrial.stats.survival import curve_of, log_log_band

RUNS = st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=12).filter(
    lambda runs: any(reached for _, reached in runs)
)


@given(RUNS, st.sampled_from([0.8, 0.95]))
def test_curve_and_band_are_those_of_scipy(runs: list[tuple[int, bool]], level: float) -> None:
    times = np.array([float(time) for time, _ in runs])
    reached = np.array([flag for _, flag in runs])
    theirs = scipy.stats.ecdf(scipy.stats.CensoredData.right_censored(times, ~reached)).sf
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of ends that are not defined
        band = theirs.confidence_interval(level, method="log-log")

    ours = curve_of(times, reached)
    low, high = log_log_band(ours, level)

    np.testing.assert_array_equal(ours.times, theirs.quantiles)
    np.testing.assert_allclose(ours.survival, theirs.probabilities, atol=1e-12)
    inside = (ours.survival > 1e-12) & (ours.survival < 1 - 1e-12)
    np.testing.assert_allclose(low[inside], band.low.probabilities[inside], rtol=1e-9)
    np.testing.assert_allclose(high[inside], band.high.probabilities[inside], rtol=1e-9)


def test_a_band_has_no_ends_where_the_curve_is_0_or_1() -> None:
    curve = curve_of(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]))

    low, high = log_log_band(curve, 0.95)

    assert curve.survival.tolist() == [1.0, 0.5, 0.0]
    assert np.isnan(low[[0, 2]]).all()
    assert np.isnan(high[[0, 2]]).all()
    assert 0 < low[1] < 0.5 < high[1] < 1


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 10), (3, 8), (8, 8), (499, 500)])
def test_the_exact_proportion_is_scipys(k: int, n: int) -> None:
    ends = scipy.stats.binomtest(k, n).proportion_ci(0.95, method="exact")

    ours = proportion_interval(k, n)

    assert (ours.low, ours.high) == pytest.approx((ends.low, ends.high), abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 6, 9, 30, 31])
def test_the_median_between_order_statistics_is_scipys(n: int) -> None:
    values = np.arange(1.0, n + 1)
    below = int(scipy.stats.binom.ppf(0.025, n, 0.5))

    ours = median_interval(values)

    assert (ours.low, ours.high) == (
        (None, None) if below < 1 else (float(below), float(n - below + 1))
    )


def test_the_spread_of_pairs_has_the_ends_of_a_chi_squared() -> None:
    pairs = np.random.default_rng(0).lognormal(3, 0.1, size=(7, 2))
    logs = np.log(pairs[:, 0] / pairs[:, 1])

    ours = noise.machine_noise(pairs)

    squares = (logs**2).sum() - 7 * logs.mean() ** 2
    ends = [np.sqrt(squares / 2 / scipy.stats.chi2.ppf(q, 6)) for q in (0.975, 0.025)]
    assert (ours.relative_sd_low, ours.relative_sd_high) == pytest.approx(ends)
