"""What the verbs print, where, and with which exit status."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome, Ran
from xla_in_a_hurry import XLA_IN_A_HURRY

from timetrial.frameworks import REGISTRY, REQUIREMENTS, Requirement, install_line, installed
from timetrial.plan import TASKS, find_task

# fmt: off
ROW_FIELDS = [
    "task", "target", "split", "clock", "dataset", "division", "framework", "device", "cores",
    "precision", "workers", "launcher", "network", "system", "measure", "value", "low", "high", "n",
    "unit", "origin", "source", "date", "status_counts", "notes", "evidence", "facts",
]
# fmt: on


@pytest.mark.parametrize(("ran", "n"), [("digits", 5), ("logreg", 3)])
def test_run_as_json_gives_rows_with_intervals_and_n(
    ran: str, n: int, request: pytest.FixtureRequest
) -> None:
    seen: Ran = request.getfixturevalue(ran)

    assert seen.outcome.code == 0
    assert all(list(row) == ROW_FIELDS for row in seen.outcome.json())
    headline = [
        row for row in seen.rows() if (row["measure"], row["clock"]) == ("time_to_target", "mlperf")
    ]
    assert len(headline) == 1
    assert headline[0]["n"] == n
    assert headline[0]["low"] < headline[0]["value"] < headline[0]["high"]
    assert headline[0]["status_counts"] == {"reached": n}
    measures = {row["measure"] for row in seen.rows()}
    assert {"final_test_accuracy", "wall", "cpu", "peak_memory"} <= measures


def test_run_as_json_says_where_the_page_is_on_standard_error(digits: Ran) -> None:
    assert str(digits.store / "report.html") in digits.outcome.err
    assert (digits.store / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_run_prints_each_run_and_the_table_apart(
    timetrial: Callable[..., Outcome], tmp_path: Path
) -> None:
    seen = timetrial("run", "breast-cancer-logreg", "--seeds=1", cwd=tmp_path)

    assert seen.code == 0
    assert "Time to target" in seen.out
    assert "Report: timetrial-runs/report.html" in seen.out
    assert "breast-cancer-logreg, sklearn" in seen.err
    assert "reached" in seen.err


def test_report_as_json_gives_the_same_rows(digits: Ran, call: Callable[..., Outcome]) -> None:
    assert call("report", digits.store, "--json").json() == digits.outcome.json()


def test_report_writes_every_ending(
    digits: Ran, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    paths = [tmp_path / f"report{ending}" for ending in (".html", ".md", ".csv", ".json")]
    outs = [part for path in paths for part in ("--out", path)]

    seen = call("report", digits.store, *outs, "--title", "Digits here")

    assert seen.code == 0
    assert all(str(path) in seen.out for path in paths)
    assert "Digits here" in paths[0].read_text(encoding="utf-8")
    assert "digits-cnn" in paths[1].read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(paths[2].read_text(encoding="utf-8"))))
    assert set(ROW_FIELDS) <= set(rows[0])
    assert json.loads(paths[3].read_text(encoding="utf-8")) == digits.outcome.json()


def test_report_answers_what_the_quality_was_after_any_time(
    digits: Ran, call: Callable[..., Outcome]
) -> None:
    rows = call("report", digits.store, "--after", "60s", "--json").json()

    after = [row for row in rows if row["measure"] == "accuracy_after_60s"]
    assert len(after) == 1
    assert 0 <= after[0]["value"] <= 1


def test_compare_names_the_faster_or_says_that_it_cannot(
    precisions: Ran, call: Callable[..., Outcome]
) -> None:
    sides = ("precision=float32", "precision=float64", "--store", precisions.store)

    verdict = call("compare", *sides, "--json").json()[0]
    words = call("compare", *sides)

    assert words.code == 0
    assert (verdict["n_a"], verdict["n_b"]) == (2, 2)
    assert verdict["a"] == "float32"
    assert verdict["low"] < verdict["ratio"] < verdict["high"]
    told_apart = "times as fast" in words.out
    assert told_apart == (verdict["verdict"] != "not distinguishable")
    assert words.out.count("digits-cnn") == 1


def test_compare_reads_every_clock(precisions: Ran, call: Callable[..., Outcome]) -> None:
    sides = ("precision=float32", "precision=float64", "--store", precisions.store)

    wall = call("compare", *sides, "--clock=wall", "--json").json()[0]

    assert wall["clock"] == "wall"


def test_compare_of_directories_reads_the_target_both_were_run_to(
    digits: Ran, precisions: Ran, call: Callable[..., Outcome]
) -> None:
    light = [path.parent for path in precisions.store.glob("*/plan.json")]
    single = [path for path in light if json.loads((path / "plan.json").read_text())["precision"]
              == "float32"]  # fmt: skip

    verdict = call("compare", digits.store, single[0], "--json").json()[0]

    assert verdict["target"] == "accuracy >= 0.9 on validation"


def test_verify_passes_whole_runs_and_fails_a_changed_one(
    logreg: Ran, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    good = call("verify", logreg.store)
    shutil.copytree(logreg.store, tmp_path / "copy")
    changed = next((tmp_path / "copy").glob("*/events.0.jsonl"))
    changed.write_bytes(changed.read_bytes().replace(b'"accuracy":0.9', b'"accuracy":0.8'))

    bad = call("verify", tmp_path / "copy")
    found = call("verify", tmp_path / "copy", "--json").json()

    assert (good.code, bad.code) == (0, 1)
    assert "3 of 3 runs verified" in good.out
    assert "2 of 3 runs verified" in bad.out
    assert changed.parent.name in bad.out
    whole = [all(check["ok"] for check in run["checks"]) for run in found]
    assert sorted(whole) == [False, True, True]


def test_a_run_that_fails_gives_exit_status_3_and_its_reason(
    timetrial: Callable[..., Outcome], tmp_path: Path
) -> None:
    store = tmp_path / "runs"

    seen = timetrial(
        "run", "digits-cnn", "--device=cuda:99", "--seeds=1", "--json", "--store", store
    )

    assert seen.code == 3
    assert "cuda:99" in seen.err
    assert {row["n"] for row in seen.json() if row["measure"] == "time_to_target"} <= {0, 1}


@pytest.mark.parametrize(
    "kind",
    ["clocks", "datasets", "frameworks", "launchers", "references", "suites", "tasks"],
)
def test_every_list_has_a_table_and_json(kind: str, call: Callable[..., Outcome]) -> None:
    table, rows = call("list", kind), call("list", kind, "--json").json()
    rows = [*rows["frameworks"], *rows["retired"]] if kind == "frameworks" else rows

    assert (table.code, table.err) == (0, "")
    assert len(rows) >= 1
    assert len(table.out.splitlines()) > len(rows)


def test_a_framework_that_is_not_installed_is_listed_with_the_line_that_installs_it(
    call: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Requirement(modules={"no_such": ()}, extra="torch", devices=("cpu",))
    monkeypatch.setitem(REQUIREMENTS, "torch", absent)

    assert "pip install 'timetrial[torch]'" in call("list", "frameworks").out


def test_published_results_are_listed_as_rows(call: Callable[..., Outcome]) -> None:
    rows = call("list", "references", "--json").json()

    assert all(list(row) == ROW_FIELDS for row in rows)
    assert {row["origin"] for row in rows} == {"published"}


def test_runs_are_listed_with_whole_names(digits: Ran, call: Callable[..., Outcome]) -> None:
    table = call("list", "runs", "--store", digits.store).out
    lines = call("list", "runs", "--store", digits.store, "--json").json()

    assert len(lines) == 5
    assert all(line["run"] in table for line in lines)
    assert len({line["seed"] for line in lines}) == 5


def test_no_store_yet_is_no_error_to_list(
    call: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert call("list", "runs") == Outcome(0, "no runs\n", "")
    assert call("list", "runs", "--json").json() == []


@pytest.mark.parametrize("task", ["breast-cancer-logreg", "digits-cnn", "mnist-cnn"])
def test_show_prints_the_rules_of_a_task(task: str, call: Callable[..., Outcome]) -> None:
    page, facts = call("show", task), call("show", task, "--json").json()

    assert facts["hash"][:16] in page.out
    assert facts["task"]["name"] == task
    assert call("show", task, "--markdown").out.startswith(f"# {task}\n")


def test_show_prints_a_suite_and_a_run(digits: Ran, call: Callable[..., Outcome]) -> None:
    run = next(digits.store.glob("*/plan.json")).parent

    suite = call("show", "quick")
    shown = call("show", run, "--json").json()

    assert "digits-cnn" in suite.out
    assert call("show", "quick", "--json").json()["name"] == "quick"
    assert shown["plan"]["run"] == run.name
    assert all(list(row) == ROW_FIELDS for row in shown["rows"])
    assert "Time to" in call("show", run).out


def test_doctor_runs_a_real_step_of_each_framework(timetrial: Callable[..., Outcome]) -> None:
    found = timetrial("doctor", "--json", env={"XLA_FLAGS": XLA_IN_A_HURRY}).json()

    frameworks = {item["what"]: item for item in found if item["what"].startswith("framework")}
    assert set(frameworks) == {f"framework {name}" for name in REGISTRY.names()}
    used = {name for task in TASKS.names() for name in find_task(task).implementations}
    for what, item in frameworks.items():
        name = what.partition(" ")[2]
        if not installed(name):
            assert item["remedy"] == install_line(name)
            continue
        assert item["ok"], item
        said = "one step done" if name in used else "no task of timetrial runs in it yet"
        assert said in item["detail"]
    assert any(item["what"] == "quiet machine" for item in found)


def test_data_is_listed_and_checked(call: Callable[..., Outcome]) -> None:
    rows = {row["dataset"]: row["state"] for row in call("data", "list", "--json").json()}
    checked = call("data", "check", "digits", "breast-cancer", "--json")

    assert rows["digits"] == rows["breast-cancer"] == "here"
    assert checked.code == 0
    assert {row["status"] for row in checked.json()} == {"ok"}
    assert "digits" in call("data", "list").out
    assert "ok" in call("data", "check", "digits").out


def test_fetching_what_is_here_fetches_nothing(call: Callable[..., Outcome]) -> None:
    assert call("data", "fetch", "digits") == Outcome(
        0, "digits: 1 file from package: scikit-learn\n", ""
    )


def test_the_version_is_printed(call: Callable[..., Outcome]) -> None:
    assert call("--version").out.startswith("timetrial 0.")
