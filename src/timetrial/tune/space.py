"""Search spaces: which rules of a task may take which values, from a TOML file with its source.

title = "SGD as in LCBench"
source = "..."                                     # who published it; of your own: say so
read_on = "2026-11-23"

[parameters]
batch_size = { low = 16, high = 512, scale = "log" }
"optimizer.momentum" = { low = 0.7, high = 0.995, scale = "log-one-minus" }
"optimizer.nesterov" = { choices = [true, false] }

A line schedule = "polynomial_decay" before the parameters has the learning rate follow that form in
place of the task's own; its numbers are then parameters, all of them. A parameter is a rule that
`--set` may change in the open division. Data, model, target, the split that is evaluated and the
rhythm of evaluations stay the task's.
"""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from timetrial.errors import FormatError, UnknownNameError, UsageError
from timetrial.spec import (
    MALFORMED,
    RHYTHM_TOLERANCE,
    SCHEDULE,
    InverseTimeDecay,
    Milestones,
    Record,
    Setting,
    Task,
    Value,
    changeable,
    rhythm_gap,
    rule,
    schedule_kind,
    with_rules,
)

Scale: TypeAlias = Literal["linear", "log", "log-one-minus"]
"""Where values are drawn alike: everywhere, per decade, or per decade of 1 - value."""

PREFERRED: Final = ("pd1", "lcbench-sgd")  # the first that fits a task is its default
DIGITS: Final = 4  # of a drawn number: what a person can type again
_PACKAGE: Final = "timetrial.tune"
_FOLDER: Final = "spaces"
_STAYS: Final = ("eval_every_steps", "eval_split", "targets", "target", "dataset", "model", "loss")
_SCHEDULE: Final = "optimizer.schedule."
_STEP: Final = 1 / 8  # of a range, from the first point to its neighbours; ours: no source
_EXAMPLE: Final = '"optimizer.momentum" = { low = 0.5, high = 0.99 }'


class Parameter(Record, frozen=True, kw_only=True):
    """The values that one rule may take: a range, or choices."""

    low: int | float | None = None
    high: int | float | None = None
    scale: Scale = "linear"
    choices: tuple[bool | int | float, ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.choices) == 1

    def holds(self, value: object) -> bool:
        """Return whether the value is one of these."""
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        assert self.low is not None
        assert self.high is not None
        return self.low <= value <= self.high

    def nearest(self, value: Value) -> Value:
        """Return the one of these values that lies nearest; of choices by ratio."""
        if self.holds(value):
            return value
        if not self.choices:
            assert self.low is not None
            assert self.high is not None
            return min(max(value, self.low), self.high)
        if isinstance(value, bool) or value <= 0 or any(one <= 0 for one in self.choices):
            return self.choices[0]
        return min(self.choices, key=lambda one: abs(math.log(one / value)))

    def at(self, share: float) -> Value:
        """Return the value that lies so far through the range, by its scale: 0 the low, 1 the high.

        Of choices, the one there in their order.
        """
        if self.choices:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        low, high = self._ends()
        assert self.low is not None
        assert self.high is not None
        found = self._unscaled(low + (high - low) * min(max(share, 0.0), 1.0))
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        return round(found) if whole else min(max(found, self.low), self.high)

    def share(self, value: float) -> float:
        """Return how far through the range a value of it lies, by its scale."""
        low, high = self._ends()
        return (self._scaled(value) - low) / (high - low)

    def _ends(self) -> tuple[float, float]:
        assert self.low is not None
        assert self.high is not None
        return self._scaled(self.low), self._scaled(self.high)

    def _scaled(self, value: float) -> float:
        match self.scale:
            case "log":
                return math.log(value)
            case "log-one-minus":
                return -math.log1p(-value)
            case _:
                return float(value)

    def _unscaled(self, value: float) -> float:
        match self.scale:
            case "log":
                return math.exp(value)
            case "log-one-minus":
                return -math.expm1(-value)
            case _:
                return value


class SearchSpace(Record, frozen=True, kw_only=True):
    """What a search may choose, and who says so."""

    title: str
    source: str
    read_on: str | None = None
    url: str | None = None
    notes: tuple[str, ...] = ()
    schedule: str | None = None  # the form of it, by its tag; None: the task's own
    parameters: Mapping[str, Parameter]

    @property
    def chosen(self) -> dict[str, Parameter]:
        """The parameters with something to choose."""
        return {name: one for name, one in self.parameters.items() if not one.fixed}


# --- reading -------------------------------------------------------------------------------------


def shipped() -> list[str]:
    """Return the names of the spaces that come with timetrial, sorted."""
    folder = importlib.resources.files(_PACKAGE) / _FOLDER
    names = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_space(name: str | Path) -> SearchSpace:
    """Return the space called `name`, or that of a TOML file.

    Raises:
        UnknownNameError: No such space.
        UsageError: The file cannot be read, or is no space; names the key.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in shipped():
            raise UnknownNameError("search space", str(name), [*shipped(), "FILE.toml"])
        content = importlib.resources.files(_PACKAGE) / _FOLDER / f"{name}.toml"
        return _decode(content.read_bytes(), f"tune/{_FOLDER}/{name}.toml", ours=True)
    try:
        return _decode(path.read_bytes(), str(path), ours=False)
    except OSError as error:
        raise UsageError(
            f"Cannot read {path}: {error.strerror}. Name a TOML file, or one of: "
            f"{', '.join(shipped())}."
        ) from error


def _decode(content: bytes, where: str, *, ours: bool) -> SearchSpace:
    try:
        return msgspec.toml.decode(content, type=SearchSpace)
    except MALFORMED as error:
        if ours:
            raise FormatError(f"{where}: {error}. Install timetrial again.") from error
        raise UsageError(
            f"{where} is no search space: {error}. Allowed: title, source, read_on, url, notes and "
            f"a table [parameters] with lines such as {_EXAMPLE}."
        ) from error


# --- does it fit? --------------------------------------------------------------------------------


def fit_space(space: SearchSpace, task: Task) -> SearchSpace:
    """Return the space with numbers of the kinds that the task's own rules are.

    Refuses a space that names what the task has not, or would move what must stay.

    Raises:
        UnknownNameError: A rule that the task does not have.
        UsageError: A range that cannot be, or mini-batches that would move the evaluations.
    """
    own = changeable(task, space.schedule)
    _check_schedule(space, task, own)
    fitted: dict[str, Parameter] = {}
    for name, one in space.parameters.items():
        if name.partition(".")[0] in _STAYS:
            raise UsageError(
                f"The search space has {name}, which stays the task's: else times to the target "
                f"could not be compared. Allowed: {', '.join(own)}."
            )
        value = own.get(name)
        if value is None:
            known = [key for key, value in own.items() if value is not None]
            raise UnknownNameError(f"rule of task {task.name} in the search space", name, known)
        _check_values(name, one, value)
        fitted[name] = _as_floats(one) if isinstance(value, float) else one
    found = msgspec.structs.replace(space, parameters=fitted)
    if not found.chosen:
        raise UsageError(
            f"The search space {space.title!r} leaves nothing to choose. Add a parameter with a "
            f"range, such as {_EXAMPLE}."
        )
    if "batch_size" in fitted:
        _check_batches(fitted["batch_size"], task, space.schedule or schedule_kind(task))
    return found


def _check_schedule(space: SearchSpace, task: Task, own: Mapping[str, object]) -> None:
    """Refuse another form of the schedule some of whose numbers nobody says."""
    if space.schedule in (None, schedule_kind(task)):
        return
    numbers = [name for name in own if name.startswith(_SCHEDULE)]
    missing = [name for name in numbers if name not in space.parameters]
    if missing:
        raise UsageError(
            f"The search space has the learning rate follow {space.schedule}, which task "
            f"{task.name} does not: nothing says its {' and '.join(missing)}. Add each as a "
            f'parameter; one value: "{missing[0]}" = {{ choices = [0.5] }}.'
        )


def _as_floats(one: Parameter) -> Parameter:
    return msgspec.structs.replace(
        one,
        low=None if one.low is None else float(one.low),
        high=None if one.high is None else float(one.high),
        choices=tuple(float(choice) for choice in one.choices),
    )


def _check_values(name: str, one: Parameter, own: object) -> None:
    """Refuse values that the rule cannot take; `own` is the task's."""
    if one.choices:
        if one.low is not None or one.high is not None:
            raise UsageError(f"Parameter {name} has choices and a range. Allowed: one of them.")
        odd = [choice for choice in one.choices if not _like(choice, own)]
        if odd or len(set(one.choices)) < len(one.choices):
            raise UsageError(
                f"Parameter {name} cannot take {odd[0] if odd else 'one choice twice'}. Allowed: "
                f"values such as the task's own {own}, each once."
            )
        return
    low, high = one.low, one.high
    if isinstance(own, bool) or low is None or high is None:
        raise UsageError(
            f"Parameter {name} has no values to choose from. Allowed: "
            + ("choices = [true, false]." if isinstance(own, bool) else "low and high, or choices.")
        )
    floor = 0 if one.scale == "log" else -math.inf
    ceiling = 1 if one.scale == "log-one-minus" else math.inf
    if not (floor < low < high < ceiling and _like(low, own) and _like(high, own)):
        kind = "whole numbers, " if isinstance(own, int) else ""
        limit = {"log": ", above 0", "log-one-minus": ", below 1", "linear": ""}[one.scale]
        raise UsageError(
            f"Parameter {name} cannot range from {low} to {high} on a {one.scale} scale. Allowed: "
            f"{kind}low below high{limit}."
        )


def _like(value: bool | int | float, own: object) -> bool:
    """Return whether a value is of the kind of the task's own: a switch, a count or a number."""
    if isinstance(own, bool) or isinstance(value, bool):
        return isinstance(own, bool) and isinstance(value, bool)
    return math.isfinite(value) and (not isinstance(own, int) or isinstance(value, int))


def _check_batches(one: Parameter, task: Task, schedule: str | None) -> None:
    """Refuse sizes of mini-batches with which evaluations could not lie where the task has them."""
    if schedule == Milestones.__struct_config__.tag:
        raise UsageError(
            f"Task {task.name} lowers its learning rate at given steps, which no mini-batch of "
            "another size has. Leave batch_size out of the search space."
        )
    sizes = one.choices or (one.low, one.high)
    largest = max(int(size) for size in sizes if size is not None)
    smallest = min(int(size) for size in sizes if size is not None)
    if smallest < 1 or largest > task.dataset.train_count:
        raise UsageError(
            f"Parameter batch_size cannot range from {smallest} to {largest}. Allowed: 1 to "
            f"{task.dataset.train_count}, the training examples of {task.name}."
        )
    if one.choices:
        gap = max(abs(rhythm_gap(_with_batch(task, int(size)), task)) for size in one.choices)
    else:
        gap = _largest_gap(task, largest)
    if gap > RHYTHM_TOLERANCE:
        raise UsageError(
            f"With mini-batches of up to {largest} the evaluations of {task.name} would lie "
            f"{100 * gap:.1f} % off where the task has them. Allowed: up to "
            f"{100 * RHYTHM_TOLERANCE:g} %: choose smaller mini-batches, or choices that divide "
            f"{_interval(task)} examples."
        )


def _interval(task: Task) -> int:
    return task.eval_every_steps * (task.batch_size or 1)


def _largest_gap(task: Task, largest: int) -> float:
    """Return how far off evaluations lie at most with mini-batches of up to this size."""
    if task.eval_every_steps % task.steps_per_epoch == 0:
        return 0.0
    return largest / 2 / _interval(task)  # half a step


# --- from a point to settings ---------------------------------------------------------------------


def settings_of(space: SearchSpace, task: Task, point: Mapping[str, Value]) -> dict[str, Setting]:
    """Return what --set is to say for one point of the space, numbers rounded to DIGITS.

    What is counted in steps (evaluations, the end, a warm-up, a decay by step) is counted in steps
    of the task's own mini-batch: with another size it covers the same examples.
    """
    settings: dict[str, Setting] = {}
    if space.schedule is not None:
        settings[SCHEDULE] = space.schedule
    for name, one in space.parameters.items():
        value = one.choices[0] if one.fixed else point[name]
        settings[name] = float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
    size = settings.get("batch_size", task.batch_size)
    if size is None or size == task.batch_size:
        return settings
    return {**settings, **_rescaled(with_rules(task, settings), task, int(size))}


def _rescaled(chosen: Task, task: Task, size: int) -> dict[str, Value]:
    """Return the counts of `chosen` that another mini-batch moves; they are of the task's own."""
    moved: dict[str, Value] = {
        "eval_every_steps": steps_with(task, task.eval_every_steps, size),
        "steps_max": steps_with(task, chosen.steps_max, size),
    }
    warmup = rule(chosen, "optimizer.schedule.warmup_steps")
    if isinstance(warmup, int):
        moved["optimizer.schedule.warmup_steps"] = steps_with(task, warmup, size)
    schedule = getattr(chosen.optimizer, "schedule", None)
    if isinstance(schedule, InverseTimeDecay):
        rate = schedule.rate * size / (task.batch_size or size)
        moved["optimizer.schedule.rate"] = float(f"{rate:.{DIGITS}g}")
    return moved


def steps_with(task: Task, steps: int, size: int) -> int:
    """Return how many steps with mini-batches of `size` cover as many examples as the task's do.

    Whole epochs stay whole; else it is the nearest number of steps, at least one where there was.
    """
    other = _with_batch(task, size)
    epochs, rest = divmod(steps, task.steps_per_epoch)
    if rest == 0:
        return epochs * other.steps_per_epoch
    return max(1, round(steps * (task.batch_size or size) / size))


def _with_batch(task: Task, size: int) -> Task:
    """Return the task with another mini-batch and its evaluations where they were."""
    other = msgspec.structs.replace(task, batch_size=size)
    epochs, rest = divmod(task.eval_every_steps, task.steps_per_epoch)
    every = epochs * other.steps_per_epoch
    if rest:
        every = max(1, round(_interval(task) / size))
    return msgspec.structs.replace(other, eval_every_steps=every)


def point_of(space: SearchSpace, task: Task) -> tuple[dict[str, Value], bool]:
    """Return the point of the space nearest to the task's own settings, and whether it is these.

    Numbers of another form of schedule than the task's own lie in the middle of their ranges.
    """
    own = changeable(task)
    same = space.schedule in (None, schedule_kind(task))
    point: dict[str, Value] = {}
    for name, one in space.chosen.items():
        if not same and name.startswith(_SCHEDULE):
            point[name] = one.at(0.5)
            continue
        value = own[name]
        assert value is not None  # fit_space refused what the task has not
        point[name] = one.nearest(value)
    held = same and all(one.holds(own[name]) for name, one in space.parameters.items())
    return point, held


def around(space: SearchSpace, point: Mapping[str, Value]) -> list[dict[str, Value]]:
    """Return the points that differ from one in one parameter each: a star around it.

    A range is gone an eighth of itself to both sides, by its scale, as far as it goes; of choices,
    each other one is taken.
    """
    found = []
    for name, one in space.chosen.items():
        value = point[name]
        if one.choices:
            others: list[Value] = [choice for choice in one.choices if choice != value]
        else:
            share = one.share(value)
            others = [one.at(share + step) for step in (-_STEP, _STEP)]
        found += [{**point, name: other} for other in others if other != value]
    return found


def fits(space: SearchSpace, task: Task) -> bool:
    """Return whether a search of the task may use the space."""
    try:
        fit_space(space, task)
    except UsageError:
        return False
    return True


def default_space(task: Task) -> str:
    """Return the name of the shipped space that is used where none is named.

    Raises:
        UsageError: None fits the task.
    """
    names = [*PREFERRED, *(name for name in shipped() if name not in PREFERRED)]
    for name in names:
        if fits(read_space(name), task):
            return name
    raise UsageError(
        f"No search space that comes with timetrial fits task {task.name}. Write one and name it: "
        "--space FILE.toml; docs/tuning.md shows how."
    )
