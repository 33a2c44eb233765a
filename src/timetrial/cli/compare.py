"""timetrial compare"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from timetrial.cli import options


def compare(
    a: Annotated[
        str,
        typer.Argument(metavar="A", help="Runs A: a directory, or such as cores=1,task=mnist-cnn."),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Runs B: likewise.")],
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The store that conditions choose from.")
    ] = None,
    clock: Annotated[
        str, typer.Option(metavar="NAME", help="The clock; see timetrial list clocks.")
    ] = "mlperf",
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say whether A or B is faster to the target, and how surely."""
    from rich.console import Console

    from timetrial import api
    from timetrial.report import words

    sides = [options.choose_runs([side], store) for side in (a, b)]
    verdicts = api.compare(sides[0], sides[1], clock=clock)
    if json:
        options.echo_json(verdicts)
        return
    console = Console(markup=False, highlight=False)
    for verdict in verdicts:
        console.print(words.verdict_text(verdict, (verdict.a, verdict.b), verdict.target))
        for note in verdict.notes:
            console.print(f"- {note}")
