"""A file of prices -> a book: our own TOML or CSV, SkyPilot's catalogue or gpuhunt's.

What a file is, its ending and its header say. A line that cannot be used is left out and named in
the book's problems; a file that cannot be used at all is an error.
"""

from __future__ import annotations

import datetime
import operator
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from timetrial.errors import UsageError
from timetrial.prices import catalogues, owncsv
from timetrial.prices.billing import words_of
from timetrial.prices.book import Book, listed_of, terms_of, thing_of
from timetrial.prices.records import Owned, Price, Problem, Rate
from timetrial.spec import Record

R = TypeVar("R", bound=Record)
SHARED: Final = ("provider", "currency", "source", "url", "read_on", "date", "flaws")
KINDS: Final = ("price", "owned", "rate")
_FIELD: Final = re.compile(r" - at `\$\.(\w+)[^`]*`")
_LOST: Final = re.compile(r"missing required field `(\w+)`")
_KIND: Final = re.compile(r"^Expected `(\w+)")
_ALLOWED: Final = {
    "float": "a number, without quotes or unit",
    "str": "a text, in quotes",
    "array": "a list of texts",
    "bool": "true, false",
    "date": "a day, as 2026-11-22",
    "covers": "machine, host, accelerators",
}
_SEEN_MAX: Final = 80
_place_of: Final = operator.attrgetter("instance", "region", "spot")  # seldom alike: quick to ask
_SET_HERE: Final = ("file", "line")


def read_book(
    path: str | Path, *, provider: str | None = None, read_on: datetime.date | None = None
) -> Book:
    """Return the prices of a file, with what is wrong in it by line.

    The columns of a CSV file say whether it is ours, SkyPilot's or gpuhunt's. `provider` and
    `read_on` say of a catalogue what it does not: by default SkyPilot's folder (`aws/vms.csv`) or
    gpuhunt's file name (`aws.csv`), and the day of the file, which then is marked.

    Raises:
        UsageError: No such file, none of these formats, or a catalogue of nobody.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"Cannot read {place}: {error.strerror}. Name a file of prices (.toml or .csv)."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{place} is not UTF-8 text: {error.reason}. Save it as UTF-8.") from error
    if place.suffix.lower() == ".toml":
        return decode_toml(text, str(place))
    if place.suffix.lower() != ".csv":
        raise UsageError(f"{place} has no known ending. Allowed: .toml, .csv.")
    return _read_csv(text, place, provider, read_on)


def _read_csv(text: str, place: Path, provider: str | None, read_on: datetime.date | None) -> Book:
    file = str(place)
    lines = catalogues.Lines(text, file)
    header = frozenset(lines.header)
    if header >= catalogues.SKYPILOT:
        whose = provider or catalogues.skypilot_provider(place)
        found = catalogues.skypilot(lines, whose, *_day(place, read_on))
        form = "SkyPilot"
    elif header >= catalogues.GPUHUNT:
        whose = provider or place.stem
        found = catalogues.gpuhunt(lines, whose, *_day(place, read_on))
        form = "gpuhunt"
    elif header >= owncsv.REQUIRED:
        found, form = owncsv.prices(lines), "timetrial"
    else:
        missing = ", ".join(sorted(owncsv.REQUIRED - header))
        raise UsageError(
            f"{file} is no price file: its first line is {', '.join(lines.header)[:200]!r}. Of the "
            f"columns of one's own file it lacks {missing}; docs/prices.md lists these, and those "
            "of SkyPilot's and gpuhunt's."
        )
    key = thing_of if form == "timetrial" else listed_of
    kept = _without_doubles(found, lines.problems, key)
    return Book(kept, problems=lines.problems, files=[file], form=form)


def _day(place: Path, read_on: datetime.date | None) -> tuple[datetime.date, tuple[str, ...]]:
    """Return when a catalogue was read, and what is not sure of it."""
    if read_on is not None:
        return read_on, ()
    seconds = place.stat().st_mtime
    day = datetime.datetime.fromtimestamp(seconds, datetime.UTC).date()
    return day, ("dated by its file: the catalogue has no date",)


def _without_doubles(
    prices: list[Price], problems: list[Problem], key: Callable[[Price], object] = thing_of
) -> list[Price]:
    """Return the prices without doubles; both kinds of doubles are named among the problems.

    `key` is what two prices of one thing share.
    Two that agree are one. Two that do not both stay: who asks for them is told that they differ.
    """
    kept = prices
    if _alike(prices, _place_of) and _alike(prices, key):
        kept = []
        first: dict[object, Price] = {}
        for price in prices:
            known = first.setdefault(key(price), price)
            same = terms_of(price) == terms_of(known)
            if known is price or not same:
                kept.append(price)
            if known is not price:
                problems.append(_double(price, known, same=same))
    problems.sort(key=lambda problem: problem.line or 0)
    return kept


def _alike(prices: list[Price], key: Callable[[Price], object]) -> bool:
    return len(set(map(key, prices))) < len(prices)


def _double(price: Price, known: Price, *, same: bool) -> Problem:
    message = f"the same price as line {known.line}: left out"
    if not same:
        message = (
            f"{words_of(price)} at {price.per_hour:g} {price.currency}/h; line {known.line} has it "
            f"at {known.per_hour:g} {known.currency}/h, on the same day. Keep one"
        )
    return Problem(file=price.file, line=price.line, message=message)


# --- TOML -----------------------------------------------------------------------------------------


def decode_toml(text: str, file: str) -> Book:
    """Return the book of a TOML text: [[price]], [[owned]], [[rate]], and what all of them share.

    Raises:
        UsageError: Not TOML, or an unknown key at its top.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not TOML: {error}.") from error
    unknown = sorted(set(content) - {*SHARED, *KINDS})
    if unknown:
        raise UsageError(
            f"Unknown key {unknown[0]!r} in {file}. Allowed at its top: "
            f"{', '.join((*SHARED, *(f'[[{kind}]]' for kind in KINDS)))}."
        )
    shared = {key: value for key, value in content.items() if key in SHARED}
    problems: list[Problem] = []
    prices = _entries(content, "price", Price, shared, text, file, problems)
    owned = _entries(content, "owned", Owned, shared, text, file, problems)
    rates = _entries(content, "rate", Rate, shared, text, file, problems)
    if not (prices or owned or rates or problems):
        raise UsageError(f"{file} has no price. Add a table [[price]]; see docs/prices.md.")
    kept = _without_doubles(prices, problems)
    known: set[str] = set()
    for machine in owned:
        if machine.name in known:
            message = f"owned {machine.name!r} is there twice. Give each a name of its own"
            problems.append(Problem(file=file, line=machine.line, message=message))
        known.add(machine.name)
    return Book(kept, problems=problems, owned=owned, rates=rates, files=[file])


def _entries(
    content: Mapping[str, Any],
    kind: str,
    record: type[R],
    shared: Mapping[str, Any],
    text: str,
    file: str,
    problems: list[Problem],
) -> list[R]:
    entries = content.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{file}: {kind} is no list of tables. Write each as [[{kind}]].")
    starts = _starts(text, kind)
    names = [field.encode_name for field in msgspec.structs.fields(record)]
    known = [name for name in names if name not in _SET_HERE]
    found: list[R] = []
    for place, entry in enumerate(entries):
        line = starts[place] if len(starts) == len(entries) else None
        values = {key: value for key, value in shared.items() if key in known} | entry
        if isinstance(entry.get("flaws"), list) and isinstance(shared.get("flaws"), list):
            values["flaws"] = [*entry["flaws"], *shared["flaws"]]
        strange = sorted(set(entry) - set(known))
        try:
            if strange:
                raise ValueError(f"unknown key {strange[0]!r}. Allowed: {', '.join(known)}")
            found.append(msgspec.convert({**values, "file": file, "line": line}, record))
        except ValueError as error:  # msgspec's own errors are of its kind
            message = f"[[{kind}]] {place + 1}: {_reason(error, values)}"
            problems.append(Problem(file=file, line=line, message=message))
    return found


def _reason(error: ValueError, values: Mapping[str, object]) -> str:
    """Return what is wrong in words of people, with the value seen."""
    text = str(error)
    if lost := _LOST.search(text):
        return f"{lost[1]} is missing: what is not known is not priced"
    if place := _FIELD.search(text):
        kind = "date" if "encoded date" in text else (_KIND.findall(text) or [place[1]])[0]
        seen = f"{values.get(place[1])!r}"[:_SEEN_MAX]
        allowed = _ALLOWED.get(kind)
        if allowed is None:
            return f"{place[1]} {seen} is not possible: {_FIELD.sub('', text).lower()}"
        return f"{place[1]} {seen} is not possible. Allowed: {allowed}"
    return text


def _starts(text: str, kind: str) -> Sequence[int]:
    """Return the lines of the headings [[kind]]."""
    heading = re.compile(rf"\s*\[\[\s*{kind}\s*\]\]\s*(#.*)?$")
    return [number for number, line in enumerate(text.splitlines(), 1) if heading.match(line)]
