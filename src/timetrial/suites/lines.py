"""Lines of a suite's table: from the runs of a system, or from published rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from timetrial import findings, references
from timetrial.findings import Group
from timetrial.rows import Row, TableLine

MEASURED: Final = "measured on this machine"
NOT_RUN: Final = "not run on this machine"
CellsOf: TypeAlias = Callable[[Mapping[str, Row]], Mapping[str, Row | str | None]]
"""Makes the cells of one published line from its rows, by measure and target."""


def measured_line(
    group: Group, cells: Mapping[str, Row | str | None], *, notes: Sequence[str] = ()
) -> TableLine:
    """Return the line of one system; a cell of None is left out.

    Its n is the number of runs; a cell that stands on fewer says so in its notes, which all come
    along. A light system is called so in the group's heading as well.
    """
    had = {name: cell for name, cell in cells.items() if cell is not None}
    said = [note for cell in had.values() if isinstance(cell, Row) for note in cell.notes]
    light = findings.light_note(group)
    said = [*([light] if light else []), *notes, *said]
    heading = f"{MEASURED}, data set {group.system.dataset}"
    return TableLine(
        group=f"{heading}, light: not the full task" if light else heading,
        origin="measured",
        date=max(run.plan.created_utc for run in group.runs)[:10],
        source=f"timetrial {group.runs[-1].plan.timetrial}",
        n=len(group.runs),
        cells=had,
        notes=list(dict.fromkeys(said)),
        evidence=[run.run.path.name for run in group.runs],
    )


def missing_line(cells: Mapping[str, str]) -> TableLine:
    """Return the line of what was not run; one of its texts says why."""
    return TableLine(group=NOT_RUN, origin=None, date="", source="", n=None, cells=cells)


def gpus_of(group: Group) -> int | None:
    """Return how many GPUs the machine shows; None where nothing could tell.

    Only NVIDIA's are looked for: of a run on another kind of device nothing is known.
    """
    here = group.runs[-1].machine
    if here is None or (here.accelerators_reason or "").startswith("nvidia-ml-py"):
        return None
    if group.system.device.partition(":")[0] not in ("cpu", "cuda"):
        return None
    return len(here.accelerators)


def published_lines(
    tasks: Sequence[str],
    cells: CellsOf,
    *,
    general: Sequence[str],
    tables: Sequence[str] | None = None,
) -> list[TableLine]:
    """Return the published lines of some tasks, in the order of their files.

    `cells` makes the cells of one line from its rows by measure; a row of time_to_target is called
    by its measure and target. `general` holds what is said of the whole table and not again of each
    line; `tables` chooses among the source's tables.
    """
    by_line: dict[str, list[Row]] = {}
    for task in tasks:
        for row in references.published(task):
            if tables is None or row.facts["table"] in tables:
                by_line.setdefault(row.facts["line"], []).append(row)
    lines = []
    for rows in by_line.values():
        first = rows[0]
        named = {row.measure if row.target is None else f"{row.measure} {row.target}": row
                 for row in rows}  # fmt: skip
        had = {name: cell for name, cell in cells(named).items() if cell is not None}
        lines.append(
            TableLine(
                group=f"published: {first.source}, {first.facts['table']}",
                origin="published",
                date=first.date,
                source=first.source,
                n=first.n,
                cells=had,
                notes=[note for note in first.notes if note not in general],
                evidence=list(first.evidence),
            )
        )
    return lines


def software_of(group: Group) -> str:
    """Return framework and version of a system, with " (light)" where its runs were light."""
    light = " (light)" if group.system.light else ""
    return f"{group.system.framework} {group.system.version}".strip() + light


def machine_of(group: Group) -> str:
    """Return the system's name without what stands in columns of its own."""
    software = f"{group.system.framework} {group.system.version}".strip()
    plan = group.runs[-1].plan
    data = f"data set {group.system.dataset}"  # in the heading of the measured lines
    told = (software, "light", data, plan.provider, plan.region, plan.image)
    return ", ".join(part for part in group.system.name.split(", ") if part not in told)
