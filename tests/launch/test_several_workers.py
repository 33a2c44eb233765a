"""Runs of several workers, real processes: one curve, faults, resuming."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

import timetrial
from timetrial import api, store
from timetrial.engine.events import WORKER_LOG, Checkpointed, Exited, Spawned, Stopped
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.plan import Plan, Request
from timetrial.rundir import RunDir
from timetrial.testing import fakes, runs
from timetrial.testing.faults import faulty_attempt, processes_of


@pytest.fixture(autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("plugin")
    fakes.write_plugin(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def slow_plan(*, steps: int, **settings: float) -> Plan:
    """Return a fake plan of two workers whose steps take a few milliseconds."""
    plan = runs.fake_plan(
        implementation="timetrial.testing.fakes:build_slow",
        settings={"checkpoint_every_s": 0, **settings},
    )
    return msgspec.structs.replace(plan, workers=2, cores=1, steps_max=steps)


def digits_plan(workers: int, *, steps: int = 119, framework: str = "torch") -> Plan:
    settings = {"steps_max": steps, "checkpoint_every_s": 0, "sample_every_s": 0}
    request = Request(
        task="digits-cnn", division="open", workers=workers, cores=1, settings=settings,
        precision="float64", framework=framework,
    )  # fmt: skip
    return msgspec.structs.replace(runs.resolve(request, seed=77), target=None)


def finished(folder: Path, plan: Plan) -> store.RunRecord:
    run, named = runs.place(folder, plan)
    assert supervise(run, named, LocalLauncher(), lambda events: None).status is not None
    return store.read_run(run.path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> store.RunRecord:
    """Two workers' run of a network, uninterrupted."""
    return finished(tmp_path_factory.mktemp("pair"), digits_plan(2))


def test_two_workers_have_the_curve_of_one(pair: store.RunRecord, tmp_path: Path) -> None:
    one = finished(tmp_path, digits_plan(1))
    assert [(e.step, e.split) for e in pair.evaluations] == [
        (e.step, e.split) for e in one.evaluations
    ]
    for mine, other in zip(pair.evaluations, one.evaluations, strict=True):
        assert mine.accuracy == other.accuracy
        assert mine.loss == pytest.approx(other.loss, rel=1e-8)


def test_every_worker_leaves_its_log_state_and_exit(pair: store.RunRecord) -> None:
    spawned = [event for event in pair.launcher if isinstance(event, Spawned)]
    exits = [event for event in pair.launcher if isinstance(event, Exited)]
    assert [event.rank for event in spawned] == [0, 1]
    assert sorted((event.rank, event.code) for event in exits) == [(0, 0), (1, 0)]
    cpus = [event.limits["cpu"] for event in spawned]
    assert len(set(cpus)) == min(2, len(os.sched_getaffinity(0)))  # a core each
    for rank in range(2):
        log = WORKER_LOG.read(pair.run.events(rank))
        saved = [event for event in log if isinstance(event, Checkpointed)]
        assert (pair.run.checkpoints / saved[-1].file).is_file()
        assert isinstance(log[-1], Stopped)
    assert pair.fenced
    assert all("communication" in event.parts_ns for event in pair.fenced)
    assert timetrial.load(pair.run.path)[0].plan.workers == 2


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_killed_ends_the_run_and_resuming_repeats_the_curve(
    rank: int, pair: store.RunRecord, tmp_path: Path
) -> None:
    run, plan = runs.place(tmp_path, pair.plan)
    fault = faulty_attempt(run, plan, LocalLauncher(), kind="killed", rank=rank, after_s=0.2)
    assert fault.result == (None, f"worker {rank} was ended by signal 9")
    assert fault.left_over == ()
    assert store.read_run(run.path).status == "killed"
    [record] = api.resume([run.path])
    assert record.status == pair.status
    assert runs.curve_bits(record) == runs.curve_bits(pair)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_in_jax_have_the_curve_of_pytorch_and_repeat_it_after_a_kill(
    pair: store.RunRecord, tmp_path: Path
) -> None:
    run, plan = runs.place(tmp_path, digits_plan(2, framework="jax"))
    fault = faulty_attempt(run, plan, LocalLauncher(), kind="killed", rank=0, after_s=0.5)
    assert fault.result == (None, "worker 0 was ended by signal 9")
    [record] = api.resume([run.path])
    assert record.status == pair.status
    assert [e.step for e in record.evaluations] == [e.step for e in pair.evaluations]
    for mine, other in zip(record.evaluations, pair.evaluations, strict=True):
        assert mine.accuracy == other.accuracy
        assert mine.loss == pytest.approx(other.loss, rel=1e-8)
    assert all("communication" in event.parts_ns for event in record.fenced)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_frozen_worker_ends_the_run_and_nothing_is_lost(rank: int, tmp_path: Path) -> None:
    run, plan = runs.place(tmp_path, slow_plan(steps=10**9, lost_after_s=2))
    fault = faulty_attempt(run, plan, LocalLauncher(), kind="frozen", rank=rank, after_s=0.5)
    assert fault.result == (None, f"worker {rank} was silent for 2 s: frozen, or cut off")
    assert fault.left_over == ()
    record = store.read_run(run.path)
    assert (record.status, record.done) == ("killed", None)
    assert record.evaluations


def test_a_slow_worker_only_takes_longer(tmp_path: Path) -> None:
    run, plan = runs.place(tmp_path, slow_plan(steps=200))
    fault = faulty_attempt(run, plan, LocalLauncher(), kind="slow", rank=1, after_s=0.1)
    assert fault.result.status == "reached"
    assert fault.seconds is not None


def test_workers_asked_to_stop_save_the_same_step(tmp_path: Path) -> None:
    run, plan = runs.place(tmp_path, slow_plan(steps=10**9))
    with LocalLauncher().start(run, plan, 0) as job:
        while not run.events(0).exists() or b'"checkpointed"' not in run.events(0).read_bytes():
            assert not job.poll()
        job.ask_to_stop()
        while len(exits := job.poll()) < 2:
            pass
    assert {rank: left.code for rank, left in exits.items()} == {0: 75, 1: 75}
    steps = [WORKER_LOG.read(run.events(rank))[-1] for rank in range(2)]
    assert isinstance(steps[0], Stopped)
    assert isinstance(steps[1], Stopped)
    assert steps[0].step == steps[1].step > 0
    assert processes_of(run) == []


def test_an_error_in_one_worker_is_the_run_s(tmp_path: Path) -> None:
    plan = runs.fake_plan(implementation="timetrial.testing.fakes:build_failing_second")
    plan = msgspec.structs.replace(plan, workers=2, cores=1, steps_max=10**9)
    run, plan = runs.place(tmp_path, plan)
    result = supervise(run, plan, LocalLauncher(), lambda events: None)
    assert result == ("error", "RuntimeError: the second worker always fails")
    done = json.loads(RunDir(run.path).done.read_bytes())
    assert done["exit_codes"] == {"0": 76, "1": 70}
