from __future__ import annotations

import csv
import io

import msgspec
from example_findings import findings, hostile

from timetrial.report import render_csv
from timetrial.rows import Row


def _parsed(text: str) -> list[dict[str, object]]:
    types = {field.name: field.type for field in msgspec.structs.fields(Row)}
    lines = []
    for line in csv.DictReader(io.StringIO(text, newline="")):
        assert list(line) == list(types)
        lines.append({name: _value(cell, types[name]) for name, cell in line.items()})
    return lines


def _value(cell: str, kind: object) -> object:
    optional = "None" in str(kind)
    if cell == "" and optional:
        return None
    if "Mapping" in str(kind) or "Sequence" in str(kind):
        return msgspec.json.decode(cell)
    if "int" in str(kind):
        return int(cell)
    return float(cell) if "float" in str(kind) else cell


def test_every_field_of_every_row_comes_back_exactly() -> None:
    rows = [*findings().rows, *hostile().rows]
    assert [Row(**line) for line in _parsed(render_csv(rows))] == rows  # type: ignore[arg-type]


def test_no_rows_give_the_header_alone() -> None:
    names = [field.name for field in msgspec.structs.fields(Row)]
    assert render_csv([]) == ",".join(names) + "\n"


def test_a_text_that_a_spreadsheet_would_compute_gets_an_apostrophe() -> None:
    [first, *_] = findings().rows
    row = msgspec.structs.replace(first, system='=HYPERLINK("http://x")', value=-1.5)
    [line] = csv.DictReader(io.StringIO(render_csv([row]), newline=""))
    assert line["system"] == '\'=HYPERLINK("http://x")'
    assert line["value"] == "-1.5"
