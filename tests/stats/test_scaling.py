"""timetrial.stats.scaling: speed-ups, and the model of k workers against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from timetrial.errors import UsageError
from timetrial.stats import exchanges, scaling
from timetrial.stats.scaling import Network

SLOW = Network(bandwidth_bit_per_s=100e6, round_trip_s=0.01)


def array(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


def test_strong_and_weak_speed_up_are_told_apart() -> None:
    one, two = array(10, 10.2, 9.8), array(6, 6.1, 5.9)
    strong = scaling.speed_up(one, two, 2)
    assert strong.value == pytest.approx(10 / 6)
    assert strong.low < 10 / 6 < strong.high
    assert strong.n == 3
    assert scaling.efficiency(one, two, 2).value == pytest.approx(10 / 12)
    # the same seconds, for a step of twice the work
    assert scaling.speed_up(one, two, 2, "weak").value == pytest.approx(20 / 6)
    assert scaling.efficiency(one, two, 2, "weak").value == pytest.approx(10 / 6)


def test_one_run_a_side_gives_a_speed_up_without_an_interval() -> None:
    found = scaling.speed_up(array(8), array(4, 4.2), 2)
    assert found.value == pytest.approx(8 / 4.1)
    assert (found.low, found.high) == (None, None)


def test_an_all_reduce_costs_round_trips_and_bytes_over_the_link() -> None:
    assert scaling.exchange_s(4e6, 1, SLOW) == 0
    assert scaling.exchange_s(4e6, 2, SLOW) == pytest.approx(0.01 + 0.32)
    assert scaling.exchange_s(4e6, 2, SLOW, messages=8) == pytest.approx(0.08 + 0.32)
    assert scaling.exchange_s(4e6, 4, SLOW) == pytest.approx(0.03 + 0.48)


def test_tcp_sends_no_more_than_a_window_per_round_trip() -> None:
    long = Network(bandwidth_bit_per_s=1e9, round_trip_s=0.04, window_bytes=1.7e6)
    assert long.reachable_bit_per_s() == pytest.approx(340e6)
    assert scaling.exchange_s(8e6, 2, long) == pytest.approx(0.04 + 64e6 / 340e6)
    near = Network(bandwidth_bit_per_s=1e9, round_trip_s=0.0, window_bytes=1.7e6)
    assert near.reachable_bit_per_s() == 1e9


def test_a_step_is_its_computing_and_the_exchange_of_its_gradients() -> None:
    sizes = array(4, 4096, 4_194_304)
    seconds = [np.full(5, scaling.exchange_s(size, 2, SLOW)) for size in sizes]
    line = exchanges.fit_line(sizes, seconds)
    assert scaling.measured_exchange(line, 4e6, messages=3).value == pytest.approx(0.03 + 0.32)
    step = scaling.step_estimate(array(0.1, 0.12), line, 4e6)
    assert step.value == pytest.approx(0.11 + 0.33)
    assert step.low == pytest.approx(0.1 + 0.33)
    assert step.high == pytest.approx(0.12 + 0.33)
    assert scaling.step_estimate(array(0.1), line, 4e6).low is None


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("messages", [1, 4])
def test_at_the_paying_bandwidth_one_worker_more_changes_nothing(
    workers: int, messages: int
) -> None:
    whole, size, trip = 60.0, 5e6, 0.01
    [bandwidth] = scaling.paying_bandwidth_bit_per_s(
        array(whole / workers),
        array(whole / (workers + 1)),
        size,
        workers,
        round_trip_s=array(trip),
        messages=messages,
    )

    def step(count: int, bit_per_s: float) -> float:
        network = Network(bandwidth_bit_per_s=bit_per_s, round_trip_s=trip)
        return whole / count + scaling.exchange_s(size, count, network, messages=messages)

    assert step(workers, bandwidth) == pytest.approx(step(workers + 1, bandwidth), rel=1e-12)
    assert step(workers, bandwidth * 1.01) > step(workers + 1, bandwidth * 1.01)
    assert step(workers, bandwidth * 0.99) < step(workers + 1, bandwidth * 0.99)


def test_with_work_that_grows_a_second_worker_pays_from_a_bandwidth_on_and_a_third_always() -> None:
    size, trip, compute = 5e6, 0.01, 0.5

    def speed(count: int, bit_per_s: float) -> float:
        network = Network(bandwidth_bit_per_s=bit_per_s, round_trip_s=trip)
        return count / (compute + scaling.exchange_s(size, count, network))

    same = array(compute)
    arguments = {"round_trip_s": array(trip), "kind": "weak"}
    [second] = scaling.paying_bandwidth_bit_per_s(same, same, size, 1, **arguments)
    assert speed(1, second) == pytest.approx(speed(2, second))
    assert speed(1, second * 1.01) < speed(2, second * 1.01)
    [third] = scaling.paying_bandwidth_bit_per_s(same, same, size, 2, **arguments)
    assert third == 0
    assert all(speed(2, rate) < speed(3, rate) for rate in (1e3, 1e6, 1e9))


def test_no_bandwidth_is_enough_where_round_trips_eat_the_gain() -> None:
    found = scaling.paying_bandwidth_bit_per_s(
        array(0.01, 0.1), array(0.005, 0.05), 1e6, 1, round_trip_s=array(0.02, 0.02)
    )
    assert found[0] == math.inf
    assert math.isfinite(found[1])


@pytest.mark.parametrize(
    ("compute_s", "bit_per_s", "trip_s"),
    [(1.0, 1e9, 0.001), (1.0, 1e8, 0.01), (0.2, 1e9, 0.05), (5.0, 1e9, 1e-4), (0.1, 1e7, 0.001)],
)
def test_the_break_even_number_of_workers_is_where_a_step_is_shortest(
    compute_s: float, bit_per_s: float, trip_s: float
) -> None:
    network = Network(bandwidth_bit_per_s=bit_per_s, round_trip_s=trip_s)
    steps = [
        compute_s / count + scaling.exchange_s(4e6, count, network, messages=2)
        for count in range(1, 400)
    ]
    [found] = scaling.paying_workers(
        array(compute_s),
        4e6,
        bandwidth_bit_per_s=array(bit_per_s),
        round_trip_s=array(trip_s),
        messages=2,
    )
    assert found == 1 + int(np.argmin(steps))


def test_without_round_trips_every_further_worker_pays_or_none_does() -> None:
    found = scaling.paying_workers(
        array(1.0, 0.1), 4e6, bandwidth_bit_per_s=array(1e8, 1e8), round_trip_s=array(0, 0)
    )
    assert found.tolist() == [math.inf, 1.0]


def test_means_of_resampled_runs_stay_within_the_runs() -> None:
    draws = scaling.mean_draws(array(1, 2, 3), 500)
    assert draws.shape == (500,)
    assert 1 <= draws.min() < 2 < draws.max() <= 3
    assert draws.mean() == pytest.approx(2, abs=0.1)


def test_work_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="runs of both"):
        scaling.speed_up(array(), array(1.0), 2)
    with pytest.raises(UsageError, match="bytes of gradients"):
        scaling.paying_workers(array(1), 0, bandwidth_bit_per_s=array(1e8), round_trip_s=array(0.1))
    with pytest.raises(UsageError, match="number of workers: 0"):
        scaling.paying_bandwidth_bit_per_s(array(1), array(0.5), 1e6, 0, round_trip_s=array(0.0))
    with pytest.raises(UsageError, match="without a run"):
        scaling.step_estimate(array(), exchanges.fit_line(array(4, 8), [array(1), array(2)]), 1e6)
