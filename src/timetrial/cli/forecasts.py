"""timetrial probe, predict and recommend"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timetrial import units
from timetrial.cli import options
from timetrial.errors import UsageError

if TYPE_CHECKING:
    from timetrial.outlook import Outlook, Pricing
    from timetrial.rows import Findings

What = Annotated[
    list[str], typer.Argument(metavar="TASK", help="Tasks, suites or files, as of timetrial run.")
]
Framework = Annotated[str | None, typer.Option(metavar="NAMES", help="Frameworks, with commas.")]
Cores = Annotated[str | None, typer.Option(metavar="NUMBERS", help="CPU cores: 1,2")]
Device = Annotated[str | None, typer.Option(metavar="NAMES", help="cpu, cuda, mps ...")]
PrecisionNames = Annotated[
    str | None, typer.Option(metavar="NAMES", help="float32, float64 or bfloat16.")
]
Dataset = Annotated[
    str | None, typer.Option(metavar="NAME", help="The data set, where a task allows.")
]
EvalSplit = Annotated[
    str | None, typer.Option(metavar="NAME", help="The evaluated split, where a task allows.")
]
Store = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The store. Default $TIMETRIAL_HOME, ./timetrial-runs."),
]
Json = Annotated[bool, typer.Option("--json", help="Print rows as JSON.")]
Target = Annotated[
    float | None,
    typer.Option(metavar="FRACTION", help="The value to reach: 0.97. Default: the task's."),
]
Light = Annotated[bool, typer.Option("--light", help="The task's easier target, fewer steps.")]
Workers = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="So many workers, each as the probed one: 1,2,4"),
]
NetworkShape = Annotated[
    str | None,
    typer.Option("--network", metavar="SHAPE", help="Between them: rate=1gbit,delay=0.1ms"),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")
]
PricePerHour = Annotated[
    float | None,
    typer.Option(metavar="USD", help="What an hour of each machine costs."),
]
BookFile = Annotated[
    list[Path] | None,
    typer.Option("--book", metavar="FILE", help="A book of prices, see timetrial price."),
]
As = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="Price all systems as this one of the book."),
]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the report with its picture here.")
]


def probe(
    what: What,
    seconds: Annotated[str, typer.Option(metavar="TIME", help="How long each trains.")] = "60s",
    framework: Framework = None,
    cores: Cores = None,
    device: Device = None,
    precision: PrecisionNames = None,
    dataset: Dataset = None,
    eval_split: EvalSplit = None,
    price_per_hour: PricePerHour = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Measure speed alone: seconds per step, evaluation, start-up.

    Seconds per step come with their spread and drift within the probe.
    """
    from timetrial import outlook
    from timetrial.cli.progress import ProgressWatcher

    with ProgressWatcher(quiet=json) as watcher:
        runs = outlook.probe(
            _one(what),
            seconds=units.parse_duration(seconds),
            store_dir=store,
            watcher=watcher,
            command=["timetrial", *sys.argv[1:]],
            framework=options.comma_list(framework),
            cores=options.numbers("--cores", cores),
            device=options.comma_list(device),
            precision=options.comma_list(precision),
            dataset=dataset,
            eval_split=eval_split,
            price_usd_per_h=price_per_hour,
        )
    _present(outlook.probe_findings(runs), json=json, html=None)
    failed = [run for run in runs if run.status != "budget"]
    for run in failed:
        print(f"timetrial: {run.plan.run} {run.status or 'unfinished'}: {run.detail}",
              file=sys.stderr)  # fmt: skip
    if failed:
        raise typer.Exit(3)


def predict(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="TASK", help="Tasks or files. With --score: where the runs are."),
    ] = None,
    target: Target = None,
    framework: Framework = None,
    cores: Cores = None,
    device: Device = None,
    precision: PrecisionNames = None,
    dataset: Dataset = None,
    eval_split: EvalSplit = None,
    light: Light = False,
    workers: Workers = None,
    network: NetworkShape = None,
    set_: Set = None,
    price_per_hour: PricePerHour = None,
    book: BookFile = None,
    as_: As = None,
    score: Annotated[
        bool, typer.Option("--score", help="Compare stored predictions with later runs.")
    ] = False,
    store: Store = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Predict time and cost of the next run on every probed system.

    Convergence library x probe x price, with 95 % intervals. Predictions are stored.
    """
    from timetrial import outlook

    if score:
        found = outlook.score(what or (), store_dir=store)
        _present(found.findings(), json=json, html=html)
        return
    if not what:
        raise UsageError("Name a task to predict, such as: timetrial predict mnist-cnn")
    made = outlook.predict(
        _one(what),
        store_dir=store,
        pricing=_pricing(price_per_hour, book, as_),
        **_choices(target, framework, cores, device, precision, dataset, eval_split, light=light,
                   workers=workers, network=network, set_=set_),
    )  # fmt: skip
    _present(made.findings(), json=json, html=html)


def recommend(
    what: What,
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="A run must be done within: 1h")
    ] = None,
    max_cost: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="A run may cost: 1usd")
    ] = None,
    target: Target = None,
    framework: Framework = None,
    cores: Cores = None,
    device: Device = None,
    precision: PrecisionNames = None,
    dataset: Dataset = None,
    eval_split: EvalSplit = None,
    light: Light = False,
    workers: Workers = None,
    network: NetworkShape = None,
    set_: Set = None,
    price_per_hour: PricePerHour = None,
    book: BookFile = None,
    as_: As = None,
    store: Store = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Name the best systems by time and cost, within two limits.

    Those on the Pareto front come first, each with the chance that its next run keeps both.
    """
    from timetrial import outlook
    from timetrial.forecast import Limits

    cost, currency = _amount(max_cost) if max_cost else (None, "USD")
    limits = Limits(units.parse_duration(deadline) if deadline else None, cost, currency)
    made: Outlook = outlook.predict(
        _one(what),
        store_dir=store,
        pricing=_pricing(price_per_hour, book, as_),
        limits=limits,
        **_choices(target, framework, cores, device, precision, dataset, eval_split, light=light,
                   workers=workers, network=network, set_=set_),
    )  # fmt: skip
    _present(made.findings(asked=True), json=json, html=html)


def _choices(
    target: float | None,
    framework: str | None,
    cores: str | None,
    device: str | None,
    precision: str | None,
    dataset: str | None,
    eval_split: str | None,
    *,
    light: bool,
    workers: str | None,
    network: str | None,
    set_: list[str] | None,
) -> dict[str, Any]:
    return {
        "target": target,
        "framework": options.comma_list(framework),
        "cores": options.numbers("--cores", cores),
        "device": options.comma_list(device),
        "precision": options.comma_list(precision),
        "dataset": dataset,
        "eval_split": eval_split,
        "light": light or None,
        "workers": options.numbers("--workers", workers),
        "network": network,
        "launcher": "shaped" if network else None,
        "settings": options.settings(set_ or ()) or None,
    }


def _one(what: list[str]) -> str | list[str]:
    return what[0] if len(what) == 1 else what


def _amount(text: str) -> tuple[float, str]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]{3})\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(
            f"--max-cost {text} is no amount with its currency. Allowed: such as 1usd, 0.25eur."
        )
    return float(match[1]), match[2].upper()


def _pricing(price_per_hour: float | None, book: list[Path] | None, as_: str | None) -> Pricing:
    from timetrial import outlook, prices

    if price_per_hour is not None and not price_per_hour > 0:
        raise UsageError(
            f"--price-per-hour {price_per_hour:g} is not possible. Allowed: above 0 USD; leave it "
            "out where the price is not known."
        )
    if as_ is not None and not book:
        raise UsageError(f"--as {as_} names a price of a book. Add --book FILE.")
    if book and price_per_hour is not None:
        raise UsageError("Choose --book FILE or --price-per-hour USD, not both.")
    known = prices.joined([prices.read_book(path) for path in book]) if book else None
    if known is not None and known.problems:
        first = known.problems[0]
        raise UsageError(
            f"{first.file}, line {first.line}: {first.message} See all of it with: timetrial "
            f"price --book {first.file}"
        )
    return outlook.Pricing(usd_per_h=price_per_hour, book=known, name=as_)


def _present(findings: Findings, *, json: bool, html: Path | None) -> None:
    from rich.console import Console

    from timetrial import report
    from timetrial.rundir import write_atomically

    if json:
        options.echo_rows(findings.rows)
    else:
        report.print_tables(findings.tables, Console(soft_wrap=False))
    if html is not None:
        write_atomically(html, report.render_html(findings).encode())
        typer.echo(f"Report: {html}", err=json)
