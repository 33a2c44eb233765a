"""The convergence library seen and kept fresh: how many steps tasks need, run where unknown."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from timetrial import plan, references, store
from timetrial.api import find_store, run
from timetrial.batch import Watcher, expand
from timetrial.forecast import Wanted, library
from timetrial.forecast.curves import curves_of, write_curves
from timetrial.outlook import wanted_of
from timetrial.references.convergence import CurveSet, steps_to
from timetrial.spec import Record, Target
from timetrial.store import RunRecord


class LibraryEntry(Record, frozen=True, kw_only=True):
    """What the library knows of one task."""

    task: str
    task_hash: str
    what: str  # such as "any accuracy on test"
    runs: int
    system: str
    date: str
    fresh: bool  # the task's rules today have this hash
    targets: Mapping[str, str]  # target of the task -> steps in words


def entries(*, store_dir: str | Path | None = None) -> list[LibraryEntry]:
    """Return what the convergence library knows; with `store_dir` also of that store's runs."""
    sets = library(store.read_runs([Path(store_dir)]) if store_dir else ())
    of_curves = [
        LibraryEntry(
            task=one.task,
            task_hash=one.task_hash,
            what=f"any {one.metric} on {one.split}",
            runs=len(one.curves),
            system=one.system,
            date=one.date,
            fresh=one.task_hash in _hashes(one.task),
            targets=_targets(one),
        )
        for one in sets
    ]
    of_points = [
        LibraryEntry(
            task=point.task,
            task_hash=point.task_hash,
            what=point.target,
            runs=len(point.steps),
            system=point.system,
            date=point.date,
            fresh=point.task_hash in _hashes(point.task),
            targets={},
        )
        for point in references.convergence_points()
    ]
    return of_curves + of_points


def _hashes(name: str) -> set[str]:
    """Return the hashes of a task's rules today: on each of its data sets and splits."""
    if name not in plan.TASKS.names():
        return set()
    task = plan.find_task(name)
    data, splits = (None, *task.datasets), (None, *task.eval_splits)
    return {
        plan.variant_of(task, dataset=one, eval_split=split).hash()
        for one in data
        for split in splits
    }


def _targets(found: CurveSet) -> dict[str, str]:
    """Return the steps to the task's own targets, in words."""
    if found.task not in plan.TASKS.names():
        return {}
    words = {}
    for target in plan.find_task(found.task).targets:
        known = steps_to(found.task_hash, msgspec.structs.replace(target, split=found.split),
                         [found])  # fmt: skip
        if known is not None and known.reached.any():
            steps = known.steps[known.reached]
            words[str(target)] = (
                f"{steps.mean():,.0f} steps ({steps.min():,.0f} to {steps.max():,.0f}), "
                f"{known.reached.sum()} of {len(known.steps)} runs"
            )
    return words


def update(
    tasks: Sequence[str],
    *,
    seeds: int = 20,
    target: float | None = None,
    to: str | Path | None = None,
    store_dir: str | Path | None = None,
    watcher: Watcher | None = None,
    command: Sequence[str] = (),
    **choices: Any,
) -> list[str]:
    """Run tasks until their present rules have so many finished runs; return what was done.

    Runs in the store count already: an update that was stopped goes on. With `to` the curves are
    also written as files of the library there, beside the runs that such a file holds.

    Raises:
        UsageError and its kind: Something asked for is not possible.
    """
    place = find_store(store_dir)
    said: list[str] = []
    for name in tasks:
        request = expand(name, {"target": target, **choices})[0][0]
        wanted = wanted_of(request)
        aim = wanted.target or wanted.task.targets[-1]
        missing = seeds - len(_known_runs(place, wanted, aim))
        if missing > 0:
            run(name, seeds=missing, store_dir=place, watcher=watcher, command=command,
                target=aim.threshold, **choices)  # fmt: skip
        found = _known_runs(place, wanted, aim)
        sets = curves_of(found, shlex.join(command))
        said.append(f"{name}: {len(found)} runs of its present rules to {aim} in {place}")
        if to is not None:
            said += [f"  written to {write_curves(one, Path(to))}" for one in sets]
    return said


def _known_runs(place: Path, wanted: Wanted, aim: Target) -> list[RunRecord]:
    """Return the finished runs of these rules that went on to the target, or further."""
    records = store.read_runs([place]) if place.is_dir() else []
    return [
        record
        for record in records
        if record.plan.learned is not None
        and record.plan.task_hash == wanted.task.hash()
        and record.status in ("reached", "budget")
        and curves_of([record])
        and _as_far(record, aim)
    ]


def _as_far(record: RunRecord, aim: Target) -> bool:
    """Return whether a run did not stop before the target."""
    stops = record.plan.target
    return stops is None or (
        (stops.metric, stops.split) == (aim.metric, aim.split) and (aim.met_by(stops.threshold))
    )
