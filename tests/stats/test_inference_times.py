"""timetrial.stats.inference: percentiles and means of calls that resemble their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal, stats

from timetrial.errors import UsageError
from timetrial.stats import inference
from timetrial.stats.inference import Calls
from timetrial.stats.intervals import Estimate, mean_interval

CALLS, REPEATS = 600, 300


def alike(generator: np.random.Generator, correlation: float) -> np.ndarray:
    """Lognormal times whose logarithms are an autoregression; its marginal is a standard normal."""
    steps = generator.normal(0, np.sqrt(1 - correlation**2), CALLS)
    steps[0] = generator.normal()
    logs = signal.lfilter([1.0], [1.0, -correlation], steps)
    return 1e-3 * np.exp(0.3 * logs)


def holds(estimate: Estimate, truth: float) -> bool:
    low = -np.inf if estimate.low is None else estimate.low
    high = np.inf if estimate.high is None else estimate.high
    return bool(low <= truth <= high)


# --- percentiles ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0)])
def test_a_percentile_is_the_least_time_that_so_many_calls_did_not_exceed(
    share: float, value: float
) -> None:
    times = np.random.default_rng(1).permutation(np.arange(1.0, 101.0))
    assert inference.percentile(times, share).value == value


def test_the_ranks_of_the_median_of_20_are_those_of_the_sign_test() -> None:
    assert inference.order_ranks(20, 0.5) == (6, 15)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [5, 20, 99, 1000])
def test_ranks_are_sure_enough_and_one_nearer_would_not_be(count: int, share: float) -> None:
    low, high = inference.order_ranks(count, share)
    below = stats.binom(count, share)  # how many values lie below the percentile
    if low is None:
        assert below.cdf(0) > 0.025
    else:
        assert below.cdf(low - 1) <= 0.025 < below.cdf(low)
    if high is None:
        assert below.sf(count - 1) > 0.025
    else:
        assert below.sf(high - 1) <= 0.025 < below.sf(high - 2)


def test_the_upper_end_of_p99_takes_368_calls() -> None:
    assert inference.order_ranks(367, 0.99)[1] is None
    assert inference.order_ranks(368, 0.99)[1] == 368
    few = inference.percentile(np.arange(1.0, 101.0), 0.99)
    assert few.high is None
    assert few.low is not None
    assert few.low < 99


def test_intervals_of_independent_calls_hold_the_truth() -> None:
    generator = np.random.default_rng(2)
    for share in (0.5, 0.9, 0.99):
        truth = 1e-3 * float(np.exp(0.3 * stats.norm.ppf(share)))
        held = [
            holds(inference.percentile(alike(generator, 0.0), share), truth) for _ in range(REPEATS)
        ]
        assert np.mean(held) >= 0.93, share


def test_intervals_of_calls_that_resemble_their_neighbours_hold_it_too() -> None:
    """Counted as independent they would hold it in about two of three cases."""
    generator = np.random.default_rng(3)
    truth = 1e-3
    plain, ours = 0, 0
    for _ in range(REPEATS):
        times = alike(generator, 0.8)
        ours += holds(inference.percentile(times, 0.5), truth)
        low, high = inference.order_ranks(CALLS, 0.5)
        ordered = np.sort(times)
        plain += bool(ordered[int(low or 1) - 1] <= truth <= ordered[int(high or CALLS) - 1])
    assert plain / REPEATS < 0.75
    assert ours / REPEATS > 0.88


# --- means ----------------------------------------------------------------------------------------


def test_few_calls_count_each_for_itself() -> None:
    times = np.array([1.0, 1.2, 0.9, 1.1])
    seen, plain = inference.mean_seconds(times), mean_interval(times)
    assert (seen.value, seen.low, seen.high) == pytest.approx((plain.value, plain.low, plain.high))
    assert seen.n == 4


def test_intervals_of_a_mean_hold_it_though_neighbours_are_alike() -> None:
    generator = np.random.default_rng(4)
    truth = 1e-3 * float(np.exp(0.3**2 / 2))
    held = [holds(inference.mean_seconds(alike(generator, 0.8)), truth) for _ in range(REPEATS)]
    assert np.mean(held) >= 0.88


def test_a_series_of_copies_is_worth_as_many_as_there_are_originals() -> None:
    originals = np.random.default_rng(5).normal(size=500)
    assert inference.worth(originals) == pytest.approx(500, rel=0.6)
    copies = np.repeat(originals, 40)
    assert inference.worth(copies) == pytest.approx(500, rel=0.6)
    assert inference.worth(np.ones(300)) == 300
    assert inference.worth(np.array([1.0, 2.0])) == 2


def test_examples_per_second_are_the_inverse_of_the_mean_time() -> None:
    times = np.random.default_rng(6).lognormal(-6, 0.2, 200)
    seen, mean = inference.throughput(Calls(64, times, None)), inference.mean_seconds(times)
    assert seen.value == pytest.approx(64 * 200 / times.sum())
    assert seen.low == pytest.approx(64 / mean.high)
    assert seen.high == pytest.approx(64 / mean.low)


@pytest.mark.parametrize(
    ("times", "words"), [([], "No call"), ([1.0, 0.0], "time of a call"), ([np.nan], "finite")]
)
def test_what_is_no_time_is_refused(times: list[float], words: str) -> None:
    for estimate in (inference.mean_seconds, lambda t: inference.percentile(t, 0.5)):
        with pytest.raises(UsageError, match=words):
            estimate(np.array(times, dtype=np.float64))


def test_a_percentile_outside_0_and_1_is_refused() -> None:
    with pytest.raises(UsageError, match=r"such as 0\.99"):
        inference.percentile(np.ones(3), 99.0)
