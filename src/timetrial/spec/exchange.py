"""What a measurement of the network between workers is: sizes, repetitions, what is timed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from timetrial.spec.rules import Record, Source

Dtype: TypeAlias = Literal["float16", "float32"]
ITEM_BYTES: Final[Mapping[Dtype, int]] = {"float16": 2, "float32": 4}


class Point(NamedTuple):
    """One array that is summed over all workers again and again."""

    dtype: Dtype
    bytes: int


class Exchange(Record, frozen=True, kw_only=True, omit_defaults=True, tag="exchange"):
    """A measuring task: how long the sum over all workers of an array takes, by size and dtype.

    Nothing is learned. A repetition is timed in every worker, from its own start to the moment at
    which it holds the sum; all workers meet just before. Each array is first summed `warm_up`
    times, unlogged, then again and again until `seconds_per_point` are over: never fewer than
    `repetitions_min` times, never more than `repetitions_max`. Where the fewest would take longer
    than `seconds_per_point_max`, by the time that the two next smaller arrays took, the array is
    left out, and the log says so: a slow network must not take for ever.
    """

    name: str
    version: int
    title: str
    operation: Literal["all-reduce"]  # sum over all workers, the sum in each of them
    sizes_bytes: tuple[int, ...]  # rising; of the array in one worker
    dtypes: tuple[Dtype, ...]
    warm_up: int
    repetitions_min: int
    repetitions_max: int
    seconds_per_point: float
    seconds_per_point_max: float
    implementations: Mapping[str, str]  # framework -> "module:attribute" of a BuildCollective
    sources: tuple[Source, ...]
    notes: tuple[str, ...]
    light_bytes_max: int  # with --light: no larger arrays, ...
    light_repetitions_max: int  # ... and no more repetitions than these

    def points(self, *, light: bool) -> list[Point]:
        """Return the arrays in the order of measuring: by dtype, the smallest first."""
        most = self.light_bytes_max if light else self.sizes_bytes[-1]
        return [
            Point(dtype, size) for dtype in self.dtypes for size in self.sizes_bytes if size <= most
        ]

    def rules(self) -> dict[str, object]:
        """Return what decides the result, without prose and without where the code lies."""
        fields: dict[str, object] = msgspec.to_builtins(self)
        for name in ("title", "implementations", "sources", "notes"):
            fields.pop(name)
        return fields

    def hash(self) -> str:
        """Return the SHA-256 of the rules as canonical JSON: equal rules, equal hash."""
        return hashlib.sha256(msgspec.json.encode(self.rules(), order="deterministic")).hexdigest()


class Collective(Protocol):
    """The workers of one framework as a group, which the framework has connected before.

    All of them make the same calls in the same order.
    """

    def prepare(self, point: Point) -> None:
        """Make this worker's array, and compile what sums it; it replaces the one before.

        Each element is 1 plus the worker's rank modulo 8: sums that float16 holds exactly.
        """

    def meet(self) -> None:
        """Put the array back as it was made, and return when every worker has called this."""

    def reduce(self) -> None:
        """Sum the array over all workers; return when this worker holds the sum."""

    def result(self) -> tuple[float, float]:
        """Return the smallest and the largest element of the last sum."""


BuildCollective: TypeAlias = Callable[[str], Collective]
"""Makes the group's arrays on the device of that name."""


def expected_sum(workers: int) -> float:
    """Return what `Collective.result` returns after `prepare` and one `reduce`."""
    return float(sum(1 + rank % 8 for rank in range(workers)))
