"""The table of benchm-dl: tool by tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from timetrial import findings, frameworks, references
from timetrial.findings import Group
from timetrial.rows import Row, Table, TableColumn, TableLine
from timetrial.suites.benchm_dl import FRAMEWORKS, TASK, is_here
from timetrial.suites.lines import (
    gpus_of,
    machine_of,
    measured_line,
    missing_line,
    published_lines,
    software_of,
)

CLOCK: Final = "benchm-dl"
COLUMNS: Final = (
    TableColumn(name="tool", heading="Tool", text=True),
    TableColumn(name="system", heading="System", text=True),
    TableColumn(
        name="time",
        heading="Time",
        about="clock benchm-dl: fit() alone with compilation, evaluations left out; 10 epochs, "
        "of a light run fewer",
    ),
    TableColumn(
        name="gpu",
        heading="GPU %",
        about="measured: mean over training of the GPUs that were busy; published: one snapshot, "
        "up to 3 points beside the run's log",
    ),
    TableColumn(name="gpus", heading="GPUs busy", about="of those present"),
    TableColumn(
        name="cores",
        heading="Cores used",
        about="measured: processor seconds per second of training; published: how many were busy",
    ),
    TableColumn(
        name="cpu",
        heading="CPU %",
        about="measured: of all cores the run may use; published: user time of one busy core",
    ),
    TableColumn(name="error", heading="Error", about="on test, at the end"),
)
_DIFFERENT: Final = (
    "The published tools differ in initial weights and some in the network; those measured here "
    "are tested to do the same steps.",
    "A different machine, other versions and years: a published time beside a measured one tells "
    "of both the tool and the machine.",
)


def tables(groups: Sequence[Group]) -> list[Table]:
    """Return the document's table: measured lines, then the published ones."""
    flaws = references.flaws_of("benchm_dl.toml")
    lines = [_measured(group) for group in groups]
    run = {group.system.framework for group in groups}
    lines += [_missing(name) for name in FRAMEWORKS if name not in run]
    lines += [_retired(line) for line in published_lines([TASK], _published, general=flaws)]
    return [
        Table(
            suite="benchm-dl",
            title=f"{TASK}, tool by tool",
            columns=COLUMNS,
            lines=lines,
            notes=[*(f"published: {flaw}" for flaw in flaws), *_DIFFERENT],
        )
    ]


def _missing(name: str) -> TableLine:
    if is_here(name):
        why = f"not asked for: --framework {name}"
    elif name in frameworks.REQUIREMENTS:
        extra = frameworks.REQUIREMENTS[name].extra
        why = f"not installed: pip install 'timetrial[{extra}]'"
    else:
        why = "this version of timetrial does not have it"
    return missing_line({"tool": name, "system": why})


def _measured(group: Group) -> TableLine:
    used = findings.fit_rows(group)
    present = gpus_of(group)
    return measured_line(
        group,
        {
            "tool": software_of(group),
            "system": machine_of(group),
            "time": findings.run_time_row(group, CLOCK),
            "gpu": "no GPU" if present == 0 else used.get("fit_gpu_busy", "unknown"),
            "gpus": _busy_of_present(used.get("fit_gpus_busy"), present),
            "cores": used.get("fit_cores_used", "unknown"),
            "cpu": used.get("fit_cpu_share", "unknown"),
            "error": findings.per_run_row_of(group, "final_test_error_rate"),
        },
    )


def _retired(line: TableLine) -> TableLine:
    """Return the line with why its tool cannot run today, where it cannot."""
    tool = str(line.cells["tool"])
    why = [
        f"{known.title} ended with {known.last_version} ({known.last_date}): {known.why}"
        for known in references.retired_frameworks()
        if known.name in tool
    ]
    return msgspec.structs.replace(line, notes=[*line.notes, *why])


def _busy_of_present(busy: Row | None, present: int | None) -> str:
    if present == 0:
        return "none"
    if busy is None or busy.value is None or present is None:
        return "unknown"
    return f"{busy.value:g} of {present}"


def _published(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    first = next(iter(rows.values()))
    cpus = first.facts.get("cpus")
    return {
        "tool": first.framework,
        "system": first.system,
        "time": rows.get("train_time_after_10_epochs"),
        "gpu": "no GPU" if first.device == "cpu" else rows.get("gpu_snapshot"),
        "gpus": "none" if first.device == "cpu" else first.facts.get("gpus"),
        "cores": f"{cpus} busy" if cpus else None,
        "cpu": rows.get("cpu1_share"),
        "error": rows.get("error_rate_after_10_epochs"),
    }
