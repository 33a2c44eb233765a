"""The ceilings of a machine in a terminal of 80 columns and more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from timetrial import units
from timetrial.report.table_terminal import print_tables
from timetrial.report.words import (
    ABSENT,
    interval_text,
    measure_label,
    optional,
    plain,
    sentence,
    unique,
    value_text,
)
from timetrial.rows import Row, Table

FAR: Final = 0.1  # a median of the rounds so far from the best one is told


def render_machine(rows: Sequence[Row], table: Table, console: Console) -> None:
    """Print the machine in document 002's columns, then all ceilings, then what is to be known."""
    print_tables([table], console)
    measured = [row for row in rows if row.value is not None]
    derivations = unique(row.facts["derivation"] for row in measured)
    notes = unique(note for row in measured for note in row.notes)
    common = [note for note in notes if all(note in row.notes for row in measured)]
    notes = [note for note in notes if note not in common]
    console.print(Text("Ceilings of this machine", style="bold cyan"), highlight=False)
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    grid.add_column("What, where, how large", overflow="fold")
    for heading in ("Ceiling", "n", "Theoretical", "Share"):
        grid.add_column(heading, justify="right", overflow="fold")
    for row in measured:
        marks = [1 + derivations.index(row.facts["derivation"])]
        marks += [1 + len(derivations) + notes.index(note) for note in row.notes if note in notes]
        grid.add_row(
            _stacked(sentence(measure_label(row.measure)), _place(row)),
            _stacked(value_text(row), "\n".join([interval_text(row), *_median(row)])),
            str(row.n),
            _stacked(_theoretical(row), " ".join(f"[{mark}]" for mark in marks)),
            units.percent(float(row.facts["share"]), 0) if "share" in row.facts else ABSENT,
        )
    console.print(grid)
    for number, text in enumerate([*derivations, *notes], 1):
        _quietly(console, f"[{number}] {plain(text)}")
    for text in common:
        _quietly(console, f"Note: {plain(text)}")
    for text in unique(f"{_how_of(row)}." for row in measured):
        _quietly(console, text)
    for text in unique(_why_not(row) for row in rows if row.value is None):
        _quietly(console, text)


def _place(row: Row) -> str:
    """Return such as "2 cores, 1024 × 1024"."""
    where = row.device
    if where == "cpu" and row.cores is not None:
        where = "1 core" if row.cores == 1 else f"{row.cores} cores"
    elif where == "cpu":
        where = ""
    if row.workers > 1:
        where = f"{row.workers} workers, {where} each"
    return ", ".join(plain(part) for part in (where, row.facts["size"]) if part)


def _median(row: Row) -> list[str]:
    """Return the rounds' median in words where it is far from the best: much was disturbed."""
    median = float(row.facts["median"]) if "median" in row.facts else None
    if median is None or not row.value or abs(median / row.value - 1) <= FAR:
        return []
    return [f"median {optional(median, row.unit)}"]


def _theoretical(row: Row) -> str:
    if "theoretical" not in row.facts:
        return ABSENT
    return optional(float(row.facts["theoretical"]), row.unit)


def _how_of(row: Row) -> str:
    return f"{sentence(measure_label(row.measure))}: {plain(row.facts['how'])}"


def _why_not(row: Row) -> str:
    return f"{sentence(measure_label(row.measure))} on {row.device}: {plain(row.notes[0])}."


def _stacked(first: str, below: str) -> Text:
    return Text.assemble(first, (f"\n{below}" if below else "", "dim"))


def _quietly(console: Console, text: str) -> None:
    console.print(Text(text, style="dim"), highlight=False)
