"""Tables of a task file read as records, strictly: what is not known or not possible is named."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import msgspec

from timetrial.errors import UnknownNameError, UsageError

T = TypeVar("T")
Table: TypeAlias = dict[str, object]


def convert(table: object, kind: type[T], where: str) -> T:
    """Return a table as the record `kind`.

    Raises:
        UnknownNameError: An unknown key; names the known ones.
        UsageError: A value of the wrong kind, or a key that is missing; names key and value.
    """
    if not isinstance(table, dict):
        raise UsageError(f"{where} is {table!r}. Allowed: a table of keys and values.")
    fields = kind.__struct_fields__  # type: ignore[attr-defined]
    tag = kind.__struct_config__.tag_field  # type: ignore[attr-defined]
    known = [*fields, *([tag] if tag else [])]
    for key in table:
        if key not in known:
            raise UnknownNameError(f"key in {where}", key, known)
    for key, value in table.items():
        _refuse_endless(value, key, where)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at `$")
        key = re.sub(r"[.`]", " ", path).split(" ")[1] if path else ""
        key = key.partition("[")[0]
        seen = f"{key} = {table[key]!r} is not possible. " if key in table else ""
        raise UsageError(
            f"{where}: {seen}{said}. Correct it; docs/add-a-task.md lists the keys."
        ) from error


def _refuse_endless(value: object, key: str, where: str) -> None:
    """Refuse a number that no plan can hold: JSON has no infinity.

    Raises:
        UsageError: Infinity or NaN, also inside of tables and lists; names the key.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(
            f"{where}: {key} = {value} is not possible. Allowed: a finite number. Correct it; "
            "docs/add-a-task.md lists the keys."
        )
    if isinstance(value, dict):
        for inner, part in value.items():
            _refuse_endless(part, f"{key}.{inner}", where)
    if isinstance(value, list):
        for part in value:
            _refuse_endless(part, key, where)


def tagged(table: Table, kinds: Sequence[type[T]], where: str) -> T:
    """Return the table as the record whose tag is its `type`.

    Raises:
        UsageError: No type, or a key or value that the record does not take.
        UnknownNameError: No such type.
    """
    tags = {str(kind.__struct_config__.tag): kind for kind in kinds}  # type: ignore[attr-defined]
    tag = table.get("type")
    if tag is None:
        raise UsageError(f"{where} has no type. Allowed: {', '.join(sorted(tags))}.")
    if tag not in tags:
        raise UnknownNameError(f"type of {where}", str(tag), tags)
    return convert(table, tags[str(tag)], where)
