"""Document 002's table of experiment tools: what its slides say of each."""

from __future__ import annotations

import importlib.resources

import msgspec

from timetrial.errors import FormatError
from timetrial.spec import MALFORMED, Record


class DocumentTool(Record, frozen=True, kw_only=True):
    """One line of the document's table, in its words."""

    name: str
    monitoring: str
    organizing: str
    tuning: str
    licence: str  # its column "Open Source"


class DocumentTable(Record, frozen=True, kw_only=True):
    """The document's table."""

    title: str
    published: str
    read_on: str
    flaws: tuple[str, ...]
    tool: tuple[DocumentTool, ...]


def document_table() -> DocumentTable:
    """Return the document's table.

    Raises:
        FormatError: The shipped data file is damaged.
    """
    file = importlib.resources.files("timetrial.references") / "experiment_tools.toml"
    try:
        return msgspec.toml.decode(file.read_bytes(), type=DocumentTable)
    except MALFORMED as error:
        raise FormatError(
            f"references/experiment_tools.toml: {error}. Install timetrial again."
        ) from error
