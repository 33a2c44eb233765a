"""Published results as dated data files; they become rows of origin `published`.

Each file has one source with its address and the date it was read, and says in every row what is
not comparable.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from timetrial.errors import FormatError, UsageError
from timetrial.rows import Row
from timetrial.spec import Record

T = TypeVar("T")
Reading: TypeAlias = Literal["printed", "from the run log", "exact", "read off a figure"]
FILES: Final = (
    "benchm_dl.toml",
    "benchm_ml.toml",
    "cloud_check.toml",
    "gbm_perf.toml",
    "machines.toml",
    "mila_course.toml",
    "mila_frameworks.toml",
    "mlbench.toml",
    "platform_task.toml",
)


class _Measure(Record, frozen=True, kw_only=True):
    """What a short name of the file's `values` stands for."""

    measure: str
    unit: str
    clock: str | None = None
    split: str | None = None
    target: str | None = None


class _Published(Record, frozen=True, kw_only=True):
    """One line of a published table: its figures, and what is not comparable in it."""

    task: str
    framework: str
    system: str
    device: str
    values: Mapping[str, float]  # by the names of the file's `measures`
    table: str  # of the source
    reading: Reading = "printed"
    published: str | None = None  # where it differs from the file's
    workers: int = 1
    n: int = 1
    precision: str = "float32"
    beside: bool = False  # stands in every report of the task, not only in its suite's table
    facts: Mapping[str, str] = msgspec.field(default_factory=dict)
    flaws: tuple[str, ...] = ()  # what is not comparable in this line
    notes: tuple[str, ...] = ()


class PublishedFile(Record, frozen=True, kw_only=True):
    """One source of published rows, as in its file."""

    title: str
    url: str | None = None
    published: str
    read_on: str
    flaws: tuple[str, ...]  # of all its rows
    dataset: str
    division: str
    measures: Mapping[str, _Measure]
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
    return _decode(_content("retired.toml"), "retired.toml", _Retirements).framework


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
    return _decode(_content("convergence.toml"), "convergence.toml", _Convergence).point


def published(task: str | None = None, *, beside_only: bool = False) -> list[Row]:
    """Return the published rows of one task, or of all.

    A row's `facts` name the line it stood in ("line"), the table ("table"), how exactly it was read
    ("reading"), when ("read_on"), and what else the line said. `beside_only`: those that stand in
    every report of their task.

    Raises:
        FormatError: A shipped data file is damaged.
    """
    return [
        row for name in FILES for row in rows_of(name, _load(name), task, beside_only=beside_only)
    ]


def flaws_of(name: str) -> tuple[str, ...]:
    """Return what is not comparable in all rows of one file of FILES.

    Raises:
        FormatError: The shipped data file is damaged.
    """
    return _load(name).flaws


def _load(name: str) -> PublishedFile:
    return decode_file(_content(name), name)


def decode_file(content: bytes, name: str) -> PublishedFile:
    """Return one source of published rows from its TOML text.

    Raises:
        FormatError: Not TOML, an unknown key, or a value of the wrong kind.
    """
    return _decode(content, name, PublishedFile)


def rows_of(
    name: str, file: PublishedFile, task: str | None = None, *, beside_only: bool = False
) -> list[Row]:
    """Return the rows of one source, of one task or of all.

    Raises:
        FormatError: A figure whose measure the file does not name.
    """
    rows: list[Row] = []
    for place, entry in enumerate(file.row):
        unknown = sorted(set(entry.values) - set(file.measures))
        if unknown:
            raise FormatError(
                f"references/{name}, row {place + 1}: {unknown[0]!r} is none of its measures "
                f"({', '.join(file.measures)}). Install timetrial again."
            )
        if task in (None, entry.task) and (entry.beside or not beside_only):
            rows += [
                _row(f"{name} {place}", file, entry, file.measures[key], value)
                for key, value in entry.values.items()
            ]
    return rows


def _content(name: str) -> bytes:
    return (importlib.resources.files(__name__) / name).read_bytes()


def _decode(content: bytes, name: str, kind: type[T]) -> T:
    try:
        return msgspec.toml.decode(content, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise FormatError(f"references/{name}: {error}. Install timetrial again.") from error


def _row(line: str, file: PublishedFile, entry: _Published, measure: _Measure, value: float) -> Row:
    notes = [*entry.notes, *entry.flaws, *file.flaws]
    if entry.reading != "printed":
        notes.insert(0, entry.reading)
    facts = {"line": line, "table": entry.table, "reading": entry.reading, "read_on": file.read_on}
    return Row(
        task=entry.task,
        target=measure.target,
        split=measure.split,
        clock=measure.clock,
        dataset=file.dataset,
        division=file.division,
        framework=entry.framework,
        device=entry.device,
        cores=None,
        precision=entry.precision,
        workers=entry.workers,
        launcher="unknown",
        network=None,
        system=entry.system,
        measure=measure.measure,
        value=value,
        low=None,
        high=None,
        n=entry.n,
        unit=measure.unit,
        origin="published",
        source=file.title,
        date=entry.published or file.published,
        status_counts={},
        notes=notes,
        evidence=[file.url] if file.url else [],
        facts={**facts, **entry.facts},
    )
