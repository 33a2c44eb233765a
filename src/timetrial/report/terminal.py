"""Findings as tables for a terminal of any width, from 80 columns up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timetrial.report import exchange_words, inference_words
from timetrial.report.arrange import (
    Line,
    Section,
    SystemKey,
    Systems,
    answers,
    by_importance,
    facts_line,
    name_systems,
    row_key,
    sections,
)
from timetrial.report.limit_words import limit_sentence
from timetrial.report.scaling_terminal import print_scalings
from timetrial.report.scaling_words import follows_from_workers
from timetrial.report.table_terminal import print_tables
from timetrial.report.words import (
    ABSENT,
    HEADLINE_MEASURE,
    interval_text,
    measure_label,
    origin_text,
    plain,
    sentence,
    status_text,
    target_label,
    value_text,
)
from timetrial.rows import ExchangeCurve, Findings, Inference, Row

_LABEL_MAX = 26  # of the first column, where measures are to stand beside it


def render_terminal(findings: Findings, console: Console) -> None:
    """Print per task a compact table; then the verdicts, the notes, the tables of suites."""
    tables = findings.tables
    if tables:  # they show what was published
        ours = [row for row in findings.rows if row.origin != "published"]
        findings = msgspec.structs.replace(findings, rows=ours)
    if findings.scalings:  # they show what follows from the number of workers
        ours = [row for row in findings.rows if not follows_from_workers(row)]
        findings = msgspec.structs.replace(findings, rows=ours)
    systems = name_systems(findings)
    for section in sections(findings):
        _print_section(section, systems, console)
    print_scalings(findings.scalings, console)
    for text in answers(findings, systems):
        console.print(Text(text, style="bold"), highlight=False)
    if systems.shared:
        _print_quietly(console, f"On every measured system: {systems.shared}.")
    for note in findings.notes:
        _print_quietly(console, f"Note: {plain(note)}")
    if tables:
        console.print()
        print_tables(tables, console)


def _print_section(section: Section, systems: Systems, console: Console) -> None:
    console.print(Text(plain(section.task), style="bold cyan"), highlight=False)
    goal = ", ".join(target_label(target) for target in section.targets)
    clock = f"{plain(section.clock)} clock" if section.clock else ""
    about = " · ".join(text for text in (goal, clock, facts_line(section)) if text)
    _print_quietly(console, about)
    columns, left_out = _choose(section, systems, console.width)
    _print_table(columns, console)
    for curve in section.exchanges:
        _print_exchange(curve, systems, console)
    for inference in section.inferences:
        _print_inference(inference, section, systems, console)
    beside = [line for line in left_out if any(key.origin != "measured" for key in line.cells)]
    if beside:
        console.print()
        _print_table(_beside(beside, section, systems), console)
    hidden = [line.label for line in left_out if line not in beside and line in section.measures]
    clocks = len([line for line in left_out if line not in beside]) - len(hidden)
    hidden += [f"time to target by {clocks} other clocks"] if clocks else []
    if hidden:
        _print_quietly(console, f"Too wide to show here: {', '.join(hidden)}.")
    for limit in section.limits:
        label = systems.label(limit.framework, limit.system)
        _print_quietly(console, limit_sentence(limit, label))
    for note in section.notes:
        _print_quietly(console, f"Note: {note}")
    for number, note in enumerate(section.footnotes, 1):
        _print_quietly(console, f"[{number}] {note}")
    console.print()


def _print_exchange(curve: ExchangeCurve, systems: Systems, console: Console) -> None:
    """Print the time of an all-reduce by size."""
    console.print()
    label = systems.label(curve.framework, curve.system)
    console.print(Text(f"{exchange_words.caption(curve)}: {label}"), highlight=False)
    lines = exchange_words.cells(curve)
    headings = exchange_words.HEADINGS
    columns = [
        _Column(heading, [line[place] for line in lines]) for place, heading in enumerate(headings)
    ]
    _print_table(columns, console)
    _print_quietly(console, exchange_words.line_words(curve))
    for words in exchange_words.left_out_words(curve):
        _print_quietly(console, words)


def _print_inference(
    inference: Inference, section: Section, systems: Systems, console: Console
) -> None:
    """Print what predicting takes by batch, the least important column left out where it is narrow.

    A line's footnotes stand with its batch.
    """
    console.print()
    label = systems.label(inference.framework, inference.system)
    console.print(Text(f"{inference_words.caption(inference)}: {label}"), highlight=False)
    lines = [line for line in inference.lines if line.cells]
    marks = [_marks(inference_words.rows_in(line), section) for line in lines]
    batches = [f"{line.batch:,}{mark}" for line, mark in zip(lines, marks, strict=True)]
    columns = {
        measure: _Column(heading, [_text(line.cells[measure]) for line in lines])
        for measure, heading in inference_words.COLUMNS.items()
    }
    first = _Column(inference_words.FIRST, batches, numeric=False)
    hidden = []
    for measure in inference_words.LEAST:
        if first.space + sum(column.space for column in columns.values()) > console.width:
            hidden.append(columns.pop(measure).heading)
    _print_table([first, *columns.values()], console)
    if hidden:
        _print_quietly(console, f"Too wide to show here: {', '.join(hidden)}.")
    for words in inference_words.left_out_words(inference):
        _print_quietly(console, f"{words}.")
    noted = _marks([inference.dawnbench], section)
    _print_quietly(console, f"{inference_words.dawnbench_words(inference, noted)}.")


def _print_quietly(console: Console, text: str) -> None:
    if text:
        console.print(Text(text, style="dim"), highlight=False)


# --- tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a table: heading and one text per line, which may itself have several lines."""

    heading: str
    cells: Sequence[str]
    numeric: bool = True

    @property
    def width(self) -> int:
        """Return how wide it is with its heading broken between words."""
        parts = [part for cell in self.cells for part in cell.split("\n")]
        return max(cell_len(part) for part in [*parts, *self.heading.split(), ""])

    @property
    def space(self) -> int:
        """Return the width it takes of the table, with the white around it."""
        return self.width + 3


def _print_table(columns: Sequence[_Column], console: Console) -> None:
    if not columns or not columns[0].cells:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    # Left to itself Rich keeps a heading in one line and crops the last column instead.
    tight = sum(max(c.space, cell_len(c.heading) + 3) for c in columns) > console.width
    for column in columns:
        table.add_column(
            Text(column.heading),
            justify="right" if column.numeric else "left",
            overflow="fold",
            width=column.width if column.numeric and tight else None,
            min_width=column.width if column.numeric else None,
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(_styled(cell) for cell in cells))
    console.print(table)


def _styled(cell: str) -> Text:
    first, _, rest = cell.partition("\n")
    return Text.assemble(first, ("\n" + rest if rest else "", "dim"))


def _choose(section: Section, systems: Systems, width: int) -> tuple[list[_Column], list[Line]]:
    """Return the columns of the main table, and the lines that found no room in it."""
    keyed = _keyed_rows(section)
    counts = [_count(key, row, section) for key, row in keyed]
    times = [_cell([row] if row else [], section) for _, row in keyed]
    labels = [_label(key, row, section, systems) for key, row in keyed]
    columns = [_Column("System", labels, numeric=False)]
    if section.headline:
        columns.append(_Column(sentence(measure_label(HEADLINE_MEASURE)), times))
    columns.append(_Column("n", counts))
    room = width - min(_LABEL_MAX, columns[0].width) - 2 - sum(c.space for c in columns[1:])
    left_out = []
    for line in by_importance(section.measures):
        cells = [_cell(line.cells.get(key, ()), section) for key, _ in keyed]
        column = _Column(sentence(line.label), cells)
        if column.space <= room:
            room -= column.space
            columns.append(column)
        else:
            left_out.append(line)
    clocks = [replace(line, label=f"time to target, {line.label} clock") for line in section.clocks]
    return columns, left_out + clocks


def _keyed_rows(section: Section) -> list[tuple[SystemKey, Row | None]]:
    """Return a line per system and target; what we did not run only where it has such a row."""
    lines: list[tuple[SystemKey, Row | None]] = []
    for key in section.systems:
        own = [row for row in section.headline if row_key(row) == key]
        lines += [(key, row) for row in own]
        if not own and key.origin == "measured":
            lines.append((key, None))
    return lines


def _beside(lines: Sequence[Line], section: Section, systems: Systems) -> list[_Column]:
    """Return a table of what was published or predicted, with our own rows beside it."""
    found = [
        (line.label, key, row) for line in lines for key, rows in line.cells.items() for row in rows
    ]
    names = [sentence(label) for label, _, _ in found]
    labels = [f"{systems.labels[key]}\n{origin_text(row)}" for _, key, row in found]
    cells = [_cell([row], section) for _, _, row in found]
    return [
        _Column("Measure", names, numeric=False),
        _Column("System", labels, numeric=False),
        _Column("Estimate", cells),
        _Column("n", [str(row.n) for _, _, row in found]),
    ]


def _cell(rows: Sequence[Row], section: Section) -> str:
    if not rows:
        return ABSENT
    marks = _marks(rows, section)
    return "\n".join(_text(row, marks) for row in rows)


def _text(row: Row, marks: str = "") -> str:
    return f"{value_text(row)}{marks}\n{interval_text(row)}".strip()


def _marks(rows: Sequence[Row], section: Section) -> str:
    return "".join(f" [{number}]" for number in section.marks(rows))


def _label(key: SystemKey, row: Row | None, section: Section, systems: Systems) -> str:
    label = systems.labels[key]
    if row and row.target and len(section.targets) > 1:
        label += f", to {target_label(row.target)}"
    return label if key.origin == "measured" else f"{label} ({key.origin})"


def _count(key: SystemKey, row: Row | None, section: Section) -> str:
    rows = (
        [row] if row else [found for line in section.measures for found in line.cells.get(key, ())]
    )
    if not rows:
        return ABSENT
    missed = {name: n for name, n in rows[0].status_counts.items() if name != "reached"}
    lines = [str(rows[0].n), *status_text(missed).split(", ")]
    return "\n".join(line for line in lines if line)
