"""What tools are told of a run: its plan, its log and its files, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command_line import Ran

from timetrial import api
from timetrial.errors import FormatError, StoreError
from timetrial.interop import track, why_not
from timetrial.rundir import Done, RunDir
from timetrial.store import RunRecord, read_run
from timetrial.testing import fakes, runs
from timetrial.testing.exporters import logged
from timetrial.testing.kills import killed_attempt


@pytest.fixture
def record(digits: Ran) -> RunRecord:
    """A real run of a network, to its target."""
    return read_run(next(digits.store.glob("*/plan.json")).parent)


def at(plan: Any, path: str) -> Any:
    for key in path.split("."):
        plan = plan[key]
    return plan


def test_params_are_the_plan_by_the_paths_of_its_file(record: RunRecord) -> None:
    plan = json.loads(record.run.plan.read_bytes())

    params = track(record).params

    for path, value in params.items():
        written = at(plan, path)
        assert (json.loads(str(value)) if isinstance(written, list) else value) == written, path
    assert {"framework", "seed", "cores", "target.threshold", "task.batch_size"} <= set(params)
    assert params["task.optimizer.learning_rate"] == plan["task"]["optimizer"]["learning_rate"]
    assert not [path for path in params if path.startswith(("data_files", "task.notes", "run"))]


def test_moments_are_the_evaluations_of_the_log(record: RunRecord) -> None:
    found: dict[str, list[tuple[int, float]]] = {}
    for moment in track(record).moments:
        for name, value in moment.values.items():
            found.setdefault(name, []).append((moment.step, value))

    wanted = {
        name: [(point.step, point.value) for point in points]
        for name, points in logged(record.run.path).items()
    }
    assert found == wanted
    assert "test/accuracy" in found


def test_the_time_to_target_is_the_one_that_is_reported(record: RunRecord) -> None:
    [row] = [
        row
        for row in api.load(record.run.path).estimates()
        if (row.measure, row.clock) == ("time_to_target", "mlperf")
    ]

    assert track(record).finals["time_to_target_s/validation_accuracy_0.97"] == row.value


def test_the_files_are_those_of_the_seal_but_for_checkpoints(record: RunRecord) -> None:
    assert record.done is not None
    sealed = {name: digest for name, digest in record.done.sha256.items() if "/" not in name}

    files = dict(track(record).files)

    assert files.pop("done.json")
    assert files == sealed


def test_a_copy_elsewhere_is_the_same_run(record: RunRecord, tmp_path: Path) -> None:
    copy = read_run(Path(shutil.copytree(record.run.path, tmp_path / "copy")))

    first, second = track(record), track(copy)

    assert first.folder != second.folder
    assert (first.identity, first.fingerprint()) == (second.identity, second.fingerprint())


def test_a_link_among_the_files_is_refused(record: RunRecord, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(record.run.path, tmp_path / "copy"))
    (copy / "stdout.1.log").symlink_to(tmp_path / "secret")

    with pytest.raises(StoreError, match=r"stdout\.1\.log is a link"):
        track(read_run(copy))


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "..", ""])
def test_a_name_that_leads_elsewhere_is_refused(name: str, record: RunRecord) -> None:
    record.plan = msgspec.structs.replace(record.plan, run=name)

    with pytest.raises(FormatError, match="a name that a file can have"):
        track(record)


def test_a_killed_run_that_is_resumed_is_the_same_run_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.write_plugin(tmp_path / "plugin")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=os.pathsep)
    slow = "timetrial.testing.fakes:build_slow"
    plan = runs.fake_plan(settings={"checkpoint_every_s": 0}, implementation=slow)
    run, named = runs.place(tmp_path / "runs", plan)
    killed_attempt(run, named, after_s=0.5)

    killed = track(read_run(run.path))
    api.resume([run.path])
    whole = track(read_run(run.path))

    assert (killed.status, whole.status) == ("killed", "reached")
    assert killed.identity == whole.identity
    assert killed.fingerprint() != whole.fingerprint()
    assert killed.tags["attempts"] == "1"
    assert whole.tags["attempts"] == "2"
    on_validation = [m for m in whole.moments if "validation/accuracy" in m.values]
    assert [moment.step for moment in on_validation] == list(range(20, 241, 20))
    times = [moment.utc_ns for moment in whole.moments]
    assert times == sorted(times)
    assert whole.began_utc_ns < times[0] < times[-1] < whole.ended_utc_ns


def test_what_has_not_ended_or_measures_is_not_handed_on(tmp_path: Path) -> None:
    planned, _ = runs.place(tmp_path, runs.fake_plan())
    measured = runs.exchange_plan(fakes.EXCHANGE)
    done = Done(
        format=1, run="m", status="reached", exit_codes={}, finished_utc="", sha256={}
    )  # fmt: skip

    assert f"--resume {planned.path}" in (why_not(read_run(planned.path)) or "")
    ended = RunRecord(RunDir(tmp_path / "m"), measured, done, launcher=[], worker=[])
    assert "measures" in (why_not(ended) or "")
