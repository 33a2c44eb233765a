"""timetrial export"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timetrial.cli import options

if TYPE_CHECKING:
    from timetrial.interop import Receipt


def export(
    to: Annotated[
        str,
        typer.Option(metavar="TOOL", help="mlflow, tensorboard, wandb; see list exporters."),
    ],
    into: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="The tool's own place: a folder (tensorboard, wandb) or a tracking URI such as "
            "sqlite:///mlflow.db (mlflow).",
        ),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUNS",
            help="Run directories, stores, or such as task=mnist-cnn,cores=1. Default: the store.",
        ),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The store that conditions choose from.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a receipt per run as JSON.")] = False,
) -> None:
    """Hand runs that have ended to a tracking tool.

    The run directories stay as they are. The same run again changes nothing there.
    """
    from rich.console import Console

    from timetrial import api
    from timetrial.interop import shown_place

    chosen = options.choose_runs(runs or (), store)
    with Console(stderr=True).status("") as status:

        def told(receipt: Receipt) -> None:
            status.update(f"{receipt.state}: {receipt.run}")

        receipts = api.export(chosen, to=to, into=into, told=told)
    if json:
        options.echo_json(receipts)
        return
    for receipt in receipts:
        options.echo_wrapped(f"{receipt.state:9} {receipt.run}: {receipt.where or receipt.why}")
    states = [receipt.state for receipt in receipts]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    options.echo_wrapped(f"{to}, {shown_place(into)}: {counts}")
