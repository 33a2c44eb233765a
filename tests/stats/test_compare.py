"""timetrial.stats.compare: the ratio, its interval, the verdict and the advice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from timetrial.errors import UsageError
from timetrial.stats import compare_means, compare_times, mean_interval, restricted_mean
from timetrial.stats.compare import mean_difference

positive = hnp.arrays(np.float64, st.integers(2, 10), elements=st.floats(1.0, 100.0))


def reached(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


def test_the_ratio_is_the_quotient_of_the_two_printed_means() -> None:
    a, b = np.array([10.0, 11.0, 12.5]), np.array([20.0, 19.0, 23.0, 21.0])
    comparison = compare_times(a, reached(3), b, reached(4))
    assert comparison.ratio == pytest.approx(
        (mean_interval(a).value or 0) / (mean_interval(b).value or 1), rel=1e-14
    )
    assert (comparison.n_a, comparison.n_b) == (3, 4)


def test_the_interval_is_welchs_on_the_relative_errors() -> None:
    a, b = np.array([10.0, 11.0, 12.5]), np.array([20.0, 19.0, 23.0, 21.0])
    comparison = compare_means(a, b)
    # The delta method on the log sees a / mean(a) against b / mean(b): a plain Welch interval.
    relative = stats.ttest_ind(a / a.mean(), b / b.mean(), equal_var=False)
    ends = relative.confidence_interval(0.95)
    assert comparison.low == pytest.approx(a.mean() / b.mean() * math.exp(ends.low))
    assert comparison.high == pytest.approx(a.mean() / b.mean() * math.exp(ends.high))


def test_the_faster_side_is_named() -> None:
    slow, fast = np.array([20.0, 21.0, 22.0]), np.array([10.0, 11.0, 12.0])
    assert compare_times(fast, reached(3), slow, reached(3)).verdict == "A faster"
    assert compare_times(slow, reached(3), fast, reached(3)).verdict == "B faster"
    assert compare_means(slow, fast, better="higher").verdict == "A faster"
    assert compare_means(slow, fast).verdict == "B faster"


@settings(max_examples=40)
@given(positive, positive)
def test_swapping_the_sides_inverts_the_ratio(a: np.ndarray, b: np.ndarray) -> None:
    one = compare_times(a, reached(len(a)), b, reached(len(b)))
    other = compare_times(b, reached(len(b)), a, reached(len(a)))
    assert one.ratio is not None
    assert one.low is not None
    assert one.high is not None
    assert (other.ratio, other.low, other.high) == pytest.approx(
        (1 / one.ratio, 1 / one.high, 1 / one.low), rel=1e-9
    )
    opposite = {"A faster": "B faster", "B faster": "A faster"}
    assert other.verdict == opposite.get(one.verdict, one.verdict)
    assert other.more_runs == one.more_runs


@settings(max_examples=40)
@given(positive, positive, st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(a: np.ndarray, b: np.ndarray, factor: float) -> None:
    one, other = compare_means(a, b), compare_means(factor * a, factor * b)
    assert one.ratio == pytest.approx(other.ratio, rel=1e-9)
    assert one.low == pytest.approx(other.low, rel=1e-9)


def test_the_same_runs_on_both_sides_are_not_distinguishable() -> None:
    a = np.array([10.0, 11.0, 12.5])
    comparison = compare_times(a, reached(3), a, reached(3))
    assert comparison.verdict == "not distinguishable"
    assert comparison.ratio == 1.0
    assert comparison.more_runs is None
    assert any("10,000" in note for note in comparison.notes)


def test_the_advised_number_of_runs_reaches_80_percent_power_and_no_fewer_do() -> None:
    a, b = np.array([10.0, 11.0, 12.5, 9.0]), np.array([11.0, 11.5, 13.0, 9.5])
    comparison = compare_means(a, b)
    assert comparison.verdict == "not distinguishable"
    assert comparison.more_runs is not None
    assert comparison.ratio is not None

    def power(runs: int) -> float:
        parts = [side.var(ddof=1) / side.mean() ** 2 / runs for side in (a, b)]
        degrees = sum(parts) ** 2 / sum(part**2 / (runs - 1) for part in parts)
        shift = abs(math.log(comparison.ratio or 0)) / math.sqrt(sum(parts))
        return float(stats.nct.sf(stats.t.ppf(0.975, degrees), degrees, shift))

    assert power(4 + comparison.more_runs) >= 0.8
    assert power(4 + comparison.more_runs - 1) < 0.8


def test_one_run_a_side_gives_a_ratio_without_interval_and_says_why() -> None:
    comparison = compare_times(np.array([10.0]), reached(1), np.array([20.0, 21.0]), reached(2))
    assert comparison.ratio == pytest.approx(10 / 20.5)
    assert (comparison.low, comparison.high) == (None, None)
    assert comparison.verdict == "not distinguishable"
    assert any("two a side" in note for note in comparison.notes)


def test_no_runs_on_a_side_give_nothing() -> None:
    comparison = compare_times(np.array([]), reached(0), np.array([20.0]), reached(1))
    assert (comparison.ratio, comparison.verdict) == (None, "not distinguishable")
    assert compare_means(np.array([]), np.array([1.0])).ratio is None


def test_no_spread_on_either_side_is_said() -> None:
    same, other = np.full(3, 0.1), np.full(3, 0.2)
    comparison = compare_means(same, other)
    assert (comparison.low, comparison.high) == (0.5, 0.5)
    assert comparison.verdict == "A faster"
    assert any("No spread" in note for note in comparison.notes)
    equal = compare_means(same, same)
    assert (equal.verdict, equal.more_runs) == ("not distinguishable", None)


def test_no_spread_on_one_side_leaves_the_other_sides_interval() -> None:
    a = np.array([10.0, 11.0, 12.5])
    comparison = compare_means(a, np.full(4, 10.0))
    half = float(stats.t.ppf(0.975, 2)) * a.std(ddof=1) / math.sqrt(3) / a.mean()
    assert comparison.high == pytest.approx(a.mean() / 10 * math.exp(half))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_a_ratio_needs_positive_values(bad: float) -> None:
    with pytest.raises(UsageError):
        compare_means(np.array([1.0, bad]), np.array([1.0, 2.0]))


# --- censored ------------------------------------------------------------------------------------


def test_censored_sides_are_compared_up_to_one_common_horizon() -> None:
    a, b = np.array([50.0, 60.0, 80.0, 70.0]), np.array([70.0, 75.0, 75.0, 72.0])
    on_a, on_b = reached(4), np.array([True, False, False, True])
    comparison = compare_times(a, on_a, b, on_b)
    mean_a = restricted_mean(a, on_a, horizon=75.0).value
    mean_b = restricted_mean(b, on_b, horizon=75.0).value
    assert mean_a is not None
    assert mean_b is not None
    assert comparison.ratio == pytest.approx(mean_a / mean_b)
    assert any("75.0 s" in note for note in comparison.notes)


def test_losses_within_a_known_curve_cut_nothing() -> None:
    a, b = np.array([50.0, 60.0, 80.0]), np.array([70.0, 75.0, 72.0])
    comparison = compare_times(a, np.array([True, False, True]), b, reached(3))
    assert comparison.notes == ()
    assert comparison.ratio == pytest.approx((50 * 1 + 30 * 2 / 3) / b.mean())


def test_a_side_that_never_reaches_loses_by_an_exact_test() -> None:
    a, b = np.array([50.0, 60.0, 80.0, 70.0, 65.0]), np.full(5, 200.0)
    comparison = compare_times(a, reached(5), b, ~reached(5))
    assert comparison.verdict == "A faster"
    assert (comparison.ratio, comparison.low, comparison.high) == (None, None, None)
    assert "Fisher" in comparison.method
    # 2 / C(10, 5) = 0.0079: all orders of ten runs are equally likely if there is no difference.
    assert any("0 of 5 of B" in note and "0.0079" in note for note in comparison.notes)
    assert compare_times(b, ~reached(5), a, reached(5)).verdict == "B faster"


def test_three_runs_against_three_that_never_reach_are_too_few() -> None:
    a, b = np.array([50.0, 60.0, 80.0]), np.full(3, 200.0)
    comparison = compare_times(a, reached(3), b, ~reached(3))  # p = 2 / C(6, 3) = 0.1
    assert comparison.verdict == "not distinguishable"


def test_giving_up_early_does_not_make_a_side_slower() -> None:
    # B was given up after 10 s, before A's runs reach: nothing is known.
    a, b = np.array([50.0, 60.0, 80.0, 70.0, 65.0]), np.full(5, 10.0)
    assert compare_times(a, reached(5), b, ~reached(5)).verdict == "not distinguishable"


def test_two_sides_that_never_reach_are_not_distinguishable() -> None:
    a = np.full(5, 10.0)
    comparison = compare_times(a, ~reached(5), 2 * a, ~reached(5))
    assert (comparison.ratio, comparison.verdict) == (None, "not distinguishable")


# --- coverage ------------------------------------------------------------------------------------

REPETITIONS = 300
SLACK = 0.038  # three standard errors of a coverage of 95 % from 300 repetitions

# (n, share lost) -> the coverage stated in the table of compare.py
STATED = {
    (5, 0.0): (0.936, 0.960),
    (10, 0.0): (0.943, 0.951),
    (5, 0.2): (0.949, 0.972),
    (10, 0.2): (0.948, 0.963),
    (5, 0.4): (0.951, 0.990),
    (10, 0.4): (0.962, 0.980),
}


def restricted_mean_of_lognormal(sigma: float, horizon: float) -> float:
    """Return E[min(T, horizon)] for lognormal T of mean 1."""
    if math.isinf(horizon):
        return 1.0
    z = (math.log(horizon) + sigma**2 / 2) / sigma
    return float(special.ndtr(z - sigma) + horizon * special.ndtr(-z))


@pytest.mark.parametrize(("n", "lost"), list(STATED))
def test_the_interval_of_the_ratio_covers_as_often_as_its_table_says(n: int, lost: float) -> None:
    rng = np.random.default_rng(1)
    sigmas = [math.sqrt(math.log1p(cv**2)) for cv in (0.05, 0.3)]
    covered = intervals = 0
    for _ in range(REPETITIONS):
        sides = []
        for sigma in sigmas:
            times = rng.lognormal(-(sigma**2) / 2, sigma, n)
            shift = -math.sqrt(2) * sigma * special.ndtri(lost) if lost else math.inf
            given_up = rng.lognormal(-(sigma**2) / 2, sigma, n) * math.exp(shift)
            sides.append((np.minimum(times, given_up), times <= given_up))
        (a, on_a), (b, on_b) = sides
        comparison = compare_times(a, on_a, b, on_b)
        if comparison.low is None or comparison.high is None:
            continue
        horizon = min(math.inf if on[side.argmax()] else side.max() for side, on in sides)
        truth = restricted_mean_of_lognormal(sigmas[0], horizon)
        truth /= restricted_mean_of_lognormal(sigmas[1], horizon)
        intervals += 1
        covered += comparison.low <= truth <= comparison.high
    low, high = STATED[n, lost]
    assert intervals > 0.65 * REPETITIONS
    assert low - SLACK <= covered / intervals <= high + SLACK


@pytest.mark.parametrize("budget", [math.inf, 1.0, 0.9])
def test_equal_sides_are_told_apart_in_at_most_5_percent(budget: float) -> None:
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(REPETITIONS):
        a, b = rng.gamma(100.0, 0.01, 5), rng.gamma(100.0, 0.01, 5)
        comparison = compare_times(
            np.minimum(a, budget), a <= budget, np.minimum(b, budget), b <= budget
        )
        wrong += comparison.verdict != "not distinguishable"
    assert wrong / REPETITIONS <= 0.05 + SLACK


def test_a_difference_has_welchs_interval() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.9, 0.01, 5), rng.normal(0.85, 0.03, 8)
    seen = mean_difference(a, b)
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (seen.low, seen.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert seen.value == pytest.approx(a.mean() - b.mean())
    assert seen.n == 5


def test_a_difference_of_one_run_has_no_interval() -> None:
    seen = mean_difference(np.array([0.9]), np.array([0.8, 0.7]))
    assert seen.value == pytest.approx(0.15)
    assert (seen.low, seen.high) == (None, None)
    with pytest.raises(UsageError, match="B has no runs"):
        mean_difference(np.array([0.9]), np.array([]))
