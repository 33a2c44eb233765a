"""Objectives, and what a search is told of runs that missed their target."""

from __future__ import annotations

import pytest

from timetrial.errors import UsageError
from timetrial.plan import find_task
from timetrial.tune.objective import (
    PENALTY,
    Objective,
    Outcome,
    Point,
    parse_objective,
    shortfall,
    ticks,
)

TARGET = find_task("mnist-cnn").targets[-1]
TIME = parse_objective("time-to-target")


@pytest.mark.parametrize(
    ("text", "kind", "after_s"),
    [
        ("time-to-target", "time-to-target", None),
        ("cost-to-target", "cost-to-target", None),
        ("accuracy-after=2min", "accuracy-after", 120.0),
    ],
)
def test_an_objective_is_read(text: str, kind: str, after_s: float | None) -> None:
    assert parse_objective(text) == Objective(kind=kind, after_s=after_s)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["speed", "accuracy-after", "time-to-target=3s", "accuracy-after=0s", ""]
)
def test_what_is_no_objective_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"accuracy-after=TIME|above 0"):
        parse_objective(text)


def test_a_run_that_missed_is_worse_than_all_that_reached_however_quickly_it_ended() -> None:
    longest = 110.0  # of a run that reached at last
    quick = Outcome(value=None, watched=12.0, shortfall=0.001, usable=True)
    near = Outcome(value=None, watched=60.0, shortfall=0.01, usable=True)
    far = Outcome(value=None, watched=60.0, shortfall=0.9, usable=True)
    slow = Outcome(value=None, watched=300.0, shortfall=0.01, usable=True)

    assert quick.score(longest) >= PENALTY * longest
    assert near.score(longest) < far.score(longest)
    assert slow.score(longest) >= PENALTY * slow.watched
    assert Outcome(value=44.0, watched=44.0, shortfall=0.0, usable=True).score(longest) == 44.0


def test_a_shortfall_is_a_share_of_the_target() -> None:
    assert shortfall(TARGET, 0.995) == 0.0
    assert shortfall(TARGET, 0.0) == 1.0
    assert shortfall(TARGET, 0.891) == pytest.approx(0.1)
    assert shortfall(TARGET, float("nan")) == 1.0


def test_runs_are_told_as_they_stood_at_equal_times() -> None:
    points = [Point(1.0, 0.5), Point(2.5, 0.891), Point(4.0, 0.99)]

    told = ticks(TIME, TARGET, points, tick_s=1.0)

    assert sorted(told) == [1, 2, 3, 4]
    assert told[1] == told[2] == pytest.approx(1 - 0.5 / 0.99)
    assert told[3] == pytest.approx(0.1)
    assert told[4] == 0.0
    assert ticks(TIME, TARGET, points, tick_s=1.0, last=6)[6] == 0.0  # it stopped, and keeps it
    accuracy = ticks(parse_objective("accuracy-after=4s"), TARGET, points, tick_s=2.0)
    assert accuracy == {1: 0.5, 2: 0.99}


def test_nothing_is_told_before_the_first_evaluation() -> None:
    assert ticks(TIME, TARGET, [], tick_s=1.0) == {}
    assert sorted(ticks(TIME, TARGET, [Point(2.9, 0.5)], tick_s=1.0, last=3)) == [3]
