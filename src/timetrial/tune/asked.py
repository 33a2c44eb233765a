"""What a search is asked for: amounts, the reference's request, settings; checked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from timetrial.batch import Batch, Watcher, expand
from timetrial.errors import UsageError
from timetrial.plan import MEASUREMENTS, Request, Rhythm
from timetrial.spec import Task
from timetrial.tune import FRESH, LEADERS, REPEAT, TRIALS
from timetrial.tune.objective import Objective
from timetrial.tune.settings import Settings
from timetrial.tune.space import default_space, fit_space, read_space

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RHYTHM: Final = tuple(key for key in Rhythm.__struct_fields__ if key != "eval_every_steps")


class Amounts(NamedTuple):
    """How much is run; all of it may change when a search goes on."""

    trials: int = TRIALS
    leaders: int = LEADERS
    repeat: int = REPEAT
    fresh: int = FRESH
    jobs: int | None = None  # at once, where the launcher has room for so many; None: all it has
    at_most_s: float | None = None  # after which no further trial begins


class Asked(NamedTuple):
    """What a search is of: the task with its own rules, and what decides the trials."""

    task: Task
    settings: Settings
    store: Path | None  # of a grid file


def check_amounts(much: Amounts) -> None:
    """Refuse numbers that no search can have.

    Raises:
        UsageError: With the value seen and what is allowed.
    """
    for option, value, least in (
        ("--trials", much.trials, 1),
        ("--leaders", much.leaders, 1),
        ("--repeat", much.repeat, 0),
        ("--fresh", much.fresh, 0),
        ("--jobs", 1 if much.jobs is None else much.jobs, 1),
    ):
        if value < least:
            raise UsageError(f"{option} {value} is not possible. Allowed: {least} and more.")
    if much.fresh == 1:
        raise UsageError("--fresh 1 shows no spread. Allowed: 2 and more, or 0 for no comparison.")


def check_name(name: str) -> str:
    """Return a name that can be that of a file.

    Raises:
        UsageError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name {name} is not possible. Allowed: up to 100 letters, digits, dots, hyphens and "
            "underscores."
        )
    return name


def read_request(
    task: str | Path,
    objective: Objective,
    watcher: Watcher,
    choices: Mapping[str, object],
    *,
    space: str | Path | None,
    sampler: str,
    pruner: str,
) -> Asked:
    """Return what a search is of, its space checked against the task; fetches the task's data.

    Raises:
        UsageError and its kind: Something asked for is not possible.
    """
    request, place = _reference(task, objective, choices)
    batch = Batch(Path(), watcher, ["tune"])
    own = batch.resolve(request, 0, "").task
    goal = own.targets[-1]
    if objective.larger_is_better:
        request = _until_its_time(request, own, objective)
        goal = msgspec.structs.replace(goal, threshold=1.0)  # that nobody stops at
    else:
        threshold = goal.threshold if request.target is None else request.target
        request = msgspec.structs.replace(request, target=threshold)
        goal = batch.resolve(request, 0, "").target or goal
    if goal.split != own.eval_split:
        raise UsageError(
            f"The target of {own.name} is read on {goal.split}, and its runs are evaluated on "
            f"{own.eval_split}: no run would know when it is reached. Name another task."
        )
    named = str(space) if space is not None else default_space(own)
    settings = Settings(
        task=own.name,
        task_hash=own.hash(),
        objective=objective,
        target=goal,
        space_name=named,
        space=fit_space(read_space(named), own),
        request=request,
        sampler=sampler,
        pruner=pruner,
        seed=secrets.randbelow(2**31),
    )
    return Asked(own, settings, place)


def _reference(
    task: str | Path, objective: Objective, choices: Mapping[str, object]
) -> tuple[Request, Path | None]:
    """Return the request of the closed task on one system, without what the objective adds."""
    requests, _, place = expand(str(task), choices)
    if len(requests) != 1:
        raise UsageError(
            f"{task} with these options is {len(requests)} systems. A search is of one task on one "
            "system: name one value of each option."
        )
    request = msgspec.structs.replace(requests[0], suite=None, seeds_max=None)
    if request.task in MEASUREMENTS.names():
        raise UsageError(
            f"{request.task} learns nothing, so there is nothing to tune. Name a task; `timetrial "
            "list` shows them."
        )
    if request.script or request.light or request.division != "closed":
        raise UsageError(
            "A search changes the rules of a task in the open division, and compares with the "
            "whole task in the closed one. Leave out --division, --light and scripts."
        )
    rules = [key for key in request.settings if key not in _RHYTHM]
    if rules:
        raise UsageError(
            f"--set {rules[0]} is a rule of the task: the reference keeps it, and the search space "
            f"says what may be tried. Allowed: {', '.join(_RHYTHM)}."
        )
    if objective.kind == "cost-to-target" and request.price_usd_per_h is None:
        raise UsageError(
            "The objective cost-to-target needs the price of the machine: --price-per-hour USD."
        )
    return request, place


def _until_its_time(request: Request, task: Task, objective: Objective) -> Request:
    """Return the request of runs that go on to the objective's time and no further."""
    if request.target is not None or request.budget_s not in (None, objective.after_s):
        raise UsageError(
            f"The objective {objective} ends runs at its time, not at a target. Leave out --target "
            "and --budget."
        )
    if any(target.metric != "accuracy" for target in task.targets):
        raise UsageError(
            f"Task {task.name} counts as learned by its {task.targets[-1].metric}. Allowed with "
            "accuracy-after: a task whose targets are accuracies."
        )
    never = 1.0 if task.stops_at_target else None  # no run is to stop for what it has reached
    return msgspec.structs.replace(request, budget_s=objective.after_s, target=never)
