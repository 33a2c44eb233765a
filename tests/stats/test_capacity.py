"""Time at full capacity, from counters that a test chose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from team_runs import Times, plan_for, write_run

from timetrial.forecast.systems import probed_systems
from timetrial.meter.records import MeterLog, Sample
from timetrial.stats import speed
from timetrial.stats.capacity import LOST_MOST, Capacity, usual_share
from timetrial.store import RunRecord

S = 1_000_000_000
EMPTY = dict.fromkeys(Sample.__struct_fields__) | {"gpus": ()}


def samples(stolen: Sequence[float | None]) -> list[Sample]:
    """Return a sample a second, each with the seconds stolen since the machine started."""
    return [Sample(**(EMPTY | {"t_ns": n * S, "steal_s": s})) for n, s in enumerate(stolen)]


def test_where_nothing_is_stolen_it_is_wall_time():
    assert Capacity(samples([7, 7, 7]), 2).between(0.5, 1.75) == 1.25
    assert Capacity((), 2).between(3, 5) == 2
    assert Capacity(samples([None, None]), 2).between(0, 1) == 1


def test_what_is_stolen_from_one_thread_is_lost():
    assert Capacity(samples([0, 0, 0.4, 0.4]), 1).between(0, 3) == pytest.approx(2.6)


def test_of_two_threads_three_quarters_are_lost():
    found = Capacity(samples([5, 6, 7]), 2)  # between 1 / 2 and 1
    assert found.between(0, 2) == pytest.approx(2 * 0.25)
    assert found.between(0.5, 1) == pytest.approx(0.5 * 0.25)  # even within a second


def test_time_goes_on_whatever_the_counter_says():
    found = Capacity(samples([0, 50, 50, 49]), 1)
    assert found.between(0, 1) == pytest.approx(1 - LOST_MOST)
    assert found.between(2, 3) == 1  # a counter that went back
    assert found.between(-3, -1) == found.between(10, 12) == 2  # outside of the samples


def test_the_samples_of_another_machine_are_set_forward():
    assert Capacity(samples([0, 0.5, 0.5]), 1, behind_s=10).between(10, 11) == pytest.approx(0.5)


def one_core(folder: Path, step_s: float, device: str = "cpu") -> RunRecord:
    """Return a run on one core whose sampler and machine are on record."""
    plan = msgspec.structs.replace(plan_for(1, fence=1000), cpus=(0,), device=device)
    return write_run(folder, plan, Times(step_s, rest=0.0), hosts=["here"], peaks=[100])


def stolen_in(record: RunRecord, seconds: Sequence[float]) -> RunRecord:
    """Return the run with this counter in its samples."""
    logs = {
        0: MeterLog(
            header=record.meter_logs[0].header, samples=tuple(samples(seconds)), totals=None,
            torn=False,
        )
    }  # fmt: skip
    record.__dict__["meter_logs"] = logs
    return record


def test_steps_and_evaluations_are_timed_at_full_capacity(tmp_path: Path):
    quiet = speed.speed_of(one_core(tmp_path / "a", 0.040))
    robbed = one_core(tmp_path / "b", 0.050)  # a step takes 1.25 times as long
    found = speed.speed_of(stolen_in(robbed, [0.2 * n for n in range(60)]))
    assert quiet is not None
    assert found is not None
    assert found.step_s == pytest.approx(quiet.step_s)
    assert found.eval_s == pytest.approx(0.8 * 0.1)
    assert found.stolen == pytest.approx(0.2)
    assert quiet.stolen == 0


def test_on_an_accelerator_the_processor_is_not_asked(tmp_path: Path):
    robbed = stolen_in(one_core(tmp_path, 0.040, "cuda"), [0.5 * n for n in range(60)])
    found = speed.speed_of(robbed)
    assert found is not None
    assert found.step_s == pytest.approx(0.040)


def started(record: RunRecord, *, busy_s: float | None, stolen_s: float) -> RunRecord:
    """Return the run on a machine that computed and lost so much since it started."""
    assert record.machine is not None
    load = msgspec.structs.replace(
        record.machine.load, steal_since_boot_s=stolen_s, busy_since_boot_s=busy_s
    )
    record.__dict__["machine"] = msgspec.structs.replace(record.machine, load=load)
    return record


@pytest.mark.parametrize(
    ("busy_s", "stolen_s", "share"), [(300.0, 100.0, 0.25), (0.0, 0.0, 0.0), (None, 100.0, None)]
)
def test_what_is_usual_is_the_share_since_the_machine_started(
    tmp_path: Path, busy_s: float | None, stolen_s: float, share: float | None
):
    record = started(one_core(tmp_path, 0.040), busy_s=busy_s, stolen_s=stolen_s)
    assert usual_share(record.machine) == share
    assert usual_share(None) is None


@pytest.mark.parametrize(("busy_s", "seconds"), [(900.0, 0.040 / 0.9), (None, 0.050)])
def test_a_prediction_has_what_is_usual_not_what_the_probe_saw(
    tmp_path: Path, busy_s: float | None, seconds: float
):
    robbed = stolen_in(one_core(tmp_path, 0.050), [0.2 * n for n in range(60)])
    record = started(robbed, busy_s=busy_s, stolen_s=100.0)
    [system] = [one for one in probed_systems([record]) if not one.shipped]
    assert system.pace.step_s == pytest.approx(seconds)
    assert system.stolen == pytest.approx(0.2)
