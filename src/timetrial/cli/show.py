"""timetrial show"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from timetrial.cli import options


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A task, a task file (.toml, .py), a suite, or a run directory."
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a task as its page of the docs.")
    ] = False,
) -> None:
    """Show the rules of a task, what a suite runs, or what a run left."""
    from timetrial import owntask, plan, suites
    from timetrial.errors import UnknownNameError
    from timetrial.taskpage import render_task, task_facts

    if (Path(name) / "plan.json").is_file():
        _show_run(Path(name), json=json)
        return
    if name in suites.REGISTRY.names():
        _show_suite(name, json=json)
        return
    if not owntask.is_file_name(name) and name not in plan.TASKS.names():
        known = [*plan.TASKS.names(), *suites.REGISTRY.names()]
        raise UnknownNameError("task, suite or run directory", name, known)
    task = owntask.find_task_or_file(name, os.environ, fetch=False).task
    if json:
        options.echo_json(task_facts(task))
    elif markdown:
        typer.echo(render_task(task), nl=False)
    else:
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(render_task(task)))


def _show_suite(name: str, *, json: bool) -> None:
    from timetrial import suites
    from timetrial.plan import Request

    suite = suites.find_suite(name)
    if json:
        options.echo_json(suite)
        return
    systems = len(suite.requests)
    typer.echo(f"{suite.name}: {suite.question}")
    typer.echo(f"{systems} systems × {suite.seeds} seeds = {systems * suite.seeds} runs:")
    for request in suite.requests:
        usual = Request(task=request.task)
        chosen = [
            f"{field} {getattr(request, field)}"
            for field in Request.__struct_fields__
            if getattr(request, field) != getattr(usual, field)
        ]
        options.echo_wrapped(f"  {', '.join([request.task, *chosen])}")
    if suite.light_requests:
        paired = sum(min(r.seeds_max or suite.seeds, suite.seeds) for r in suite.light_requests)
        typer.echo(f"With --light {paired} shorter runs.")


def _show_run(path: Path, *, json: bool) -> None:
    from rich.console import Console

    from timetrial import api, report

    runs = api.load(path)
    if json:
        options.echo_json({"plan": runs[0].plan, "rows": list(runs.estimates())})
        return
    report.render_terminal(runs.findings(title=runs[0].plan.run), Console())
