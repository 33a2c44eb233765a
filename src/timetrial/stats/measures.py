"""Measures: one number per run, from its record alone.

Convention: a target is reached at the end of the first evaluation that meets it; no time is read
off between evaluations. So a time is late by at most one evaluation interval, never early.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from timetrial.engine.events import Segment
from timetrial.engine.metrics import metric_value
from timetrial.meter.records import MeterLog, Sample
from timetrial.spec import Metric, Target
from timetrial.stats.clocks import CLOCKS, HEADLINE, Clock, elapsed_s
from timetrial.store import Evaluation, RunRecord, attempt_shifts_ns, by_attempt, cpu_seconds

# Below a hundredth of the time a GPU draws a screen or answers a query; one that trains is at 5 %
# and more. Ours: no source was found.
GPU_BUSY_MIN: Final = 0.01


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


def value_after(
    record: RunRecord,
    seconds: float,
    *,
    metric: Metric,
    split: str,
    clock: Clock = CLOCKS[HEADLINE],
) -> float | None:
    """Return the metric at the last evaluation that ended within `seconds` on `clock`.

    A run that stopped earlier, at its target or after its last step, keeps its last value, as does
    a script that came to its end. None: no evaluation by then, or the run was given up before then,
    by a time budget too, without having reached anything to keep.
    """
    points = curve(record, metric=metric, split=split, clock=clock)
    if not points:
        return None
    if points[-1].time_s < seconds and not _is_whole(record):
        return None
    before = [point.value for point in points if point.time_s <= seconds]
    return before[-1] if before else None


def _is_whole(record: RunRecord) -> bool:
    if record.status == "budget":
        return record.plan.budget_s is None or record.steps >= record.plan.steps_max
    return record.status == "reached"


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
    """Return training examples per second of training, of all workers together.

    None where a step sees all of train.
    """
    task = record.plan.task
    per_step = seconds_per_step(record)
    if per_step is None or task.batch_size is None:
        return None
    return task.dataset.train_count / task.steps_per_epoch / per_step


def meter_values(record: RunRecord) -> Mapping[str, float]:
    """Return what the meters counted, of all workers together, without what had no counter."""
    summary = record.meter
    ended = [left for left in record.exits.values() if cpu_seconds(left) is not None]
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
    elif len(ended) == record.plan.workers:
        peaks = [left.peak_rss_bytes for left in ended]
        values = {
            "cpu": sum(cpu_seconds(left) or 0.0 for left in ended),
            "peak_memory": None if None in peaks else sum(peak or 0 for peak in peaks),
        }
    return {name: float(value) for name, value in values.items() if value is not None}


class FitUse(NamedTuple):
    """What the machine did while it trained; None: no sample fell into training, or no counter."""

    gpu_busy: float | None  # mean over time of the GPUs that were busy; 0 where none was
    gpus_busy: int | None
    gpus_present: int | None
    cores_used: float | None  # of all workers' processes, mean over time


def fit_use(record: RunRecord) -> FitUse:
    """Return what the last attempt used in the segments compile and train.

    A sample speaks for the time since the one before; what of that lies in training is its weight.
    A GPU counts as busy from GPU_BUSY_MIN of the time on: NVML sees the kernels of all processes.
    Cores are summed over the workers, each by its own log; GPUs are those of every host once.
    """
    logs = record.meter_logs
    spans = {rank: _fit_spans(record, rank) for rank in logs}
    if 0 not in logs or not spans[0]:
        return FitUse(None, None, None, None)
    gpus: list[_Mean] = []
    seen: set[str] = set()
    for rank, log in logs.items():
        if record.places[rank] not in seen:
            seen.add(record.places[rank])
            gpus += _gpus_busy(log, spans[rank])
    cores = [_cores_used(log, spans[rank]) for rank, log in logs.items()]
    used = [value for value in cores if value is not None]
    shares = [mean.value for mean in gpus if mean.value is not None]
    busy = [share for share in shares if share >= GPU_BUSY_MIN]
    known = bool(gpus) and len(shares) == len(gpus)
    return FitUse(
        gpu_busy=(sum(busy) / len(busy) if busy else 0.0) if known else None,
        gpus_busy=len(busy) if known else None,
        gpus_present=len(gpus) or None,
        cores_used=sum(used) if len(used) == record.plan.workers else None,
    )


_Span: TypeAlias = tuple[float, float]


def _fit_spans(record: RunRecord, rank: int) -> list[_Span]:
    """Return when a worker trained in the last attempt, in seconds of its own machine's clock."""
    fit, behind_s = ("compile", "train"), record.behind_s(rank)
    if rank > 0:
        attempts = by_attempt(record.launcher, record.workers_events.get(rank, ()))
        events = attempts[max(attempts)] if attempts else []
        segments = [e for e in events if isinstance(e, Segment) and e.name in fit]
        return [(one.start_ns / 1e9 - behind_s, one.t_ns / 1e9 - behind_s) for one in segments]
    last = record.stretches[-1].attempt if record.stretches else 0
    shift_s = attempt_shifts_ns(record.launcher).get(last, 0) / 1e9 + behind_s
    return [
        (stretch.start_s - shift_s, stretch.stop_s - shift_s)
        for stretch in record.stretches
        if stretch.attempt == last and stretch.name in fit
    ]


def _weights(log: MeterLog, spans: Sequence[_Span]) -> Iterator[tuple[Sample, float]]:
    """Yield each sample with the seconds of `spans` that it speaks for."""
    for before, sample in itertools.pairwise(log.samples):
        start, stop = before.t_ns / 1e9, sample.t_ns / 1e9
        yield sample, sum(max(0.0, min(stop, end) - max(start, begin)) for begin, end in spans)


def _cores_used(log: MeterLog, spans: Sequence[_Span]) -> float | None:
    cores = _Mean()
    for sample, weight in _weights(log, spans):
        cores.add(sample.cores_used, weight)
    return cores.value


def _gpus_busy(log: MeterLog, spans: Sequence[_Span]) -> list[_Mean]:
    gpus: dict[int, _Mean] = {}
    for sample, weight in _weights(log, spans):
        for gpu in sample.gpus:
            gpus.setdefault(gpu.index, _Mean()).add(gpu.busy_any_kernel, weight)
    return list(gpus.values())


class _Mean:
    """A weighted mean in the making."""

    def __init__(self) -> None:
        self._sum = self._weights = 0.0

    def add(self, value: float | None, weight: float) -> None:
        """Add a value; None is no value."""
        if value is not None:
            self._sum += value * weight
            self._weights += weight

    @property
    def value(self) -> float | None:
        """The mean; None without any weight."""
        return self._sum / self._weights if self._weights else None


def class_accuracies(confusion: Sequence[Sequence[int]]) -> list[float | None]:
    """Return the diagonal over the row sums: rows are true classes; None for an empty class."""
    return [row[place] / sum(row) if sum(row) else None for place, row in enumerate(confusion)]


def as_arrays(times: Sequence[TimeToTarget]) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds and reached flags as arrays of one length."""
    return (
        np.array([time.seconds for time in times], dtype=np.float64),
        np.array([time.reached for time in times], dtype=np.bool_),
    )
