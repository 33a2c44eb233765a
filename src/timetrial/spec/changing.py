"""Rules by dotted name: which of a task's own can be changed one by one, and what must not be.

A rule is called as `--set` calls it: batch_size, optimizer.momentum, optimizer.schedule.rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

from timetrial.spec.rules import Record, Task

Value: TypeAlias = bool | int | float

RHYTHM_TOLERANCE: Final = 0.025
"""How far the examples between two evaluations may be apart for runs to be compared.

A time to target is late by up to one evaluation: twice as rare looks make a run slower by up to one
interval, whatever it learned. A mini-batch that does not divide the interval moves it by half a
step at most; 2.5 % of an interval are far below what runs of one task vary by. Ours: no source.
"""


def changeable(task: Task) -> dict[str, Value | None]:
    """Return the rules that the open division may change by themselves, with the task's own values.

    The size of a mini-batch, the number of steps, and the numbers and switches of the optimizer
    and of its schedule.
    """
    found: dict[str, Value | None] = {"batch_size": task.batch_size, "steps_max": task.steps_max}
    found |= _scalars("optimizer", task.optimizer)
    schedule = getattr(task.optimizer, "schedule", None)
    if schedule is not None:
        found |= _scalars("optimizer.schedule", schedule)
    return found


def _scalars(prefix: str, record: Record) -> dict[str, Value | None]:
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    return {
        f"{prefix}.{name}": value
        for name, value in values.items()
        if isinstance(value, bool | int | float)
    }


def rule(task: Task, name: str) -> object:
    """Return the value of one rule; None for one that this task does not have."""
    found: object = task
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def with_rules(task: Task, values: Mapping[str, object]) -> Task:
    """Return the task with rules changed, by dotted name; texts are read as numbers.

    Raises:
        msgspec.ValidationError: A value of the wrong kind.
    """
    rules = msgspec.to_builtins(task)
    for name, value in values.items():
        *path, last = name.split(".")
        part = rules
        for step in path:
            part = part[step]
        part[last] = value
    return msgspec.convert(rules, Task, strict=False)


def changed_rules(task: Task, base: Task) -> dict[str, object]:
    """Return the rules of `task` that `base` has otherwise, by dotted name, with their values."""
    names = [*changeable(task), "eval_every_steps"]
    return {name: rule(task, name) for name in names if rule(task, name) != rule(base, name)}


def rhythm_gap(task: Task, base: Task) -> float:
    """Return by which share more examples lie between two evaluations of `task` than of `base`.

    Evaluations after equal numbers of whole epochs lie equally far apart: an epoch is every example
    once, whatever its last mini-batch is.
    """
    epochs = [divmod(one.eval_every_steps, one.steps_per_epoch) for one in (task, base)]
    if epochs[0] == epochs[1] and epochs[0][1] == 0:
        return 0.0
    own, other = (one.eval_every_steps * (one.batch_size or 1) for one in (task, base))
    return own / other - 1


def goal_differences(task: Task, base: Task) -> list[str]:
    """Return what two sets of rules do not share of what is to be reached, in words.

    Whoever differs in none of it learned the same thing from the same data, was looked at as often,
    and may have got there by other means.
    """
    found = []
    if task.dataset != base.dataset:
        found.append("data set")
    if task.eval_split != base.eval_split:
        found.append("evaluated split")
    if abs(rhythm_gap(task, base)) > RHYTHM_TOLERANCE:
        found.append("examples between two evaluations")
    return found
