"""timetrial convergence"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from timetrial.cli import options

app = typer.Typer(
    help="How many steps tasks need: what predictions are made from.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also the finished runs of this store.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show the library: tasks, targets, how many runs, how old, and what is out of date."""
    from timetrial import convergence

    entries = convergence.entries(store_dir=store)
    if json:
        options.echo_json(entries)
        return
    for entry in entries:
        options.echo_wrapped(f"{entry.task}: {entry.what}")
        options.echo_wrapped(
            f"  {entry.runs} runs, {entry.system}, {entry.date}"
            + ("" if entry.fresh else "; OUT OF DATE: the task's rules have changed since")
        )
        for target, words in entry.targets.items():
            options.echo_wrapped(f"    {target}: {words}")


@app.command("update")
def update(
    tasks: Annotated[list[str], typer.Argument(metavar="TASK", help="Closed tasks.")],
    seeds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Runs that the library is to have.")
    ] = 20,
    target: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION", help="Stop at this value: curves beyond it are not known."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The data set, where a task allows.")
    ] = None,
    framework: Annotated[
        str | None, typer.Option(metavar="NAME", help="Default: the task's.")
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="NAME", help="Likewise.")] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="CPU cores of a run.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write files of the library there, such as src/timetrial/references/curves; else "
            "the store alone keeps the runs.",
        ),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keeps the runs; those there count already.")
    ] = None,
) -> None:
    """Run tasks until the library has so many runs of their present rules.

    Predictions read the finished runs of their store: with --to the curves are also written as
    files of the library.
    """
    from timetrial import convergence
    from timetrial.cli.progress import ProgressWatcher

    with ProgressWatcher(quiet=False) as watcher:
        made = convergence.update(
            tasks,
            seeds=seeds,
            target=target,
            dataset=dataset,
            framework=framework,
            precision=precision,
            cores=cores,
            to=to,
            store_dir=store,
            watcher=watcher,
            command=["timetrial", *sys.argv[1:]],
        )
    for line in made:
        options.echo_wrapped(line)
