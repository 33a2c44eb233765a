"""The table of platform-task: accuracy, time, and each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from timetrial import findings, references
from timetrial.findings import Group
from timetrial.rows import Row, Table, TableColumn, TableLine
from timetrial.suites.lines import machine_of, measured_line, published_lines, software_of
from timetrial.suites.platform_task import TASK

CLASSES: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
COLUMNS: Final = (
    TableColumn(name="tool", heading="Tool", text=True),
    TableColumn(name="system", heading="System", text=True),
    TableColumn(name="accuracy", heading="Accuracy", about="on test, at the end"),
    TableColumn(
        name="time", heading="Run time", about="clock mlperf: from the first touch of the data on"
    ),
    *(
        TableColumn(name=name, heading=name.capitalize(), about="" if place else "and the other "
                    "classes: the share of its test images that is told right")
        for place, name in enumerate(CLASSES)
    ),
)  # fmt: skip


def tables(groups: Sequence[Group]) -> list[Table]:
    """Return accuracy, time and the diagonal of the confusion matrix, then what was published."""
    flaws = references.flaws_of("platform_task.toml")
    lines = [_measured(group) for group in groups]
    lines += published_lines([TASK], _published, general=flaws)
    return [
        Table(
            suite="platform-task",
            title=f"{TASK}, class by class",
            columns=COLUMNS,
            lines=lines,
            notes=[f"published: {flaw}" for flaw in flaws],
        )
    ]


def _measured(group: Group) -> TableLine:
    by_measure = {row.measure: row for row in findings.class_accuracy_rows(group)}
    return measured_line(
        group,
        {
            "tool": software_of(group),
            "system": machine_of(group),
            "accuracy": findings.per_run_row_of(group, "final_test_accuracy"),
            "time": findings.run_time_row(group, "mlperf"),
            **_by_class(by_measure),
        },
    )


def _published(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    first = next(iter(rows.values()))
    return {
        "tool": first.framework,
        "system": f"system {first.system}",
        "accuracy": rows.get("final_test_accuracy"),
        **_by_class(rows),
    }


def _by_class(rows: Mapping[str, Row]) -> dict[str, Row | None]:
    return {name: rows.get(f"accuracy_of_class_{n}") for n, name in enumerate(CLASSES)}
