"""Runs handed to other people's tools after they have ended: exporters, by name.

tracked      what a tool is told of one run, the same for all of them
mlflow       a store or server of MLflow
tensorboard  event files
wandb        runs of Weights & Biases, written offline

An exporter reads records and writes elsewhere: a run directory stays as it is, and no clock runs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from timetrial._registry import Registry
from timetrial.errors import StoreError
from timetrial.interop.tracked import Moment, Point, TrackedRun, track, why_not
from timetrial.spec import Record

__all__ = [
    "REGISTRY",
    "Exporter",
    "Moment",
    "Point",
    "Receipt",
    "State",
    "TrackedRun",
    "find_exporter",
    "place_errors",
    "receipt",
    "shown_place",
    "track",
    "why_not",
]

State: TypeAlias = Literal["exported", "replaced", "unchanged", "left out"]
"""exported: it was not there. replaced: it was, told otherwise, such as before it was resumed.
unchanged: it was there already, told the same. left out: see `why`."""

REGISTRY: Final = Registry(
    "exporter",
    group="timetrial.exporters",
    built_in={
        "mlflow": "timetrial.interop.mlflow:MlflowExporter",
        "tensorboard": "timetrial.interop.tensorboard:TensorBoardExporter",
        "wandb": "timetrial.interop.wandb:WandbExporter",
    },
)


class Receipt(Record, frozen=True, kw_only=True):
    """What became of one run."""

    run: str
    directory: str
    state: State
    where: str | None = None  # in the tool's own words
    why: str | None = None


class Exporter(Protocol):
    """A tool that runs can be handed to. Made without arguments."""

    def export(self, runs: Sequence[TrackedRun], into: str) -> Iterator[Receipt]:
        """Write the runs into a place of the tool; yield a receipt as each is whole there.

        A run is known by its `identity`. One that is there with the same `fingerprint` is left
        alone; one with another, or of an export that was cut off, is replaced: never two of one.

        Raises:
            MissingExtraError: The tool's library is not installed.
            UsageError: The place is none of the tool's.
            StoreError: The tool refuses, or the place cannot be written.
        """


def find_exporter(name: str) -> Exporter:
    """Return the exporter called `name`.

    Raises:
        UnknownNameError: There is none.
    """
    made: Exporter = REGISTRY.get(name)()  # type: ignore[operator]  # a class of the registry
    return made


def receipt(run: TrackedRun, state: State, where: str) -> Receipt:
    """Return the receipt of a run that was handed on."""
    return Receipt(run=run.name, directory=run.folder, state=state, where=where)


def shown_place(into: str) -> str:
    """Return text as it may be printed: addresses in it without name and password."""
    return re.sub(r"//[^/@\s]*@", "//", into)


@contextlib.contextmanager
def place_errors(place: str | Path) -> Iterator[None]:
    """Turn a disk's refusal into an error that names the place of an export.

    Raises:
        StoreError: The system refuses.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"Cannot write into {shown_place(str(place))}: {error.strerror or error}. Choose "
            "another place with --into."
        ) from error
