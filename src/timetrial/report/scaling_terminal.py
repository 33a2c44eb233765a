"""What more workers bring, as a compact table for a terminal of 80 columns and more."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timetrial.report.scaling_words import (
    about,
    cell_of,
    columns_of,
    notes_of,
    studies,
)
from timetrial.report.table_words import CellWords
from timetrial.rows import Scaling


def print_scalings(scalings: Sequence[Scaling], console: Console) -> None:
    """Print a table per scaling, then what its columns hold and what must be known of them."""
    for study in studies(scalings):
        console.print(Text(study.title, style="bold cyan"), highlight=False)
        for scaling, label in zip(study.scalings, study.labels, strict=True):
            _quietly(console, label)
            console.print(_table(scaling))
        notes = dict.fromkeys(
            text for scaling in study.scalings for text in [*about(scaling), *notes_of(scaling)]
        )
        for note in notes:
            _quietly(console, note)
        console.print()


def _quietly(console: Console, text: str) -> None:
    console.print(Text(text, style="dim"), highlight=False)


def _table(scaling: Scaling) -> Table:
    columns = columns_of(scaling)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("Workers", justify="right", max_width=7)
    for column in columns:
        table.add_column(Text(column.heading), justify="right", overflow="fold")
    table.add_column("n", justify="right")
    for line in scaling.lines:
        cells = [_stacked(cell_of(scaling, line, column.name)) for column in columns]
        table.add_row(Text(str(line.workers)), *cells, Text(str(line.n)))
    return table


def _stacked(cell: CellWords) -> Text:
    """Return the value, below it the two ends of its interval in a line each."""
    low, joint, high = cell.interval.partition(" to ")
    below = [f"{low} to", high] if joint else [cell.interval] if cell.interval else []
    return Text.assemble(cell.value, ("\n" + "\n".join(below) if below else "", "dim"))
