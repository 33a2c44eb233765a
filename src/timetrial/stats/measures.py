"""Measures: one number per run, from its record alone.

Convention: a target is reached at the end of the first evaluation that meets it; no time is read
off between evaluations. So a time is late by at most one evaluation interval, never early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from timetrial.engine.metrics import metric_value
from timetrial.spec import Metric, Target
from timetrial.stats.clocks import CLOCKS, HEADLINE, Clock, elapsed_s
from timetrial.store import Evaluation, RunRecord


class TimeToTarget(NamedTuple):
    """Seconds to the target, or, not reached, the seconds after which the run was given up."""

    seconds: float
    reached: bool


class CurvePoint(NamedTuple):
    """One evaluation on one clock."""

    time_s: float
    step: int
    value: float


def curve(
    record: RunRecord, *, metric: Metric, split: str, clock: Clock = CLOCKS[HEADLINE]
) -> list[CurvePoint] | None:
    """Return the evaluations of `split` in order, on `clock`; None where the clock is unknown."""
    share = data_share(record)
    points = []
    for seen in record.evaluations:
        if seen.split != split:
            continue
        time_s = elapsed_s(record.stretches, clock, until_s=seen.at_s, data_share=share)
        if time_s is None:
            return None
        value = metric_value(metric, seen)
        points.append(CurvePoint(time_s, seen.step, value))
    return points


def time_to_target(
    record: RunRecord, target: Target, clock: Clock = CLOCKS[HEADLINE]
) -> TimeToTarget | None:
    """Return when the run met the target, or when it was given up (right-censored).

    None: no evaluation of that split was made, or the clock is unknown.
    """
    points = curve(record, metric=target.metric, split=target.split, clock=clock)
    if not points:
        return None
    for point in points:
        if target.met_by(point.value):
            return TimeToTarget(point.time_s, True)
    return TimeToTarget(points[-1].time_s, False)


def steps_to_target(record: RunRecord, target: Target) -> tuple[int, bool] | None:
    """Return the steps to the target, or those done without it; None without evaluations."""
    points = curve(record, metric=target.metric, split=target.split)
    if not points:
        return None
    for point in points:
        if target.met_by(point.value):
            return point.step, True
    return points[-1].step, False


def value_after(record: RunRecord, seconds: float, *, metric: Metric, split: str) -> float | None:
    """Return the metric at the last evaluation that ended within `seconds` of the headline clock.

    A run that stopped earlier, at its target, keeps its last value. None: no evaluation by then, or
    the run was given up before then without having reached anything to keep.
    """
    points = curve(record, metric=metric, split=split)
    if not points:
        return None
    if points[-1].time_s < seconds and record.status not in ("reached", "budget"):
        return None
    before = [point.value for point in points if point.time_s <= seconds]
    return before[-1] if before else None


def last(record: RunRecord, split: str) -> Evaluation | None:
    """Return the last evaluation of a split."""
    found = [seen for seen in record.evaluations if seen.split == split]
    return found[-1] if found else None


def validation_test_gap(record: RunRecord) -> float | None:
    """Return accuracy on validation minus accuracy on test, both at the run's last step."""
    validation, test = last(record, "validation"), last(record, "test")
    if validation is None or test is None or validation.step != test.step:
        return None
    return validation.accuracy - test.accuracy


def segment_seconds(record: RunRecord) -> dict[str, float]:
    """Return the seconds of each segment, in order of first appearance; they sum to the wall."""
    seconds: dict[str, float] = {}
    for name, start, stop, _ in record.stretches:
        seconds[name] = seconds.get(name, 0.0) + stop - start
    return seconds


def part_shares(record: RunRecord) -> dict[str, float]:
    """Return the share of each part in the fenced steps; {} where none was split.

    The first fenced step is left out: it may still warm up.
    """
    totals: dict[str, float] = {}
    for event in record.fenced[1:]:
        for part, ns in event.parts_ns.items():
            totals[part] = totals.get(part, 0.0) + ns
    whole = sum(event.total_ns for event in record.fenced[1:])
    return {part: ns / whole for part, ns in totals.items()} if whole else {}


def data_share(record: RunRecord) -> float | None:
    """Return the share of a step that waits for data, None where no step was split."""
    shares = part_shares(record)
    return shares.get("data", 0.0) if shares else None


def seconds_per_step(record: RunRecord) -> float | None:
    """Return training seconds per step; steps that a resumed run did twice count twice."""
    train_s = segment_seconds(record).get("train", 0.0)
    done = steps_done(record)
    return train_s / done if done and train_s else None


def steps_done(record: RunRecord) -> int:
    """Return all steps done, those done again after a kill included."""
    if record.attempts == 1:
        return record.steps
    done = position = 0
    for event in record.worker:
        step = getattr(event, "step", None)
        if step is None:
            continue
        if type(event).__name__ == "Started":
            position = step
        elif step > position:
            done += step - position
            position = step
    return done


def examples_per_s(record: RunRecord) -> float | None:
    """Return training examples per second of training; None where a step sees all of train."""
    task = record.plan.task
    per_step = seconds_per_step(record)
    if per_step is None or task.batch_size is None:
        return None
    return task.dataset.train_count / task.steps_per_epoch / per_step


def meter_values(record: RunRecord) -> Mapping[str, float]:
    """Return what the meters counted, without what had no counter."""
    summary = record.meter
    left = record.last_exit
    values: dict[str, float | None] = {}
    if summary is not None:
        values = {
            "cpu": summary.cpu_s,
            "cores_used": summary.cores_used,
            "peak_memory": summary.peak_memory_bytes,
            "steal": summary.steal_s,
            "gpu_busy_any_kernel": summary.gpu_busy_any_kernel,
            "gpu_peak_memory": summary.gpu_peak_memory_bytes,
            "gpu_energy": summary.gpu_energy_j,
            "energy": summary.energy_j,
        }
    elif left is not None and left.user_s is not None and left.system_s is not None:
        values = {"cpu": left.user_s + left.system_s, "peak_memory": left.peak_rss_bytes}
    return {name: float(value) for name, value in values.items() if value is not None}


def as_arrays(times: Sequence[TimeToTarget]) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds and reached flags as arrays of one length."""
    return (
        np.array([time.seconds for time in times], dtype=np.float64),
        np.array([time.reached for time in times], dtype=np.bool_),
    )
