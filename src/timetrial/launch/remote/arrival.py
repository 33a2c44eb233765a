"""Makes a run directory that was sent here this machine's own.

A program: python -m timetrial.launch.remote.arrival. The paths in a plan are those of the machine
that made it. The same data set is looked for along this machine's own search path, or fetched. The
copy of the plan here names those files, and the CPUs that the worker got; nothing else in it
changes. The last line of what is printed says what this environment holds, where the files are, or
which file of a user's own data is to be sent first.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from timetrial import datasets
from timetrial import plan as plans
from timetrial.datasets import _decoded, sources
from timetrial.datasets.info import DatasetInfo
from timetrial.datasets.prepare import prepare
from timetrial.errors import DataError, TimetrialError
from timetrial.launch.remote.shipment import Contents, contents
from timetrial.plan import Plan
from timetrial.rundir import RunDir, pretty_json, write_atomically
from timetrial.spec import Record


class Arrived(Record, frozen=True, kw_only=True):
    """What a worker would find here."""

    contents: Contents
    places: Mapping[str, str] = msgspec.field(default_factory=dict)  # file -> what gave it
    send: str = ""  # a path here, below the cache, to which the plan's decoded file is to be sent
    error: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Find the data, write the plan; return 0, also where it cannot be had."""
    parser = argparse.ArgumentParser(prog="timetrial.launch.remote.arrival", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--cpus", help="those of the worker, such as 0,2; default: not restricted")
    options = parser.parse_args(arguments)
    run = RunDir(options.run_dir)
    cpus = None if options.cpus is None else tuple(map(int, options.cpus.split(",")))
    places: Mapping[str, str] = {}
    send = error = ""
    try:
        places, send = relocate(run, sources.search_path(os.environ), cpus)
    except TimetrialError as refusal:
        error = str(refusal)
    told = Arrived(contents=contents(), places=places, send=send, error=error)
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    return 0


def relocate(
    run: RunDir, path: sources.SearchPath, cpus: tuple[int, ...] | None
) -> tuple[Mapping[str, str], str]:
    """Have the plan in `run` name this machine's files of its data set, and the worker's CPUs.

    Returns file -> what gave it, or else the name below the cache that a file is to be sent to.

    Raises:
        DataError, MissingExtraError: They cannot be had here.
    """
    plan = plans.decode_plan(run.plan.read_bytes(), str(run.plan))
    places: Mapping[str, str] = {}
    use = _use_of(plan)
    if use is not None:
        found = _find(plan, use, path)
        if isinstance(found, str):
            return {}, found
        places = found.places
        plan = msgspec.structs.replace(plan, data_files=found.files, data_sources=places)
    write_atomically(run.plan, pretty_json(msgspec.structs.replace(plan, cpus=cpus)))
    return places, ""


class _Found(NamedTuple):
    files: Mapping[str, str]
    places: Mapping[str, str]


class _Use(NamedTuple):
    """Which data set, and of a user's own its content."""

    name: str
    content_sha256: str | None


def _use_of(plan: Plan) -> _Use | None:
    """Return the data set of a plan, None where it has none."""
    if plan.learned is not None:
        return _Use(plan.learned.dataset.name, plan.learned.dataset.content_sha256)
    if plan.examination is not None and plan.examination.dataset is not None:
        return _Use(plan.examination.dataset, None)
    return None


def _find(plan: Plan, use: _Use, path: sources.SearchPath) -> _Found | str:
    """Return this machine's files, or where below the cache a user's own is to be sent.

    Raises:
        DataError, MissingExtraError: They cannot be had here.
    """
    decoded = _decoded.named_in(plan.data_files)
    info = _registered(use)
    if info is not None:
        located = prepare(info, path, fetch=True)
        if decoded is not None and decoded.key() not in located.files:
            raise DataError(
                f"The data set {info.name!r} is here {', '.join(located.places.values())}; in the "
                f"plan it is {', '.join(plan.data_sources.values())}. Other versions of a decoder "
                "may give other values. Install the same on both machines."
            )
        return _Found(located.files, located.places)
    if decoded is None:
        raise DataError(
            f"The data set {use.name!r} is not known on this machine. Install the package here "
            "that brings it."
        )
    name = f"data/{use.name}/{Path(decoded.path).name}"
    here = Path(path.cache_dir) / name
    if not here.is_file():
        return name
    return _Found({decoded.key(): str(here)}, {decoded.key(): f"cache: {here}"})


def _registered(use: _Use) -> DatasetInfo | None:
    """Return the description of a registered data set, None for a user's own of any name."""
    if use.name not in datasets.REGISTRY.names():
        return None
    info = datasets.get(use.name)
    return info if use.content_sha256 in (None, info.content_sha256) else None


if __name__ == "__main__":
    sys.exit(main())
