"""The examples of own tasks, each run to its end by the command that its first lines name."""

from __future__ import annotations

import os
import shlex
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from command_line import ROOT, Outcome, run_timetrial

from timetrial import api
from timetrial.owntask import find_task_or_file
from timetrial.plan import find_task
from timetrial.results import Runs
from timetrial.rundir import pretty_json

EXAMPLES = {
    "own_task.toml": "handwritten",
    "own_task_csv.toml": "tumours",
    "own_task.py": "tumours",
}
SHORTER = {"own_task_csv.toml": ["--seeds=1"], "own_task.py": ["--seeds=1"]}  # of three


class Done(NamedTuple):
    """What the documented command of one example left; all but the first make one run of three."""

    file: Path
    store: Path
    outcome: Outcome
    runs: Runs


@pytest.fixture(scope="module", params=EXAMPLES)
def done(
    request: pytest.FixtureRequest, examples: Path, tmp_path_factory: pytest.TempPathFactory
) -> Done:
    """Run `timetrial run examples/FILE`, in a copy whose examples are then taken away."""
    here = tmp_path_factory.mktemp("own") / "work"
    shutil.copytree(examples, here)
    file = here / "examples" / request.param
    words = shlex.split(f"timetrial run examples/{request.param}")
    assert shlex.join(words) in file.read_text(encoding="utf-8")
    outcome = run_timetrial(*words[1:], *SHORTER.get(file.name, []), cwd=here)
    shutil.rmtree(here / "examples")
    return Done(file, here / "timetrial-runs", outcome, api.load(here / "timetrial-runs"))


def test_an_example_is_a_known_task_but_for_one_rule() -> None:
    file = ROOT / "examples" / "fashion_whole.py"
    own, known = find_task_or_file(str(file), {}, fetch=False).task, find_task("fashion-mnist-cnn")
    others = {"name": known.name, "title": known.title}
    assert not own.stops_at_target
    assert msgspec.structs.replace(own, stops_at_target=True, **others) == known


@pytest.mark.slow
def test_an_example_reaches_its_target_with_its_documented_command(done: Done) -> None:
    assert done.outcome.code == 0, done.outcome.err
    assert {record.status for record in done.runs} == {"reached"}
    assert len(done.runs) == (1 if done.file.name in SHORTER else 3)
    assert {row.dataset for row in done.runs.estimates()} == {EXAMPLES[done.file.name]}


@pytest.mark.slow
def test_its_runs_are_verified_and_reported_with_the_file_and_data_gone(
    done: Done, call: Callable[..., Outcome]
) -> None:
    verified = call("verify", done.store, "--json")
    shown = call("report", done.store, "--json")

    assert verified.code == 0, verified.out
    checks = [check for run in verified.json() for check in run["checks"]]
    rules = {check["detail"] for check in checks if check["name"] == "rules"}
    assert rules == {f"task {done.runs[0].plan.task.name} is not known here"}
    assert shown.code == 0
    assert shown.json()


@pytest.mark.slow
def test_a_planned_run_is_finished_with_the_file_and_data_gone(done: Done, tmp_path: Path) -> None:
    planned = done.runs[0].plan
    waiting = tmp_path / planned.run
    waiting.mkdir()
    (waiting / "plan.json").write_bytes(pretty_json(msgspec.structs.replace(planned, seed=5)))

    seen = run_timetrial("run", "--resume", waiting, "--json")

    assert seen.code == 0, seen.err
    (record,) = api.load(waiting)
    assert record.status == "reached"


def test_show_prints_every_default_of_a_file_that_says_little(
    examples: Path, tmp_path: Path, call: Callable[..., Outcome]
) -> None:
    file = tmp_path / "little.toml"
    data = (examples / "examples/own-data/handwritten").as_posix()
    file.write_text(f'[task]\ntarget = 0.9\ndata = {{ images = "{data}" }}\n', encoding="utf-8")

    seen = call("show", file, "--markdown")

    assert (seen.code, seen.err) == (0, "")
    for said in (
        "# little",
        "1,150 train, 287 validation, cut from train with seed 0, 360 test, cut with seed 0",
        "8 × 8 × 1, divided by 255, mean (",
        "learning rate 0.05, momentum 0.9, Nesterov (PyTorch's form), weight decay 0.0001",
        "a mini-batch of 64; the last of an epoch may be smaller",
        "360 steps = 20 epochs of 18",
        "every 18 steps on validation",
        "accuracy >= 0.9 on validation",
        "accuracy >= 0.81 on validation",
        "convolution 3 × 3, 16 filters",
        "Mean and standard deviation are those of the training part.",
    ):
        assert said in seen.out


def test_a_grid_file_runs_its_own_task_beside_another(
    examples: Path, tmp_path: Path, call: Callable[..., Outcome]
) -> None:
    own = (examples / "examples/own_task_csv.toml").read_text(encoding="utf-8")
    own = own.replace("own-data", (examples / "examples/own-data").as_posix())
    file = tmp_path / "grid.toml"
    grid = '[[run]]\nprecision = ["float32", "float64"]\n[[run]]\ntask = "digits-cnn"\n'
    file.write_text(f"{own}\n{grid}", encoding="utf-8")

    plans = call("run", file, "--seeds", "1", "--dry-run", "--json").json()

    seen = [(plan["task"]["name"], plan["precision"]) for plan in plans]
    assert seen == [("grid", "float32"), ("grid", "float64"), ("digits-cnn", "float32")]


def test_a_grid_file_names_task_files_beside_it(
    examples: Path, call: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    grid = examples / "examples" / "several.toml"
    grid.write_text('[[run]]\ntask = ["own_task.py", "own_task.toml"]\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    plans = call("run", grid, "--seeds", "1", "--dry-run", "--json").json()

    assert [plan["task"]["name"] for plan in plans] == ["tumours-mlp", "handwritten"]


@pytest.mark.slow
def test_parity_proves_a_task_file(examples: Path) -> None:
    seen = run_timetrial(
        "parity", examples / "examples/own_task_csv.toml", "--framework", "torch", "--cores", "1"
    )

    assert (seen.code, seen.out.splitlines()[-1]) == (0, "the same task"), seen.out


# --- the example package -------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds the example package as pip would leave it."""
    source = ROOT / "examples/own_package"
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path / "site"
    shutil.copytree(source / "digits_mlp", site / "digits_mlp")
    about = site / f"digits_mlp-{project['version']}.dist-info"
    about.mkdir()
    named = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (about / "METADATA").write_text(named, encoding="utf-8")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT / "src")])}


def test_the_example_package_is_listed_and_planned_like_a_built_in_task(
    installed: dict[str, str],
) -> None:
    listed = run_timetrial("list", "tasks", env=installed)
    shown = run_timetrial("show", "digits-mlp", "--markdown", env=installed)
    planned = run_timetrial("run", "digits-mlp", "--seeds=1", "--dry-run", "--json", env=installed)

    assert "digits-mlp" in listed.out
    assert "two hidden layers" in shown.out
    assert planned.code == 0, planned.err
    assert planned.json()[0]["task"]["dataset"]["name"] == "digits"


@pytest.mark.slow
def test_the_example_package_reaches_its_target(installed: dict[str, str], tmp_path: Path) -> None:
    seen = run_timetrial("run", "digits-mlp", "--seeds=1", "--json", env=installed, cwd=tmp_path)

    assert seen.code == 0, seen.err
    assert {str(row["status_counts"]) for row in seen.json()} == {"{'reached': 1}"}
