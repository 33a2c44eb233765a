"""Values shared by several verbs: lists, settings, chosen runs, JSON output."""

from __future__ import annotations

import datetime
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from timetrial.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from timetrial.plan import Plan
    from timetrial.results import Runs
    from timetrial.rows import Row

# what a condition may ask of a run, by the name in its plan
FIELDS: Final = (
    "batch",
    "cores",
    "device",
    "division",
    "framework",
    "launcher",
    "precision",
    "run",
    "task",
)


def comma_list(text: str | None) -> list[str] | None:
    """Return the values of "a,b"; None for None.

    Raises:
        UsageError: An empty value.
    """
    if text is None:
        return None
    values = [value.strip() for value in text.split(",")]
    if not all(values):
        raise UsageError(f"An empty value in {text!r}. Write values with single commas: 1,2")
    return values


def numbers(option: str, text: str | None) -> list[int] | None:
    """Return the whole numbers of "1,2"; None for None.

    Raises:
        UsageError: Not whole numbers from 1.
    """
    values = comma_list(text)
    if values is None:
        return None
    if not all(value.isdecimal() and int(value) >= 1 for value in values):
        raise UsageError(
            f"{option} {text} is not possible. Allowed: whole numbers from 1 with commas: 1,2"
        )
    return [int(value) for value in values]


def day(option: str, text: str | None) -> datetime.date | None:
    """Return the day that "2026-11-22" names; None for None.

    Raises:
        UsageError: It names none.
    """
    if text is None:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text} is no day. Allowed: year, month and day, such as 2026-11-22."
        ) from None


def settings(pairs: Sequence[str]) -> dict[str, str]:
    """Return key and value of each "key=value".

    Raises:
        UsageError: No "=", or a key given twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise UsageError(f"--set {pair} is not possible. Allowed: key=value.")
        if key in found:
            raise UsageError(f"--set {key} is given twice: {found[key]} and {value}.")
        found[key] = value
    return found


def echo_wrapped(line: str) -> None:
    """Print a line at most as wide as the terminal; what is too much goes below, indented."""
    indent = " " * (4 if line[:1] != " " else len(line) - len(line.lstrip()))
    width = shutil.get_terminal_size().columns
    typer.echo(
        textwrap.fill(
            line,
            width,
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,  # a path can be copied
        )
    )


def echo_json(content: object) -> None:
    """Print records as JSON."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())


def echo_rows(rows: Sequence[Row]) -> None:
    """Print rows as a JSON array."""
    echo_json(list(rows))


def choose_runs(texts: Sequence[str], store: Path | None) -> Runs:
    """Return the runs that `texts` name, each once: directories, or conditions on those of a store.

    Without a text all runs of the store.

    Raises:
        UnknownNameError: A condition on something else than FIELDS.
        UsageError: A condition that no run meets.
        StoreError: No such directory.
    """
    from timetrial import api
    from timetrial.results import Runs

    place = api.find_store(store)
    named = [record for text in texts for record in _chosen(text, place)]
    found = named if texts else api.load(place)
    return Runs(list({record.run.path.resolve(): record for record in found}.values()))


def _chosen(text: str, store: Path) -> Runs:
    from timetrial import api
    from timetrial.results import Runs

    if "=" not in text or Path(text).exists():
        return api.load(text)
    conditions = settings(comma_list(text) or ())
    for field in conditions:
        if field not in FIELDS:
            raise UnknownNameError("condition", field, FIELDS)
    chosen = [
        record
        for record in api.load(store)
        if all(_value(record.plan, field) == value for field, value in conditions.items())
    ]
    if not chosen:
        raise UsageError(
            f"No run in {store} has {text}. `timetrial list runs --store {store}` shows what is "
            "there."
        )
    return Runs(chosen)


def _value(plan: Plan, field: str) -> str:
    return plan.subject.name if field == "task" else str(getattr(plan, field))
