"""Optuna's journal as a log of ours: whole lines, one writer, repaired after a kill.

<store>/tuning/<name>.jsonl is the one file of a search. It holds what Optuna's own file would hold
(parameters, states, the names of the runs), in the same lines; what a run measured stands in its
own directory alone. Optuna's own file backend has a lock file that a killed process leaves behind,
and a torn last line makes the next one unreadable.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from timetrial.rundir import LogReader, LogWriter, disk_errors

FOLDER: Final = "tuning"  # of a store
_LINES: Final = LogReader[dict[str, Any]](dict[str, Any])


def journal_of(store: Path, name: str) -> Path:
    """Return the file of the search called `name`."""
    return store / FOLDER / f"{name}.jsonl"


class Journal:
    """What Optuna's JournalStorage asks of a backend: read from a number on, append."""

    def __init__(self, path: Path) -> None:
        """Name the file; opens nothing yet."""
        self._path = path
        self._entries: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        """Open the file alone, cut a torn last line, read the rest.

        Raises:
            RunLockedError: Another process has it open.
            FormatError: A whole line is not JSON.
            DiskError, StoreError: It cannot be opened.
        """
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = LogWriter(self._path)
        self._writer.__enter__()
        try:
            self._entries = _LINES.read(self._path)
        except BaseException:
            self._writer.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Close and unlock."""
        self._writer.__exit__(*exception)

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """Return the entries from that number on: this process is the only one that writes."""
        return self._entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries; they are on the disk when this returns.

        Raises:
            ValueError: A number that JSON does not have.
            DiskError: The disk is full.
        """
        for entry in logs:
            text = json.dumps(entry, separators=(",", ":"), allow_nan=False)  # knows Optuna's enums
            self._writer.write(msgspec.Raw(text.encode()), sync=True)
            self._entries.append(json.loads(text))
