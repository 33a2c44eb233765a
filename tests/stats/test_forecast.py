"""Forecasts of runs whose time is known, and how often their intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.errors import UsageError
from timetrial.stats import forecast
from timetrial.stats.forecast import Noise, Pace, Paced, Rhythm, Steps, Stretch

QUIET = Noise(sd_log=0.0, degrees=50, systems=1, runs=51)
PACE = Pace(
    step_s=0.02, eval_s=0.5, set_up_s=1.5, warm_up_s=0.3, checkpoint_s=0.1, start_up_s=2.0,
    after_s=0.7,
)  # fmt: skip


def sure(*steps: float) -> Steps:
    return Steps(np.array(steps), np.ones(len(steps), np.bool_))


def test_without_any_spread_it_is_the_sum_of_its_parts() -> None:
    found = forecast.forecast(PACE, sure(1000), Rhythm(200, 10.0), QUIET)
    # set-up, warm-up, 1,000 steps, 5 evaluations; 22.8 s of training save two states
    seconds = 1.5 + 0.3 + 1000 * 0.02 + 5 * 0.5 + 2 * 0.1
    assert found.seconds == pytest.approx(np.full(forecast.DRAWS, seconds))
    assert found.billed_s == pytest.approx(np.full(forecast.DRAWS, 2.0 + seconds + 0.7))


def test_a_last_evaluation_counts_though_its_stretch_is_short() -> None:
    short = forecast.forecast(PACE, sure(201), Rhythm(200, 1e9), QUIET)
    assert short.seconds[0] == pytest.approx(1.5 + 0.3 + 201 * 0.02 + 2 * 0.5)


def test_workers_divide_the_computing_and_nothing_else() -> None:
    alone = forecast.forecast(PACE, sure(1000), Rhythm(1000, 1e9), QUIET)
    four = forecast.forecast(PACE, sure(1000), Rhythm(1000, 1e9), QUIET, workers=4, exchange_s=0.01)
    assert alone.seconds[0] == pytest.approx(1.5 + 0.3 + 20 + 0.5)
    assert four.seconds[0] == pytest.approx(1.5 + 0.3 / 4 + 1000 * (0.02 / 4 + 0.01) + 0.5)


def test_runs_that_missed_the_target_are_neither_dropped_nor_quick() -> None:
    half = Steps(np.array([100.0, 100.0, 900.0, 900.0]), np.array([True, True, False, False]))
    found = forecast.forecast(PACE, half, Rhythm(100, 1e9), QUIET)
    assert forecast.chance(found.seconds, None) == pytest.approx(0.5, abs=0.05)
    told = forecast.summarise(found.seconds, 4)
    assert told.high is None
    assert told.low == pytest.approx(1.5 + 0.3 + 2 + 0.5)


def test_a_limit_is_kept_by_the_draws_within_it() -> None:
    assert forecast.chance(np.array([1.0, 2.0, 3.0, np.inf]), 2.0) == 0.5
    assert forecast.chance(np.array([1.0, 2.0, 3.0, np.inf]), None) == 0.75


def test_many_runs_are_drawn_about_as_they_were_seen() -> None:
    library = np.repeat([100.0, 300.0], [150, 50])
    drawn = forecast.draw_steps(sure(*library), np.random.default_rng(1))
    assert len(np.unique(drawn)) == 2
    assert np.mean(drawn > 200) == pytest.approx(0.25, abs=0.02)
    assert sorted(np.unique(drawn)) == pytest.approx([100, 300], abs=3)


def test_few_runs_are_drawn_wider_than_they_were_seen() -> None:
    drawn = forecast.draw_steps(sure(90, 100, 110), np.random.default_rng(1))
    assert drawn.min() < 80
    assert drawn.max() > 120
    assert drawn.min() >= 45


def test_no_run_gives_no_steps() -> None:
    with pytest.raises(UsageError, match="without a run"):
        forecast.draw_steps(sure(), np.random.default_rng(1))


@pytest.mark.parametrize(("seeds", "probes"), [(20, 1), (8, 3)])
def test_the_interval_holds_the_next_run_nearly_always(seeds: int, probes: int) -> None:
    generator = np.random.default_rng(7)
    noise_sd, step_cv, held = 0.05, 0.12, []
    for _ in range(300):
        library = np.round(generator.normal(1000, 1000 * step_cv, seeds) / 50) * 50
        seen = 0.02 * np.exp(noise_sd * generator.standard_normal(probes))
        pace = Pace(step_s=float(np.exp(np.log(seen).mean())), eval_s=0.0, set_up_s=1.0,
                    probes=probes)  # fmt: skip
        past = noise_sd * math.sqrt(generator.chisquare(12) / 12)
        noise = Noise(sd_log=past, degrees=12, systems=3, runs=15)
        found = forecast.forecast(pace, sure(*library), Rhythm(50, 1e9), noise)
        told = forecast.summarise(found.seconds, seeds)
        steps = round(generator.normal(1000, 1000 * step_cv) / 50) * 50
        true = 1.0 + steps * 0.02 * math.exp(noise_sd * generator.standard_normal())
        assert told.low is not None
        assert told.high is not None
        held.append(told.low <= true <= told.high)
    assert 0.88 <= np.mean(held) <= 0.99


def test_run_to_run_noise_pools_the_systems_and_leaves_out_lone_runs() -> None:
    groups = [paced([0.0, 0.2]), paced([1.0, 1.1, 1.2]), paced([1.6])]
    found = forecast.run_to_run(groups)
    assert found is not None
    assert (found.systems, found.runs, found.degrees) == (2, 5, 3)
    assert found.sd_log == pytest.approx(math.sqrt((0.02 + 0.02) / 3))
    assert forecast.run_to_run([paced([0.0])]) is None


def paced(logs: list[float], counted_s: float = 10.0) -> list[Paced]:
    return [Paced(math.exp(log), counted_s) for log in logs]


FLUTTERS = (
    Stretch(seconds=1.0, sd_log=0.2, runs=9),
    Stretch(seconds=4.0, sd_log=0.1, runs=9),
)


def test_what_stretches_vary_by_is_no_noise_between_runs() -> None:
    groups = [paced([0.0, 0.2], 4.0), paced([1.0, 1.3], 4.0)]
    whole = forecast.run_to_run(groups)
    less = forecast.run_to_run(groups, FLUTTERS)
    assert whole is not None
    assert less is not None
    assert less.sd_log**2 == pytest.approx(whole.sd_log**2 - 0.1**2)
    none_left = forecast.run_to_run([paced([0.0, 0.01], 1.0)], FLUTTERS)
    assert none_left is not None
    assert none_left.sd_log == 0


@pytest.mark.parametrize(
    ("seconds", "sd_log"), [(1.0, 0.2), (2.0, 0.15), (4.0, 0.1), (16.0, 0.05), (0.25, 0.2)]
)
def test_the_longer_a_stretch_the_less_it_varies(seconds: float, sd_log: float) -> None:
    noise = Noise(sd_log=0.0, degrees=50, systems=1, runs=51, stretches=FLUTTERS)
    assert forecast.within(noise, seconds) == pytest.approx(sd_log)
    assert forecast.within(QUIET, seconds) == 0


def test_a_short_probe_of_a_short_run_has_a_wider_interval() -> None:
    noise = Noise(sd_log=0.02, degrees=50, systems=1, runs=51, stretches=FLUTTERS)

    def width(counted_s: float, steps: int) -> float:
        pace = Pace(step_s=0.02, eval_s=0.0, set_up_s=0.0, counted_s=counted_s)
        told = forecast.summarise(
            forecast.forecast(pace, sure(steps), Rhythm(100, 1e9), noise).seconds, 1
        )
        assert told.low is not None
        assert told.high is not None
        assert told.value is not None
        return (told.high - told.low) / told.value

    assert width(1.0, 5000) > 1.5 * width(4.0, 5000)
    assert width(4.0, 200) > 1.2 * width(4.0, 5000)
    sd = math.hypot(0.1, 0.02 * math.sqrt(2), 0.02)  # a probe of 4 s, runs, a run of 100 s
    assert width(4.0, 5000) == pytest.approx(2 * 1.96 * sd, rel=0.05)


def test_more_probes_and_less_noise_make_it_narrower() -> None:
    def width(probes: int, sd_log: float) -> float:
        pace = Pace(step_s=0.02, eval_s=0.0, set_up_s=0.0, probes=probes)
        noise = Noise(sd_log=sd_log, degrees=30, systems=1, runs=31)
        found = forecast.forecast(pace, sure(1000), Rhythm(100, 1e9), noise)
        told = forecast.summarise(found.seconds, 1)
        assert told.low is not None
        assert told.high is not None
        return told.high - told.low

    assert width(9, 0.05) < width(1, 0.05) < width(1, 0.1)


@given(st.lists(st.floats(0.0, 1.0), min_size=6, max_size=60))
def test_the_interval_of_a_median_is_made_of_values_around_it(values: list[float]) -> None:
    found = forecast.median_interval(np.array(values))
    assert found.value == pytest.approx(float(np.median(values)))
    assert found.low is not None
    assert found.high is not None
    assert found.low in values
    assert found.high in values
    assert found.low <= found.value <= found.high


def test_the_interval_of_a_median_of_ten_lies_between_the_second_and_the_ninth() -> None:
    found = forecast.median_interval(np.arange(1.0, 11.0))
    assert (found.value, found.low, found.high) == (5.5, 2.0, 9.0)
    assert forecast.median_interval(np.arange(5.0)).low is None  # 5 values hold it in 94 % only


def test_a_score_is_of_predicted_over_measured() -> None:
    found = forecast.score(
        predicted=np.array([11.0, 9.0]),
        low=np.array([9.0, 9.5]),
        high=np.array([13.0, 12.0]),
        measured=np.array([10.0, 9.0]),
    )
    assert found.errors == pytest.approx([0.1, 0.0])
    assert found.half_widths == pytest.approx([2 / 11, 1.25 / 9])
    assert found.inside.tolist() == [True, False]
