"""What an examination of a tool sees: each a record, told as one JSON value per line.

The programs in `probes` run where msgspec is not installed: they print the same fields by hand
(`probes.telling`), and are read strictly here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from timetrial.errors import FormatError
from timetrial.spec import Record

Column: TypeAlias = Literal["monitoring", "organizing", "tuning", "licence"]
COLUMNS: Final[tuple[Column, ...]] = ("monitoring", "organizing", "tuning", "licence")
Check: TypeAlias = Literal["list", "filter", "sort", "artefact", "compare"]
CHECKS: Final[tuple[Check, ...]] = ("list", "filter", "sort", "artefact", "compare")
Means: TypeAlias = Literal["server", "reader", "snapshot", "raw file"]
"""How another process came to the values: asked a server of the tool; by a function of the tool
that reads its store; by a copy that the training program must write itself at each step; by
parsing the tool's files without its help."""

_LINE_BYTES: Final = 1 << 20


class Installed(Record, frozen=True, kw_only=True, tag="installed"):
    """The tool's environment is there."""

    python: str
    packages: Mapping[str, str]  # distribution -> version, all of the environment
    main: str  # the tool's distribution
    version: str
    bytes: int  # on disk
    seconds: float  # it took to make, when it was made
    made_utc: str
    how: str  # the way of tools.toml that worked, where the first did not: with its reason


class Refused(Record, frozen=True, kw_only=True, tag="refused"):
    """The tool's environment could not be made."""

    step: str
    line: str  # the last line of the error
    wanted: str  # what was to be installed


class Sealed(Record, frozen=True, kw_only=True, tag="sealed"):
    """Whether the probe could reach anything but loopback."""

    sealed: bool
    how: str


class Seen(Record, frozen=True, kw_only=True):
    """A value that another process read while the run went on."""

    step: int
    latency_ms: float  # from just before the call that logs it to the end of the read that had it


class Watched(Record, frozen=True, kw_only=True, tag="watched"):
    """A run that logged at each step, and what another process read before its end."""

    steps: int
    pace_s: float  # pause after each step
    seen: tuple[Seen, ...]
    wrong: int  # values that differ from those logged
    late: int  # values that could be read only after the run's last step
    read_ms: float  # median time of one read: latencies cannot be told finer
    means: Means
    how: str


class Page(Record, frozen=True, kw_only=True, tag="page"):
    """A page of the tool that answered on loopback."""

    column: Column
    path: str  # of the address, without host and port
    status: int
    content_type: str
    bytes: int
    scripts: int  # of its own server that it names
    missing: int  # of them that did not answer
    served_by: str  # distribution
    about: str = ""


class Checked(Record, frozen=True, kw_only=True, tag="checked"):
    """One thing asked after the sweep, and whether the answer was the sweep's."""

    what: Check
    passed: bool
    how: str  # the call, or what is missing
    line: str = ""  # last line of the error, or what came instead


class Race(Record, frozen=True, kw_only=True):
    """The best of one search by the tool and of one random search, over the optimum."""

    seed: int
    tool: float  # value minus the function's least value, never below 0
    random: float


class Raced(Record, frozen=True, kw_only=True, tag="raced"):
    """Searches by the tool beside random searches of the same budget, seed by seed."""

    function: str
    budget: int  # evaluations of each search
    races: tuple[Race, ...]
    seconds_per_point: float  # that the tool took to propose and to be told
    how: str


class Absent(Record, frozen=True, kw_only=True, tag="absent"):
    """No public name of the tool's Python code is of the kind that a capability would have."""

    what: Column | Check
    words: str  # the pattern of names looked for
    names: int  # looked at
    files: int
    near: tuple[str, ...]  # names that fit the pattern


class Licensed(Record, frozen=True, kw_only=True, tag="licensed"):
    """What the installed distribution says of its licence."""

    distribution: str
    version: str
    expression: str  # License-Expression, SPDX
    field: str  # License, its first line
    classifiers: tuple[str, ...]  # those that begin with "License ::"


class Attempted(Record, frozen=True, kw_only=True, tag="attempted"):
    """A way that needs more than the tool's own packages, tried all the same."""

    column: Column
    what: str
    worked: bool
    line: str  # last line of what it said


class Failed(Record, frozen=True, kw_only=True, tag="failed"):
    """A probe that did not come to its end."""

    column: Column
    line: str


Observation: TypeAlias = (
    Installed
    | Refused
    | Sealed
    | Watched
    | Page
    | Checked
    | Raced
    | Absent
    | Licensed
    | Attempted
    | Failed
)

_decoder: Final = msgspec.json.Decoder(Observation)


def read_line(line: bytes) -> Observation:
    """Return the observation in one line of a probe.

    Raises:
        FormatError: Not one of those above, too long, or a field more or less.
    """
    if len(line) > _LINE_BYTES:
        raise FormatError(
            f"A probe printed a line of {len(line)} bytes; allowed: {_LINE_BYTES}. Report this."
        )
    try:
        seen: Observation = _decoder.decode(line)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        shown = line[:120].decode(errors="replace")
        raise FormatError(f"A probe printed {shown!r}: {error}. Report this.") from error
    return seen
