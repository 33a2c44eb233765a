"""A suite's table in a terminal of 80 columns and more.

A line of the table is a label with its origin below it, and a value with its interval below it.
Columns that find no room are printed in a further part with the same labels: none is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from timetrial.report.table_words import (
    about_columns,
    cell_words,
    footnotes_of,
    groups_of,
    line_origin,
    marks_of,
    names_of,
    values_of,
)
from timetrial.report.words import ABSENT, plain
from timetrial.rows import Table, TableLine

_LABEL_MIN = 22
_LABEL_MAX = 44


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of quantities: its heading, and the lines of text of each cell."""

    heading: str
    cells: Sequence[Sequence[str]]

    @property
    def width(self) -> int:
        """Return how wide it must be; a heading is broken between words."""
        parts = [part for cell in self.cells for part in cell]
        return max(cell_len(part) for part in [*parts, *self.heading.split(), ""])


def print_tables(tables: Sequence[Table], console: Console) -> None:
    """Print each table, then what is not comparable in it."""
    for table in tables:
        _print_table(table, console)


def _print_table(table: Table, console: Console) -> None:
    console.print(
        Text(f"{plain(table.suite)}: {plain(table.title)}", style="bold cyan"), highlight=False
    )
    footnotes = footnotes_of(table)
    columns, gap = _columns(table, console.width)
    parts = _parts(columns, console.width - _LABEL_MIN, gap)
    for number, part in enumerate(parts, 1):
        if len(parts) > 1:
            _quietly(console, f"Part {number} of {len(parts)}, the same lines")
        _print_part(table, part, console, gap, footnotes if number == 1 else None)
    for text in [*about_columns(table), *(f"Note: {plain(note)}" for note in table.notes)]:
        _quietly(console, text)
    for number, note in enumerate(footnotes, 1):
        _quietly(console, f"[{number}] {note}")
    for shown in table.pictures:
        _quietly(console, f"{plain(shown.title)}: {plain(shown.path)}")
    console.print()


def _quietly(console: Console, text: str) -> None:
    console.print(Text(text, style="dim"), highlight=False)


def _columns(table: Table, width: int) -> tuple[list[_Column], int]:
    """Return the columns and the white between them: as much of both as the width bears.

    Intervals stand in one line where all columns then fit, else in two.
    """
    for split, gap in ((False, 2), (True, 2), (True, 1)):
        places = range(len(values_of(table)) + 1)
        columns = [_column(table, place, split=split) for place in places]
        label = _LABEL_MIN if split else max(_LABEL_MIN, width // 3)
        if sum(column.width + gap for column in columns) <= width - label:
            break
    return columns, gap


def _column(table: Table, place: int, *, split: bool) -> _Column:
    """Return the column at `place`; at 0 it is n."""
    if place == 0:
        return _Column("n", [[ABSENT if ln.n is None else str(ln.n)] for ln in table.lines])
    column = values_of(table)[place - 1]
    cells = []
    for line in table.lines:
        value, interval = cell_words(line, column)
        below = [interval] if interval else []
        if split and " to " in interval:
            low, _, high = interval.partition(" to ")
            below = [f"{low} to", high]
        cells.append([value, *below])
    return _Column(plain(column.heading), cells)


def _parts(columns: Sequence[_Column], room: int, gap: int) -> list[list[_Column]]:
    """Return the columns in parts that fit; n stands in the first."""
    parts: list[list[_Column]] = [[]]
    used = 0
    for column in columns:
        space = column.width + gap
        if parts[-1] and used + space > room:
            parts.append([])
            used = 0
        parts[-1].append(column)
        used += space
    return parts


def _print_part(
    table: Table,
    columns: Sequence[_Column],
    console: Console,
    gap: int,
    footnotes: Sequence[str] | None,  # None: a further part, whose labels are short
) -> None:
    widths = [min(column.width, console.width // 2) for column in columns]
    label = min(console.width - sum(widths) - gap * len(widths), _LABEL_MAX)
    label = max(label, min(_LABEL_MIN, console.width // 2))
    place = 0
    for number, (group, lines) in enumerate(groups_of(table).items()):
        console.print(Text(plain(group), style="bold"), highlight=False)
        grid = Grid(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=number == 0)
        grid.add_column("", width=label, overflow="fold")
        for column, width in zip(columns, widths, strict=True):
            grid.add_column(Text(column.heading), justify="right", width=width, overflow="fold")
        for line in lines:
            cells = [_stacked(column.cells[place]) for column in columns]
            grid.add_row(_label(table, line, footnotes), *cells)
            place += 1
        console.print(grid)


def _stacked(cell: Sequence[str]) -> Text:
    return Text.assemble(cell[0], ("\n" + "\n".join(cell[1:]) if len(cell) > 1 else "", "dim"))


def _label(table: Table, line: TableLine, footnotes: Sequence[str] | None) -> Text:
    names = names_of(table, line)
    if footnotes is None:
        return Text(", ".join(names[:2]))
    marks = "".join(f" [{number}]" for number in marks_of(line, footnotes))
    below = [", ".join(names[1:]), line_origin(line) + marks]
    return Text.assemble(names[0], ("\n" + "\n".join(text for text in below if text), "dim"))
