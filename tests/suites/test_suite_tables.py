"""The documents' tables: this machine's lines from real runs beside the published ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from suite_runs import ours, row_in, run_as, with_plugin
from team_runs import TASK, Times, plan_for, write_run

from timetrial import suites
from timetrial._registry import load_object
from timetrial.plan import Request
from timetrial.report import tables_csv, tables_markdown
from timetrial.results import Runs, save_tables
from timetrial.rows import Row, Table
from timetrial.spec import Target
from timetrial.store import RunRecord
from timetrial.suites.tables import tables_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suites")


@pytest.fixture(scope="module")
def records(folder: Path) -> dict[str, list[RunRecord]]:
    """Runs of all four suites; of cloud-check two with a price and two light ones without."""
    priced = Request(
        task="cifar10-vgg-published",
        suite="cloud-check",
        price_usd_per_h=0.5,
        provider="our cellar",
        region="left shelf",
        image="Debian 12",
    )
    free = Request(task="cifar10-vgg-published", suite="cloud-check")
    mnist = Request(task="mnist-cnn", suite="benchm-dl")
    platform = Request(task="cifar10-resnet18", suite="platform-task")
    deep = [Request(task=f"cifar10-resnet{d}-v2", suite="mlbench") for d in (20, 32)]
    with pytest.MonkeyPatch.context() as patch:
        with_plugin(patch, folder / "plugin")
        return {
            "cloud-check": [
                *(run_as(folder, priced, seed=seed) for seed in (1, 2)),
                *(run_as(folder, free, seed=seed, light=True) for seed in (3, 4)),
            ],
            "benchm-dl": [run_as(folder, mnist, seed=seed) for seed in (1, 2)],
            "platform-task": [
                run_as(folder, platform, seed=seed, measures=("confusion_matrix",))
                for seed in (1, 2)
            ],
            "mlbench": [run_as(folder, r, seed=seed) for r in deep for seed in (1, 2)],
        }


def tables(records: Sequence[RunRecord]) -> list[Table]:
    found, notes = tables_of(records)
    assert notes == []
    return found


def test_cost_is_the_seconds_of_the_tables_clock_times_the_price(
    records: dict[str, list[RunRecord]],
) -> None:
    [table] = tables(records["cloud-check"])
    line, _ = ours(table)
    time, cost, billed = (row_in(line, name) for name in ("time", "cost", "billed"))
    assert time.value is not None
    assert cost.value == pytest.approx(time.value * 0.5 / 3600)
    assert (time.clock, cost.clock, billed.clock) == ("cloud-check", "cloud-check", "billed")
    assert billed.value is not None
    assert billed.value > cost.value, "a machine is paid for while it starts up, too"
    assert cost.unit == "USD"
    assert cost.low is not None
    assert cost.facts["price_source"] == "given on the command line"
    assert cost.facts["price_date"] == line.date
    assert line.cells["price"] == "0.500 USD/h"
    assert line.cells["fees"] == "unknown"
    place = [line.cells[name] for name in ("provider", "region")]
    assert place == ["our cellar", "left shelf"]
    assert str(line.cells["image"]).startswith("Debian 12, fake 1")


def test_an_unknown_price_gives_an_unknown_cost_never_zero(
    records: dict[str, list[RunRecord]],
) -> None:
    [table] = tables(records["cloud-check"])
    light = ours(table)[1]
    for name in ("cost", "billed"):
        row = row_in(light, name)
        assert (row.value, row.low, row.high) == (None, None, None)
        assert any("--price-per-hour" in note for note in row.notes)
    assert light.cells["price"] == "unknown"
    assert row_in(light, "time").value


def test_light_and_full_runs_are_two_lines_and_light_is_said_in_each_place(
    records: dict[str, list[RunRecord]],
) -> None:
    found = Runs(records["cloud-check"]).findings()
    full, light = ours(found.tables[0])
    assert (full.n, light.n) == (2, 2)
    assert "light" in light.group
    assert "light" not in full.group
    assert "(light)" in str(light.cells["image"])
    assert any(note.startswith("light: at most 80 of 240 steps") for note in light.notes)
    for kind in (found.curves, found.step_curves, found.bars):
        said = ["light" in thing.system.split(", ") for thing in kind]
        assert sorted(said) == [False, True]
    for row in found.rows:
        if row.origin == "measured":
            is_light = row.system.endswith(", light")
            assert is_light == any(note.startswith("light:") for note in row.notes)
            assert row.n <= 2
    assert sum("light" in run.system for run in found.runs) == 2
    assert found.verdicts == [], "a light system is not compared with a full one"


def test_published_lines_follow_with_date_source_and_what_is_not_comparable(
    records: dict[str, list[RunRecord]],
) -> None:
    [table] = tables(records["cloud-check"])
    published = [line for line in table.lines if line.origin == "published"]
    assert len(published) == 7
    assert [line.origin for line in table.lines[:2]] == ["measured", "measured"]
    for line in published:
        assert line.source == "srm-soumya/cloud-check"
        assert line.date
        assert line.evidence == ["https://github.com/srm-soumya/cloud-check"]
        assert line.n == 1
    assert any("dropout on" in note for note in table.notes)
    assert any("one run each" in note for note in table.notes)
    v100 = next(line for line in published if line.cells["gpu"] == "1 V100")
    assert any("slower than the P100" in note for note in v100.notes)


def test_benchm_dl_has_a_line_for_every_tool_and_says_why_some_did_not_run(
    records: dict[str, list[RunRecord]],
) -> None:
    [table] = tables(records["benchm-dl"])
    [line] = ours(table)
    assert row_in(line, "time").clock == "benchm-dl"
    assert row_in(line, "error").measure == "final_test_error_rate"
    assert line.cells["cores"] == "unknown", "no sampler was asked for"
    silent = [line for line in table.lines if line.origin is None]
    assert [line.cells["tool"] for line in silent] == [
        "torch",
        "jax",
        "keras-tensorflow",
        "keras-jax",
        "keras-torch",
    ]
    assert all(line.cells["system"] for line in silent)
    tools = {str(line.cells["tool"]) for line in table.lines if line.origin == "published"}
    assert {"neon", "keras (theano)", "keras (cntk)", "mxnet (R)"} <= tools
    theano = next(x for x in table.lines if x.cells["tool"] == "keras (theano)")
    assert any("1.0.5" in note for note in theano.notes)


def test_platform_task_has_the_diagonal_of_the_confusion_matrix(
    records: dict[str, list[RunRecord]],
) -> None:
    [table] = tables(records["platform-task"])
    [line] = ours(table)
    classes = [column.name for column in table.columns][4:]
    assert len(classes) == 10
    values = [row_in(line, name).value for name in classes]
    accuracy = row_in(line, "accuracy").value
    assert accuracy is not None
    assert all(value is not None and 0 <= value <= 1 for value in values)
    assert min(filter(None, values)) <= accuracy <= max(filter(None, values))
    published = table.lines[-1]
    assert row_in(published, "dog").value == 0.54


def test_the_confusion_matrix_is_a_picture_of_all_whole_runs(
    records: dict[str, list[RunRecord]],
) -> None:
    [picture] = Runs(records["platform-task"]).findings().confusions
    tables = [record.measured("confusion_matrix") for record in records["platform-task"]]
    assert picture.n == 2
    assert len(picture.classes) == 10
    for label, row in enumerate(picture.counts):
        assert list(row) == [sum(t.table[label][c] for t in tables if t) for c in range(10)]
    assert Runs(records["mlbench"]).findings().confusions == []


def test_mlbench_has_both_metrics_on_both_clocks_and_the_picture_of_depths(
    records: dict[str, list[RunRecord]],
) -> None:
    time, after, _ = tables(records["mlbench"])
    assert [line.cells["clock"] for line in ours(time)] == [
        "clock mlbench-2018",
        "clock mlbench-2020",
    ] * 2
    for line in ours(time):
        reached, beyond = row_in(line, "to_0.7"), row_in(line, "to_0.97")
        assert reached.value is not None
        assert reached.target == "accuracy >= 0.7 on test"
        assert beyond.value is None, "censored, not dropped"
        assert beyond.low is not None
    first, second = (row_in(line, "to_0.7").value for line in ours(time)[:2])
    assert first is not None
    assert second is not None
    assert second <= first, "the clock of 2020 counts less"
    assert all(row_in(line, "final").value for line in ours(after))
    published = [line for line in time.lines if line.origin == "published"]
    assert {str(line.cells["workers"]) for line in published} >= {"1 worker", "64 workers"}
    [chart] = time.charts
    assert [label.split(",")[0] for label in chart.labels] == ["ResNet-20-v2", "ResNet-32-v2"]
    for curve in chart.curves:
        assert curve.metric == "error_rate"
        assert list(curve.steps) == [40, 80, 120, 160, 200, 240]
        assert curve.n == 2
        assert all(low is not None for low in curve.low)


def test_mlbench_shows_speed_ups_beside_the_published_ones(tmp_path: Path) -> None:
    target = Target(metric="accuracy", threshold=0.8, direction="at_least", split="test")
    task = msgspec.structs.replace(
        TASK, name="cifar10-resnet20-v2", eval_split="test", targets=(target,), light_target=target
    )
    made = [
        write_run(
            tmp_path,
            plan_for(workers, task=task, seed=seed, suite="mlbench"),
            Times(seconds, exchange),
        )
        for seed, factor in ((1, 1.0), (2, 1.02))
        for workers, seconds, exchange in ((1, 0.04 * factor, 0.0), (2, 0.02 * factor, 0.002))
    ]
    *_, sped = tables(made)
    assert sped.title == "speed-up"
    lines = ours(sped)
    assert [line.cells["workers"] for line in lines] == ["2 workers"] * 2
    assert [line.cells["clock"] for line in lines] == ["clock mlbench-2018", "clock mlbench-2020"]
    for line in lines:
        training, reached = row_in(line, "training"), row_in(line, "to_0.8")
        assert training.value == pytest.approx(0.0409 / 0.0227, rel=1e-2)
        assert reached.clock == str(line.cells["clock"]).removeprefix("clock ")
        assert 1 < (reached.value or 0) < 2
        assert row_in(line, "share").value == pytest.approx(0.002 / 0.0227, rel=2e-2)
    published = {
        (line.cells["system"], line.cells["workers"]): row_in(line, "to_0.8")
        for line in sped.lines
        if line.origin == "published" and "to_0.8" in line.cells
    }
    assert published["GCE n1-standard-4, torch", "8 workers"].value == 4.9
    exact = published["T4, all-reduce GLOO, torch", "16 workers"]
    assert (exact.value, exact.unit) == (pytest.approx(171.2 / 25.9, abs=1e-3), "1")


def test_pictures_of_other_splits_and_data_sets_are_apart(
    records: dict[str, list[RunRecord]],
) -> None:
    moved = []
    for record in records["mlbench"]:
        task = record.plan.task
        jpeg = msgspec.structs.replace(task.dataset, name="cifar10-jpeg")
        task = msgspec.structs.replace(task, dataset=jpeg)
        plan = msgspec.structs.replace(record.plan, learned=task, task_hash=task.hash())
        moved.append(RunRecord(record.run, plan, record.done, record.launcher, record.worker))
    time, *_ = tables([*records["mlbench"], *moved])
    assert [chart.title for chart in time.charts] == [
        f"Test error against training steps, ResNet version 2, data set {name}"
        for name in ("cifar10-jpeg", "digits")
    ]


def test_a_table_holds_the_runs_of_its_suite_alone(records: dict[str, list[RunRecord]]) -> None:
    everything = [record for group in records.values() for record in group]
    found = tables(everything)
    assert [table.suite for table in found] == [
        "cloud-check",
        "benchm-dl",
        "platform-task",
        "mlbench",
        "mlbench",
        "mlbench",
    ]
    assert sum(line.n or 0 for line in ours(found[1])) == 2


def test_rows_of_the_tables_are_among_the_rows_once(records: dict[str, list[RunRecord]]) -> None:
    found = Runs(records["cloud-check"]).findings()
    costs = [row for row in found.rows if row.measure == "cost_per_run"]
    kinds = [(row.system, row.clock) for row in costs]
    assert len(set(kinds)) == len(kinds)
    assert {clock for _, clock in kinds} == {"billed", "cloud-check", "mlperf"}


def test_tables_are_saved_as_markdown_and_csv(
    records: dict[str, list[RunRecord]], tmp_path: Path
) -> None:
    found = Runs(records["mlbench"]).findings()
    paths = save_tables(found, tmp_path)
    assert [path.name for path in paths] == ["mlbench.md", "mlbench.csv"]
    assert paths[0].read_text(encoding="utf-8") == tables_markdown(list(found.tables))
    assert paths[1].read_text(encoding="utf-8") == tables_csv(list(found.tables))
    lines = list(csv.DictReader(io.StringIO(paths[1].read_text(encoding="utf-8"))))
    assert len(lines) == sum(len(table.lines) for table in found.tables)
    measured = next(line for line in lines if line["origin"] == "measured")
    row = row_in(ours(found.tables[0])[0], "to_0.7")
    assert float(measured["to_0.7"]) == row.value
    assert measured["to_0.7_unit"] == "s"


def test_a_suite_that_is_not_installed_is_named(records: dict[str, list[RunRecord]]) -> None:
    record = records["mlbench"][0]
    plan = msgspec.structs.replace(record.plan, suite="gone")
    stray = RunRecord(record.run, plan, record.done, record.launcher, record.worker)
    assert tables_of([stray]) == (
        [],
        ["Suite gone is not installed here: its tables are left out."],
    )


@pytest.mark.parametrize("name", ["benchm-dl", "cloud-check", "mlbench", "platform-task"])
def test_a_suites_table_without_a_run_still_shows_what_was_published(name: str) -> None:
    make = load_object(str(suites.find_suite(name).tables))
    assert callable(make)
    for table in make([]):
        assert any(isinstance(cell, Row) for line in table.lines for cell in line.cells.values())
