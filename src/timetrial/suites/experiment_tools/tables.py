"""The table of experiment-tools: the document's words of 2019 and what was seen, tool by tool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timetrial.errors import FormatError, StoreError
from timetrial.examinations.tools import judging
from timetrial.examinations.tools.examiners import file_of
from timetrial.examinations.tools.judging import Cell
from timetrial.examinations.tools.records import COLUMNS, Column, Observation, read_line
from timetrial.examinations.tools.registry import Tool, tools
from timetrial.findings import ExaminationGroup
from timetrial.references.experiment_tools import DocumentTable, DocumentTool, document_table
from timetrial.rows import Table, TableColumn, TableLine
from timetrial.store import RunRecord
from timetrial.suites.experiment_tools import TASK
from timetrial.units import count

HEADINGS: Final[dict[Column, str]] = {
    "monitoring": "Monitoring",
    "organizing": "Organizing",
    "tuning": "Tuning",
    "licence": "Open source",
}
_RULES: Final = (
    "limited: less than the whole, see the notes of the line. unknown: it could not be found out "
    "here, which is never a no",
    "monitoring: another process reads the loss by step while the run goes on, through the tool's "
    "server or a function of the tool that reads its store",
    "organizing: eight runs are listed, filtered, sorted, an artefact fetched, two compared; and "
    "there is a page",
    "tuning: its proposals come nearer to the least value than random search's, with a 95 % "
    "interval over seeds",
    "open source: a licence of the OSI's list; a server, where there is one, hosted here",
)


def tables(groups: Sequence[ExaminationGroup]) -> list[Table]:
    """Return one table: for each tool the document's line, then this machine's."""
    document = document_table()
    of_document = {line.name: line for line in document.tool}
    # of a tool examined both ways, the whole examination counts
    by_light = sorted(groups, key=lambda group: not group.system.light)
    by_tool = {group.system.framework: group for group in by_light}
    lines: list[TableLine] = []
    differences = 0
    for tool in tools():
        published = of_document.get(tool.document or "")
        if published is not None:
            lines.append(_published(tool, published, document))
        group = by_tool.get(tool.name)
        if group is None:
            lines.append(_missing(tool))
            continue
        cells = judging.judge(tool, _seen(group.runs[-1], group))
        lines.append(_measured(tool, group, cells, published))
        differences += len(_differences(cells, published))
    return [
        Table(
            suite="experiment-tools",
            title="Tools for experiments, 2019 and today",
            columns=[
                TableColumn(name="line", heading="", text=True),
                *(TableColumn(name=name, heading=HEADINGS[name]) for name in COLUMNS),
            ],
            lines=lines,
            notes=[*(f"published: {flaw}" for flaw in document.flaws), *_RULES],
            answer=f"experiment-tools: {count(len(by_tool), 'tool')} examined; of the document's "
            f"table {count(differences, 'cell')} differ today.",
        )
    ]


def _published(tool: Tool, line: DocumentTool, document: DocumentTable) -> TableLine:
    return TableLine(
        group=tool.title,
        origin="published",
        date=document.published,
        source=document.title,
        n=None,
        cells={
            "line": f"document ({line.name})",
            "monitoring": line.monitoring,
            "organizing": line.organizing,
            "tuning": line.tuning,
            "licence": line.licence,
        },
    )


def _measured(
    tool: Tool, group: ExaminationGroup, cells: dict[Column, Cell], published: DocumentTool | None
) -> TableLine:
    last = group.runs[-1]
    notes = [f"{HEADINGS[name].lower()}, {_shown(cell)}" for name, cell in cells.items()]
    notes += [f"other than in the document: {text}" for text in _differences(cells, published)]
    return TableLine(
        group=tool.title,
        origin="measured",
        date=last.plan.created_utc[:10],
        source=f"timetrial {last.plan.timetrial}",
        n=len(group.runs),
        cells={
            "line": f"{tool.distribution} {group.system.version}"
            + (", light" if group.system.light else ""),
            **{name: cell.value for name, cell in cells.items()},
        },
        notes=notes,
        evidence=[run.run.path.name for run in group.runs],
    )


def _missing(tool: Tool) -> TableLine:
    return TableLine(
        group=tool.title,
        origin=None,
        date="",
        source="",
        n=None,
        cells={"line": f"not run: timetrial run {TASK} --framework {tool.name}"},
    )


def _shown(cell: Cell) -> str:
    words = f"{cell.value} ({cell.short})" if cell.short else cell.value
    return f"{words}: {cell.reason}"


def _differences(cells: dict[Column, Cell], published: DocumentTool | None) -> list[str]:
    """Return the columns whose value today is other than the document's, in words.

    The document's are of the tool with its server: what was seen without it differs from nothing.
    """
    if published is None:
        return []
    said: dict[Column, str] = {
        "monitoring": published.monitoring,
        "organizing": published.organizing,
        "tuning": published.tuning,
        "licence": published.licence,
    }
    return [
        f"{HEADINGS[name].lower()} was {said[name]}, is {cell.value}"
        for name, cell in cells.items()
        if cell.value not in ("unknown", value_of(said[name])) and not cell.without_server
    ]


def value_of(said: str) -> str:
    """Return the document's word as one of ours: anything limited is limited, freemium too."""
    word = said.lower()
    if "limited" in word or word == "freemium":
        return "limited"
    return word


def _seen(run: RunRecord, group: ExaminationGroup) -> list[Observation]:
    """Return all observations of a run, step by step.

    Raises:
        StoreError: A file of the run is gone.
        FormatError: It is not what the run left.
    """
    seen: list[Observation] = []
    for step in group.steps:
        path = run.run.exhibit(file_of(step.name))
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            continue  # the step was not reached; its column says so
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
        try:
            seen += [read_line(line) for line in lines]
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
    return seen
