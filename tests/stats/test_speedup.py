"""Speed-up, break-even and bandwidth against closed forms, and how often the interval holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from timetrial.errors import UsageError
from timetrial.stats import compare, speedup
from timetrial.stats.speedup import Demand, Side, side


def spread(mean: float, relative: float = 0.01, runs: int = 5) -> list[float]:
    return [mean * (1 + relative * (place - (runs - 1) / 2)) for place in range(runs)]


def test_speed_up_is_the_ratio_of_the_means_with_its_interval():
    estimate, _ = speedup.speed_up(side(1, spread(4.0)), side(4, spread(1.25)))
    assert estimate.value == pytest.approx(3.2)
    same = compare.compare_means(np.array(spread(4.0)), np.array(spread(1.25)))
    assert (estimate.low, estimate.high) == (same.low, same.high)
    efficiency = speedup.scaled(estimate, 1 / 4)
    assert efficiency.value == pytest.approx(0.8)
    assert efficiency.low == pytest.approx(estimate.low / 4)  # type: ignore[operator]


def test_one_run_gives_a_value_without_an_interval():
    estimate, notes = speedup.speed_up(side(1, [4.0]), side(2, [2.0]))
    assert (estimate.value, estimate.low, estimate.high) == (2.0, None, None)
    assert any("spread" in note for note in notes)


def test_runs_that_missed_the_target_are_censored():
    times, reached = np.array([9.0, 9.1, 10.0]), np.array([True, True, False])
    estimate, notes = speedup.speed_up(side(1, spread(9.5)), Side(2, times, reached))
    assert estimate.value is not None
    assert any("Means up to" in note for note in notes)


@pytest.mark.parametrize(
    ("means", "pays", "stop"),
    [
        ((8.0, 4.2, 2.4), 4, None),
        ((8.0, 4.2, 5.0), 2, (4, True)),
        ((8.0, 8.0, 4.0), 4, None),  # a step that does not pay by itself is passed over
        ((8.0, 9.0, 9.5), 1, (2, True)),
    ],
)
def test_more_workers_pay_as_long_as_they_are_clearly_faster(
    means: tuple[float, ...], pays: int, stop: tuple[int, bool] | None
):
    sides = [side(count, spread(mean)) for count, mean in zip((1, 2, 4), means, strict=True)]
    found = speedup.break_even(list(reversed(sides)))
    assert found.workers == pays
    assert (found.stop and (found.stop.workers, found.stop.slower)) == stop


def test_what_cannot_be_told_does_not_count_as_paying():
    found = speedup.break_even([side(1, spread(8.0, 0.1)), side(2, spread(7.6, 0.1))])
    assert found.workers == 1
    assert found.stop is not None
    assert not found.stop.slower
    assert found.stop.more_runs is not None
    single = speedup.break_even([side(1, [8.0]), side(2, [4.0])])
    assert single.workers == 1
    assert single.stop == speedup.Stop(2, False, None)


def test_the_cheapest_names_those_that_cannot_be_told_from_it():
    sides = [side(1, spread(8.0)), side(2, spread(5.0)), side(4, spread(5.01))]
    assert speedup.cheapest(sides) == speedup.Cheapest(2, 5, (4,))


@pytest.mark.parametrize("choose", [speedup.break_even, speedup.cheapest])
def test_one_number_of_workers_is_nothing_to_choose_between(choose):  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="Nothing to choose between"):
        choose([side(2, [1.0]), side(2, [1.0])])


def test_a_ring_sends_each_array_nearly_twice():
    assert speedup.ring_bytes(1000, 1) == 0
    assert speedup.ring_bytes(1000, 2) == 1000
    assert speedup.ring_bytes(1000, 4) == 1500


def demand(workers: int, seconds: list[float], batch: float, **more: float) -> Demand:
    sent = speedup.ring_bytes(1e6, workers)
    return Demand(workers, np.array(seconds), batch, sent, **more)


def step_s(one: Demand, bit_per_s: float) -> float:
    return float(one.computing_s.mean()) + one.latency_s + 8 * one.ring_bytes / bit_per_s


@pytest.mark.parametrize(
    ("counts", "seconds", "batches"),
    [((2, 4), (0.10, 0.055), (64, 64)), ((1, 2), (0.10, 0.11), (64, 128))],
    ids=["strong", "weak"],
)
@pytest.mark.parametrize("latency", [0.0, 0.001])
def test_at_the_least_bandwidth_both_do_as_many_examples_a_second(
    counts: tuple[int, int],
    seconds: tuple[float, float],
    batches: tuple[int, int],
    latency: float,
):
    fewer = demand(counts[0], spread(seconds[0]), batches[0])
    more = demand(counts[1], spread(seconds[1]), batches[1], latency_s=latency)
    found = speedup.least_bandwidth(fewer, more)
    assert found.verdict == "needs"
    rate, low, high = found.bit_per_s.value, found.bit_per_s.low, found.bit_per_s.high
    assert rate is not None
    assert low is not None
    assert high is not None
    assert low < rate < high
    assert step_s(fewer, rate) / fewer.batch == pytest.approx(step_s(more, rate) / more.batch)
    assert step_s(fewer, 2 * rate) / fewer.batch > step_s(more, 2 * rate) / more.batch


def test_computing_that_is_no_faster_pays_on_no_network():
    found = speedup.least_bandwidth(demand(1, spread(0.1), 64), demand(2, spread(0.12), 64))
    assert found.verdict == "never"
    assert found.bit_per_s.value is None


def test_less_sent_for_an_example_and_less_computed_pay_on_any_network():
    found = speedup.least_bandwidth(demand(2, spread(0.1), 64), demand(4, spread(0.1), 128))
    assert found.verdict == "always"


def test_a_saving_within_the_spread_has_no_upper_end_or_no_answer():
    wide = speedup.least_bandwidth(
        demand(1, spread(0.10, 0.1), 64), demand(2, spread(0.09, 0.1), 64)
    )
    assert wide.verdict == "needs"
    assert wide.bit_per_s.high is None
    none = speedup.least_bandwidth(
        demand(1, spread(0.10, 0.1), 64), demand(2, spread(0.11, 0.1), 64)
    )
    assert none.verdict == "untold"
    single = speedup.least_bandwidth(demand(1, [0.1], 64), demand(2, [0.12], 64))
    assert single.verdict == "untold"
    known = speedup.least_bandwidth(demand(1, [0.1], 64), demand(2, [0.06], 64))
    assert known.bit_per_s.value == pytest.approx(8e6 / 0.04)
    assert (known.bit_per_s.low, known.bit_per_s.high) == (None, None)


@pytest.mark.parametrize("runs", [3, 5])
def test_the_interval_of_the_bandwidth_holds_the_truth_as_often_as_it_says(runs: int):
    random, truth, held = np.random.default_rng(7), 8e6 / 0.045, 0
    repetitions = 1000
    for _ in range(repetitions):
        sides = [
            Demand(k, random.normal(mean, 0.05 * mean, runs), 64, speedup.ring_bytes(1e6, k))
            for k, mean in ((1, 0.1), (2, 0.055))
        ]
        low, high = (lambda e: (e.low, e.high))(speedup.least_bandwidth(*sides).bit_per_s)
        held += low is not None and low <= truth <= (math.inf if high is None else high)
    assert 0.93 <= held / repetitions <= 0.98
