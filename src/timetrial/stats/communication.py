"""What a run's workers spend on exchanging gradients: from the steps that were split into parts.

Every worker splits the same steps. What all of them spend in the part "communication" holds two
things: the exchange itself, and waiting for the worker that comes last. That one waits for nobody,
so its time, the least of all at that step, is the exchange; what the others spend beyond it is
waiting. As in `measures.part_shares` the first split step is left out: it may still warm up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timetrial.engine.events import Fenced
from timetrial.spec import parameter_count
from timetrial.spec.work import WEIGHT_BYTES
from timetrial.stats import measures
from timetrial.store import RunRecord, by_attempt

EXPLICIT: Final = "allreduce"  # the exchange that stands between backward and the update
PART: Final = "communication"


class SplitStep(NamedTuple):
    """The mean split step of a run, over its steps and workers, in seconds."""

    computing: float  # all parts but communication
    exchange: float
    waiting: float  # for the worker that came last
    rest: float  # in no part
    steps: int

    @property
    def total(self) -> float:
        """The whole step."""
        return self.computing + self.exchange + self.waiting + self.rest


def split_step(record: RunRecord) -> SplitStep | None:
    """Return the mean split step; None where none was split, or not by every worker.

    None too where several workers' exchange cannot be told apart: the framework's own overlaps it
    with the backward pass. One worker exchanges with nobody: what its log says, which is nothing.
    """
    rows = _split_steps(record)
    workers = record.plan.workers
    told = any(PART in event.parts_ns for row in rows for event in row)
    if not rows or (workers > 1 and not told):
        return None
    computing = exchange = waiting = total = 0
    for row in rows:
        spent = [event.parts_ns.get(PART, 0) for event in row]
        least = min(spent)
        exchange += least * workers
        waiting += sum(spent) - least * workers
        total += sum(event.total_ns for event in row)
        computing += sum(ns for e in row for part, ns in e.parts_ns.items() if part != PART)
    seconds = [ns / 1e9 / len(rows) / workers for ns in (computing, exchange, waiting, total)]
    rest = seconds[3] - sum(seconds[:3])
    return SplitStep(seconds[0], seconds[1], seconds[2], max(rest, 0.0), len(rows))


def _split_steps(record: RunRecord) -> list[list[Fenced]]:
    """Return the steps that every worker split, the first left out: an event per worker each."""
    by_worker: list[dict[tuple[int, int], Fenced]] = []
    for rank in range(record.plan.workers):
        own: dict[tuple[int, int], Fenced] = {}
        events = by_attempt(record.launcher, record.workers_events.get(rank, ()))
        for attempt, seen in events.items():
            own |= {(attempt, e.step): e for e in seen if isinstance(e, Fenced)}
        by_worker.append(own)
    shared = sorted(set(by_worker[0]).intersection(*by_worker[1:]))
    return [[own[place] for own in by_worker] for place in shared[1:]]


def communication_share(record: RunRecord) -> float | None:
    """Return the share of a split step in the part communication, the mean over the workers.

    0 for one worker; None where it cannot be told.
    """
    step = split_step(record)
    if step is None:
        return 0.0 if record.plan.workers == 1 else None
    return (step.exchange + step.waiting) / step.total


def waiting_share(record: RunRecord) -> float | None:
    """Return the share of a split step in which workers wait for the last one; 0 for one worker."""
    step = split_step(record)
    if step is None:
        return 0.0 if record.plan.workers == 1 else None
    return step.waiting / step.total


def communication_s(record: RunRecord) -> float | None:
    """Return the seconds of a step in the part communication; 0 for one worker."""
    step = split_step(record)
    if step is None:
        return 0.0 if record.plan.workers == 1 else None
    return step.exchange + step.waiting


def computing_s(record: RunRecord) -> float | None:
    """Return the seconds of a step without its exchange, waiting included.

    The step is that of the whole training; the share of the exchange is that of the split steps.
    """
    step, seconds = split_step(record), measures.seconds_per_step(record)
    if seconds is None:
        return None
    if record.plan.workers == 1:
        return seconds
    return None if step is None else seconds * (1 - step.exchange / step.total)


def gradient_bytes(record: RunRecord) -> int | None:
    """Return the bytes of all gradients of a step: one number per parameter.

    None where an algorithm sends something else than the gradients as they are, or where the rules
    do not say how many numbers are learned.
    """
    plan = record.plan
    if plan.script or plan.algorithm.partition(":")[0] != EXPLICIT:
        return None
    count = parameter_count(plan.task)
    return None if count is None else count * WEIGHT_BYTES[plan.precision]


def mean_parts(records: Sequence[RunRecord]) -> dict[str, float]:
    """Return the mean split step over the runs that have one, seconds by part; {} without any."""
    steps = [step for step in map(split_step, records) if step is not None]
    if not steps:
        return {}
    sums = [sum(values) / len(steps) for values in zip(*(step[:4] for step in steps), strict=True)]
    names = ("computing", "exchange", "waiting", "rest")
    return {name: seconds for name, seconds in zip(names, sums, strict=True) if seconds > 0}
