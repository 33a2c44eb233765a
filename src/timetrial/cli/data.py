"""timetrial data"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timetrial.cli import options
from timetrial.errors import DataError

if TYPE_CHECKING:
    from timetrial.datasets.info import DatasetInfo

app = typer.Typer(
    help="List, fetch and check data sets.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """List data sets and whether they are here; asks no network."""
    from timetrial import datasets
    from timetrial.datasets import sources

    path = sources.search_path(os.environ)
    rows = [sources.available(datasets.get(name), path) for name in datasets.REGISTRY.names()]
    if json:
        options.echo_json(rows)
        return
    for row in rows:
        typer.echo(f"{row.dataset:15} {row.state:12} {row.reason}")


@app.command()
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Data sets. Default: all but brought."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="Those that a task, suite or grid file (.toml) needs."),
    ] = None,
) -> None:
    """Fetch data sets into the cache, every file's checksum compared.

    Decodes into the cache what would take seconds in every run.
    """
    from timetrial.cli.progress import ProgressWatcher
    from timetrial.datasets import sources
    from timetrial.datasets.prepare import prepare
    from timetrial.errors import TimetrialError

    path = sources.search_path(os.environ)
    failed = 0
    wanted = [*(names or []), *(_datasets_of(of) if of else [])]
    infos = _infos(wanted)
    for info in infos:
        try:
            with ProgressWatcher(quiet=False) as watcher:
                located = prepare(info, path, fetch=True, progress=watcher.data)
        except TimetrialError as error:
            failed += 1
            typer.echo(f"timetrial: {error}", err=True)
            continue
        places = ", ".join(dict.fromkeys(located.places.values()))
        count = len(located.files)
        typer.echo(f"{info.name}: {count} {'file' if count == 1 else 'files'} from {places}")
    if failed:
        raise typer.Exit(1)


def _infos(names: Sequence[str]) -> list[DatasetInfo]:
    """Return the data sets of these names, without any all but those that an owner must bring."""
    from timetrial import datasets

    if names:
        return [datasets.get(name) for name in names]
    every = [datasets.get(name) for name in datasets.REGISTRY.names()]
    return [info for info in every if not info.is_brought]


def _datasets_of(what: str) -> list[str]:
    from timetrial import plan
    from timetrial.batch import expand

    requests, _, _ = expand(what, {})
    learned = [request for request in requests if plan.learns(request.task)]
    return list(dict.fromkeys(r.dataset or plan.find_task(r.task).dataset.name for r in learned))


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Data sets. Default: all but brought."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Compare the checksum of every copy of every file.

    Exits with 1 if a data set is not whole.
    """
    from timetrial import datasets
    from timetrial.datasets import sources

    path = sources.search_path(os.environ)
    infos = _infos(names or [])
    rows = [row for info in infos for row in sources.check(info, path)]
    if json:
        options.echo_json(rows)
    else:
        for row in rows:
            typer.echo(f"{row.status:8} {row.dataset:14} {row.file}")
            for line in (str(Path(row.path).parent) if row.path else "", row.detail):
                if line:
                    options.echo_wrapped(f"         {line}")
    broken = [
        info.name
        for info in infos
        if not sources.is_whole(info, [row for row in rows if row.dataset == info.name])
    ]
    if broken:
        fetched = [name for name in broken if not datasets.get(name).is_brought]
        step = f" Fetch with: timetrial data fetch {' '.join(fetched)}" if fetched else ""
        brought = [sources.how_to_bring(info) for info in infos if info.name in broken]
        steps = [step, *(f" {text}." for text in brought if text)]
        raise DataError(f"Not whole: {', '.join(broken)}.{''.join(steps)}")
