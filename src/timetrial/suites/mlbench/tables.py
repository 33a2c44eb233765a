"""The tables of mlbench: time to accuracy, accuracy after time, speed-up, the depths' picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from timetrial import findings, references
from timetrial.findings import Family, Group
from timetrial.report.axes import time_label
from timetrial.rows import Row, StepChart, StepCurve, Table, TableColumn, TableLine
from timetrial.spec import Target
from timetrial.suites.lines import (
    CellsOf,
    machine_of,
    measured_line,
    published_lines,
    software_of,
)
from timetrial.suites.mlbench import DEPTHS, VERSIONS, task_name

VARIANT_2020: Final = "cifar10-resnet20-v1-2020"  # the reference rules of 2020 and 2021
CLOCKS: Final = ("mlbench-2018", "mlbench-2020")
THRESHOLDS: Final = (0.7, 0.8, 0.9, 0.97)
TIMES_S: Final = (60.0, 600.0, 3600.0, 7200.0)
LIGHT_TIMES_S: Final = (10.0, 30.0, 60.0)
_NAMES: Final = (
    TableColumn(name="network", heading="Network", text=True),
    TableColumn(name="system", heading="System", text=True),
    TableColumn(name="workers", heading="Workers", text=True),
    TableColumn(name="clock", heading="Clock", text=True),
)
_SPEED_UP_ABOUT: Final = (
    "time of one worker over the time of so many; of 2020 and 2021 the ratio of the published "
    "times, of 2019 read off a picture"
)
_NOTES: Final = (
    "The document stops on test accuracy, so does the suite: its times are of hindsight.",
    "97 % is the document's example of a target; these networks do not reach it.",
    "Clock mlbench-2018 pauses during evaluations; mlbench-2020 counts the steps alone, without "
    "waiting for data: of the same run it shows less.",
    "Published rows with more than one worker have another global batch, and GPUs of their time.",
)


def tables(groups: Sequence[Group]) -> list[Table]:
    """Return both metrics as tables, with the document's picture."""
    flaws = references.flaws_of("mlbench.toml")
    notes = [*(f"published: {flaw}" for flaw in flaws), *_NOTES]
    stops = {group.runs[0].plan.target for group in groups if group.system.light}
    own = {stop.threshold for stop in stops if stop is not None}
    thresholds = sorted({*THRESHOLDS, *own})
    return [
        Table(
            suite="mlbench",
            title="time to accuracy",
            columns=_time_columns(thresholds),
            lines=[
                *(_timed(group, clock, thresholds) for group in groups for clock in CLOCKS),
                *_published(_published_times),
            ],
            notes=notes,
            charts=charts(groups),
        ),
        _after(groups, notes),
        _speed_ups(groups, notes),
    ]


def _time_columns(thresholds: Sequence[float]) -> list[TableColumn]:
    columns = [
        TableColumn(name=f"to_{threshold:g}", heading=f"to {100 * threshold:g} %")
        for threshold in thresholds
    ]
    about = "and likewise: time to that accuracy; > a bound that no run reached it within"
    columns[0] = msgspec.structs.replace(columns[0], about=about)
    return [*_NAMES, *columns, TableColumn(name="epochs", heading="Epochs to 80 %")]


def charts(groups: Sequence[Group]) -> list[StepChart]:
    """Return the document's picture: error against steps, a line per depth.

    One per version, evaluated split and data set. Light runs and full ones, and different systems,
    never share a line.
    """
    drawn: dict[tuple[int, str, str], list[tuple[str, StepCurve]]] = {}
    for group in groups:
        curve = findings.step_curve_of(group, "error_rate")
        for version in VERSIONS:
            if curve is not None and group.system.task in [task_name(d, version) for d in DEPTHS]:
                label = f"{_network(group.system.task)}, {software_of(group)}, {machine_of(group)}"
                key = (version, group.task.eval_split, group.system.dataset)
                drawn.setdefault(key, []).append((label, curve))
    return [
        StepChart(
            title=f"{split.capitalize()} error against training steps, ResNet version {version}, "
            f"data set {dataset}",
            labels=_short([label for label, _ in lines]),
            curves=[curve for _, curve in lines],
        )
        for (version, split, dataset), lines in sorted(drawn.items())
    ]


def _short(labels: Sequence[str]) -> list[str]:
    """Return the labels without the parts behind the network that all of them share."""
    parts = [label.split(", ") for label in labels]
    shared = set(parts[0]).intersection(*parts[1:])
    return [", ".join(p for n, p in enumerate(each) if n == 0 or p not in shared) for each in parts]


def _network(task: str) -> str:
    return task.removeprefix("cifar10-").replace("resnet", "ResNet-")


def _names(group: Group, clock: str) -> dict[str, Row | str | None]:
    light = " (light)" if group.system.light else ""
    split = group.task.eval_split
    of = "" if split == "test" else f", {split} accuracy"
    return {
        "network": _network(group.system.task) + of + light,
        "system": f"{machine_of(group)}, {group.system.framework} {group.system.version}".strip(),
        "workers": _workers(group.system.workers),
        "clock": f"clock {clock}",
    }


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _timed(group: Group, clock: str, thresholds: Sequence[float]) -> TableLine:
    stop, split = group.runs[0].plan.target, group.task.eval_split
    cells: dict[str, Row | str | None] = {}
    for threshold in thresholds:
        target = Target(metric="accuracy", threshold=threshold, direction="at_least", split=split)
        beyond = stop is not None and stop.split == split and stop.threshold < threshold
        cells[f"to_{threshold:g}"] = (
            "not tried" if beyond else findings.time_row(group, target, clock)
        )
    target = Target(metric="accuracy", threshold=0.8, direction="at_least", split=split)
    if not (stop is not None and stop.split == split and stop.threshold < 0.8):
        cells["epochs"] = findings.epochs_row(group, target)
    return measured_line(group, {**_names(group, clock), **cells}, notes=_stop_note(group))


def _stop_note(group: Group) -> list[str]:
    stop = group.runs[0].plan.target
    return [] if stop is None else [f"stops at {stop}; higher targets are not tried"]


def _after(groups: Sequence[Group], notes: Sequence[str]) -> Table:
    light = all(group.system.light for group in groups) and bool(groups)
    times = LIGHT_TIMES_S if light else TIMES_S
    columns = [
        *_NAMES,
        *(
            TableColumn(name=f"after_{time:g}", heading=f"after {time_label(time)}")
            for time in times
        ),
        TableColumn(name="final", heading="At the end", about="test accuracy after the last step"),
    ]
    lines = [_graded(group, clock, times) for group in groups for clock in CLOCKS]
    lines += _published(_published_ends)
    return Table(
        suite="mlbench", title="accuracy after time", columns=columns, lines=lines, notes=notes
    )


def _graded(group: Group, clock: str, times: Sequence[float]) -> TableLine:
    cells: dict[str, Row | str | None] = {
        f"after_{time:g}": findings.accuracy_after_row(group, time, clock, group.task.eval_split)
        for time in times
    }
    cells["final"] = findings.per_run_row_of(group, "final_test_accuracy")
    return measured_line(group, {**_names(group, clock), **cells}, notes=_stop_note(group))


# --- speed-up -------------------------------------------------------------------------------------


def _speed_ups(groups: Sequence[Group], notes: Sequence[str]) -> Table:
    """Return how many times as fast several workers are, beside what was published of it."""
    columns = [
        *_NAMES,
        TableColumn(name="to_0.8", heading="Speed-up to 80 %", about=_SPEED_UP_ABOUT),
        TableColumn(name="training", heading="of training", about="examples a second, over one's"),
        TableColumn(name="rate", heading="Images per s"),
        TableColumn(name="share", heading="Comm. share", about="communication in a step"),
    ]
    families = findings.families(groups)
    lines = [
        _sped_up(family, group, clock)
        for family in families
        for group in family.groups[1:]
        for clock in CLOCKS
    ]
    lines += _published(_published_speed_ups)
    return Table(suite="mlbench", title="speed-up", columns=columns, lines=lines, notes=notes)


def _sped_up(family: Family, group: Group, clock: str) -> TableLine:
    target = Target(
        metric="accuracy", threshold=0.8, direction="at_least", split=group.task.eval_split
    )
    scaling = next(
        line
        for one in findings.scalings_of(family.groups)
        for line in one.lines
        if line.workers == group.system.workers
    )
    cells: dict[str, Row | str | None] = {
        "to_0.8": next(iter(findings.speed_up_rows(family, group, target, clock)), None),
        "training": scaling.cells.get("speed_up"),
        "rate": scaling.cells.get("examples_per_s"),
        "share": scaling.cells.get("communication_share"),
    }
    return measured_line(group, {**_names(group, clock), **cells})


def _published_speed_ups(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    """Return what was printed, or else the ratio of the times that were."""
    first = next(iter(rows.values()))
    found = rows.get("speed_up_to_target accuracy >= 0.8 on test")
    time = rows.get(_to(0.8))
    if found is None and time is not None and time.value and first.workers > 1:
        base = _published_alone(time)
        if base is not None:
            ratio = round(base / time.value, 3)
            found = msgspec.structs.replace(
                time, measure="speed_up_to_target", unit="1", value=ratio
            )
    clock = time.clock if time is not None else None
    several = first.workers > 1
    rate = rows.get("examples_per_s") if several else None
    return {**_published_names(first, clock), "to_0.8": found, "rate": rate}


def _published_alone(time: Row) -> float | None:
    """Return the time that the same table gives for one worker of the same system."""
    for row in references.published(time.task):
        same = (row.measure, row.target, row.clock, row.system, row.facts["table"])
        if row.workers == 1 and same == (
            time.measure,
            time.target,
            time.clock,
            time.system,
            time.facts["table"],
        ):
            return row.value
    return None


# --- published lines ------------------------------------------------------------------------------


def _published(cells: CellsOf) -> list[TableLine]:
    """Return the published lines that have a figure for the table."""
    tasks = [task_name(depth, version) for version in VERSIONS for depth in DEPTHS]
    flaws = references.flaws_of("mlbench.toml")
    lines = published_lines([*tasks, VARIANT_2020], cells, general=flaws)
    return [line for line in lines if any(isinstance(c, Row) for c in line.cells.values())]


def _to(threshold: float) -> str:
    return f"time_to_target accuracy >= {threshold:g} on test"


def _published_names(first: Row, clock: str | None) -> dict[str, Row | str | None]:
    software = "" if first.framework == "not stated" else f", {first.framework}"
    return {
        "network": _network(first.task),
        "system": f"{first.system}{software}",
        "workers": _workers(first.workers),
        "clock": f"clock {clock}" if clock else "clock not stated",
    }


def _published_times(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    first = next(iter(rows.values()))
    times = {f"to_{threshold:g}": rows.get(_to(threshold)) for threshold in THRESHOLDS}
    clock = next((row.clock for row in times.values() if row is not None), None)
    return {
        **_published_names(first, clock),
        **times,
        "epochs": rows.get("epochs_to_target accuracy >= 0.8 on test"),
    }


def _published_ends(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    first = next(iter(rows.values()))
    error = rows.get("final_test_error_rate")
    final = rows.get("final_test_accuracy")
    if error is not None and error.value is not None:
        final = _as_accuracy(error)
    return {**_published_names(first, None), "clock": None, "final": final}


def _as_accuracy(error: Row) -> Row:
    assert error.value is not None
    value = round(1 - error.value, 6)
    return msgspec.structs.replace(error, measure="final_test_accuracy", value=value)
