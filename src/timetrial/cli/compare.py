"""timetrial compare"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from timetrial.cli import options
from timetrial.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from timetrial.results import Runs

FIELDS: Final = (
    "batch",
    "cores",
    "device",
    "division",
    "framework",
    "launcher",
    "precision",
    "run",
    "task",
)


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

    sides = [_choose(side, api.find_store(store)) for side in (a, b)]
    verdicts = api.compare(sides[0], sides[1], clock=clock)
    if json:
        options.echo_json(verdicts)
        return
    console = Console(markup=False, highlight=False)
    for verdict in verdicts:
        console.print(words.verdict_text(verdict, (verdict.a, verdict.b), verdict.target))
        for note in verdict.notes:
            console.print(f"- {note}")


def _choose(text: str, store: Path) -> Runs:
    from timetrial import api
    from timetrial.results import Runs

    if "=" not in text or Path(text).exists():
        return api.load(text)
    conditions = options.settings(options.comma_list(text) or ())
    for field in conditions:
        if field not in FIELDS:
            raise UnknownNameError("condition", field, FIELDS)
    runs = api.load(store)
    chosen = [
        record
        for record in runs
        if all(_value(record.plan, field) == value for field, value in conditions.items())
    ]
    if not chosen:
        raise UsageError(
            f"No run in {store} has {text}. `timetrial list runs --store {store}` shows what is "
            "there."
        )
    return Runs(chosen)


def _value(plan: object, field: str) -> str:
    value = getattr(plan, field)
    return str(value.name) if field == "task" else str(value)
