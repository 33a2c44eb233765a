"""`kill -9` at any moment, resumed: the curve is the uninterrupted run's, bit for bit."""

from __future__ import annotations

import os
import random
from pathlib import Path

import msgspec
import pytest

from timetrial import api, audit, store
from timetrial.engine.events import Checkpointed, Exited
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.plan import Plan, Request
from timetrial.store import RunRecord
from timetrial.testing import fakes, runs
from timetrial.testing.kills import killed_attempt


@pytest.fixture(autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("plugin")
    fakes.write_plugin(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def uninterrupted(folder: Path, plan: Plan) -> RunRecord:
    run, named = runs.place(folder, plan)
    supervise(run, named, LocalLauncher(), lambda events: None)
    return store.read_run(run.path)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A network's run, uninterrupted: saved at every evaluation, evaluated every 3 steps."""
    settings = {
        "steps_max": 120,
        "eval_every_steps": 3,
        "checkpoint_every_s": 0,
        "sample_every_s": 0,
    }
    request = Request(task="digits-cnn", division="open", settings=settings)
    plan = msgspec.structs.replace(runs.resolve(request, seed=2**47 + 1), target=None)
    return uninterrupted(tmp_path_factory.mktemp("whole"), plan)


def test_a_network_killed_three_times_gives_the_same_curve(network: RunRecord, tmp_path: Path):
    run, plan = runs.place(tmp_path, network.plan)
    kills = []
    for segment, after_s in (("checkpoint", 0.1), (None, 0.15), ("eval", 0.1)):
        result, kill = killed_attempt(run, plan, after_s=after_s, segment=segment, into_s=0.001)
        assert (result.status, result.reason) == (None, "the worker was ended by signal 9")
        assert kill is not None
        kills.append(kill)
        assert store.read_run(run.path).status == "killed"
    assert "checkpoint" in [kill.segment for kill in kills]
    assert kills[-1].resumed_from > 0
    [record] = api.resume([run.path])
    assert record.status == network.status
    assert record.attempts == 4
    assert runs.curve_bits(record) == runs.curve_bits(network)
    [verification] = audit.verify([run.path])
    assert verification.ok, verification


@pytest.mark.parametrize("seed", [1])
def test_a_run_killed_at_random_moments_gives_the_same_curve(seed: int, tmp_path: Path):
    rng = random.Random(seed)
    settings = {"checkpoint_every_s": rng.choice([0, 0.3]), "eval_every_steps": 8}
    plan = runs.fake_plan(settings=settings, implementation="timetrial.testing.fakes:build_slow")
    fast = msgspec.structs.replace(plan, implementation="timetrial.testing.fakes:build")
    whole = uninterrupted(tmp_path, fast)
    run, named = runs.place(tmp_path, plan)
    for _ in range(3):
        killed_attempt(run, named, after_s=rng.uniform(0, 0.7))
    [record] = api.resume([run.path])
    codes = [event.code for event in record.launcher if isinstance(event, Exited)]
    assert codes == [-9, -9, -9, 0]
    assert runs.curve_bits(record) == runs.curve_bits(whole)
    assert all(v.ok for v in audit.verify([run.path]))


@pytest.mark.parametrize("seed", range(3))
def test_a_run_whose_log_was_cut_anywhere_resumes_to_the_same_curve(seed: int, tmp_path: Path):
    """As after a crash of the machine that lost the end of the log but not the checkpoints."""
    plan = runs.fake_plan(settings={"checkpoint_every_s": 0})
    whole = uninterrupted(tmp_path, plan)
    run = whole.run
    run.done.unlink()
    log = run.events(0).read_bytes()
    keep = (0, len(log) // 2, random.Random(seed).randrange(len(log)))[seed]
    run.events(0).write_bytes(log[:keep])
    [record] = api.resume([run.path])
    assert record.done is not None
    assert runs.curve_bits(record) == runs.curve_bits(whole)
    assert all(v.ok for v in audit.verify([run.path]))


def test_damaged_checkpoints_are_passed_over_for_an_older_one(tmp_path: Path):
    plan = runs.fake_plan(settings={"checkpoint_every_s": 0})
    whole = uninterrupted(tmp_path, plan)
    run = whole.run
    saved = [event for event in whole.worker if isinstance(event, Checkpointed)]
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [e.file for e in saved[-2:]]
    newest = run.checkpoints / saved[-1].file
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    run.done.unlink()
    [record] = api.resume([run.path])
    assert record.worker[len(whole.worker)].step == saved[-2].step
    assert runs.curve_bits(record) == runs.curve_bits(whole)
    assert all(v.ok for v in audit.verify([run.path]))


def test_finished_runs_are_left_alone_by_resume(tmp_path: Path):
    whole = uninterrupted(tmp_path, runs.fake_plan())
    before = {path: path.read_bytes() for path in whole.run.path.rglob("*") if path.is_file()}
    [record] = api.resume([tmp_path])
    assert record.attempts == 1
    after = {path: path.read_bytes() for path in whole.run.path.rglob("*") if path.is_file()}
    assert after == before
