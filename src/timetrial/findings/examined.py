"""What runs of an examination say: a row for all that its steps seek, its table, its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from timetrial.engine.events import Exhibited
from timetrial.examine.outcome import Standing, standing
from timetrial.findings.estimates import make_row
from timetrial.findings.groups import System, counts, system_of
from timetrial.rows import Exhibit, Row, Table, TableColumn, TableLine
from timetrial.spec import Examination, ExaminationStep, Sought
from timetrial.stats import intervals
from timetrial.stats.intervals import Estimate
from timetrial.store import RunRecord

PICTURE_BYTES_MAX: Final = 4 * 2**20  # of one picture on the page, which is a single file
_PNG: Final = b"\x89PNG\r\n\x1a\n"


class ExaminationGroup(NamedTuple):
    """The runs of one system that carried out an examination."""

    system: System
    examination: Examination
    runs: Sequence[RunRecord]

    @property
    def steps(self) -> list[ExaminationStep]:
        """The steps that these runs were to do."""
        return self.examination.chosen(light=self.system.light)

    @property
    def tool(self) -> str:
        """What was examined, with its version."""
        return f"{self.system.framework} {self.system.version}".strip()


def examination_groups(records: Sequence[RunRecord]) -> list[ExaminationGroup]:
    """Return the runs that examined, by system; those that can go on are left out."""
    groups: dict[System, list[RunRecord]] = {}
    for record in records:
        if counts(record) and record.plan.examination is not None:
            groups.setdefault(system_of(record), []).append(record)
    found = []
    for system, runs in groups.items():
        examination = runs[0].plan.examination
        assert examination is not None  # it was asked
        found.append(ExaminationGroup(system, examination, runs))
    return found


# --- rows ----------------------------------------------------------------------------------------


def examination_rows(group: ExaminationGroup) -> list[Row]:
    """Return a row for all that each step seeks, then the seconds of each step.

    A row without a value has the reason in its notes, and in its facts as "reason".
    """
    stands = [standing(run.worker) for run in group.runs]
    rows = [_row_of(group, stands, step, sought) for step in group.steps for sought in step.seeks]
    return rows + [step_row(group, stands, step) for step in group.steps]


def row_by_measure(group: ExaminationGroup) -> dict[str, Row]:
    """Return `examination_rows` by measure."""
    return {row.measure: row for row in examination_rows(group)}


def _row_of(
    group: ExaminationGroup, stands: Sequence[Standing], step: ExaminationStep, sought: Sought
) -> Row:
    """Return a mean over the runs; of one run its value, with the interval that it found itself."""
    found = [seen for one in stands if (seen := one.found.get(sought.measure)) is not None]
    had = [seen for seen in found if seen.value is not None]
    reasons = [seen.reason for seen in found if seen.value is None]
    reasons += [_ended(run) for run, one in zip(group.runs, stands, strict=True)
                if sought.measure not in one.found]  # fmt: skip
    notes = list(dict.fromkeys(note for seen in found for note in seen.notes))
    facts: dict[str, str] = dict(found[-1].facts) if found else {}
    facts |= {"step": step.name, "about": sought.about}
    if not had:
        estimate = Estimate(value=None, low=None, high=None, n=0, method="not found")
        facts["reason"] = "; ".join(dict.fromkeys(reasons))
        notes = [*dict.fromkeys(reasons), *notes]
    elif len(had) == 1:
        [one] = had
        assert one.value is not None  # those with a value
        estimate = Estimate(
            value=one.value, low=one.low, high=one.high, n=one.n, method="by the examination"
        )
    else:
        values = np.array([seen.value for seen in had], dtype=np.float64)
        estimate = intervals.mean_interval(values)
        if any(seen.low is not None for seen in had):
            notes.append("n counts runs: each has several observations")
    if had and reasons:
        notes.append(f"{len(reasons)} of {len(group.runs)} runs have none: {reasons[0]}")
    if left := _left_out(group):
        notes.append(f"light: without {left}")
    row = make_row(group, measure=sought.measure, unit=sought.unit, estimate=estimate, notes=notes)
    return msgspec.structs.replace(row, facts=facts)


def _ended(run: RunRecord) -> str:
    """Say why a run that has ended did not come to a step."""
    return f"the run ended before it ({run.status}): {run.detail or 'it gave no reason'}"


def _left_out(group: ExaminationGroup) -> str:
    done = group.steps
    return ", ".join(step.name for step in group.examination.steps if step not in done)


def step_row(group: ExaminationGroup, stands: Sequence[Standing], step: ExaminationStep) -> Row:
    """Return the seconds of a step: the mean over the runs that did it."""
    seconds = [done.seconds for one in stands if (done := one.completed.get(step.name)) is not None]
    row = make_row(
        group,
        measure=f"time_of_{step.name}",
        unit="s",
        estimate=intervals.mean_interval(np.array(seconds, dtype=np.float64)),
        notes=[] if seconds else [f"no run did this step: {_ended(group.runs[-1])}"],
    )
    return msgspec.structs.replace(row, facts={"step": step.name, "about": step.about})


# --- the files -----------------------------------------------------------------------------------


def exhibits_of(group: ExaminationGroup) -> list[Exhibit]:
    """Return the files that the last run left that left any; pictures with their content."""
    for run in reversed(group.runs):
        left = standing(run.worker).exhibited
        if left:
            return [_exhibit(run, one) for one in left.values()]
    return []


def _exhibit(run: RunRecord, left: Exhibited) -> Exhibit:
    path = run.run.exhibit(left.file)
    content = b""
    shown = left.file.lower().endswith(".png") and left.bytes <= PICTURE_BYTES_MAX
    if shown and path.is_file() and not path.is_symlink():
        read = path.read_bytes()
        content = read if read.startswith(_PNG) and len(read) == left.bytes else b""
    return Exhibit(title=left.title, about=left.about, path=str(path), content=content)


# --- the table -----------------------------------------------------------------------------------


def examination_tables(groups: Sequence[ExaminationGroup]) -> list[Table]:
    """Return a table for each examination: a line for all that is sought, a column per system."""
    by_rules: dict[str, list[ExaminationGroup]] = {}
    for group in groups:
        by_rules.setdefault(group.system.task_hash, []).append(group)
    return [_table(same) for same in by_rules.values()]


def _table(groups: Sequence[ExaminationGroup]) -> Table:
    rows = [row_by_measure(group) for group in groups]
    examination = groups[0].examination
    lines = []
    for step in _steps_of(groups):
        for measure, about in [
            *((sought.measure, sought.about) for sought in step.seeks),
            (f"time_of_{step.name}", f"time of the step {step.name}"),
        ]:
            lines.append(_line(groups, rows, step, measure, about))
    return Table(
        suite=examination.name,
        title=examination.title,
        columns=[
            TableColumn(name="finding", heading="Finding", text=True),
            *(
                TableColumn(name=f"system {place}", heading=heading)
                for place, heading in enumerate(_headings(groups))
            ),
        ],
        lines=lines,
        notes=list(examination.notes),
        pictures=[one for group in groups for one in exhibits_of(group)],
        answer=_answer(examination.name, rows),
    )


def _steps_of(groups: Sequence[ExaminationGroup]) -> list[ExaminationStep]:
    """Return the steps that any of the systems was to do, in order."""
    chosen = {step.name for group in groups for step in group.steps}
    return [step for step in groups[0].examination.steps if step.name in chosen]


def _headings(groups: Sequence[ExaminationGroup]) -> list[str]:
    """Return a name for each system: the tool where it tells them apart, else the whole name."""
    tools = [group.tool + (", light" if group.system.light else "") for group in groups]
    if len(set(tools)) == len(tools):
        return tools
    return [group.system.name for group in groups]


def _line(
    groups: Sequence[ExaminationGroup],
    rows: Sequence[Mapping[str, Row]],
    step: ExaminationStep,
    measure: str,
    about: str,
) -> TableLine:
    cells: dict[str, Row | str] = {"finding": about}
    had = [row for own in rows if (row := own.get(measure)) is not None]
    cells |= {f"system {place}": own[measure] for place, own in enumerate(rows) if measure in own}
    return TableLine(
        group=f"{step.name}: {step.about}",
        origin="measured",
        date=max((row.date for row in had), default=""),
        source=had[0].source if had else "",
        n=had[0].n if len(had) == 1 else None,
        cells=cells,
        notes=list(dict.fromkeys(note for row in had for note in row.notes)),
        evidence=list(dict.fromkeys(name for row in had for name in row.evidence)),
    )


def _answer(name: str, rows: Sequence[Mapping[str, Row]]) -> str:
    """Return how much was found; what was not has a reason in the table."""
    every = [row for own in rows for row in own.values() if not row.measure.startswith("time_of_")]
    had = sum(row.value is not None for row in every)
    if had == len(every):
        return f"{name}: {had} findings."
    return f"{name}: {had} of {len(every)} findings; the table says why the others are lacking."
