"""Rows as CSV, every field of every row, exact, for other programs; tables of suites likewise."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec

from timetrial.report.table_words import exact
from timetrial.report.words import plain
from timetrial.rows import Row, Table


def render_csv(rows: Sequence[Row]) -> str:
    """Return a header of the fields of `Row` and a line per row.

    Numbers are SI and unrounded; None is an empty cell; counts, notes and evidence are JSON. A text
    that a spreadsheet would take for a formula gets an apostrophe: JSON has it as it is.
    """
    names = [field.name for field in msgspec.structs.fields(Row)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _no_formula(value)
    if isinstance(value, int | float):
        return str(value)
    return msgspec.json.encode(value).decode()


def tables_csv(tables: Sequence[Table]) -> str:
    """Return a header and a line per line of the tables, whose columns stand beside each other.

    A column of quantities becomes four: the value, both ends of its interval, its unit. Numbers are
    SI and unrounded. A text that a spreadsheet would take for a formula gets an apostrophe.
    """
    columns = {column.name: column for table in tables for column in table.columns}
    names = ["suite", "table", "group", "origin", "date", "source", "n"]
    for name, column in columns.items():
        names += [name] if column.text else [name, f"{name}_low", f"{name}_high", f"{name}_unit"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*map(_harmless, names), "notes", "evidence"])
    for table in tables:
        for line in table.lines:
            cells = [table.suite, table.title, line.group, line.origin or "not run"]
            cells += [line.date, line.source, "" if line.n is None else str(line.n)]
            for name, column in columns.items():
                cells += exact(line.cells.get(name))[: 1 if column.text else 4]
            cells += ["; ".join(line.notes), " ".join(line.evidence)]
            writer.writerow(map(_harmless, cells))
    return text.getvalue()


def _harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula; numbers stay numbers."""
    return _no_formula(plain(text))


def _no_formula(text: str) -> str:
    if text[:1] not in ("=", "+", "-", "@", "\t", "\r"):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
