"""timetrial run"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from timetrial import units
from timetrial.cli import options
from timetrial.errors import TimetrialError, UsageError

if TYPE_CHECKING:
    from timetrial.results import Runs

EXIT_SOME_FAILED: Final = 3
FAILED: Final = ("diverged", "out_of_memory", "timeout", "killed", "error")


def run(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WHAT",
            help="Tasks, suites, grid files (.toml), task files of your own (.toml, .py). Nothing "
            "named: suite quick. With --task: a script or command, its options after --.",
        ),
    ] = None,
    framework: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Frameworks, with commas.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Runs of each system. Default 3.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT", help="Add runs until time to target is known to ± this: 5%"
        ),
    ] = None,
    at_most: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --until: begin no run after this time: 30min"),
    ] = None,
    calibrate: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            show_default=False,
            help="Make so many A/A pairs instead: the machine's noise.",
        ),
    ] = 0,
    cores: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="CPU cores a run may use: 1,2")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZES", help="Memory limit of a run: 4GiB")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="cpu (default), cuda, cuda:N, rocm, mps or tpu."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="float32, float64 or bfloat16. Default: the task's first."
        ),
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="Workers of a run. Default 1.")
    ] = None,
    launcher: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="What starts the workers. Default local."),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHAPE",
            help="With --launcher shaped: rate=100mbit,delay=5ms. Given again: one more of a grid.",
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="How workers learn together: allreduce (default), ddp; more with --division open.",
        ),
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Which data each worker sees, with --division open."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="Hosts file (ssh), address (ray) or partition (slurm)."),
    ] = None,
    division: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="closed (default): the rules to the letter; open: --set may change them, or a "
            "script of one's own (--task) does the work.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="WHAT is a command that learns this task; with --division open."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The data set, where a task allows.")
    ] = None,
    eval_split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Evaluate and stop on this split, where a task allows."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(metavar="FRACTION", help="Stop at this value of the task's metric: 0.97"),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop a run after this time on the mlperf clock: 60s"),
    ] = None,
    inference: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="After training, time predictions for about so long, alone and in batches: 10s",
        ),
    ] = None,
    light: Annotated[
        bool, typer.Option("--light", help="Fewer steps, an easier target; labelled so.")
    ] = False,
    price_per_hour: Annotated[
        float | None,
        typer.Option(metavar="USD", help="What the machine costs: gives the cost per run."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where it runs, if no metadata say.")
    ] = None,
    region: Annotated[str | None, typer.Option(metavar="NAME", help="Likewise.")] = None,
    image: Annotated[
        str | None, typer.Option(metavar="NAME", help="Likewise. Default: the system's name.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")
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
            metavar="FILE", help="The report to write. Default: report.html in the store."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what it would take and cost, run nothing; --json: the plans."
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Finish unfinished runs of the store, or of WHAT: its paths."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print rows as JSON.")] = False,
) -> None:
    """Run tasks and print how long they took, with error bars.

    Options that take NAMES, NUMBERS or SIZES take several with commas: every combination is run.
    """
    from timetrial import api
    from timetrial.cli.progress import ProgressWatcher

    choices: dict[str, Any] = {
        "framework": options.comma_list(framework),
        "cores": options.numbers("--cores", cores),
        "memory_bytes": _sizes(memory),
        "device": options.comma_list(device),
        "precision": options.comma_list(precision),
        "workers": options.numbers("--workers", workers),
        "launcher": options.comma_list(launcher),
        "network": network or None,
        "algorithm": options.comma_list(algorithm),
        "partition": options.comma_list(partition),
        "cluster": cluster,
        "division": division,
        "dataset": dataset,
        "eval_split": eval_split,
        "target": target,
        "budget_s": units.parse_duration(budget) if budget else None,
        "inference_s": units.parse_duration(inference) if inference else None,
        "light": light or None,  # None: what a grid file says stands
        "price_usd_per_h": price_per_hour,
        "provider": provider,
        "region": region,
        "image": image,
        "settings": options.settings(set_ or ()) or None,
    }
    if resume and (seeds or until or at_most or calibrate or dry_run or any(choices.values())):
        raise UsageError(
            "--resume finishes runs as they were planned. Leave out all options but --store, "
            "--html and --json."
        )
    names: list[str] = what or ["quick"]
    if task is not None:
        choices["script"] = _own_command(what, task, resume=resume)
        names = [task]
    elif not resume:
        _refuse_scripts(names, division)
    one = names[0] if len(names) == 1 else names
    if dry_run:
        _look_ahead(one, seeds, store, choices, json=json)
        return
    place = api.find_store(store, () if resume else one)
    with ProgressWatcher(quiet=json) as watcher:
        try:
            if resume:
                runs = api.resume(what or [], store_dir=store, watcher=watcher)
            else:
                runs = api.run(
                    one,
                    seeds=seeds,
                    until=units.parse_fraction(until) if until else None,
                    at_most_s=units.parse_duration(at_most) if at_most else None,
                    calibrate=calibrate,
                    store_dir=store,
                    watcher=watcher,
                    command=["timetrial", *sys.argv[1:]],
                    **choices,
                )
        except KeyboardInterrupt:
            _say_how_to_resume(what if resume and what else ["--store", str(place)])
            raise
    _present(runs, json=json, html=html or runs[0].run.path.parent / "report.html")
    if any(record.status in (None, *FAILED) for record in runs):
        print(_failures(runs), file=sys.stderr)
        raise typer.Exit(EXIT_SOME_FAILED)


def _look_ahead(
    what: str | list[str],
    seeds: int | None,
    place: Path | None,
    choices: dict[str, Any],
    *,
    json: bool,
) -> None:
    """Print what would be run, with the time and cost it would take."""
    from rich.console import Console

    from timetrial import api, outlook, report

    if json:
        options.echo_json(api.plans(what, seeds=seeds, **choices))
        return
    seen = outlook.ahead(what, seeds=seeds, store_dir=place, **choices)
    report.print_tables([seen.table], Console(soft_wrap=False))


def _own_command(what: Sequence[str] | None, task: str, *, resume: bool) -> tuple[str, ...]:
    """Return WHAT as the command that learns `task`.

    Raises:
        UsageError: There is none, or a run is to be resumed.
        UnknownNameError: No such task.
    """
    from timetrial import plan

    if resume:
        raise UsageError("--resume finishes runs as they were planned. Leave out --task.")
    plan.find_task(task)
    if not what:
        raise UsageError(
            f"--task {task} needs a command to run. Write: "
            f"timetrial run ./train.py --division open --task {task}"
        )
    return tuple(what)


def _refuse_scripts(names: Sequence[str], division: str | None) -> None:
    """Say what a script that was named without a task lacks."""
    for name in names:
        task_file = name.endswith((".toml", ".py")) and division != "open"
        named = name.endswith(".py") or (("/" in name or "\\" in name) and Path(name).is_file())
        if named and not task_file and not name.endswith(".toml"):
            missing = "--task NAME" if division == "open" else "--division open --task NAME"
            raise UsageError(
                f"{name} is a script, and what it is to learn is not said. Add {missing}; "
                "`timetrial list` shows the tasks."
            )


def _say_how_to_resume(places: Sequence[str]) -> None:
    print(
        "timetrial: stopped, nothing is lost. Go on with: "
        f"timetrial run --resume {shlex.join(places)}",
        file=sys.stderr,
    )


def _present(runs: Runs, *, json: bool, html: Path) -> None:
    from rich.console import Console

    from timetrial import report
    from timetrial.results import save_tables

    findings = runs.findings()
    if json:
        options.echo_rows(findings.rows)
    else:
        report.render_terminal(findings, Console(soft_wrap=False))
    try:
        page = runs.report(html)
        saved = save_tables(findings, html.parent)
    except TimetrialError as error:
        print(f"timetrial: the report could not be written: {error}", file=sys.stderr)
        return
    place = sys.stderr if json else sys.stdout
    print(f"\nReport: {page}", file=place)
    for path in saved:
        print(f"Table: {path}", file=place)


def _failures(runs: Runs) -> str:
    lines = []
    for record in runs:
        if record.status in (None, *FAILED):
            word = record.status or "unfinished"
            detail = f": {record.detail}" if record.detail else ""
            lines.append(f"timetrial: {record.plan.run} {word}{detail}")
    if any(record.done is None for record in runs):
        place = shlex.quote(str(runs[0].run.path.parent))
        lines.append(f"Finish them with: timetrial run --resume --store {place}")
    return "\n".join(lines)


def _sizes(text: str | None) -> list[int] | None:
    values = options.comma_list(text)
    return None if values is None else [units.parse_bytes(value) for value in values]
