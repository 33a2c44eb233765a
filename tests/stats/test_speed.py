"""The speed of runs whose clock a test chose, and of a real probe."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from team_runs import Times, plan_for, write_run

from timetrial.engine.events import Evaluated, Fenced, Progress, Segment, Timed
from timetrial.stats import speed
from timetrial.store import RunRecord

STEADY = Times(0.040, rest=0.0)


def test_seconds_per_step_and_evaluation_are_those_of_the_log(tmp_path: Path) -> None:
    found = speed.speed_of(write_run(tmp_path, plan_for(1), STEADY))
    assert found is not None
    assert found.step_s == pytest.approx(0.040)
    assert found.eval_s == pytest.approx(0.1)
    assert found.steps == 40  # of 60: the stretch before the first evaluation warms up
    assert found.drift == pytest.approx(0.0, abs=1e-6)


def slower(record: RunRecord, first: float, later: float) -> RunRecord:
    """Return the run with the times of its steps stretched before and after its first look."""
    events, shift, seen, last = [], 0, False, 0
    for event in record.worker:
        begun = last
        last = event.t_ns
        if isinstance(event, Progress):
            shift += round((event.t_ns - begun) * ((later if seen else first) - 1))
        seen = seen or isinstance(event, Evaluated)
        fields = {"t_ns": event.t_ns + shift}
        if isinstance(event, Segment):
            fields["start_ns"] = event.start_ns + shift
        events.append(type(event)(**{**_asdict(event), **fields}))
    return RunRecord(record.run, record.plan, record.done, record.launcher, events)


def _asdict(event: object) -> dict[str, object]:
    return msgspec.structs.asdict(event)  # type: ignore[arg-type]


def test_the_first_steps_do_not_count_but_as_warm_up(tmp_path: Path) -> None:
    plain = write_run(tmp_path, plan_for(1, fence=1000), STEADY)
    found = speed.speed_of(slower(plain, first=3.0, later=1.0))
    assert found is not None
    assert found.step_s == pytest.approx(0.040, rel=0.02)
    assert found.warm_up_s > 0.5 * 20 * 2 * 0.040


def test_stretches_of_a_steady_run_are_alike(tmp_path: Path) -> None:
    found = speed.stretches_of(long_run(tmp_path))
    assert list(found) == [0.25, 0.5, 1.0, 2.0]  # of 20 s: none longer than an eighth
    assert list(found.values()) == pytest.approx([0, 0, 0, 0], abs=1e-4)


def test_stretches_show_a_run_that_is_fast_and_slow_by_turns(tmp_path: Path) -> None:
    plain = long_run(tmp_path)
    found = speed.stretches_of(by_turns(plain, slow=1.5, turn_s=4.0))
    seen = {length: math.sqrt(square) for length, square in found.items()}
    assert seen[0.5] == pytest.approx(math.log(1.5) / 2, rel=0.15)  # half of it above, half below
    assert seen[0.5] >= seen[1.0] >= seen[2.0] > 0.1
    counted = speed.speed_of(plain)
    assert counted is not None
    assert counted.counted_s == pytest.approx(500 * 0.040)


def long_run(place: Path) -> RunRecord:
    """Return a run of 26 stretches of 20 steps, of which the first warms up."""
    return write_run(place, plan_for(1, fence=2), STEADY, accuracies=[0.5] * 25 + [0.9])


def by_turns(record: RunRecord, slow: float, turn_s: float) -> RunRecord:
    """Return the run with every other stretch of so many seconds slower."""
    events, shift, last = [], 0, 0
    for event in record.worker:
        begun, last = last, event.t_ns
        if isinstance(event, Progress | Fenced) and int(event.t_ns / 1e9 / turn_s) % 2:
            shift += round((event.t_ns - begun) * (slow - 1))
        fields = {"t_ns": event.t_ns + shift}
        if isinstance(event, Segment):
            fields["start_ns"] = event.start_ns + shift
        events.append(type(event)(**{**_asdict(event), **fields}))
    return RunRecord(record.run, record.plan, record.done, record.launcher, events)


def test_a_look_at_a_part_is_scaled_up_to_the_whole_split(tmp_path: Path) -> None:
    plain = write_run(tmp_path, plan_for(1), STEADY)
    events = list(plain.worker)
    first = next(place for place, event in enumerate(events) if isinstance(event, Evaluated))
    size = plain.plan.task.dataset.validation_count
    at = events[first].t_ns
    part = Timed(t_ns=at, step=20, split="validation", examples=size // 4, seconds=0.05)
    probed = RunRecord(
        plain.run, plain.plan, plain.done, plain.launcher, [*events[:first], part, *events[first:]]
    )
    found = speed.speed_of(probed)
    assert found is not None
    assert found.eval_s == pytest.approx(0.05 * size / (size // 4))
    assert found.eval_examples == size // 4


def test_a_run_that_did_no_step_has_no_speed(tmp_path: Path) -> None:
    plain = write_run(tmp_path, plan_for(1), STEADY)
    begun = next(n for n, e in enumerate(plain.worker) if getattr(e, "next", "") == "train")
    nothing = RunRecord(plain.run, plain.plan, plain.done, plain.launcher, plain.worker[:begun])
    assert speed.speed_of(nothing) is None


def test_uneven_steps_show_as_a_wider_interval(tmp_path: Path) -> None:
    plain = speed.speed_of(write_run(tmp_path, plan_for(1, fence=1000), STEADY))
    assert plain is not None
    assert plain.relative_error == pytest.approx(0.0, abs=1e-6)
