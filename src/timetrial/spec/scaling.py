"""What k workers make of a task's rules."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from timetrial.errors import UsageError
from timetrial.spec.rules import Milestones, PlateauHalving, Schedule, Sgd, Task


def for_workers(task: Task, workers: int) -> Task:
    """Return the task as `workers` workers learn it together; one worker learns it as it stands.

    split_batch: the task itself. linear: the mini-batch and the learning rate are k times as
    large, and what is counted in steps covers the same epochs. The warm-up begins at the rate of
    one worker: over the task's own warm-up (`Milestones`), or over log2(k) epochs
    (`PlateauHalving`), whose floor is the rate of one worker too.

    Raises:
        UsageError: Fewer than one worker, or a task whose step is not a mini-batch.

    Source: Goyal et al., Accurate, large minibatch SGD, arXiv 1706.02677, 2.1 and 2.2; MLBench
    documentation, closed division, and mlbench-core 3.0 (by their code), read 2026-11-22.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers} is not possible. Allowed: 1 and more.")
    if workers == 1:
        return task
    if task.batch_size is None or not isinstance(task.optimizer, Sgd):
        raise UsageError(
            f"--workers {workers} is not possible for task {task.name}: its step is a whole fit. "
            "Allowed: 1, or a task that is learned from mini-batches."
        )
    if task.scaling == "split_batch":
        return task
    changed = msgspec.structs.replace
    larger = changed(task, batch_size=task.batch_size * workers)
    before, after = task.steps_per_epoch, larger.steps_per_epoch

    def as_long(steps: int) -> int:
        """Return the number of the new steps that covers as many epochs."""
        return math.ceil(steps * after / before)

    optimizer = changed(
        task.optimizer,
        learning_rate=task.optimizer.learning_rate * workers,
        schedule=_schedule(task.optimizer.schedule, workers, as_long, after),
    )
    light = task.light_steps_max
    return changed(
        larger,
        optimizer=optimizer,
        steps_max=as_long(task.steps_max),
        eval_every_steps=as_long(task.eval_every_steps),
        light_steps_max=None if light is None else as_long(light),
    )


def _schedule(
    schedule: Schedule | None, workers: int, as_long: Callable[[int], int], epoch: int
) -> Schedule | None:
    changed = msgspec.structs.replace
    match schedule:
        case None:
            return None
        case Milestones(warmup_steps=warmup, milestones=milestones):
            return changed(
                schedule,
                warmup_steps=as_long(warmup),
                start_factor=schedule.start_factor / workers,
                milestones=tuple(as_long(step) for step in milestones),
            )
        case PlateauHalving():
            return changed(
                schedule,
                warmup_steps=round(math.log2(workers) * epoch),
                start_factor=schedule.start_factor / workers,
                floor_factor=schedule.floor_factor / workers,
            )
        case other:
            raise UsageError(
                f"A learning rate that follows {type(other).__name__} has no rule for "
                f"{workers} workers. Allowed with linear scaling: Milestones, PlateauHalving, none."
            )
