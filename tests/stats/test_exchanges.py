"""timetrial.stats.exchanges: the line fitted to times of all-reduces."""

from __future__ import annotations

import numpy as np
import pytest

from timetrial.errors import UsageError
from timetrial.stats import exchanges

SIZES = np.array([4.0**power for power in range(1, 14)])
LATENCY_S, S_PER_BYTE = 0.0105, 8 / 95e6  # 100 Mbit/s but for headers, 5 ms each way


def times(
    noise: float, *, repetitions: int = 30, seed: int = 1, latency_s: float = LATENCY_S
) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    exact = latency_s + S_PER_BYTE * SIZES
    return [second * generator.lognormal(0, noise, repetitions) for second in exact]


def test_exact_times_give_back_the_line_they_came_from() -> None:
    line = exchanges.fit_line(SIZES, times(0.0))
    assert line.latency_s == pytest.approx(LATENCY_S, rel=1e-9)
    assert line.s_per_byte == pytest.approx(S_PER_BYTE, rel=1e-9)
    assert line.error == pytest.approx(0, abs=1e-9)
    assert exchanges.by_line(line, 10e6).seconds == pytest.approx(LATENCY_S + 10e6 * S_PER_BYTE)
    assert line.repetitions == 13 * 30


def test_sizes_that_do_not_follow_the_line_hardly_move_it() -> None:
    bent = times(0.01)
    for place in (6, 7, 8):  # 16 KiB to 256 KiB take twice as long
        bent[place] = 2 * bent[place]
    line = exchanges.fit_line(SIZES, bent)
    assert line.latency_s == pytest.approx(LATENCY_S, rel=0.05)
    assert line.s_per_byte == pytest.approx(S_PER_BYTE, rel=0.05)


def test_between_two_sizes_a_time_lies_between_theirs_also_where_no_line_goes() -> None:
    bent = times(0.0)
    bent[8] = 3 * bent[8]  # 256 KiB
    line = exchanges.fit_line(SIZES, bent)
    assert exchanges.by_neighbours(line, SIZES[8]).seconds == pytest.approx(bent[8][0])
    between = exchanges.by_neighbours(line, SIZES[8] / 2).seconds
    assert between == pytest.approx(np.sqrt(bent[7][0] * bent[8][0]))
    assert exchanges.by_neighbours(line, 1.0).seconds == pytest.approx(bent[0][0])
    larger = exchanges.by_neighbours(line, 2 * SIZES[-1])
    assert larger.seconds == pytest.approx(bent[-1][0] + S_PER_BYTE * SIZES[-1], rel=0.01)
    assert larger.draws_s == pytest.approx(np.full(1000, larger.seconds))


def test_times_of_several_messages_add_up() -> None:
    one = exchanges.Time(0.5, np.array([0.4, 0.6]))
    assert one.times(3).seconds == 1.5
    assert one.times(3).draws_s == pytest.approx([1.2, 1.8])


def test_the_order_of_the_sizes_does_not_matter() -> None:
    seconds = times(0.1)
    turned = exchanges.fit_line(SIZES[::-1].copy(), seconds[::-1])
    assert turned.latency_s == pytest.approx(exchanges.fit_line(SIZES, seconds).latency_s)
    assert (np.diff(turned.sizes_bytes) > 0).all()


def test_single_slow_repetitions_do_not_move_the_line() -> None:
    stalled = times(0.01)
    for of_size in stalled:
        of_size[:3] *= 40
    line = exchanges.fit_line(SIZES, stalled)
    assert line.latency_s == pytest.approx(LATENCY_S, rel=0.02)
    assert line.s_per_byte == pytest.approx(S_PER_BYTE, rel=0.02)


def test_intervals_hold_the_true_line_about_as_often_as_they_say() -> None:
    held = np.zeros(2)
    for seed in range(100):
        line = exchanges.fit_line(SIZES, times(0.2, seed=seed), resamples=200)
        for place, (truth, draws) in enumerate(
            [(LATENCY_S, line.latency_draws_s), (S_PER_BYTE, line.s_per_byte_draws)]
        ):
            found = exchanges.from_draws(truth, draws, 30)
            held[place] += found.low <= truth <= found.high
    assert (held >= 85).all()  # of 100, nominal 95: percentiles of a median of 30 are a bit short


def test_the_same_times_give_the_same_interval_again() -> None:
    first, again = (exchanges.fit_line(SIZES, times(0.2)) for _ in range(2))
    assert (first.latency_draws_s == again.latency_draws_s).all()


def test_neither_latency_nor_time_per_byte_is_below_zero() -> None:
    falling = [np.array([0.01]), np.array([0.009]), np.array([0.008])]
    line = exchanges.fit_line(np.array([4.0, 400.0, 4000.0]), falling)
    assert line.s_per_byte == 0
    assert line.latency_s == pytest.approx(0.009, rel=0.1)
    through_zero = [np.array([0.001]), np.array([0.3])]
    line = exchanges.fit_line(np.array([1.0, 100.0]), through_zero)
    assert line.latency_s == 0
    assert line.s_per_byte > 0


def test_bandwidth_is_what_one_direction_of_a_link_carries() -> None:
    per_byte = np.array(
        [8e-8]
    )  # two workers, 100 Mbit/s: each sends as many bytes as the array has
    assert exchanges.bandwidth_bit_per_s(per_byte, 2) == pytest.approx([100e6])
    assert exchanges.bandwidth_bit_per_s(per_byte, 4) == pytest.approx([150e6])
    assert exchanges.bandwidth_bit_per_s(np.array([0.0]), 2) == [np.inf]


def test_the_smallest_all_reduce_of_two_workers_is_one_round_trip() -> None:
    seconds = np.array([0.010, 0.011])
    assert exchanges.round_trip_s(seconds, 2) == pytest.approx(seconds)
    assert exchanges.round_trip_s(seconds * 3, 4) == pytest.approx(seconds)


def test_what_is_infinite_has_no_number() -> None:
    draws = np.array([1.0] * 50 + [np.inf] * 50)
    found = exchanges.from_draws(np.inf, draws, 5)
    assert (found.value, found.low, found.high, found.n) == (None, 1.0, None, 5)


def test_the_spread_of_repetitions_is_their_median_and_percentiles() -> None:
    found = exchanges.spread(np.arange(1.0, 102.0))
    assert found == (51.0, 6.0, 96.0, 101)
    draws = exchanges.median_draws(np.arange(1.0, 102.0))
    middle = exchanges.from_draws(51.0, draws, 101)
    assert 35 < middle.low < 51 < middle.high < 67


def test_times_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="at least two sizes"):
        exchanges.fit_line(np.array([4.0]), [np.array([1.0])])
    with pytest.raises(UsageError, match="no repetition"):
        exchanges.fit_line(np.array([4.0, 8.0]), [np.array([1.0]), np.array([])])
    with pytest.raises(UsageError, match="Allowed: above 0"):
        exchanges.spread(np.array([0.0, 1.0]))
    with pytest.raises(UsageError, match="have times of"):
        exchanges.fit_line(np.array([4.0, 8.0]), [np.array([1.0])])
    with pytest.raises(UsageError, match="2 workers and more"):
        exchanges.bandwidth_bit_per_s(np.array([1.0]), 1)
