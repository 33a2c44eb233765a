"""Bad input: one line that says what was wrong, the value seen, what is allowed; exit status 1."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from command_line import ONE_CORE, Outcome, Ran, environment

KNOWN_TASKS = ("breast-cancer-logreg", "digits-cnn", "fashion-mnist-cnn", "mnist-cnn")

UNKNOWN = [
    (("run", "digts-cnn"), "digits-cnn", KNOWN_TASKS),
    (("run", "quik"), "quick", (*KNOWN_TASKS, "quick")),
    (("show", "mnist-cn"), "mnist-cnn", (*KNOWN_TASKS, "quick")),
    (("run", "digits-cnn", "--framework=troch"), "torch", ("torch",)),
    (("run", "digits-cnn", "--launcher=locl"), "local", ("local",)),
    (("run", "digits-cnn", "--set", "step_max=3"), "steps_max", ("batch_size", "timeout_s")),
    (("list", "taks"), "tasks", ("clocks", "runs", "suites", "tasks")),
    (("compare", "core=1", "cores=2"), "cores", ("framework", "precision", "task")),
    (("data", "fetch", "mnits"), "mnist", ("breast-cancer", "digits", "mnist")),
    (("data", "check", "digit"), "digits", ("breast-cancer", "digits", "mnist")),
]

IMPOSSIBLE = [
    (("--cores=0",), "--cores 0", "from 1"),
    (("--cores=9999",), "--cores 9999", "Allowed: 1 to"),
    (("--cores=x",), "--cores x", "whole numbers"),
    (("--cores=1,,2",), "1,,2", "single commas"),
    (("--memory=foo",), "'foo'", "4GiB"),
    (("--memory=0",), "--memory 0", "above 0"),
    (("--budget=-1",), "'-1'", "60s"),
    (("--budget=0s",), "--budget 0s", "above 0"),
    (("--target=97",), "--target 97", "such as 0.97"),
    (("--target=nan",), "--target nan", "such as 0.97"),
    (("--set", "lr"), "--set lr", "key=value"),
    (("--set", "optimizer.learning_rate=1"), "closed task digits-cnn", "--division open"),
    (("--set", "batch_size=0", "--division=open"), "--set batch_size=0", "1 and more"),
    (("--set", "batch_size=x", "--division=open"), "batch_size", "int"),
    (("--set", "optimizer.learning_rate=inf", "--division=open"), "learning_rate=inf", "finite"),
    (("--budget=inf",), "'inf'", "60s"),
    (("--set", "eval_every_steps=0"), "eval_every_steps=0", "1 and more"),
    (("--set", "sample_every_s=-1"), "sample_every_s=-1", "0 and more"),
    (("--set", "timeout_s=nan"), "timeout_s=nan", "above 0"),
    (("--set", "timeout_s=1", "--set", "timeout_s=2"), "timeout_s is given twice", "1 and 2"),
    (("--precision=half",), "--precision half", "float32, float64"),
    (("--division=ajar",), "--division ajar", "closed, open"),
    (("--device=gpu",), "--device gpu", "cuda:N"),
    (("--dataset=mnist",), "--dataset mnist", "digits"),
    (("--workers=0",), "--workers 0", "from 1"),
    (("--algorithm=gossip:topology=star",), "topology=star", "ring"),
    (("--network=rate=1gbit",), "--network rate=1gbit", "shaped"),
    (("--launcher=shaped", "--network=speed=1gbit"), "--network 'speed'", "rate"),
    (("--partition=dirichlet:alpha=0", "--division=open"), "alpha=0", "above 0"),
    (("--launcher=ssh",), "Launcher ssh", "--cluster"),
    (("--launcher=ssh", "--cluster=no-such.toml"), "no-such.toml", "--cluster hosts.toml"),
    (("--launcher=kubernetes",), "--cluster", "claim"),
    (("--launcher=skypilot", "--cluster=cloud=x"), "cloud", "infra"),
    (("--until=0",), "'0'", "5%"),
    (("--until=5%", "--seeds=3"), "not both", "--until"),
    (("--at-most=5min",), "--at-most", "Add --until"),
    (("--calibrate=2", "--seeds=3"), "--calibrate 2", "pairs"),
    (("--resume", "--cores=1"), "--resume", "Leave out"),
]


# Python's own finders, blind to one package: as if it were not installed.
HIDE = """
import sys

class Blind:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] == "{hidden}"
        return None if hidden else self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)

sys.meta_path[:] = [Blind(finder) for finder in sys.meta_path]
"""


def assert_one_line(seen: Outcome, *parts: str) -> None:
    assert seen.code == 1
    assert seen.out == ""
    assert seen.err.startswith("timetrial: ")
    assert seen.err.count("\n") == 1
    assert "Traceback" not in seen.err
    for part in parts:
        assert part in seen.err


@pytest.mark.parametrize(("arguments", "nearest", "known"), UNKNOWN)
def test_an_unknown_name_gives_the_nearest_and_all_known_ones(
    arguments: tuple[str, ...], nearest: str, known: tuple[str, ...], call: Callable[..., Outcome]
) -> None:
    assert_one_line(call(*arguments), f"Did you mean '{nearest}'?", *known)


@pytest.mark.parametrize(("options", "value", "allowed"), IMPOSSIBLE)
def test_an_impossible_option_says_the_value_and_what_is_allowed(
    options: tuple[str, ...],
    value: str,
    allowed: str,
    call: Callable[..., Outcome],
    tmp_path: Path,
) -> None:
    store = tmp_path / "runs"

    assert_one_line(call("run", "digits-cnn", "--store", store, *options), value, allowed)
    assert not store.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--seeds=0"),
        ("run", "--seeds=x"),
        ("run", "--framwork=torch"),
        ("run", "--target=high"),
        ("compare", "only-one"),
        ("lst",),
        ("data", "fetsh"),
    ],
)
def test_wrong_usage_gives_exit_status_2_and_the_way_to_help(
    arguments: tuple[str, ...], call: Callable[..., Outcome]
) -> None:
    seen = call(*arguments)

    assert (seen.code, seen.out) == (2, "")
    assert "-h' for help" in seen.err
    assert "Traceback" not in seen.err


def test_nothing_named_prints_the_help(call: Callable[..., Outcome]) -> None:
    seen = call()

    assert seen.code == 2
    assert "Usage: timetrial" in seen.out + seen.err


@pytest.mark.parametrize("verb", ["report", "verify"])
def test_a_store_that_is_not_there_is_named(
    verb: str, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    assert_one_line(call(verb, tmp_path / "none"), str(tmp_path / "none"))


def test_an_empty_store_is_not_verified(call: Callable[..., Outcome], tmp_path: Path) -> None:
    seen = call("verify", tmp_path)

    assert seen.code == 1
    assert "no run" in seen.err


def test_an_empty_store_cannot_be_resumed(call: Callable[..., Outcome], tmp_path: Path) -> None:
    assert_one_line(call("run", "--resume", "--store", tmp_path), "nothing to resume")


def test_a_report_needs_a_known_ending(
    digits: Ran, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    seen = call("report", digits.store, "--out", tmp_path / "report.pdf")

    assert_one_line(seen, "report.pdf", ".html, .md, .csv, .json")
    assert list(tmp_path.iterdir()) == []


def test_runs_of_different_tasks_have_nothing_to_compare(
    digits: Ran, logreg: Ran, call: Callable[..., Outcome]
) -> None:
    seen = call("compare", digits.store, logreg.store)

    assert_one_line(seen, "digits-cnn", "breast-cancer-logreg", "nothing to compare")


def test_unequal_work_is_not_compared(
    digits: Ran, timetrial: Callable[..., Outcome], call: Callable[..., Outcome], tmp_path: Path
) -> None:
    rules = ("--division=open", "--set", "steps_max=17", "--set", "eval_every_steps=5")
    opened = (*rules, *ONE_CORE, "--seeds=1", "--store", tmp_path)
    assert timetrial("run", "digits-cnn", *opened).code == 0

    assert_one_line(call("compare", digits.store, tmp_path), "not the same work")


def test_runs_are_not_compared_with_themselves(digits: Ran, call: Callable[..., Outcome]) -> None:
    assert_one_line(call("compare", digits.store, digits.store), "share 5 runs", "themselves")


def test_a_side_with_two_systems_is_told_how_to_name_one(
    digits: Ran, precisions: Ran, call: Callable[..., Outcome]
) -> None:
    seen = call("compare", precisions.store, digits.store)

    assert_one_line(seen, "A has 2 systems", "precision=float32", "precision=float64")


def test_conditions_that_no_run_meets_are_said(digits: Ran, call: Callable[..., Outcome]) -> None:
    seen = call("compare", "cores=4096", "cores=1", "--store", digits.store)

    assert_one_line(seen, "cores=4096", "timetrial list runs")


def test_an_unknown_clock_names_all_clocks(precisions: Ran, call: Callable[..., Outcome]) -> None:
    sides = ("precision=float32", "precision=float64", "--store", precisions.store)

    assert_one_line(call("compare", *sides, "--clock=mlpref"), "Did you mean 'mlperf'?", "wall")


@pytest.mark.parametrize(
    ("hidden", "task", "extra"),
    [("torch", "digits-cnn", "torch"), ("sklearn", "breast-cancer-logreg", "sklearn")],
)
def test_a_framework_that_is_not_installed_gives_the_line_that_installs_it(
    hidden: str, task: str, extra: str, tmp_path: Path
) -> None:
    code = HIDE.format(hidden=hidden) + (
        f"sys.argv = ['timetrial', 'run', {task!r}]\nfrom timetrial.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    seen = Outcome(done.returncode, done.stdout, done.stderr)
    assert_one_line(seen, "not installed", f"pip install 'timetrial[{extra}]'")
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_that_cannot_be_had_names_the_tasks_other_one_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timetrial import batch
    from timetrial.errors import DataError
    from timetrial.plan import Request, find_task

    task = find_task("cifar10-resnet20-v2")
    monkeypatch.setenv("TIMETRIAL_DATA", str(tmp_path))
    monkeypatch.setenv("TIMETRIAL_CACHE", str(tmp_path))
    error = DataError("cannot be had")
    assert batch._with_alternatives(error, task, Request(task=task.name)) is error
    digits = msgspec.structs.replace(task, datasets=("digits",))
    told = str(batch._with_alternatives(error, digits, Request(task=task.name)))
    assert told.startswith("cannot be had\n")
    assert told.endswith("--dataset digits")
