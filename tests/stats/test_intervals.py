"""timetrial.stats.intervals: closed forms, SciPy, published examples, measured coverage."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxtyping import TypeCheckError
from scipy import stats

from timetrial.errors import UsageError
from timetrial.stats import mean_interval, median_time, proportion_interval, restricted_mean
from timetrial.stats.intervals import largest_interval, resampled_mean

times_of_runs = hnp.arrays(np.float64, st.integers(2, 12), elements=st.floats(1.0, 1e4))


def all_reached(times: np.ndarray) -> np.ndarray:
    return np.ones(len(times), dtype=bool)


def test_array_shapes_are_checked_in_the_test_run() -> None:
    # Fails where pytest runs without --jaxtyping-packages=timetrial.stats,beartype.beartype
    with pytest.raises(TypeCheckError):
        restricted_mean(np.ones(3), np.ones(4, dtype=bool))


# --- mean ----------------------------------------------------------------------------------------


def test_the_mean_interval_is_scipys_t_interval() -> None:
    values = np.array([10.2, 9.7, 11.4, 10.0, 10.9])
    ends = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    estimate = mean_interval(values)
    assert estimate.value == pytest.approx(values.mean(), rel=1e-14)
    assert (estimate.low, estimate.high) == pytest.approx((ends.low, ends.high), rel=1e-12)
    assert estimate.n == 5


def test_no_run_has_no_mean_and_one_run_has_no_interval() -> None:
    none = mean_interval(np.array([]))
    assert (none.value, none.low, none.high, none.n) == (None, None, None, 0)
    one = mean_interval(np.array([3.0]))
    assert (one.value, one.low, one.high, one.n) == (3.0, None, None, 1)


def test_equal_values_have_an_interval_of_width_zero() -> None:
    estimate = mean_interval(np.full(7, 0.1))  # 0.1 * 7 / 7 differs from 0.1 in floating point
    assert (estimate.value, estimate.low, estimate.high) == (0.1, 0.1, 0.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        mean_interval(np.array([1.0, bad]))


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_outside_0_and_1_is_refused(level: float) -> None:
    with pytest.raises(UsageError, match="level"):
        mean_interval(np.array([1.0, 2.0]), level)


# --- restricted mean -----------------------------------------------------------------------------


@settings(max_examples=40)
@given(times_of_runs)
def test_without_censoring_the_restricted_mean_is_the_mean(times: np.ndarray) -> None:
    assert restricted_mean(times, all_reached(times)) == mean_interval(times)


@settings(max_examples=40)
@given(times_of_runs, st.data())
def test_the_restricted_mean_scales_with_the_unit_of_time(
    times: np.ndarray, data: st.DataObject
) -> None:
    reached = data.draw(hnp.arrays(np.bool_, len(times)))
    one, thousand = restricted_mean(times, reached), restricted_mean(1000 * times, reached)
    for end, scaled in ((one.value, thousand.value), (one.low, thousand.low)):
        assert (end is None) == (scaled is None)
        if end is not None and scaled is not None:
            assert scaled == pytest.approx(1000 * end, rel=1e-9, abs=1e-6)


@settings(max_examples=40)
@given(times_of_runs, st.data())
def test_the_order_of_the_runs_does_not_matter(times: np.ndarray, data: st.DataObject) -> None:
    reached = data.draw(hnp.arrays(np.bool_, len(times)))
    order = np.array(data.draw(st.permutations(range(len(times)))))
    one, other = restricted_mean(times, reached), restricted_mean(times[order], reached[order])
    assert (one.value is None) == (other.value is None)
    if one.value is not None:
        assert one.value == pytest.approx(other.value, rel=1e-12)
    assert (one.low is None) == (other.low is None)
    if one.low is not None:
        assert one.low == pytest.approx(other.low, rel=1e-9, abs=1e-6)


def test_one_common_budget_gives_the_mean_of_the_times_cut_at_the_budget() -> None:
    times = np.array([60.0, 75.0, 90.0, 100.0, 100.0])
    reached = np.array([True, True, True, False, False])
    estimate = restricted_mean(times, reached)
    assert estimate.value == pytest.approx(85.0)
    # Greenwood's sum is then the variance with divisor n over n, here with m/(m-1) = 3/2.
    error = math.sqrt(np.var(times) / 5 * 1.5)
    half = float(stats.t.ppf(0.975, 2)) * error
    assert (estimate.low, estimate.high) == pytest.approx((85 - half, 85 + half))
    assert "up to 100 s" in estimate.method


def test_the_restricted_mean_agrees_with_a_curve_integrated_by_hand() -> None:
    # Reached at 2 and 6, lost at 4, reached at 8: S = 1, 3/4, 3/8, 0 on [0,2), [2,6), [6,8), [8,…
    times, reached = np.array([2.0, 4.0, 6.0, 8.0]), np.array([True, False, True, True])
    estimate = restricted_mean(times, reached)
    assert estimate.value == pytest.approx(2 + 4 * 3 / 4 + 2 * 3 / 8)
    areas = (4 * 3 / 4 + 2 * 3 / 8, 2 * 3 / 8)  # beyond 2 with 4 running, beyond 6 with 2 running
    variance = (areas[0] ** 2 / (4 * 3) + areas[1] ** 2 / (2 * 1)) * 3 / 2
    half = float(stats.t.ppf(0.975, 2)) * math.sqrt(variance)
    assert estimate.high == pytest.approx(5.75 + half)
    assert estimate.method == "Kaplan-Meier mean, Student t"


def test_the_remission_times_of_gehan_have_their_published_restricted_mean() -> None:
    # 6-mercaptopurine arm, weeks (Freireich et al. 1963; Klein and Moeschberger 2003, table 1.1).
    # Mean up to 35 weeks 23.287, standard error 2.827 without the small-sample factor: R's
    # survival, print(survfit(...), rmean = 35).
    reached_at = [6.0, 6, 6, 7, 10, 13, 16, 22, 23]
    lost_at = [6.0, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    times = np.array(reached_at + lost_at)
    reached = np.arange(21) < 9
    estimate = restricted_mean(times, reached)
    assert estimate.value == pytest.approx(23.287, abs=5e-4)
    half = float(stats.t.ppf(0.975, 8)) * 2.827 * math.sqrt(9 / 8)
    assert estimate.high == pytest.approx(23.287 + half, abs=5e-3)
    assert median_time(times, reached).value == 23.0


def test_a_run_cut_off_by_the_horizon_counts_as_not_reached() -> None:
    times = np.array([50.0, 60.0, 70.0, 500.0])
    cut = restricted_mean(times, all_reached(times), horizon=100.0)
    assert cut.value == pytest.approx((50 + 60 + 70 + 100) / 4)
    by_hand = restricted_mean(
        np.array([50.0, 60.0, 70.0, 100.0]), np.array([True, True, True, False])
    )
    assert cut == by_hand


def test_a_horizon_that_no_run_was_watched_for_is_refused() -> None:
    with pytest.raises(UsageError, match="watched"):
        restricted_mean(np.array([50.0, 60.0]), np.array([True, False]), horizon=61.0)


def test_a_horizon_beyond_the_last_reached_run_changes_nothing() -> None:
    times, reached = np.array([50.0, 55.0, 60.0]), np.array([True, False, True])
    assert restricted_mean(times, reached, horizon=1e6) == restricted_mean(times, reached)


def test_with_no_run_reached_there_is_only_a_lower_bound() -> None:
    estimate = restricted_mean(np.array([100.0, 120.0, 100.0]), np.zeros(3, dtype=bool))
    assert (estimate.value, estimate.high, estimate.n) == (None, None, 3)
    # 0.05^(1/3) is the one-sided Clopper-Pearson bound of a proportion of 3 out of 3.
    exact = stats.binomtest(3, 3, alternative="greater").proportion_ci(0.95, method="exact")
    assert estimate.low == pytest.approx(100 * exact.low)


def test_with_one_run_reached_there_is_a_mean_but_no_interval() -> None:
    estimate = restricted_mean(np.array([80.0, 100.0]), np.array([True, False]))
    assert (estimate.value, estimate.low, estimate.high) == (90.0, None, None)


def test_no_runs_have_no_restricted_mean() -> None:
    estimate = restricted_mean(np.array([]), np.array([], dtype=bool))
    assert (estimate.value, estimate.low, estimate.n) == (None, None, 0)


def test_a_negative_time_is_refused() -> None:
    with pytest.raises(UsageError, match="time"):
        restricted_mean(np.array([-1.0, 2.0]), np.array([True, True]))


# --- median and proportion -----------------------------------------------------------------------


def test_the_median_is_where_half_of_the_runs_have_reached() -> None:
    times = np.arange(1.0, 12.0)
    estimate = median_time(times, all_reached(times))
    assert estimate.value == 6.0
    assert estimate.low is not None
    assert estimate.high is not None
    assert 1.0 <= estimate.low < 6.0 < estimate.high <= 11.0


def test_the_median_band_has_no_upper_end_up_to_6_runs() -> None:
    highs = {n: median_time(np.arange(1.0, n + 1), np.ones(n, dtype=bool)).high for n in (6, 7)}
    assert highs == {6: None, 7: 6.0}


def test_the_median_is_unknown_where_most_runs_never_reach() -> None:
    times = np.array([10.0, 20.0, 50.0, 50.0, 50.0])
    estimate = median_time(times, np.array([True, True, False, False, False]))
    assert (estimate.value, estimate.high) == (None, None)
    none = median_time(times, np.zeros(5, dtype=bool))
    assert (none.value, none.low, none.high, none.n) == (None, None, None, 5)


def test_a_proportion_has_its_exact_interval() -> None:
    # 0 of 10: upper end 1 - 0.025^(1/10); a proportion of 0 or 1 still has a width.
    estimate = proportion_interval(0, 10)
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(1 - 0.025**0.1)
    assert proportion_interval(3, 8).high == pytest.approx(1 - (proportion_interval(5, 8).low or 0))
    assert proportion_interval(0, 0).value is None
    with pytest.raises(UsageError):
        proportion_interval(3, 2)


def test_the_largest_has_its_own_value_as_the_lower_end() -> None:
    estimate = largest_interval(np.array([3.0, 5.0, 4.9, 1.0]))
    assert (estimate.value, estimate.low, estimate.n) == (5.0, 5.0, 4)
    assert estimate.high == pytest.approx(5 + 19 * 0.1)
    single = largest_interval(np.array([3.0]))
    assert (single.value, single.low, single.high) == (3.0, 3.0, None)
    with pytest.raises(UsageError, match="at least one"):
        largest_interval(np.array([]))
    with pytest.raises(UsageError):
        largest_interval(np.array([1.0, math.nan]))


# --- coverage ------------------------------------------------------------------------------------

Kind = Literal["lognormal", "gamma"]
Loss = Literal["budget", "random", "crash"]
REPETITIONS = 500
SLACK = 0.03  # three standard errors of a coverage of 95 % from 500 repetitions


def draw(kind: Kind, cv: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return times of mean 1 with that coefficient of variation."""
    if kind == "gamma":
        return rng.gamma(1 / cv**2, cv**2, size)
    sigma = math.sqrt(math.log1p(cv**2))
    return rng.lognormal(-(sigma**2) / 2, sigma, size)


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize(("kind", "cv"), [("gamma", 0.05), ("lognormal", 0.3)])
def test_the_mean_interval_covers_as_often_as_it_says(n: int, cv: float, kind: Kind) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(REPETITIONS):
        estimate = mean_interval(draw(kind, cv, n, rng))
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 1 <= estimate.high
    assert 0.937 - SLACK <= covered / REPETITIONS <= 0.951 + SLACK


# (n, share lost) -> the coverage stated in the table of intervals.py
STATED = {
    (5, 0.2): (0.941, 0.964),
    (10, 0.2): (0.939, 0.960),
    (5, 0.4): (0.940, 0.980),
    (10, 0.4): (0.936, 0.969),
}


@pytest.mark.parametrize(("n", "lost"), list(STATED))
@pytest.mark.parametrize(
    ("loss", "kind", "cv"),
    [("budget", "gamma", 0.05), ("random", "lognormal", 0.3), ("crash", "lognormal", 0.3)],
)
def test_the_restricted_mean_covers_as_often_as_its_table_says(
    n: int, lost: float, loss: Loss, kind: Kind, cv: float
) -> None:
    rng = np.random.default_rng(2)
    many = np.sort(draw(kind, cv, 200_000, rng))
    quotients = np.quantile(draw(kind, cv, 100_000, rng) / draw(kind, cv, 100_000, rng), 1 - lost)
    covered = intervals = 0
    for _ in range(REPETITIONS):
        times = draw(kind, cv, n, rng)
        if loss == "budget":
            given_up = np.full(n, many[round((1 - lost) * len(many))])
        elif loss == "random":
            given_up = draw(kind, cv, n, rng) * quotients
        else:
            given_up = np.where(rng.random(n) < lost, rng.random(n), np.inf)
        seen, reached = np.minimum(times, given_up), times <= given_up
        estimate = restricted_mean(seen, reached)
        if estimate.low is None or estimate.high is None or estimate.value is None:
            continue
        horizon = np.inf if reached[seen.argmax()] else seen.max()
        intervals += 1
        covered += estimate.low <= np.minimum(many[::20], horizon).mean() <= estimate.high
    low, high = STATED[n, lost]
    assert intervals > 0.85 * REPETITIONS
    assert low - SLACK <= covered / intervals <= high + SLACK


@pytest.mark.parametrize("n", [5, 10])
def test_the_lower_bound_without_any_reached_run_holds(n: int) -> None:
    # The worst case for the bound: a run either reaches at once or just after being given up, and
    # the mean lies just below what the bound claims once all n were seen to take longer.
    rng = np.random.default_rng(3)
    chance = 0.05 ** (1 / n) * 0.999
    wrong = 0
    for _ in range(4000):
        late = rng.random(n) < chance
        if late.all():
            estimate = restricted_mean(np.full(n, 1.0), np.zeros(n, dtype=bool))
            assert estimate.low is not None
            wrong += estimate.low > chance
    assert 0.03 < wrong / 4000 < 0.06


@pytest.mark.parametrize(("n", "budget"), [(5, math.inf), (10, math.inf), (10, 1.1), (20, 1.1)])
def test_the_median_interval_covers_as_often_as_it_says(n: int, budget: float) -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(400):
        times = rng.lognormal(0.0, 0.2, n)
        estimate = median_time(np.minimum(times, budget), times <= budget)
        below = estimate.low is None or estimate.low <= 1
        covered += below and (estimate.high is None or estimate.high >= 1)
    assert 0.934 - 0.035 <= covered / 400 <= 0.982 + 0.02


@pytest.mark.parametrize(
    ("beta", "stated"),
    [((1, 1), 0.950), ((2, 1), 0.954), ((1, 2), 0.903)],
    ids=["uniform", "rising", "falling"],
)
def test_the_interval_of_the_largest_covers_as_often_as_it_says(
    beta: tuple[int, int], stated: float
) -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for values in rng.beta(*beta, size=(REPETITIONS, 8)):
        estimate = largest_interval(values)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 1 <= estimate.high
    assert abs(covered / REPETITIONS - stated) <= SLACK


def test_the_interval_over_splits_is_the_plain_one_widened_for_their_overlap() -> None:
    values = np.array([0.94, 0.95, 0.97])
    plain = mean_interval(values)
    over_splits = resampled_mean(values, train=398, test=171)
    assert over_splits.value == plain.value
    widened = (over_splits.high - over_splits.low) / (plain.high - plain.low)
    assert widened == pytest.approx(np.sqrt(1 + 3 * 171 / 398))
    assert resampled_mean(values[:1], train=398, test=171).low is None
    with pytest.raises(UsageError, match="Not a split"):
        resampled_mean(values, train=0, test=171)
