"""The words of a suite's table: cells, origins, footnotes. Every renderer takes them from here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from timetrial.report.words import ABSENT, interval_text, plain, trimmed, value_text
from timetrial.rows import Row, Table, TableColumn, TableLine


class CellWords(NamedTuple):
    """What one cell says: the value, and below it its interval, "" where there is none to give."""

    value: str
    interval: str


def cell_words(line: TableLine, column: TableColumn) -> CellWords:
    """Return the words of one cell; a published value without the zeros nobody printed."""
    cell = line.cells.get(column.name)
    if cell is None:
        return CellWords(ABSENT, "")
    if isinstance(cell, str):
        return CellWords(plain(cell), "")
    if cell.origin == "published":
        return CellWords(trimmed(value_text(cell)), "")
    return CellWords(value_text(cell), interval_text(cell))


def names_of(table: Table, line: TableLine) -> list[str]:
    """Return what the line is called: the texts of its text columns, without empty ones."""
    texts = [
        cell_words(line, column).value
        for column in table.columns
        if column.text and line.cells.get(column.name)
    ]
    return texts or [ABSENT]


def values_of(table: Table) -> list[TableColumn]:
    """Return the columns that hold quantities."""
    return [column for column in table.columns if not column.text]


def line_origin(line: TableLine) -> str:
    """Return such as "measured 2026-11-22", "published 2018-03-26" or "not run"."""
    if line.origin is None:
        return "not run"
    return plain(f"{line.origin} {line.date}".strip())


def footnotes_of(table: Table) -> list[str]:
    """Return what is said of some lines, once each, in the order of their numbers."""
    return list(dict.fromkeys(plain(note) for line in table.lines for note in line.notes))


def marks_of(line: TableLine, footnotes: Sequence[str]) -> list[int]:
    """Return the numbers of the line's footnotes, sorted."""
    said = {plain(note) for note in line.notes}
    return [number for number, note in enumerate(footnotes, 1) if note in said]


def groups_of(table: Table) -> dict[str, list[TableLine]]:
    """Return the lines by group, in order of appearance."""
    groups: dict[str, list[TableLine]] = {}
    for line in table.lines:
        groups.setdefault(line.group, []).append(line)
    return groups


def about_columns(table: Table) -> list[str]:
    """Return what the columns hold, where their headings do not say it."""
    return [f"{plain(c.heading)}: {plain(c.about)}" for c in table.columns if c.about]


def exact(cell: Row | str | None) -> tuple[str, str, str, str]:
    """Return value, low, high and unit of a cell, unrounded; a text as its value."""
    if cell is None:
        return "", "", "", ""
    if isinstance(cell, str):
        return plain(cell), "", "", ""
    ends = ("" if end is None else repr(end) for end in (cell.value, cell.low, cell.high))
    value, low, high = ends
    return value, low, high, plain(cell.unit)
