"""Curves, bars, run lines and machine facts of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from timetrial import datasets, machine
from timetrial.engine.metrics import metric_value
from timetrial.findings.estimates import completed
from timetrial.findings.groups import Group, Ran, system_of, targets_of
from timetrial.rows import Confusion, Curve, MachineFacts, RunLine, SegmentBar, StepCurve
from timetrial.spec import Metric
from timetrial.stats import bands, clocks, measures
from timetrial.store import RunRecord

CURVE_POINTS: Final = 160


def curve_of(group: Group) -> Curve | None:
    """Return the mean curve of one system on the headline clock, None without evaluations."""
    target = targets_of(group)[-1]
    points = [
        found
        for run in group.runs
        if (found := measures.curve(run, metric=target.metric, split=target.split))
    ]
    if not points:
        return None
    times = [np.array([point.time_s for point in run]) for run in points]
    values = [np.array([point.value for point in run]) for run in points]
    ends = max(run[-1] for run in times)
    starts = max(run[0] for run in times)
    grid = bands.common_grid(times, CURVE_POINTS) if ends > starts else np.array([ends])
    drawn = bands.band(times, values, grid)
    floor, ceiling = (0.0, np.inf) if target.metric == "loss" else (0.0, 1.0)
    return Curve(
        task=group.system.task,
        framework=group.system.framework,
        system=group.system.name,
        metric=target.metric,
        split=target.split,
        clock=clocks.HEADLINE,
        threshold=target.threshold,
        n=len(points),
        times_s=grid.tolist(),
        mean=drawn.mean.tolist(),
        low=[None if np.isnan(low) else max(float(low), floor) for low in drawn.low],
        high=[None if np.isnan(high) else min(float(high), ceiling) for high in drawn.high],
    )


def step_curve_of(group: Group, metric: Metric | None = None) -> StepCurve | None:
    """Return the mean curve of one system against steps, None without evaluations.

    `metric` of None: that of the task's target.
    """
    target = targets_of(group)[-1]
    chosen = metric or target.metric
    points = [
        found
        for run in group.runs
        if (found := measures.curve(run, metric=chosen, split=target.split))
    ]
    if not points:
        return None
    steps = [np.array([point.step for point in run], dtype=np.float64) for run in points]
    values = [np.array([point.value for point in run]) for run in points]
    start, end = max(run[0] for run in steps), max(run[-1] for run in steps)
    every = np.unique(np.concatenate(steps))
    grid = every[(every >= start) & (every <= end)]  # where a run was evaluated, no place between
    drawn = bands.band(steps, values, grid)
    ceiling = np.inf if chosen == "loss" else 1.0
    return StepCurve(
        task=group.system.task,
        framework=group.system.framework,
        system=group.system.name,
        metric=chosen,
        split=target.split,
        threshold=target.threshold if chosen == target.metric else None,
        n=len(points),
        steps=grid.tolist(),
        mean=drawn.mean.tolist(),
        low=[None if np.isnan(low) else max(float(low), 0.0) for low in drawn.low],
        high=[None if np.isnan(high) else min(float(high), ceiling) for high in drawn.high],
    )


def confusion_of(group: Group) -> Confusion | None:
    """Return the confusion matrix of one system, None where no whole run counted one."""
    tables = [
        np.array(seen.table)
        for run in completed(group).runs
        if (seen := run.measured("confusion_matrix")) is not None
    ]
    if not tables:
        return None
    names = [str(label) for label in range(len(tables[0]))]
    if group.system.dataset in datasets.REGISTRY.names():
        names = list(datasets.get(group.system.dataset).class_names)
    return Confusion(
        task=group.system.task,
        framework=group.system.framework,
        system=group.system.name,
        split="test",
        n=len(tables),
        classes=names,
        counts=np.sum(tables, axis=0).tolist(),
    )


def bar_of(group: Ran) -> SegmentBar:
    """Return the mean seconds of each segment; together they are the mean wall time."""
    sums: dict[str, float] = {}
    for run in group.runs:
        for name, seconds in measures.segment_seconds(run).items():
            sums[name] = sums.get(name, 0.0) + seconds / len(group.runs)
    return SegmentBar(
        task=group.system.task,
        framework=group.system.framework,
        system=group.system.name,
        n=len(group.runs),
        seconds=sums,
    )


def line_of(record: RunRecord) -> RunLine:
    """Return one run as a line of the list."""
    plan = record.plan
    if plan.learned is None:
        return _measured_line(record)
    aim = plan.task.light_target if plan.light else plan.task.targets[-1]
    target = plan.target or aim
    time = measures.time_to_target(record, target) if record.stretches else None
    seen = measures.last(record, target.split)
    return RunLine(
        run=plan.run,
        task=plan.task.name,
        framework=plan.framework,
        system=system_of(record).name,
        seed=plan.seed,
        status=_status(record),
        wall_s=clocks.elapsed_s(record.stretches, clocks.CLOCKS["wall"])
        if record.stretches
        else None,
        time_to_target_s=time.seconds if time and time.reached else None,
        quality=metric_value(target.metric, seen) if seen else None,
        quality_label=f"{target.metric}, {target.split}",
        directory=str(record.run.path),
    )


def _measured_line(record: RunRecord) -> RunLine:
    """Return a run that measures as a line of the list: it has no quality."""
    plan = record.plan
    wall = clocks.CLOCKS["wall"]
    return RunLine(
        run=plan.run,
        task=plan.subject.name,
        framework=plan.framework,
        system=system_of(record).name,
        seed=plan.seed,
        status=_status(record),
        wall_s=clocks.elapsed_s(record.stretches, wall) if record.stretches else None,
        time_to_target_s=None,
        quality=None,
        quality_label="",
        directory=str(record.run.path),
    )


def _status(record: RunRecord) -> str:
    if record.plan.probe_s is not None and record.status == "budget":
        return "probe"  # it did what it should
    return record.status or ("planned" if not record.attempts else "unfinished")


def machines_of(groups: Sequence[Ran]) -> list[MachineFacts]:
    """Return the facts of each system's machine, once per system."""
    found: dict[str, Mapping[str, str]] = {}
    for group in groups:
        record = group.runs[-1].machine
        if record is not None:
            found.setdefault(group.system.name, machine.facts(record))
    return [MachineFacts(system=name, facts=facts) for name, facts in found.items()]
