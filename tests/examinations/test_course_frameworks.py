"""The course's table of frameworks: what its probes are made of, and PyTorch in one real run."""

from __future__ import annotations

from email.message import Message
from pathlib import Path

import pytest
from command_line import run_timetrial

from timetrial.examinations import licences
from timetrial.examinations.course_frameworks.breakpoints import Breakpoint
from timetrial.findings import examination_groups, row_by_measure
from timetrial.rows import Row, Table
from timetrial.store import RunRecord, read_runs
from timetrial.suites.ml_course.tables import tables


def metadata(**fields: str | list[str]) -> Message:
    message = Message()
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"License_Expression": "Apache-2.0 AND (MIT OR BSD-3-Clause)"}, True),
        ({"License_Expression": "Apache-2.0 WITH LLVM-exception"}, True),
        ({"License_Expression": "MIT AND LicenseRef-Proprietary"}, False),
        ({"Classifier": ["License :: OSI Approved :: MIT License"]}, True),
        ({"Classifier": ["License :: Other/Proprietary License"]}, False),
        ({"License": "Apache 2.0"}, True),
        ({"License": "ask us"}, None),
        ({}, None),
    ],
)
def test_a_licence_is_open_closed_or_not_told(fields: dict, told: bool | None) -> None:  # type: ignore[type-arg]
    assert licences.licence_in(metadata(**fields)).is_open is told


def looked_at(value: object) -> object:
    seen = value
    return seen


def test_a_breakpoint_counts_how_often_it_is_reached_and_what_it_can_read() -> None:
    stop = Breakpoint(looked_at, "return seen", lambda seen: float(seen), "seen")
    stop.during(lambda: [looked_at(3), looked_at("three")])
    assert (stop.reached, stop.readable) == (2, 1)
    assert "could not convert" in stop.why_not
    stop.during(lambda: None)
    assert stop.reached == 2


# --- one real run --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """The pipeline in light and PyTorch tried, by one command line."""
    pytest.importorskip("torch")
    store = tmp_path_factory.mktemp("course") / "runs"
    done = run_timetrial(
        "run", "course-pipeline", "course-frameworks", "--light", "--seeds=1", "--json",
        "--store", store,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert {row["task"] for row in done.json()} == {"course-pipeline", "course-frameworks"}
    return read_runs([store])


@pytest.fixture(scope="module")
def made(records: list[RunRecord]) -> list[Table]:
    return tables(examination_groups(records))


def test_every_row_of_the_table_is_answered_for_pytorch(records: list[RunRecord]) -> None:
    [group] = [g for g in examination_groups(records) if g.system.task == "course-frameworks"]
    rows = row_by_measure(group)
    assert all(row.value is not None or row.facts["reason"] for row in rows.values())
    yes = ("open_source", "breakpoint", "breakpoint_in_training", "export", "hub",
           "graph_per_step", "traced")  # fmt: skip
    assert {name: rows[name].value for name in yes} == dict.fromkeys(yes, 1)
    assert rows["python_per_step"].value == 1
    assert rows["export_difference"].value <= 1e-5
    assert "BSD-3-Clause" in rows["open_source"].facts["licence"]


def test_tensorboard_reads_what_pytorch_wrote(records: list[RunRecord]) -> None:
    pytest.importorskip("tensorboard")
    [group] = [g for g in examination_groups(records) if g.system.task == "course-frameworks"]
    row = row_by_measure(group)["tensorboard"]
    assert (row.value, row.facts["read"]) == (1, "0: 0.75, 1: 0.5, 2: 0.25")


def test_the_answer_names_both_figures_as_printed(made: list[Table]) -> None:
    assert made[0].answer == (
        "The course's pipeline gives 96.0 % (546/569) on the rows it was fitted to and 94.5 % "
        "(94.5419 %) over three splits: as printed."
    )


def test_measured_lines_stand_beside_the_published_ones(made: list[Table]) -> None:
    pipeline, orders, splits, frameworks, hardware = made
    for table in (pipeline, orders, frameworks):
        assert table.lines[0].origin == "measured"
        assert table.lines[-1].origin == "published"
    assert [line.cells["step"] for line in pipeline.lines] == [
        "explore",
        "import",
        "process",
        "predict",
        "all",
    ]
    ours, theirs = orders.lines[3].cells["mean"], orders.lines[-1].cells["mean"]
    assert isinstance(ours, Row)
    assert isinstance(theirs, Row)
    assert round(ours.value, 3) == theirs.value == 0.945
    assert splits.lines == [], "a light run leaves these steps out"
    assert "light" in orders.lines[0].group
    tools = [line.cells["tool"] for line in frameworks.lines]
    assert str(tools[0]).startswith("torch 2")
    assert str(tools[1]).startswith("keras-tensorflow: ")
    assert tools[2:] == ["PyTorch", "TensorFlow"]
    assert frameworks.lines[2].cells["graph_per_step"] == "dynamic"
    assert {line.origin for line in hardware.lines} == {"published"}


def test_the_pictures_of_the_run_are_shown(records: list[RunRecord], made: list[Table]) -> None:
    pytest.importorskip("seaborn")
    assert [Path(shown.path).name for shown in made[0].pictures] == [
        "pie.png",
        "relplot.png",
        "pairplot.png",
    ]
    assert all(shown.content.startswith(b"\x89PNG") for shown in made[0].pictures)
