"""What a measuring child is asked, and what it answers: one JSON value per line each way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from timetrial.spec import Record

Library: TypeAlias = Literal["torch", "numpy", "none"]


class Order(Record, frozen=True, kw_only=True):
    """What one child measures, all of it on one device with one number of threads."""

    measures: tuple[str, ...]
    library: Library
    device: str = "cpu"
    cpus: tuple[int, ...] | None = None  # affinity; None: the system has none
    threads: int = 1
    rounds: int
    round_s: (
        float  # time of one round of one measure; products are sized to fit into it three times
    )
    in_turns: bool = False  # each round begins when the parent writes a line
    budget_s: float = 0.0  # of the child from its start; what it took to start shortens the rounds
    array_bytes: int = 0  # of each array of the memory measures
    folder: str = ""  # whose disk is read
    file_bytes: int = 0
    rank: int = 0  # of the two workers of an all-reduce
    port: int = 0  # where they meet


class Began(Record, frozen=True, kw_only=True, tag="began"):
    """The child has its library; `devices` are those it sees beside the CPU."""

    versions: Mapping[str, str]
    settings: Mapping[str, str]
    devices: tuple[str, ...]
    device_uuid: str | None = None  # of the order's device, where it has one


class Ready(Record, frozen=True, kw_only=True, tag="ready"):
    """The child waits for a line on its standard input before its next round."""


class Stepped(Record, frozen=True, kw_only=True, tag="stepped"):
    """How much of the order is done, from 0 to 1."""

    what: str
    share: float


class Found(Record, frozen=True, kw_only=True, tag="found"):
    """The seconds of one measure: for each round those of its fastest repetition."""

    measure: str
    amount: float  # FLOP, operations or bytes of one repetition; 1 where seconds are the measure
    seconds: tuple[float, ...]
    precision: str
    size: str
    how: str


class Summed(Record, frozen=True, kw_only=True, tag="summed"):
    """The seconds of the all-reduces of one array in this worker, by round and repetition."""

    bytes: int
    rounds: tuple[tuple[float, ...], ...]


class Lacked(Record, frozen=True, kw_only=True, tag="lacked"):
    """A measure that this child cannot take."""

    measure: str
    why: str


Answer: TypeAlias = Began | Ready | Stepped | Found | Summed | Lacked
