"""timetrial.stats.scaling: the model of k workers, against brute force and measured figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from timetrial.errors import UsageError
from timetrial.stats import exchanges, scaling
from timetrial.stats.scaling import Network

SLOW = Network(bandwidth_bit_per_s=100e6, round_trip_s=0.01)
LONG = {"bandwidth_bit_per_s": 1e9, "round_trip_s": 0.04}


def array(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


def test_an_all_reduce_costs_round_trips_and_bytes_over_the_link() -> None:
    assert scaling.exchange_s(4e6, 1, SLOW) == 0
    assert scaling.exchange_s(4e6, 2, SLOW) == pytest.approx(0.01 + 0.32)
    assert scaling.exchange_s(4e6, 2, SLOW, messages=8) == pytest.approx(0.08 + 0.32)
    assert scaling.exchange_s(4e6, 2, SLOW, trips=2) == pytest.approx(0.02 + 0.32)
    assert scaling.exchange_s(4e6, 4, SLOW) == pytest.approx(0.03 + 0.48)


def test_tcp_sends_no_more_than_a_window_per_round_trip() -> None:
    long = Network(**LONG, window_bytes=1.7e6)
    assert long.reachable_bit_per_s() == pytest.approx(340e6)
    assert scaling.exchange_s(8e6, 2, long) == pytest.approx(0.04 + 64e6 / 340e6)
    assert scaling.exchange_s(1e6, 2, long) == pytest.approx(0.04 + 8e6 / 1e9)
    near = Network(bandwidth_bit_per_s=1e9, round_trip_s=0.0, window_bytes=1.7e6)
    assert near.reachable_bit_per_s() == 1e9


def test_gloo_sends_two_parts_ahead_and_waits() -> None:
    """340 Mbit/s were measured on such a link."""
    gloo = Network(
        **LONG, window_bytes=scaling.GLOO_AHEAD_BYTES, part_bytes=scaling.GLOO_PART_BYTES
    )
    assert gloo.reachable_bit_per_s() == pytest.approx(340e6, rel=0.02)
    slow = Network(
        bandwidth_bit_per_s=100e6,
        round_trip_s=0.01,
        window_bytes=scaling.GLOO_AHEAD_BYTES,
        part_bytes=scaling.GLOO_PART_BYTES,
    )
    assert slow.reachable_bit_per_s() == 100e6


def test_a_connection_that_begins_loses_a_round_trip_for_each_doubling() -> None:
    first = scaling.FIRST_SEGMENTS * scaling.SEGMENT_BYTES
    link = Network(bandwidth_bit_per_s=1e12, round_trip_s=0.04)  # sending takes no time
    assert scaling.opening_s(first, link) == 0
    assert scaling.opening_s(first + 1, link) == pytest.approx(0.04, rel=1e-3)
    assert scaling.opening_s(3 * first + 1, link) == pytest.approx(0.08, rel=1e-3)
    assert scaling.opening_s(7 * first + 1, link) == pytest.approx(0.12, rel=1e-3)


def test_a_window_that_fills_the_link_loses_nothing_more() -> None:
    fills = scaling.opening_s(1e7, SLOW)
    assert fills == scaling.opening_s(1e9, SLOW)
    # 100 Mbit/s for 10 ms are 125,000 bytes: windows of 14,480, 28,960, 57,920 and 115,840 are less
    windows = [scaling.FIRST_SEGMENTS * scaling.SEGMENT_BYTES * 2**n for n in range(4)]
    assert fills == pytest.approx(sum(0.01 - 8 * window / 100e6 for window in windows))


def test_a_step_is_its_computing_and_the_exchange_of_its_gradients() -> None:
    exchange = exchanges.Time(0.33, np.full(200, 0.33))
    step = scaling.step_estimate(array(0.1, 0.12), exchange)
    assert step.value == pytest.approx(0.11 + 0.33)
    assert step.low == pytest.approx(0.1 + 0.33)
    assert step.high == pytest.approx(0.12 + 0.33)
    assert step.n == 2
    assert scaling.step_estimate(array(0.1), exchange).low is None
    with pytest.raises(UsageError, match="without a run"):
        scaling.step_estimate(array(), exchange)


@pytest.mark.parametrize(
    ("compute_s", "bit_per_s", "trip_s"),
    [(1.0, 1e9, 0.001), (1.0, 1e8, 0.01), (0.2, 1e9, 0.05), (5.0, 1e9, 1e-4), (0.1, 1e7, 0.001)],
)
def test_the_last_worker_that_pays_makes_the_shortest_step(
    compute_s: float, bit_per_s: float, trip_s: float
) -> None:
    network = Network(bandwidth_bit_per_s=bit_per_s, round_trip_s=trip_s)
    steps = [
        compute_s / count + scaling.exchange_s(4e6, count, network, messages=2)
        for count in range(1, 400)
    ]
    [found] = scaling.last_paying_worker(
        array(compute_s),
        4e6,
        bandwidth_bit_per_s=array(bit_per_s),
        message_s=array(trip_s),
        messages=2,
    )
    assert found == 1 + int(np.argmin(steps))


def test_without_latency_every_further_worker_pays_or_none_does() -> None:
    found = scaling.last_paying_worker(
        array(1.0, 0.1), 4e6, bandwidth_bit_per_s=array(1e8, 1e8), message_s=array(0, 0)
    )
    assert found.tolist() == [math.inf, 1.0]


def test_an_exchange_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="Allowed: above 0 bytes"):
        scaling.last_paying_worker(
            array(1), 0, bandwidth_bit_per_s=array(1e8), message_s=array(0.1)
        )
