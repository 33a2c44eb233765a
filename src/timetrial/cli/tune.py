"""timetrial tune"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from timetrial import units
from timetrial.cli import options
from timetrial.errors import TimetrialError
from timetrial.tune import FRESH, LEADERS, REPEAT, TRIALS

if TYPE_CHECKING:
    from timetrial.tune.found import Found

_EXIT_SOME_FAILED: Final = 3


def tune(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A task, or a task file of your own (.toml, .py).")
    ],
    objective: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="time-to-target, cost-to-target (with --price-per-hour) or accuracy-after=30s.",
        ),
    ] = "time-to-target",
    trials: Annotated[
        int, typer.Option(min=1, metavar="N", help="Settings to try, one run each.")
    ] = TRIALS,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What may be tried: a space of timetrial list spaces, or a TOML file.",
        ),
    ] = None,
    sampler: Annotated[
        str, typer.Option(metavar="NAME", help="tpe, gp, cmaes, qmc or random.")
    ] = "tpe",
    pruner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What gives up bad runs: capping (default; median with accuracy-after), median, "
            "hyperband or none.",
        ),
    ] = None,
    at_most: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Begin no trial after this time: 2h"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Runs at once, where the launcher has room. Default: all it has.",
        ),
    ] = None,
    leaders: Annotated[
        int, typer.Option(min=1, metavar="N", help="Best trials to run again.")
    ] = LEADERS,
    repeat: Annotated[
        int, typer.Option(min=0, metavar="K", help="Further runs of each, on other seeds.")
    ] = REPEAT,
    fresh: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Runs of winner and of reference on fresh seeds; 0: no comparison.",
        ),
    ] = FRESH,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of the search; one of that name goes on. Default: TASK-OBJECTIVE.",
        ),
    ] = None,
    framework: Annotated[
        str | None, typer.Option(metavar="NAME", help="The framework. Default: the task's first.")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="CPU cores a run may use.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory limit of a run: 4GiB")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="cpu (default), cuda, cuda:N, rocm, mps or tpu."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="NAME", help="float32, float64 or bfloat16.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Workers of a run. Default 1.")
    ] = None,
    launcher: Annotated[
        str | None, typer.Option(metavar="NAME", help="What starts the workers. Default local.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(metavar="SHAPE", help="With --launcher shaped: rate=100mbit,delay=5ms"),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="Hosts file (ssh), address (ray) or partition (slurm)."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The data set, where a task allows.")
    ] = None,
    eval_split: Annotated[
        str | None, typer.Option(metavar="NAME", help="The evaluated split, where a task allows.")
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(metavar="FRACTION", help="The target of all runs: 0.97. Default: the task's."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop every run after this time on the mlperf clock."),
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(metavar="USD", help="What the machine costs.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting that is no rule."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where runs are kept. Default $TIMETRIAL_HOME, ./timetrial-runs."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The report to write. Default: tuning/NAME.html in the store."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print rows as JSON.")] = False,
) -> None:
    """Search settings of a task, and compare the best with its own.

    Target, data and rhythm of evaluations stay as they are. The same command goes on after a kill,
    with more --trials too.
    """
    from timetrial.cli.progress import ProgressWatcher
    from timetrial.tune.asked import Amounts
    from timetrial.tune.session import search

    choices: dict[str, Any] = {
        "framework": framework,
        "cores": cores,
        "memory_bytes": units.parse_bytes(memory) if memory else None,
        "device": device,
        "precision": precision,
        "workers": workers,
        "launcher": launcher,
        "network": network,
        "cluster": cluster,
        "dataset": dataset,
        "eval_split": eval_split,
        "target": target,
        "budget_s": units.parse_duration(budget) if budget else None,
        "price_usd_per_h": price_per_hour,
        "settings": options.settings(set_ or ()) or None,
    }
    much = Amounts(
        trials=trials,
        leaders=leaders,
        repeat=repeat,
        fresh=fresh,
        jobs=jobs,
        at_most_s=units.parse_duration(at_most) if at_most else None,
    )
    command = ["timetrial", *sys.argv[1:]]
    with ProgressWatcher(quiet=json) as watcher:
        try:
            found = search(
                task,
                objective=objective,
                amounts=much,
                space=space,
                sampler=sampler,
                pruner=pruner,
                name=name,
                store_dir=store,
                watcher=watcher,
                command=command,
                **choices,
            )
        except KeyboardInterrupt:
            _say_how_to_go_on("stopped, no finished trial is lost", command)
            raise
    _present(found, json=json, html=html)
    if found.unfinished:
        _say_how_to_go_on(
            f"{units.count(found.unfinished, 'run')} lost a worker to a signal", command
        )
    if found.unfinished or found.winner is None:
        raise typer.Exit(_EXIT_SOME_FAILED)


def _say_how_to_go_on(why: str, command: list[str]) -> None:
    print(f"timetrial: {why}. Go on with the same command: {shlex.join(command)}", file=sys.stderr)


def _present(found: Found, *, json: bool, html: Path | None) -> None:
    """Print what was found, and write it as a page."""
    from rich.console import Console

    from timetrial import report
    from timetrial.report import words
    from timetrial.rundir import write_atomically
    from timetrial.tune import tables
    from timetrial.tune.journal import FOLDER

    shown = tables.findings_of(found)
    if json:
        options.echo_rows(tables.rows_of(found))
    else:
        report.print_tables(shown.tables, Console(soft_wrap=False))
        for verdict in shown.verdicts:
            options.echo_wrapped(
                words.verdict_text(verdict, (verdict.a, verdict.b), verdict.target)
            )
            for note in verdict.notes:
                options.echo_wrapped(f"- {note}")
        if found.winner is None:
            options.echo_wrapped(_no_winner(found))
        else:
            typer.echo(f"\nThe winner's settings:\n  {tables.winner_command(found)}")
    page = html or found.store / FOLDER / f"{found.name}.html"
    try:
        write_atomically(page, report.render_html(shown).encode())
    except TimetrialError as error:
        print(f"timetrial: the report could not be written: {error}", file=sys.stderr)
        return
    print(f"\nReport: {page}", file=sys.stderr if json else sys.stdout)


def _no_winner(found: Found) -> str:
    if found.leaders:
        return "There is no winner yet: further runs of the leaders are missing."
    return (
        f"None of {units.count(len(found.lines), 'trial')} but the task's own settings gave a "
        "value: there is no winner. Try more with --trials, or another --space with --name."
    )
