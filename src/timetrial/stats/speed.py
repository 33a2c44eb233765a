"""How fast a system does the steps of a task: read off a probe's log, or off a whole run's.

Seconds per step are those of training after its warm-up: in a probe all that follows its first
look at evaluation, in a run all that follows its first evaluation. They are cut into blocks of
about equal time; what the blocks differ by is the spread, what the later ones take longer than the
earlier is the drift. Steps and evaluations are in seconds at full capacity (stats/capacity.py).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from timetrial.engine.events import (
    Evaluated,
    Fenced,
    Progress,
    Segment,
    Started,
    Stopped,
    Timed,
    WorkerEvent,
)
from timetrial.stats import intervals, measures
from timetrial.stats.capacity import Capacity
from timetrial.stats.intervals import Estimate
from timetrial.store import RunRecord, by_attempt

BLOCKS: Final = 10
LENGTHS_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
LONGEST: Final = 1 / 8  # of a run's training: longer stretches would be most of what they lie in
SET_UP: Final = ("data", "encode", "bin", "build", "compile")
START_UP: Final = ("provision", "environment", "imports")


class Speed(NamedTuple):
    """What one probe, or one whole run, says of a system's speed at a task; SI units."""

    step_s: float  # mean seconds of a step once warm, at full capacity as all that follow
    step_low_s: float | None  # 95 %, of the blocks: what varies within the probe, no more
    step_high_s: float | None
    blocks: int
    drift: float | None  # seconds per step of the later half over the earlier, less 1
    steps: int  # that step_s is of
    counted_s: float  # how long these took
    warm_up_s: float  # what the first steps took longer than such
    start_up_s: float  # wall time, from the start of the command to the first touch of the data
    set_up_s: float  # wall time of data, network, compilation
    eval_s: float | None  # of one whole evaluation of the evaluated split
    eval_examples: int | None  # seen in the look that eval_s is computed from; fewer: scaled up
    test_s: float | None  # of the last look at test, where training is evaluated on another split
    checkpoint_s: float
    tear_down_s: float
    on_clock_s: float  # how long this took on the headline clock
    stolen: float  # share of the processor's time that others had while the steps were timed

    @property
    def relative_error(self) -> float:
        """Return the standard error of step_s over step_s, 0 where a single block has none."""
        if self.step_low_s is None or self.step_high_s is None:
            return 0.0
        half = (self.step_high_s - self.step_low_s) / 2
        return half / intervals.t_quantile(0.95, max(1, self.blocks - 1)) / self.step_s


class _Mark(NamedTuple):
    """So many steps were done at that instant; a stretch of training begins with `new`."""

    t_s: float  # at full capacity
    wall_s: float
    steps: int
    new: bool


def speed_of(record: RunRecord) -> Speed | None:
    """Return the speed that the last attempt of a probe or run shows; None where no step was done.

    Of a script nothing is known step by step: None.
    """
    attempts = by_attempt(record.launcher, record.worker)
    if record.plan.script or record.plan.learned is None or not attempts:
        return None
    events = attempts[max(attempts)]
    capacity = Capacity.of(record)
    marks, warm = _marks(events, capacity), _warm(events, capacity)
    done = _steps_in(warm)
    if done == 0:
        return None
    blocks = _blocks(warm)
    mean = _seconds_in(warm) / done
    estimate = intervals.mean_interval(blocks) if len(blocks) > 1 else None
    first = [mark for mark in marks if mark not in warm]
    segments = _segment_seconds(events)
    eval_s, seen = _evaluation(record, events, capacity)
    every = measures.segment_seconds(record)
    return Speed(
        step_s=mean,
        step_low_s=_around(mean, estimate, -1),
        step_high_s=_around(mean, estimate, 1),
        blocks=len(blocks),
        drift=_drift(blocks),
        steps=done,
        counted_s=_seconds_in(warm),
        warm_up_s=max(0.0, _seconds_in(first) - mean * _steps_in(first)),
        start_up_s=sum(every.get(name, 0.0) for name in START_UP) / record.attempts,
        set_up_s=sum(segments.get(name, 0.0) for name in SET_UP),
        eval_s=eval_s,
        eval_examples=seen,
        test_s=_last_test(record, events, eval_s, capacity),
        checkpoint_s=_mean_checkpoint(events),
        tear_down_s=every.get("teardown", 0.0) / record.attempts,
        on_clock_s=sum(v for name, v in segments.items() if name not in (*START_UP, "infer")),
        stolen=1 - _seconds_in(warm) / _wall_in(warm),
    )


def stretches_of(record: RunRecord) -> dict[float, float]:
    """Return by how much stretches of a run's training differ from all of it, by their length.

    For each of LENGTHS_S up to LONGEST of the run's training: the mean square of the logarithm of
    a stretch's seconds per step over the run's. What the processor does varies so: a machine that
    others share is fast and slow by turns.
    """
    attempts = by_attempt(record.launcher, record.worker)
    if record.plan.script or not attempts:
        return {}
    marks = _warm(attempts[max(attempts)], Capacity.of(record))
    pairs = [pair for pair in _pairs(marks) if pair[1] > 0]
    seconds, steps = math.fsum(s for s, _ in pairs), sum(n for _, n in pairs)
    found: dict[float, float] = {}
    for length in LENGTHS_S:
        if length <= LONGEST * seconds:
            logs = np.log(np.array(_cut(pairs, length)) * steps / seconds)
            found[length] = float((logs**2).mean())
    return found


def _cut(pairs: Sequence[tuple[float, int]], length_s: float) -> list[float]:
    """Return the seconds per step of stretches of so many seconds, the last one may be half."""
    found: list[float] = []
    seconds, steps = 0.0, 0
    for more_s, more in pairs:
        seconds, steps = seconds + more_s, steps + more
        if seconds >= length_s * 0.999 and steps:
            found.append(seconds / steps)
            seconds, steps = 0.0, 0
    if steps and seconds > length_s / 2:
        found.append(seconds / steps)
    return found


def _warm(events: Sequence[WorkerEvent], capacity: Capacity) -> list[_Mark]:
    """Return how far training had come after its warm-up; all of it where nothing came after."""
    marks = _marks(events, capacity)
    looks = [capacity.at(e.t_ns / 1e9) for e in events if isinstance(e, Timed | Evaluated)]
    warm = [mark for mark in marks if not looks or mark.t_s > looks[0]]
    return warm if _steps_in(warm) else marks


def _around(mean: float, estimate: Estimate | None, sign: int) -> float | None:
    """Return an end of the blocks' interval, moved to the mean over all steps."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return mean + sign * (estimate.high - estimate.low) / 2


def _marks(events: Sequence[WorkerEvent], capacity: Capacity) -> list[_Mark]:
    """Return how far training had come when, stretch by stretch."""
    marks: list[_Mark] = []

    def mark(t_ns: int, *, new: bool) -> None:
        marks.append(_Mark(capacity.at(t_ns / 1e9), t_ns / 1e9, step, new))

    training = False
    step = 0
    for event in events:
        if isinstance(event, Started):
            step = event.step
        elif isinstance(event, Segment):
            training = event.next == "train"
            if training:
                mark(event.t_ns, new=True)
        elif isinstance(event, Progress) and training:
            step = event.step
            mark(event.t_ns, new=False)
        elif isinstance(event, Fenced) and training:
            step = event.step + 1
            mark(event.t_ns, new=False)
        elif isinstance(event, Stopped):
            break
    return marks


def _next(marks: Sequence[_Mark]) -> list[tuple[_Mark, _Mark]]:
    """Return the marks of one stretch that follow each other."""
    return [(early, late) for early, late in itertools.pairwise(marks) if not late.new]


def _pairs(marks: Sequence[_Mark]) -> list[tuple[float, int]]:
    """Return seconds and steps between marks of one stretch that follow each other."""
    return [(late.t_s - early.t_s, late.steps - early.steps) for early, late in _next(marks)]


def _steps_in(marks: Sequence[_Mark]) -> int:
    return sum(steps for _, steps in _pairs(marks))


def _seconds_in(marks: Sequence[_Mark]) -> float:
    return sum(seconds for seconds, _ in _pairs(marks))


def _wall_in(marks: Sequence[_Mark]) -> float:
    return sum(late.wall_s - early.wall_s for early, late in _next(marks))


def _blocks(marks: Sequence[_Mark]) -> Float[np.ndarray, " blocks"]:
    """Return the seconds per step of at most BLOCKS stretches of about equal time, in order."""
    pairs = _pairs(marks)
    return np.array(_cut(pairs, sum(seconds for seconds, _ in pairs) / BLOCKS))


def _drift(blocks: Float[np.ndarray, " blocks"]) -> float | None:
    if len(blocks) < 4:
        return None
    half = len(blocks) // 2
    return float(blocks[-half:].mean() / blocks[:half].mean() - 1)


def _segment_seconds(events: Sequence[WorkerEvent]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for event in events:
        if isinstance(event, Segment):
            spent = (event.t_ns - event.start_ns) / 1e9
            seconds[event.name] = seconds.get(event.name, 0.0) + spent
    return seconds


def _evaluation(
    record: RunRecord, events: Sequence[WorkerEvent], capacity: Capacity
) -> tuple[float | None, int | None]:
    """Return the seconds of a whole evaluation, and how many examples the last look saw.

    Of several looks the last counts: the first warms up. A look at a part is scaled up.
    """
    task = record.plan.task
    size = {
        "train": task.dataset.train_count,
        "validation": task.dataset.validation_count,
        "test": task.dataset.test_count,
    }[task.eval_split]
    looks = [event for event in events if isinstance(event, Timed)]
    if looks:
        last = looks[-1]
        end_s = last.t_ns / 1e9
        seen_s = capacity.between(end_s - last.seconds, end_s)
        return seen_s * size / last.examples, last.examples
    seconds = _evaluated_seconds(events, task.eval_split, capacity)
    if not seconds:
        return None, None
    warm = seconds[1:] or seconds
    return math.fsum(warm) / len(warm), size


def _evaluated_seconds(
    events: Sequence[WorkerEvent], split: str, capacity: Capacity
) -> list[float]:
    """Return the seconds of each segment in which that split alone was evaluated."""
    found: list[float] = []
    splits: list[str] = []
    for event in events:
        if isinstance(event, Evaluated):
            splits.append(event.split)
        elif isinstance(event, Segment):
            if event.name == "eval" and splits == [split]:
                found.append(capacity.between(event.start_ns / 1e9, event.t_ns / 1e9))
            splits = []
    return found


def _last_test(
    record: RunRecord, events: Sequence[WorkerEvent], eval_s: float | None, capacity: Capacity
) -> float | None:
    """Return the seconds of the last look at test: measured, else by the number of examples."""
    task = record.plan.task
    if task.eval_split == "test":
        return 0.0
    seconds = _evaluated_seconds(events, "test", capacity)
    if seconds:
        return seconds[-1]
    own = task.dataset.validation_count
    return None if eval_s is None or not own else eval_s * task.dataset.test_count / own


def _mean_checkpoint(events: Sequence[WorkerEvent]) -> float:
    """Return the mean seconds of writing a state; the look for old ones at the start is short."""
    spent = [
        (event.t_ns - event.start_ns) / 1e9
        for event in events
        if isinstance(event, Segment) and event.name == "checkpoint" and event.step > 0
    ]
    return math.fsum(spent) / len(spent) if spent else 0.0
