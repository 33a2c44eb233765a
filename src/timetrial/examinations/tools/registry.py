"""The tools that are examined: tools.toml as records, and the versions that bind all of them."""

from __future__ import annotations

import functools
import importlib.resources
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

import timetrial
from timetrial.errors import FormatError, UnknownNameError
from timetrial.examinations.tools.records import Check, Column
from timetrial.spec import MALFORMED, Record

ServerKind: TypeAlias = Literal["included", "none", "separate", "closed"]
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


class Server(Record, frozen=True, kw_only=True):
    """What of a tool is a server, and whether one's own can be run.

    included: in the tool's packages. none: a library alone. separate: a product of its own, which
    its owner lets others host. closed: only its owner hosts it, or sells it to be hosted.
    """

    kind: ServerKind
    about: str
    licence: str = ""  # of a separate one
    source: str = ""


class Way(Record, frozen=True, kw_only=True):
    """One way to install a tool; the next is tried where it fails."""

    requirements: tuple[str, ...]
    without: tuple[str, ...] = ()  # names that constraints.txt does not bind here
    alone: tuple[str, ...] = ()  # installed afterwards, without what they say they need
    build: tuple[str, ...] = ()  # what its setup needs; where empty, it says so itself
    why: str = ""  # of `without`, `alone` and `build`
    python: str = ""  # the least one, such as "3.12"

    @property
    def fits(self) -> bool:
        """Whether this Python is new enough."""
        least = tuple(int(part) for part in self.python.split(".") if part)
        return sys.version_info[: len(least)] >= least


class Tool(Record, frozen=True, kw_only=True):
    """One tool: how it is installed, kept offline and judged."""

    name: str  # a word
    title: str
    distribution: str
    document: str | None = None  # its name in document 002's table
    probe: str  # module of `probes`
    way: tuple[Way, ...]
    server: Server
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)  # of its processes
    not_it: Mapping[Column | Check, Mapping[str, str]] = msgspec.field(default_factory=dict)
    """Names in its code that sound like a capability -> what they are instead. A name that ends in
    `*` stands for all that begin so."""

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways that this Python can go."""
        return tuple(way for way in self.way if way.fits)

    @property
    def pin(self) -> str:
        """The version that is asked for."""
        wanted = [*self.ways[0].requirements, *self.ways[0].alone]
        ours = [text for text in wanted if text.startswith(f"{self.distribution}==")]
        return ours[0].partition("==")[2]


class _File(Record, frozen=True, kw_only=True):
    read_on: str
    shared: tuple[str, ...]
    variables: Mapping[str, str]
    tool: tuple[Tool, ...]


def tools() -> tuple[Tool, ...]:
    """Return all tools in the order of the document's table, those that it lacks last.

    Each has the requirements and variables that all share.

    Raises:
        FormatError: The shipped data file is damaged.
    """
    file = _file()
    return tuple(
        msgspec.structs.replace(
            tool,
            way=tuple(
                msgspec.structs.replace(way, requirements=(*way.requirements, *file.shared))
                for way in tool.way
            ),
            variables={**file.variables, **tool.variables},
        )
        for tool in file.tool
    )


def find_tool(name: str) -> Tool:
    """Return the tool called `name`.

    Raises:
        UnknownNameError: No such tool.
    """
    known = {tool.name: tool for tool in tools()}
    if name not in known:
        raise UnknownNameError("experiment tool", name, known)
    return known[name]


@functools.cache
def _file() -> _File:
    content = (
        importlib.resources.files("timetrial.examinations.tools") / "tools.toml"
    ).read_bytes()
    try:
        return msgspec.toml.decode(content, type=_File)
    except MALFORMED as error:
        raise FormatError(f"tools/tools.toml: {error}. Install timetrial again.") from error


def constraints(without: tuple[str, ...] = ()) -> str:
    """Return constraints.txt without the lines of the packages named.

    Raises:
        FormatError: It did not come along.
    """
    package = Path(timetrial.__file__).parent
    # the wheel carries it inside the package; a checkout has it beside src/
    places = (package / "constraints.txt", package.parent.parent / "constraints.txt")
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise FormatError(
            f"constraints.txt is neither {places[0]} nor {places[1]}. Install timetrial again."
        )
    left_out = {_canonical(name) for name in without}
    return "".join(
        f"{line}\n"
        for line in file.read_text(encoding="utf-8").splitlines()
        if (name := _NAME.match(line)) and _canonical(name[0]) not in left_out
    )


def _canonical(name: str) -> str:
    """Return a distribution's name as pip compares it. Source: PEP 503, read 2026-11-23."""
    return re.sub(r"[-_.]+", "-", name).lower()
