"""Rules by dotted name: which of a task's own can be changed one by one, and what must not be.

A rule is called as `--set` calls it: batch_size, optimizer.momentum, optimizer.schedule.rate. The
form of the schedule is one too, `SCHEDULE`: with it go the numbers of the new form, all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, cast, get_type_hints

import msgspec

from timetrial.errors import UnknownNameError
from timetrial.spec.rules import SCHEDULES, Record, Sgd, Task

Value: TypeAlias = bool | int | float
Setting: TypeAlias = Value | str

SCHEDULE: Final = "optimizer.schedule.type"
"""The rule that names the form of the schedule, by its tag: one_cycle, polynomial_decay …"""

_PART: Final = "optimizer.schedule"

RHYTHM_TOLERANCE: Final = 0.025
"""How far the examples between two evaluations may be apart for runs to be compared.

A time to target is late by up to one evaluation: twice as rare looks make a run slower by up to one
interval, whatever it learned. A mini-batch that does not divide the interval moves it by half a
step at most; 2.5 % of an interval are far below what runs of one task vary by. Ours: no source.
"""


def changeable(task: Task, schedule: str | None = None) -> dict[str, Value | None]:
    """Return the rules that the open division may change by themselves, with the task's own values.

    The size of a mini-batch, the number of steps, and the numbers and switches of the optimizer
    and of its schedule. With `schedule`, of the task with a schedule of that form: where it is
    another than its own, the numbers of the schedule are 0.

    Raises:
        UnknownNameError: No such form, or none that has numbers alone.
    """
    found: dict[str, Value | None] = {"batch_size": task.batch_size, "steps_max": task.steps_max}
    found |= _scalars("optimizer", task.optimizer)
    own = getattr(task.optimizer, "schedule", None)
    if schedule is not None and schedule != schedule_kind(task):
        found |= _numbers_of(schedule, task)
    elif own is not None:
        found |= _scalars(_PART, own)
    return found


def schedule_kind(task: Task) -> str | None:
    """Return the tag of a task's schedule; None where the learning rate stays as it is."""
    schedule = getattr(task.optimizer, "schedule", None)
    return None if schedule is None else str(schedule.__struct_config__.tag)


def _numbers_of(kind: str, task: Task) -> dict[str, Value]:
    """Return a 0 for each number of the schedules of one form."""
    forms = {str(one.__struct_config__.tag): get_type_hints(one) for one in SCHEDULES}
    whole = {
        tag: fields for tag, fields in forms.items() if set(fields.values()) <= {int, float, bool}
    }
    if kind not in whole or not isinstance(task.optimizer, Sgd):
        allowed = whole if isinstance(task.optimizer, Sgd) else ["none: it has no learning rate"]
        raise UnknownNameError(f"schedule for task {task.name}", kind, allowed)
    return {f"{_PART}.{name}": cast("Value", made()) for name, made in whole[kind].items()}


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

    Another form of the schedule takes the place of the task's own, whatever stands first.

    Raises:
        msgspec.ValidationError: A value of the wrong kind, or a number of the schedule is missing.
    """
    rules = msgspec.to_builtins(task)
    kind = values.get(SCHEDULE)
    if kind is not None and kind != schedule_kind(task):
        rules["optimizer"]["schedule"] = {"type": kind}
    for name, value in values.items():
        *path, last = name.split(".")
        part = rules
        for step in path:
            part = part[step]
        part[last] = value
    return msgspec.convert(rules, Task, strict=False)


def changed_rules(task: Task, base: Task) -> dict[str, object]:
    """Return the rules of `task` that `base` has otherwise, by dotted name, with their values.

    With another form of schedule, all its numbers.
    """
    names = [*changeable(task), "eval_every_steps"]
    found = {name: rule(task, name) for name in names if rule(task, name) != rule(base, name)}
    if schedule_kind(task) != schedule_kind(base):
        numbers = {name: rule(task, name) for name in names if name.startswith(f"{_PART}.")}
        found |= {**numbers, SCHEDULE: schedule_kind(task) or "none"}
    return found


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
