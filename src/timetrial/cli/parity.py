"""timetrial parity"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from timetrial.cli import options

if TYPE_CHECKING:
    from timetrial.parity.proof import Proof


def parity(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task to prove, or a task file.")],
    framework: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Frameworks, with commas. Default: all installed."),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="Where they compute: cpu, cuda, …")
    ] = "cpu",
    cores: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads of each side. Default: all.")
    ] = None,
    steps: Annotated[int, typer.Option(min=4, metavar="N", help="Training steps.")] = 20,
    batch: Annotated[int, typer.Option(min=2, metavar="N", help="Examples of a mini-batch.")] = 16,
    twins: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Also run every twin with a broken rule in these frameworks; all must be caught.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Prove that all implementations of a task are the same task.

    Each framework here is compared with a NumPy reference in float64: shapes, scores, gradients,
    the losses of training steps, what they end in. Exits with 1 if a check fails.
    """
    from rich.console import Console

    from timetrial.owntask import find_task_or_file
    from timetrial.parity.proof import prove
    from timetrial.parity.scale import Scale
    from timetrial.plan import restrict_cpus

    with Console(stderr=True).status("starting") as status:
        proof = prove(
            find_task_or_file(task, os.environ, fetch=False).task,
            options.comma_list(framework) or (),
            device=device,
            threads=restrict_cpus(cores)[1],
            scale=Scale(steps=steps, batch_size=batch, train_count=2 * batch + batch // 2),
            twins=options.comma_list(twins) or (),
            say=status.update,
        )
    if json:
        options.echo_json({"ok": proof.ok, "proof": proof})
    else:
        _print(proof)
    if not proof.ok:
        raise typer.Exit(1)


def _print(proof: Proof) -> None:
    """Print a table: a row per check, a column per framework, differences beside their bound."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    names = list(dict.fromkeys(check.framework for check in proof.checks))
    for precision in ("float64", "float32"):
        rows = [check for check in proof.checks if check.precision == precision]
        if not rows:
            continue
        table = Table(title=f"{proof.task}, {precision}, largest difference", title_justify="left")
        table.add_column("")
        table.add_column("bound", justify="right")
        for name in names:
            table.add_column(name.replace("keras-tensorflow", "keras-tf"), justify="right")
        for what in dict.fromkeys(check.what for check in rows):
            found = {check.framework: check for check in rows if check.what == what}
            marks = [f"{c.seen:.0e}{'' if c.ok else ' !'}" for c in found.values()]
            bound = next(iter(found.values())).bound
            table.add_row(what, f"{bound:.0e}" if bound else "0", *marks)
        console.print(table)
    for check in proof.checks:
        if not check.ok:
            options.echo_wrapped(
                f"FAILED {check.framework}, {check.precision}: {check.what}: {check.seen:.2g}, "
                f"allowed {check.bound:.0e} ({check.detail})"
            )
    for twin in proof.twins:
        word = "caught" if twin.caught else "MISSED"
        options.echo_wrapped(
            f"{word} {twin.framework}: {twin.twin} ({twin.seen:.2g} times the bound)"
        )
    for note in proof.notes:
        options.echo_wrapped(f"note: {note}")
    typer.echo("the same task" if proof.ok else "NOT the same task")
