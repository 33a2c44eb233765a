"""The prices of the reproduced documents: history with its dates, never today's prices."""

from __future__ import annotations

import importlib.resources
from typing import Final

from timetrial.errors import FormatError, UsageError
from timetrial.prices.book import Book, joined
from timetrial.prices.reading import decode_toml

FILES: Final = ("cloud_check.toml", "dawnbench.toml", "mlbench.toml")
HISTORY_NOTE: Final = (
    "History: each price is of its own day, as its document has it. None is today's."
)


def history() -> Book:
    """Return the shipped prices; `date` is the day of the price, `read_on` that of our reading.

    Raises:
        FormatError: A shipped data file is damaged.
    """
    return joined([_load(name) for name in FILES])


def _load(name: str) -> Book:
    content = (importlib.resources.files("timetrial.prices") / name).read_bytes()
    try:
        book = decode_toml(content.decode(), f"prices/{name}")
    except (UsageError, UnicodeDecodeError) as error:
        raise FormatError(f"prices/{name}: {error} Install timetrial again.") from error
    if book.problems:
        raise FormatError(f"prices/{name}: {book.problems[0].message}. Install timetrial again.")
    return book
