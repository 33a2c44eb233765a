"""Runs become curves of the convergence library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from timetrial.engine.metrics import metric_value
from timetrial.findings import system_of
from timetrial.references.convergence import (
    FORMAT,
    Curve,
    CurveSet,
    decode_curves,
    shipped_curves,
)
from timetrial.rundir import write_atomically
from timetrial.spec import Metric, SplitName
from timetrial.store import RunRecord

_DIGITS: Final = 6  # of a metric: a test set has at most some ten thousand examples


def library(records: Sequence[RunRecord] = ()) -> list[CurveSet]:
    """Return the shipped curves and those of finished runs of the closed division."""
    return [*shipped_curves(), *curves_of(records)]


def curves_of(records: Sequence[RunRecord], command: str = "") -> list[CurveSet]:
    """Return the curves of these runs, a set per task and evaluated metric.

    Left out: runs that are not finished, failed or had a time budget, those of the open division,
    probes, those of an A/A calibration (they share seeds), and those evaluated in another rhythm
    than the task's.
    """
    groups: dict[tuple[str, Metric, SplitName], list[RunRecord]] = {}
    for record in records:
        if _counts(record):
            aim = record.plan.target or record.plan.task.targets[-1]
            groups.setdefault((record.plan.task_hash, aim.metric, aim.split), []).append(record)
    return [
        _set(runs, metric, split, command) for (_, metric, split), runs in sorted(groups.items())
    ]


def _counts(record: RunRecord) -> bool:
    plan = record.plan
    return (
        record.done is not None
        and record.status in ("reached", "budget")
        and plan.learned is not None
        and plan.division == "closed"
        and plan.probe_s is None
        and plan.calibration is None
        and plan.budget_s is None
        and plan.rhythm.eval_every_steps == plan.task.eval_every_steps
    )


def _set(runs: Sequence[RunRecord], metric: Metric, split: SplitName, command: str) -> CurveSet:
    by_seed = {run.plan.seed: run for run in runs}
    first = runs[0].plan
    return CurveSet(
        format=FORMAT,
        task=first.task.name,
        task_hash=first.task_hash,
        metric=metric,
        split=split,
        batch_size=first.task.batch_size or 0,
        eval_every_steps=first.rhythm.eval_every_steps,
        system=_system(runs),
        date=max(run.plan.created_utc for run in runs)[:10],
        command=command or " ".join(first.command),
        curves=tuple(_curve(by_seed[seed], metric, split) for seed in sorted(by_seed)),
    )


def _curve(run: RunRecord, metric: Metric, split: SplitName) -> Curve:
    seen, target = [e for e in run.evaluations if e.split == split], run.plan.target
    return Curve(
        seed=run.plan.seed,
        steps=tuple(e.step for e in seen),
        values=tuple(round(metric_value(metric, e), _DIGITS) for e in seen),
        stops_at=target.threshold if target is not None and run.status == "reached" else None,
    )


def _system(runs: Sequence[RunRecord]) -> str:
    """Return where and in which precision they were made, without how they stopped."""
    names = {
        ", ".join([*system_of(run).name.split(", ")[:3], run.plan.precision]): None for run in runs
    }
    return " and ".join(names)


def write_curves(found: CurveSet, folder: Path) -> Path:
    """Write a set as a file of `folder`, the runs of an older file of it kept; return its path.

    Raises:
        FormatError: The older file is damaged.
        DiskError, StoreError: It cannot be written.
    """
    path = folder / found.file_name
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        older = decode_curves(path.read_bytes(), str(path))
        both = {curve.seed: curve for curve in (*older.curves, *found.curves)}
        found = msgspec.structs.replace(found, curves=tuple(both[seed] for seed in sorted(both)))
    lines = msgspec.json.encode(found).replace(b'{"seed"', b'\n{"seed"')  # a line per run
    write_atomically(path, lines + b"\n")
    return path
