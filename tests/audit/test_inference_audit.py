"""The audit's check of inference fails on a run made for it, sealed anew, and on nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from timetrial import audit, store
from timetrial.engine.events import Inferred, Started, WorkerEvent
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import close, supervise
from timetrial.rundir import RunDir, pretty_json
from timetrial.stats import inference
from timetrial.testing import fakes, runs

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inferred and audited")
    fakes.write_plugin(folder / "plugin")
    plan = msgspec.structs.replace(runs.fake_plan(), inference_s=0.3)
    run, plan = runs.place(folder / "store", plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "plugin"), prepend=os.pathsep)
        assert supervise(run, plan, LocalLauncher(), lambda events: None).status == "reached"
    return run.path


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / original.name))


def failed(path: Path, change: Callable[[Lines], None]) -> dict[str, str]:
    """What fails once the worker's log is changed and the run sealed anew."""
    log = RunDir(path).events(0)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    change(lines)
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    plan = store.read_run(path).plan
    (path / "done.json").unlink()
    close(RunDir(path), plan, "reached", {0: 0})
    [verification] = audit.verify([path])
    return {check.name: check.detail for check in verification.checks if not check.ok}


def calls(lines: Lines) -> Lines:
    return [line for line in lines if line["event"] == "inferred"]


def nothing(lines: Lines) -> None:
    """Leave the log as it is."""


def none_at_all(lines: Lines) -> None:
    lines[:] = [line for line in lines if line["event"] not in ("inferred", "rescored")]


def no_time(lines: Lines) -> None:
    calls(lines)[1]["ns"][0] = 0


def longer_than_the_segment(lines: Lines) -> None:
    calls(lines)[1]["ns"][0] = 3600 * 10**9


def a_line_left_out(lines: Lines) -> None:
    batch = calls(lines)[-1]["batch"]
    last = [line for line in calls(lines) if line["batch"] == batch and not line["warm_up"]]
    last[0]["first"] = 5


def neither_timed_nor_left_out(lines: Lines) -> None:
    calls(lines)[-1]["ns"] = []


def other_scores(lines: Lines) -> None:
    calls(lines)[0]["furthest"] = 0.01


def another_model(lines: Lines) -> None:
    [begun] = [line for line in lines if line["event"] == "rescored"]
    begun["scores_sha256"] = "0" * 64


def test_a_run_that_predicted_passes(copy: Path):
    assert failed(copy, nothing) == {}
    [verification] = audit.verify([copy])
    [check] = [check for check in verification.checks if check.name == "inference"]
    assert check.detail.startswith("calls with examples: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (none_at_all, "no single example was timed"),
        (no_time, "a call took no time"),
        (longer_than_the_segment, "in a segment of"),
        (a_line_left_out, "calls were before it"),
        (neither_timed_nor_left_out, "neither timed nor left out"),
        (other_scores, "up to 0.01 of the largest"),
        (another_model, "not those of its evaluation"),
    ],
)
def test_what_cannot_be_so_fails(copy: Path, change: Callable[[Lines], None], words: str):
    seen = failed(copy, change)
    assert set(seen) == {"inference"}
    assert words in seen["inference"]


def test_predictions_that_nobody_asked_for_fail(copy: Path):
    plan = msgspec.structs.replace(store.read_run(copy).plan, inference_s=None)
    RunDir(copy).plan.write_bytes(pretty_json(plan))
    assert set(failed(copy, nothing)) == {"inference"}


def test_a_run_killed_while_it_predicts_begins_its_inference_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fakes.write_plugin(tmp_path / "plugin")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=os.pathsep)
    planned = msgspec.structs.replace(runs.fake_plan(), inference_s=1.0)
    run, plan = runs.place(tmp_path / "store", planned)
    pids: list[int] = []

    def kill(events: Sequence[WorkerEvent]) -> None:
        pids.extend(event.pid for event in events if isinstance(event, Started))
        if pids and any(isinstance(event, Inferred) for event in events):
            os.kill(pids.pop(), signal.SIGKILL)

    assert supervise(run, plan, LocalLauncher(), kill).status is None
    before = sum(isinstance(event, Inferred) for event in store.read_run(run.path).worker)
    assert supervise(run, plan, LocalLauncher(), lambda events: None).status == "reached"
    [verification] = audit.verify([run.path])
    assert verification.ok, verification.checks
    record = store.read_run(run.path)
    seen = inference.inference_of(record)
    assert seen is not None
    assert list(seen.calls) == [1, 8, 64, plan.task.dataset.test_count]
    anew = [event for event in record.worker if isinstance(event, Inferred)][before:]
    calls = sum(len(event.ns) for event in anew if not event.warm_up)
    assert calls == sum(len(one.seconds) for one in seen.calls.values())
