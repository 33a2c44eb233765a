"""A user's own CSV file of prices: a line per price, the fields of `Price` as columns."""

from __future__ import annotations

import re
from typing import Final, cast

import msgspec

from timetrial.errors import UnknownNameError
from timetrial.prices.catalogues import Lines
from timetrial.prices.records import Price

REQUIRED: Final = frozenset({"provider", "per_hour", "currency", "source", "read_on"})
COLUMNS: Final = tuple(name for name in Price.__struct_fields__ if name not in ("file", "line"))
_WHY: Final = {
    "per_hour": "a price that is not known is left out, never 0",
    "currency": "an amount needs its unit, such as USD",
    "read_on": "say when the price was read, such as 2026-11-22",
    "source": "say where the price was read",
    "provider": "say whose price it is",
}
_AT_ONCE: Final = 100
_FIELD: Final = re.compile(r"\$\.(\w+)")


def prices(lines: Lines) -> list[Price]:
    """Return the prices of our own CSV file; what is wrong goes to its problems.

    Flaws stand in one cell, with semicolons between them.

    Raises:
        UnknownNameError: A column that no price has.
    """
    for name in lines.header:
        if name not in COLUMNS:
            raise UnknownNameError(f"column in {lines.file}", name, COLUMNS)
    names, file = lines.header, lines.file
    found: list[Price] = []
    waiting: list[dict[str, object]] = []
    for line, cells in lines:
        values: dict[str, object] = dict(zip(names, cells, strict=False))  # one width
        if "" in cells:
            values = {name: cell for name, cell in values.items() if cell != ""}
        if "flaws" in values:
            parts = str(values["flaws"]).split(";")
            values["flaws"] = [part.strip() for part in parts if part.strip()]
        values["file"], values["line"] = file, line
        waiting.append(values)
        if len(waiting) == _AT_ONCE:
            found += _converted(waiting, lines)
            waiting = []
    return found + _converted(waiting, lines)


def _converted(waiting: list[dict[str, object]], lines: Lines) -> list[Price]:
    """Return the prices of some lines: all at once, or one by one where one of them is wrong."""
    try:
        return msgspec.convert(waiting, list[Price], strict=False)
    except ValueError:
        found: list[Price] = []
    for values in waiting:
        try:
            found.append(msgspec.convert(values, Price, strict=False))
        except ValueError as error:
            lines.refuse(cast(int, values["line"]), _reason(error, values))
    return found


def _reason(error: ValueError, values: dict[str, object]) -> str:
    """Return what is wrong with a line, and the value seen."""
    for name, why in _WHY.items():
        if name not in values:
            return f"{name} is empty: {why}"
    place = _FIELD.search(str(error))
    if place is None:
        return str(error)
    name = place[1]
    allowed = {
        "read_on": "a day, as 2026-11-22",
        "date": "a day, as 2026-11-22",
        "spot": "true, false",
        "covers": "machine, host, accelerators",
    }.get(name, "a number, as 3.06, without unit or separators")
    return f"{name} {values[name]!r} is not possible. Allowed: {allowed}"
