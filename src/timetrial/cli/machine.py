"""timetrial machine"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timetrial.cli import options

if TYPE_CHECKING:
    from timetrial.machine import Ceilings


def machine(
    light: Annotated[
        bool,
        typer.Option("--light", help="Only fp32, bf16 and the triad, in a third of the time."),
    ] = False,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The store: its disk is read, the result kept there too."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print rows as JSON.")] = False,
) -> None:
    """Measure what this machine can do at most, in under a minute.

    Matrix products by precision, memory, disk, copies to GPUs, the smallest operation, all-reduce,
    beside theoretical figures and document 002's table. Runs take the result along.
    """
    found = _measure(light=light, store=store)
    from timetrial.findings.ceilings import ceiling_rows, hardware_table

    rows = ceiling_rows(found)
    if json:
        options.echo_rows(rows)
        return
    from rich.console import Console

    from timetrial.report import render_machine

    render_machine(rows, hardware_table(found), Console())


def _measure(*, light: bool, store: Path | None) -> Ceilings:
    """Measure behind a bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from timetrial import api
    from timetrial.report import words

    console = Console(stderr=True)
    bar = Progress(
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        shown = bar.add_task("starting", total=1.0)

        def say(measure: str, where: str, share: float) -> None:
            text = f"{words.measure_label(measure)}, {where}"
            bar.update(shown, completed=share, description=text)

        return api.measure_machine(light=light, store_dir=store, say=say)
