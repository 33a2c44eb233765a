"""Every exception that timetrial raises on purpose.

TimetrialError
├── UsageError            a value the user gave cannot be used
│   ├── UnknownNameError  no such task, dataset, option or key; names the nearest ones
│   └── AmbiguousPriceError  several prices fit what is asked, and differ
├── MissingExtraError     an optional package is not installed; says which line installs it
├── DataError             a data set cannot be had, or its bytes are wrong
├── StoreError            a run directory or store cannot be read or written
│   ├── FormatError       written by a newer version, or not in our format
│   ├── RunLockedError    another process works on this run directory
│   └── DiskError         the disk is full or refuses to be written
├── LaunchError           a worker could not be started, or its limits could not be set
├── PeerLostError         another worker of the run is gone, frozen or cut off
├── ParityError           one side of a proof of equality could not be run
├── CannotExamineError    a step of an examination cannot be carried out here; says why
└── AuditError            a result is impossible, incomplete or was changed

A message says what was wrong, the value seen, what is allowed, and the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TimetrialError(Exception):
    """Base of all errors above; the command line prints its message and exits with 1."""


class UsageError(TimetrialError):
    """A value given by the user cannot be used."""


class UnknownNameError(UsageError):
    """A name that no registry, record or option list holds."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Compose the message: the kind of thing, the name seen, the nearest, all known names."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(names) if names else "none"
        super().__init__(f"Unknown {kind} {name!r}.{hint} Available: {listed}.")
        self.kind = kind
        self.name = name
        self.nearest = near[0] if near else None


class AmbiguousPriceError(UsageError):
    """Several prices fit what is asked, and differ: which is meant must be said."""


class MissingExtraError(TimetrialError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, *, extra: str) -> None:
        """Compose the message from what needs the package and the extra that brings it."""
        super().__init__(
            f"{what} is not installed. Install it with: pip install 'timetrial[{extra}]'"
        )
        self.extra = extra


class DataError(TimetrialError):
    """A data set cannot be had from any source, or its bytes are not the expected ones."""


class StoreError(TimetrialError):
    """A run directory or a store cannot be read or written."""


class FormatError(StoreError):
    """A file is not in our format, or was written by a newer version of timetrial."""


class RunLockedError(StoreError):
    """Another process is working on this run directory."""


class DiskError(StoreError):
    """The disk is full, or refuses to be written."""


class LaunchError(TimetrialError):
    """A worker could not be started, or a limit asked for cannot be enforced here."""


class PeerLostError(TimetrialError):
    """Another worker of the run is gone, frozen or cut off; the run can be resumed."""


class ParityError(TimetrialError):
    """One side of a proof of equality could not be run."""


class CannotExamineError(TimetrialError):
    """A step of an examination cannot be carried out here.

    Its message is kept as the reason why there is no finding: say what is missing, and what would
    bring it.
    """


class AuditError(TimetrialError):
    """A result is impossible, incomplete, or its files were changed."""
