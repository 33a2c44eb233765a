"""`timetrial export`: which runs, where to, what is printed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome, Ran

from timetrial.testing import fakes, runs

Call = Callable[..., Outcome]


def test_a_store_is_exported_and_a_second_time_nothing_changes(
    logreg: Ran, call: Call, tmp_path: Path
) -> None:
    words = ("export", logreg.store, "--to=tensorboard", "--into", tmp_path / "logs")

    first = call(*words, "--json").json()
    again = call(*words)

    names = {path.parent.name for path in logreg.store.glob("*/plan.json")}
    assert {(receipt["run"], receipt["state"]) for receipt in first} == {
        (name, "exported") for name in names
    }
    assert all(Path(receipt["where"]).is_file() for receipt in first)
    assert again.code == 0
    assert f"tensorboard, {tmp_path / 'logs'}: 3 unchanged" in again.out.replace("\n    ", " ")
    assert call("verify", logreg.store).code == 0


def test_conditions_choose_and_no_run_is_named_twice(
    precisions: Ran, call: Call, tmp_path: Path
) -> None:
    words = ("export", "precision=float64,task=digits-cnn", "cores=1", "--store", precisions.store)

    receipts = call(*words, "--to=tensorboard", "--into", tmp_path / "logs", "--json").json()
    none = call(*words[:1], "precision=float16", *words[3:], "--to=tensorboard", "--into", tmp_path)

    assert len(receipts) == len({receipt["run"] for receipt in receipts}) == 4
    assert none.code == 1
    assert "No run in" in none.err


def test_conditions_on_tasks_pass_over_runs_that_measure(
    logreg: Ran, call: Call, tmp_path: Path
) -> None:
    ended = next(logreg.store.glob("*/plan.json")).parent
    shutil.copytree(ended, tmp_path / "runs" / ended.name)
    runs.place(tmp_path / "runs", runs.exchange_plan(fakes.EXCHANGE))
    where = ("--store", tmp_path / "runs", "--to=tensorboard", "--into", tmp_path / "logs")

    receipts = call("export", "task=breast-cancer-logreg", *where, "--json").json()

    assert [receipt["run"] for receipt in receipts] == [ended.name]


def test_a_run_that_has_not_ended_is_left_out_by_name(
    logreg: Ran, call: Call, tmp_path: Path
) -> None:
    ended = next(logreg.store.glob("*/plan.json")).parent
    shutil.copytree(ended, tmp_path / "runs" / ended.name)
    planned, plan = runs.place(tmp_path / "runs", runs.fake_plan())
    words = ("--to=tensorboard", "--into", tmp_path / "logs")

    both = call("export", tmp_path / "runs", *words, "--json").json()
    alone = call("export", planned.path, *words)

    assert [(r["run"], r["state"]) for r in both] == [
        (plan.run, "left out"), (ended.name, "exported"),
    ]  # fmt: skip
    assert f"--resume {planned.path}" in both[0]["why"]
    assert (alone.code, alone.out) == (1, "")
    assert "None of 1 runs can be exported" in alone.err


def test_an_unknown_tool_names_those_that_are_there(logreg: Ran, call: Call) -> None:
    seen = call("export", logreg.store, "--to=tensorbord", "--into=logs")

    assert seen.code == 1
    assert "Did you mean 'tensorboard'? Available: mlflow, tensorboard, wandb." in seen.err


@pytest.mark.parametrize(
    ("tool", "module"),
    [
        ("mlflow", "mlflow"),
        ("tensorboard", "tensorboard.summary.writer.record_writer"),
        ("wandb", "wandb"),
    ],
)
def test_a_tool_that_is_not_installed_says_which_line_installs_it(
    tool: str,
    module: str,
    logreg: Ran,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    seen = call("export", logreg.store, "--to", tool, "--into", tmp_path / "place")

    assert (seen.code, seen.out) == (1, "")
    assert f"pip install 'timetrial[{tool}]'" in seen.err
    assert seen.err.count("\n") == 1
