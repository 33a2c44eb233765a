"""Published results as dated data files; they become rows of origin `published`.

Each file has one source with its address and the date it was read, and says in every row what is
not comparable.
"""

from __future__ import annotations

import importlib.resources
from typing import Final, TypeVar

import msgspec

from timetrial.errors import FormatError, UsageError
from timetrial.rows import Row
from timetrial.spec import Record

T = TypeVar("T")
FILES: Final = ("benchm_dl.toml", "mila_course.toml")


class _Published(Record, frozen=True, kw_only=True):
    """One published figure, as in the file."""

    task: str
    framework: str
    system: str
    device: str
    measure: str
    value: float
    unit: str
    clock: str | None = None
    split: str | None = None
    n: int = 1
    notes: tuple[str, ...] = ()


class _File(Record, frozen=True, kw_only=True):
    """One source."""

    title: str
    url: str | None = None
    published: str
    read_on: str
    flaws: tuple[str, ...]  # of all its rows
    dataset: str
    division: str
    row: tuple[_Published, ...]


class ConvergencePoint(Record, frozen=True, kw_only=True):
    """How many steps the runs of a closed task needed, one number per seed."""

    task: str
    task_hash: str
    target: str
    batch_size: int
    steps: tuple[int, ...]
    system: str
    date: str
    command: str = ""  # that made it


class _Convergence(Record, frozen=True, kw_only=True):
    point: tuple[ConvergencePoint, ...] = ()


class Retired(Record, frozen=True, kw_only=True):
    """A tool of a reproduced document that cannot run today."""

    name: str
    title: str
    documents: tuple[str, ...]
    last_version: str
    last_date: str  # as exactly as known
    why: str
    instead: tuple[str, ...]  # frameworks of ours nearest to it
    source: str
    also: tuple[str, ...] = ()  # other names people would give


class _Retirements(Record, frozen=True, kw_only=True):
    read_on: str
    framework: tuple[Retired, ...]


def retired_frameworks() -> tuple[Retired, ...]:
    """Return the tools of the reproduced documents that cannot run today, by name.

    Raises:
        FormatError: The shipped data file is damaged.
    """
    return _decode("retired.toml", _Retirements).framework


def refuse_retired(name: str | None) -> None:
    """Say of a retired framework why it cannot run; pass every other name.

    Raises:
        UsageError: A retired framework.
    """
    for tool in retired_frameworks():
        if name in (tool.name, *tool.also):
            raise UsageError(
                f"Framework {name} cannot run today: the last version of {tool.title} is "
                f"{tool.last_version} ({tool.last_date}); {tool.why} ({tool.source}). "
                f"Nearest to it: {', '.join(tool.instead)}. "
                "Published results: timetrial list references."
            )


def convergence_points() -> tuple[ConvergencePoint, ...]:
    """Return all reference convergence points.

    Raises:
        FormatError: The shipped data file is damaged.
    """
    return _decode("convergence.toml", _Convergence).point


def published(task: str | None = None) -> list[Row]:
    """Return the published rows of one task, or of all.

    Raises:
        FormatError: A shipped data file is damaged.
    """
    rows: list[Row] = []
    for name in FILES:
        file = _decode(name, _File)
        rows += [_row(file, entry) for entry in file.row if task in (None, entry.task)]
    return rows


def _decode(name: str, kind: type[T]) -> T:
    content = (importlib.resources.files(__name__) / name).read_bytes()
    try:
        return msgspec.toml.decode(content, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise FormatError(f"references/{name}: {error}. Install timetrial again.") from error


def _row(file: _File, entry: _Published) -> Row:
    return Row(
        task=entry.task,
        target=None,
        split=entry.split,
        clock=entry.clock,
        dataset=file.dataset,
        division=file.division,
        framework=entry.framework,
        device=entry.device,
        cores=None,
        precision="float32",
        workers=1,
        launcher="unknown",
        network=None,
        system=entry.system,
        measure=entry.measure,
        value=entry.value,
        low=None,
        high=None,
        n=entry.n,
        unit=entry.unit,
        origin="published",
        source=file.title,
        date=file.published,
        status_counts={},
        notes=[*entry.notes, *file.flaws],
        evidence=[file.url] if file.url else [],
    )
