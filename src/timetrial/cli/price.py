"""timetrial price"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from timetrial.cli import options
from timetrial.errors import UsageError

if TYPE_CHECKING:
    from timetrial.prices import Book, BreakEven

_PROBLEMS_SHOWN: Final = 20


def price(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUNS", help="Run directories or stores to price anew."),
    ] = None,
    book: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Prices: .toml or .csv of one's own, or SkyPilot's or gpuhunt's CSV file. Without "
            "RUNS it is checked and summed up.",
        ),
    ] = None,
    history: Annotated[
        bool,
        typer.Option("--history", help="Also the documents' prices of 2018 and 2019, marked so."),
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Prices of this day, or the latest before. Today."),
    ] = None,
    as_: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Price all runs as this: a name in FILE, PROVIDER/INSTANCE or "
            "PROVIDER/REGION/INSTANCE. Default: where each run says it ran.",
        ),
    ] = None,
    spot: Annotated[
        bool | None,
        typer.Option("--spot/--on-demand", help="Which of both prices. Default: as it ran."),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="Amounts in this, by a [[rate]] of FILE.")
    ] = None,
    own: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --rent: from how many hours a month owning pays."),
    ] = None,
    rent: Annotated[
        str | None, typer.Option(metavar="NAME", help="What is rented instead; named as in --as.")
    ] = None,
    hours_per_month: Annotated[
        float | None,
        typer.Option(metavar="HOURS", help="Use of a machine of one's own. Default: FILE's."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose prices a catalogue holds, if its path is silent."),
    ] = None,
    read_on: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="When a catalogue was read. Default: its file's day."),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Leave out wrong lines of FILE and go on.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Price runs anew, check a book of prices, or weigh owning.

    Exits with 1 where FILE has wrong lines, unless told to keep going.
    """
    if (own is None) != (rent is None):
        raise UsageError("--own and --rent belong together. Name a machine of FILE for each.")
    if own is not None and paths:
        raise UsageError("--own and --rent ask of machines, not of runs. Leave out RUNS, or both.")
    if not (book or history):
        raise UsageError("Nothing to price by. Add --book FILE; see docs/prices.md.")
    if book and len(book) > 1 and provider is not None:
        raise UsageError(f"--provider {provider} is of one catalogue. Name one --book with it.")
    day = options.day("--at", at) or datetime.datetime.now(datetime.UTC).date()
    known = _read(book or (), history, provider, options.day("--read-on", read_on))
    if paths or own:
        _refuse_problems(known, keep_going=keep_going)
    if own is not None and rent is not None:
        from timetrial import prices

        even = prices.owning_or_renting(
            known, own, rent, spot=bool(spot), at=day, hours_per_month=hours_per_month
        )
        _print_break_even(even, json=json)
    if not paths:
        if own is None:
            _print_summary(known, json=json)
            if known.problems and not keep_going:
                raise typer.Exit(1)
        return
    from timetrial import api

    runs = api.load(*paths)
    if not runs:
        raise UsageError(
            f"There is no run in {', '.join(map(str, paths))}: nothing to price. Name a store, or "
            "run directories."
        )
    found = api.price(
        runs, known, at=day, name=as_, spot=spot, currency=currency,
        hours_per_month=hours_per_month,
    )  # fmt: skip
    if json:
        options.echo_rows(found.rows)
        return
    from rich.console import Console

    from timetrial import report

    report.print_tables([found.table], Console())


def _read(
    paths: Sequence[Path], history: bool, provider: str | None, read_on: datetime.date | None
) -> Book:
    from timetrial import prices

    books = [prices.read_book(path, provider=provider, read_on=read_on) for path in paths]
    return prices.joined([*books, *([prices.history()] if history else [])])


def _refuse_problems(book: Book, *, keep_going: bool) -> None:
    if not book.problems:
        return
    for line in _problem_lines(book):
        typer.echo(line, err=True)
    if not keep_going:
        raise UsageError(
            f"{_count(len(book.problems), 'wrong line')} in {', '.join(book.files)}, named above. "
            "Correct them, or add --keep-going to leave them out."
        )


def _problem_lines(book: Book) -> list[str]:
    lines = [
        f"{problem.file}, line {'?' if problem.line is None else problem.line}: {problem.message}"
        for problem in book.problems[:_PROBLEMS_SHOWN]
    ]
    more = len(book.problems) - _PROBLEMS_SHOWN
    return [*lines, *([f"and {more} more: --json has all of them"] if more > 0 else [])]


def _print_summary(book: Book, *, json: bool) -> None:
    from timetrial import prices

    summary = prices.summary(book)
    if json:
        options.echo_json({**summary, "problems": book.problems})
        return
    for label, value in summary.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        options.echo_wrapped(f"{label.replace('_', ' '):12} {text}".rstrip())
    for line in _problem_lines(book):
        options.echo_wrapped(line)
    typer.echo(_count(len(book.problems), "wrong line") if book.problems else "no wrong line")


def _print_break_even(found: BreakEven, *, json: bool) -> None:
    from timetrial import prices

    if json:
        options.echo_json(found)
        return
    for line in prices.break_even_words(found):
        options.echo_wrapped(line)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"
