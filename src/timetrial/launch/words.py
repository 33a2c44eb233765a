"""Reads the text of `--cluster` that says where pods or clouds run and keep their results."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from timetrial.errors import UsageError
from timetrial.spec import Record

R = TypeVar("R", bound=Record)


def read_where(text: str | None, kind: type[R], launcher: str) -> R:
    """Return "key=value,key=value" as a record of `kind`, whose fields are the keys.

    Raises:
        UsageError: Not such a text, an unknown key, a missing or impossible value.
    """
    keys = ", ".join(kind.__struct_fields__)
    advice = f"Allowed with launcher {launcher}: key=value with commas; keys: {keys}."
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        key, sign, value = part.strip().partition("=")
        if part.strip() and (not sign or not value or key in found):
            raise UsageError(f"--cluster {text}: {part.strip()!r} is not possible. {advice}")
        if key:
            found[key] = value
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"--cluster {text or ''} is not possible: {error}. {advice}") from error
