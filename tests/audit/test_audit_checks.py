"""Each check of the audit fails on a run made for it, sealed anew, and on nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from timetrial import audit, store
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import close, supervise
from timetrial.plan import Plan
from timetrial.rundir import RunDir, pretty_json
from timetrial.testing import fakes, runs

Lines = list[dict[str, Any]]
SECOND = 10**9


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    fakes.write_plugin(folder / "plugin")
    run, plan = runs.place(folder / "store", runs.fake_plan())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "plugin"), prepend=os.pathsep)
        assert supervise(run, plan, LocalLauncher(), lambda events: None).status == "reached"
    return run.path


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / original.name))


def edit(path: Path, change: Callable[[Lines], None]) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def reseal(path: Path, status: str = "reached") -> audit.Verification:
    record = store.read_run(path)
    (path / "done.json").unlink()
    close(RunDir(path), record.plan, status, {0: 0})  # type: ignore[arg-type]
    [verification] = audit.verify([path])
    return verification


def failed(verification: audit.Verification) -> dict[str, str]:
    return {check.name: check.detail for check in verification.checks if not check.ok}


def of(lines: Lines, kind: str) -> Lines:
    return [line for line in lines if line["event"] == kind]


def test_a_resealed_run_passes(copy: Path):
    verification = reseal(copy)
    assert failed(verification) == {}
    names = [check.name for check in verification.checks]
    assert len(names) == len(set(names)) == len(audit.AUDIT) + 2  # hashes, seed unique


def test_a_wall_clock_that_disagrees_with_the_segments_fails(copy: Path):
    def longer(lines: Lines) -> None:
        of(lines, "released")[0]["utc_ns"] += SECOND

    edit(RunDir(copy).launcher_events, longer)
    assert set(failed(reseal(copy))) == {"segments sum"}


def test_a_launchers_log_without_an_end_fails(copy: Path):
    edit(RunDir(copy).launcher_events, lambda lines: lines.remove(of(lines, "released")[0]))
    assert set(failed(reseal(copy))) == {"segments sum"}


def test_a_gap_between_segments_fails(copy: Path):
    def gap(lines: Lines) -> None:
        of(lines, "segment")[5]["start_ns"] += 1000

    edit(RunDir(copy).events(0), gap)
    assert set(failed(reseal(copy))) == {"segments tile"}


def test_a_left_out_segment_fails(copy: Path):
    edit(RunDir(copy).events(0), lambda lines: lines.remove(of(lines, "segment")[6]))
    assert "segments tile" in failed(reseal(copy))


@pytest.mark.parametrize("log", ["worker", "launcher", "outside"])
def test_a_time_that_goes_back_fails(copy: Path, log: str):
    def back(lines: Lines) -> None:
        lines[-1]["t_ns"] = lines[0]["t_ns"] - 1

    def late(lines: Lines) -> None:
        of(lines, "stopped")[0]["t_ns"] += 3600 * SECOND

    run = RunDir(copy)
    path = run.launcher_events if log == "launcher" else run.events(0)
    edit(path, late if log == "outside" else back)
    assert "clock monotonic" in failed(reseal(copy))


@pytest.mark.parametrize(("field", "value"), [("examples", 359), ("accuracy", 0.8351)])
def test_an_evaluation_that_leaves_out_an_example_fails(copy: Path, field: str, value: float):
    def wrong(lines: Lines) -> None:
        of(lines, "evaluated")[3][field] = value

    edit(RunDir(copy).events(0), wrong)
    assert set(failed(reseal(copy))) == {"evaluation counts"}


@pytest.mark.parametrize("step", [3, 10**6])
def test_steps_that_go_back_or_beyond_the_plan_fail(copy: Path, step: int):
    def wrong(lines: Lines) -> None:
        lines[-1]["step"] = step

    edit(RunDir(copy).events(0), wrong)
    assert set(failed(reseal(copy))) == {"steps possible"}


def test_an_evaluation_repeated_with_other_scores_fails(copy: Path):
    def repeat(lines: Lines) -> None:
        evaluated = of(lines, "evaluated")[3]
        lines.insert(lines.index(evaluated) + 1, {**evaluated, "scores_sha256": "0" * 64})

    edit(RunDir(copy).events(0), repeat)
    assert set(failed(reseal(copy))) == {"repeats agree"}


def change_plan(path: Path, **fields: object) -> Plan:
    plan = msgspec.structs.replace(store.read_run(path).plan, **fields)
    RunDir(path).plan.write_bytes(pretty_json(plan))
    return plan


def test_rules_that_are_not_those_of_the_hash_fail(copy: Path):
    task = msgspec.structs.replace(fakes.TASK, batch_size=16)
    change_plan(copy, learned=task)
    assert set(failed(reseal(copy))) == {"rules"}


def test_a_closed_task_with_rules_of_its_own_fails_and_an_open_one_does_not(copy: Path):
    task = msgspec.structs.replace(fakes.TASK, name="digits-cnn")
    change_plan(copy, learned=task, task_hash=task.hash())
    assert "other rules" in failed(reseal(copy))["rules"]
    change_plan(copy, division="open")
    assert failed(reseal(copy)) == {}


def test_a_claim_to_have_reached_the_target_without_an_evaluation_that_did_fails(copy: Path):
    target = msgspec.structs.replace(fakes.TASK.targets[-1], threshold=0.9999)
    change_plan(copy, target=target)
    assert set(failed(reseal(copy))) == {"status"}
    assert failed(reseal(copy, "budget")) == {}


def test_a_target_that_was_met_but_not_claimed_fails(copy: Path):
    assert set(failed(reseal(copy, "budget"))) == {"status"}
    assert failed(reseal(copy, "killed")) == {}


def test_more_cpu_time_than_the_cores_can_give_fails(copy: Path):
    def burnt(lines: Lines) -> None:
        of(lines, "exited")[0]["user_s"] = 1000.0

    edit(RunDir(copy).launcher_events, burnt)
    assert set(failed(reseal(copy))) == {"cpu possible"}


def test_a_seed_used_twice_fails_in_both_runs_unless_they_are_a_calibration(copy: Path):
    other = Path(shutil.copytree(copy, copy.with_name("fake-digits-other")))
    change_plan(other, run=other.name)
    reseal(other)
    found = audit.verify([copy.parent])
    assert len(found) == 2
    for verification in found:
        assert set(failed(verification)) == {"seed unique"}
    for path in (copy, other):
        change_plan(path, calibration="pair-1")
        reseal(path)
    assert [failed(v) for v in audit.verify([copy.parent])] == [{}, {}]
