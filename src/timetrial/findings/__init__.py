"""Records -> findings: what a report shows, computed from what the runs left.

groups      runs grouped into systems
estimates   the rows of one system
scripts     what is said of a script of the open division
costs       what a run costs, where the price is known
repricing   runs priced anew by a book of prices
verdicts    two systems compared; the machine's own noise
scaling     systems that differ in the number of workers alone
exchanges   bandwidth and latency between workers, from runs that measure them
inference   what trained models take to predict
examined    what the steps of examinations found, with their tables and pictures
limits      how close training came to its machine's ceilings
paying      how many workers pay, and how fast their network must be
pictures    curves, bars, run lines, machine facts
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import timetrial
from timetrial import references
from timetrial.findings.costs import cost_row, cost_rows
from timetrial.findings.estimates import (
    accuracy_after_row,
    class_accuracy_rows,
    difference_row,
    epochs_row,
    fit_rows,
    light_note,
    own_value_row,
    per_run_row_of,
    rows_of,
    run_time_row,
    segment_row,
    time_row,
    times_of,
)
from timetrial.findings.examined import (
    ExaminationGroup,
    examination_groups,
    examination_rows,
    examination_tables,
    exhibits_of,
    row_by_measure,
)
from timetrial.findings.exchanges import (
    exchange_curve,
    exchange_groups,
    exchange_rows,
    latency_among,
)
from timetrial.findings.groups import (
    Group,
    Ran,
    framework_version,
    group_runs,
    machine_name,
    place_of,
    system_of,
    targets_of,
)
from timetrial.findings.inference import inference_of, inference_rows
from timetrial.findings.limits import limit_of, limit_rows
from timetrial.findings.paying import Latency, answers_of, exchange_rate_row
from timetrial.findings.pictures import (
    bar_of,
    confusion_of,
    curve_of,
    line_of,
    machines_of,
    step_curve_of,
)
from timetrial.findings.repricing import Repriced, Wanted, choice_of, reprice
from timetrial.findings.scaling import Family, families, scaling_of, speed_up_rows
from timetrial.findings.verdicts import (
    noise_note,
    noise_of,
    verdict_between,
    verdicts_of,
    work_notes,
)
from timetrial.rows import Findings, Row, Scaling
from timetrial.store import RunRecord

__all__ = [
    "ExaminationGroup",
    "Family",
    "Group",
    "Repriced",
    "Wanted",
    "accuracy_after_row",
    "assemble",
    "choice_of",
    "class_accuracy_rows",
    "cost_row",
    "difference_row",
    "epochs_row",
    "examination_groups",
    "examination_tables",
    "exhibits_of",
    "families",
    "fit_rows",
    "framework_version",
    "group_runs",
    "light_note",
    "line_of",
    "machine_name",
    "own_value_row",
    "per_run_row_of",
    "place_of",
    "reprice",
    "row_by_measure",
    "run_time_row",
    "scalings_of",
    "segment_row",
    "speed_up_rows",
    "step_curve_of",
    "system_of",
    "targets_of",
    "time_row",
    "times_of",
    "verdict_between",
    "work_notes",
]


def assemble(
    records: Sequence[RunRecord], *, title: str, command: str, after_s: Sequence[float] = ()
) -> Findings:
    """Return all that a report of these runs shows."""
    groups = group_runs(records)
    rows = [row for group in groups for row in [*rows_of(group, after_s), *cost_rows(group)]]
    rows += [row for group in groups for row in limit_rows(group)]
    inferences = [timed for group in groups if (timed := inference_of(group)) is not None]
    rows += [row for timed in inferences for row in inference_rows(timed)]
    measured = exchange_groups(records)
    rows += [row for group in measured for row in exchange_rows(group)]
    examined = examination_groups(records)
    rows += [row for group in examined for row in examination_rows(group)]
    scalings = scalings_of(groups, after_s, latency_among(measured))
    rows += _further(rows, groups, scalings)
    for task in dict.fromkeys(group.system.task for group in groups):
        rows += references.published(task, beside_only=True)
    open_runs = [record for record in records if record.status is None]
    notes = []
    if open_runs:
        notes.append(
            f"{len(open_runs)} of {len(records)} runs are not finished and are left out; "
            "finish them with: timetrial run --resume"
        )
    searched = sum(record.plan.search is not None for record in records)
    if searched:
        notes.append(
            f"{searched} of {len(records)} runs belong to a search, which chose among them: they "
            "are in no estimate; timetrial tune shows them"
        )
    noise = noise_of(records)
    if noise is not None:
        notes.append(noise_note(noise))
    systems: list[Ran] = [*groups, *(group for group in measured if group.usual)]
    return Findings(
        title=title,
        command=command,
        made_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=timetrial.__version__,
        rows=rows,
        curves=[curve for group in groups if (curve := curve_of(group)) is not None],
        bars=[bar_of(group) for group in systems],
        verdicts=verdicts_of(groups),
        machines=machines_of([*systems, *examined]),
        runs=[line_of(record) for record in records],
        notes=notes,
        confusions=[seen for group in groups if (seen := confusion_of(group)) is not None],
        step_curves=[steps for group in groups if (steps := step_curve_of(group)) is not None],
        examined=list(dict.fromkeys(group.system.task for group in examined)),
        scalings=scalings,
        limits=[limit for group in groups if (limit := limit_of(group)) is not None],
        exchanges=[drawn for group in measured if (drawn := exchange_curve(group)) is not None],
        inferences=inferences,
    )


def scalings_of(
    groups: Sequence[Group],
    after_s: Sequence[float] = (),
    latency: Latency = lambda group: None,
) -> list[Scaling]:
    """Return the systems that differ in the number of workers alone, compared."""
    return [scaling_of(family, after_s, answers_of(family, latency)) for family in families(groups)]


def _further(
    rows: Sequence[Row], groups: Sequence[Group], scalings: Sequence[Scaling]
) -> list[Row]:
    """Return the rows of several workers that are not among `rows` yet, once each."""
    known = {_identity(row): row for row in rows}
    found: list[Row] = [row for group in groups if (row := exchange_rate_row(group)) is not None]
    for scaling in scalings:
        found += [row for line in scaling.lines for row in line.cells.values()]
        found += scaling.answers
    further: list[Row] = []
    for row in found:
        if _identity(row) not in known:
            known[_identity(row)] = row
            further.append(row)
    return further


def _identity(row: Row) -> tuple[object, ...]:
    names = (row.task, row.framework, row.system, row.measure, row.target, row.split, row.clock)
    return (*names, row.workers, row.facts.get("fewer"), row.facts.get("counts"))
