"""What more workers bring, as a compact table for a terminal of 80 columns and more."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
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
            console.print(_table(scaling, console.width))
        notes = dict.fromkeys(
            text for scaling in study.scalings for text in [*about(scaling), *notes_of(scaling)]
        )
        for note in notes:
            _quietly(console, note)
        console.print()


def _quietly(console: Console, text: str) -> None:
    console.print(Text(text, style="dim"), highlight=False)


def _table(scaling: Scaling, width: int) -> Table:
    """Return the table; a heading is broken between words, an interval into its two ends."""
    columns = [("Workers", [[str(line.workers)] for line in scaling.lines])]
    columns += [
        (column.heading, [_stacked(cell_of(scaling, line, column.name)) for line in scaling.lines])
        for column in columns_of(scaling)
    ]
    columns.append(("n", [[str(line.n)] for line in scaling.lines]))
    widths = [
        max(map(cell_len, [*heading.split(), *(part for cell in cells for part in cell)]))
        for heading, cells in columns
    ]
    room = (width - sum(widths)) // len(widths) - 1  # beside the blank between two columns
    gap = max(0, min(2, room))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), show_edge=False, pad_edge=False)
    for (heading, _), space in zip(columns, widths, strict=True):
        table.add_column(Text(heading), justify="right", width=space, overflow="fold")
    for cells in zip(*(cells for _, cells in columns), strict=True):
        texts = [
            Text.assemble(first, ("".join(f"\n{part}" for part in rest), "dim"))
            for first, *rest in cells
        ]
        table.add_row(*texts)
    return table


def _stacked(cell: CellWords) -> list[str]:
    """Return the value, then the two ends of its interval."""
    low, joint, high = cell.interval.partition(" to ")
    below = [f"{low} to", high] if joint else [cell.interval] if cell.interval else []
    return [cell.value, *below]
