"""timetrial show"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from timetrial.cli import options


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A task, a task file (.toml, .py), an examination, a suite, an algorithm, or a "
            "run directory.",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print a task or an algorithm as its page of the docs."),
    ] = False,
    manifest: Annotated[
        bool,
        typer.Option(
            "--manifest",
            help="Print what kubectl or sky start a planned run from, by its launcher.",
        ),
    ] = False,
    set_up: Annotated[
        Path | None,
        typer.Option(
            "--set-up", metavar="FILE", help="NAME is a store: what its set-up took, by this log."
        ),
    ] = None,
) -> None:
    """Show what a task, suite, algorithm, run or set-up is."""
    from timetrial import algorithms, plan, suites
    from timetrial.algorithms import page
    from timetrial.errors import UnknownNameError
    from timetrial.examine import request as examining
    from timetrial.exchange import request as measuring
    from timetrial.taskpage import (
        examination_facts,
        exchange_facts,
        render_examination,
        render_exchange,
        render_task,
        task_facts,
    )

    if set_up is not None:
        _show_set_up(Path(name), set_up, json=json)
        return
    if manifest:
        _show_manifest(Path(name))
        return
    if (Path(name) / "plan.json").is_file():
        _show_run(Path(name), json=json)
        return
    if name in suites.REGISTRY.names():
        _show_suite(name, json=json)
        return
    measured = measuring.find(name)
    if measured is not None:
        _print_page(
            exchange_facts(measured), render_exchange(measured), json=json, markdown=markdown
        )
        return
    examined = examining.find(name)
    if examined is not None:
        _print_page(
            examination_facts(examined), render_examination(examined), json=json, markdown=markdown
        )
        return
    if name in algorithms.REGISTRY.names():
        _print_page(page.facts(name), page.render_algorithm(name), json=json, markdown=markdown)
        return
    if name in plan.TASKS.names():
        task = plan.find_task(name)
    else:
        from timetrial import owntask  # brings NumPy: only where a file is read

        if not owntask.is_file_name(name):
            known = [
                *plan.TASKS.names(),
                *plan.MEASUREMENTS.names(),
                *plan.EXAMINATIONS.names(),
                *suites.REGISTRY.names(),
                *algorithms.REGISTRY.names(),
            ]
            raise UnknownNameError("task, suite, algorithm or run directory", name, known)
        task = owntask.find_task_or_file(name, os.environ, fetch=False).task
    _print_page(task_facts(task), render_task(task), json=json, markdown=markdown)


def _print_page(facts: Mapping[str, object], page: str, *, json: bool, markdown: bool) -> None:
    if json:
        options.echo_json(facts)
    elif markdown:
        typer.echo(page, nl=False)
    else:
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(page))


def _show_suite(name: str, *, json: bool) -> None:
    from timetrial import suites
    from timetrial.plan import Request

    suite = suites.find_suite(name)
    if json:
        options.echo_json(suite)
        return
    systems, runs = len(suite.requests), suites.runs_of(suite)
    seeds = f" × {suite.seeds} seeds" if runs == systems * suite.seeds else ""
    typer.echo(f"{suite.name}: {suite.question}")
    typer.echo(f"{systems} systems{seeds} = {runs} runs:")
    for request in suite.requests:
        usual = Request(task=request.task)
        chosen = [
            f"{field} {getattr(request, field)}"
            for field in Request.__struct_fields__
            if getattr(request, field) != getattr(usual, field)
        ]
        options.echo_wrapped(f"  {', '.join([request.task, *chosen])}")
    if suite.light_requests:
        paired = suites.runs_of(suite, light=True)
        typer.echo(f"With --light {paired} shorter runs.")


def _show_run(path: Path, *, json: bool) -> None:
    from rich.console import Console

    from timetrial import api, report

    runs = api.load(path)
    if json:
        options.echo_json({"plan": runs[0].plan, "rows": list(runs.estimates())})
        return
    report.render_terminal(runs.findings(title=runs[0].plan.run), Console())


def _show_manifest(path: Path) -> None:
    from typing import cast

    from timetrial import launch, store
    from timetrial.errors import UsageError

    record = store.read_run(path)
    name = record.plan.launcher
    launcher = cast(type[launch.Launcher], launch.REGISTRY.get(name))()
    if not isinstance(launcher, launch.Renders):
        raise UsageError(
            f"Launcher {name} of {record.plan.run} starts its runs by itself and writes no "
            f"manifest. Go on with: timetrial run --resume {path}"
        )
    if record.done is not None:
        raise UsageError(f"{path} is finished. Plan a new run instead.")
    typer.echo(launcher.manifest(record.run, record.plan, record.attempts), nl=False)


def _show_set_up(runs: Path, log: Path, *, json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from timetrial import firstrun, store, units
    from timetrial.report.words import value_text

    found = firstrun.rows_of(firstrun.read_log(log), store.read_runs([runs]))
    if json:
        options.echo_rows(found)
        return
    row = {row.measure: row for row in found}
    main = row.get("run_time", row["time_to_first_step"])
    timed = {"run_time": f"Run time (n = {main.n})"} if "run_time" in row else {}
    headings = {
        **timed,
        "setup_commands": "Commands",
        "setup_manual_steps": "Manual steps",
        "time_to_first_step": "To first step (n = 1)",
    }
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings.values():
        table.add_column(heading, justify="right")
    counts = ("setup_commands", "setup_manual_steps")
    cells = [
        f"{row[name].value:.0f}" if name in counts else value_text(row[name]) for name in headings
    ]
    table.add_row(*map(Text, cells))
    options.echo_wrapped(f"{main.task}, {main.framework} on {main.system}, {main.date}")
    Console().print(table)
    parts = [
        f"{name.removeprefix('setup_').replace('_', ' ')} {units.duration(seen.value or 0.0)}"
        + (" (reused)" if "reused" in seen.notes else "")
        for name, seen in row.items()
        if name.startswith("setup_") and seen.unit == "s"
    ]
    options.echo_wrapped(f"To first step: {', '.join(parts)}")
    if not timed:
        options.echo_wrapped("Run time: unknown, since no run did its work")
    for measure in ("setup_manual_steps", "time_to_first_step"):
        own = [note for note in row[measure].notes if note not in main.notes]
        if own:
            options.echo_wrapped(f"{headings[measure]}: {'; '.join(own)}")
    for note in main.notes:
        options.echo_wrapped(f"Note: {note}")
