"""How many steps the closed tasks need: curves of many seeds, usable for any threshold on them.

curves/<task>-<hash>.json holds one file per task and evaluated metric, written by `timetrial
convergence update`; convergence.toml holds steps to one target alone, where no curves were kept.
A file of a task whose rules have changed since has another hash, and is not used.
"""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from jaxtyping import Bool, Float

from timetrial import references
from timetrial.errors import FormatError
from timetrial.spec import MALFORMED, Metric, Record, SplitName, Target

FORMAT: Final = 1


class Curve(Record, frozen=True, kw_only=True):
    """The evaluations of one run, in order: steps done, and the metric then.

    A run that stopped at a target says nothing of harder ones: `stops_at` is its threshold. None:
    the run did all of its steps.
    """

    seed: int
    steps: tuple[int, ...]
    values: tuple[float, ...]
    stops_at: float | None = None

    def speaks_of(self, target: Target) -> bool:
        """Return whether the run would have gone on to this target."""
        return self.stops_at is None or target.met_by(self.stops_at)


class CurveSet(Record, frozen=True, kw_only=True):
    """The curves of one closed task on one metric and split."""

    format: int
    task: str
    task_hash: str
    metric: Metric
    split: SplitName
    batch_size: int
    eval_every_steps: int
    system: str
    date: str
    command: str  # that made it
    curves: tuple[Curve, ...]

    @property
    def file_name(self) -> str:
        """Return the name of the file that holds it."""
        return f"{self.task}-{self.task_hash[:8]}-{self.metric}-{self.split}.json"


class StepsToTarget(NamedTuple):
    """Steps to a target over the seeds of a library, and where they come from.

    Where a run ended without the target, `reached` is False and `steps` are those it did.
    """

    steps: Float[np.ndarray, " runs"]
    reached: Bool[np.ndarray, " runs"]
    seeds: tuple[int, ...]  # () where only their steps are known
    batch_size: int
    eval_every_steps: int
    system: str
    date: str
    command: str


def shipped_curves() -> tuple[CurveSet, ...]:
    """Return the curves that come with timetrial, by file name.

    Raises:
        FormatError: A shipped file is damaged.
    """
    folder = importlib.resources.files(references.__name__) / "curves"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".json")),
        key=lambda file: file.name,
    )
    return tuple(decode_curves(file.read_bytes(), file.name) for file in files)


def decode_curves(content: bytes, where: str) -> CurveSet:
    """Return the curves in `content`.

    Raises:
        FormatError: Not such a file, of a newer version, or curves that cannot be.
    """
    try:
        found = msgspec.json.decode(content, type=CurveSet)
    except MALFORMED as error:
        raise FormatError(f"{where} holds no curves: {error}. Make it again with: timetrial "
                          "convergence update TASK") from error  # fmt: skip
    if found.format > FORMAT:
        raise FormatError(
            f"{where} has format {found.format}; this timetrial reads up to format {FORMAT}. "
            "Install a newer timetrial to read it."
        )
    seeds = [curve.seed for curve in found.curves]
    wrong = [
        curve.seed
        for curve in found.curves
        if len(curve.steps) != len(curve.values) or list(curve.steps) != sorted(set(curve.steps))
    ]
    if wrong or len(set(seeds)) != len(seeds):
        raise FormatError(
            f"{where}: seed {wrong[0] if wrong else max(seeds, key=seeds.count)} has no curve of "
            "rising steps with a value each, or comes twice. Make the file again with: timetrial "
            "convergence update TASK"
        )
    return found


def read_curves(folder: Path) -> list[CurveSet]:
    """Return the curves of a folder of such files, by name; none where there is no folder.

    Raises:
        FormatError: A file is none.
    """
    return [decode_curves(file.read_bytes(), str(file)) for file in sorted(folder.glob("*.json"))]


def steps_to(
    task_hash: str, target: Target, curves: Sequence[CurveSet] | None = None
) -> StepsToTarget | None:
    """Return the steps that each seed of the library needed; None where it does not know the task.

    `curves` of None: those shipped. Several sets of one task are taken together, a seed once.
    """
    library = shipped_curves() if curves is None else curves
    fitting = [
        found
        for found in library
        if (found.task_hash, found.metric, found.split) == (task_hash, target.metric, target.split)
    ]
    known = _from_curves(fitting, target) if fitting else None
    if known is not None:
        return known
    for point in references.convergence_points():
        if (point.task_hash, point.target) == (task_hash, str(target)):
            steps = np.array(point.steps, dtype=np.float64)
            return StepsToTarget(
                steps=steps,
                reached=np.ones(len(steps), np.bool_),
                seeds=(),
                batch_size=point.batch_size,
                eval_every_steps=math.gcd(*point.steps),
                system=point.system,
                date=point.date,
                command=point.command,
            )
    return None


def _from_curves(sets: Sequence[CurveSet], target: Target) -> StepsToTarget | None:
    every = {
        curve.seed: curve
        for found in sets
        for curve in found.curves
        if curve.steps and curve.speaks_of(target)
    }
    if not every:
        return None
    crossings = [_crossing(curve, target) for curve in every.values()]
    newest = max(sets, key=lambda found: found.date)
    return StepsToTarget(
        steps=np.array([step for step, _ in crossings], dtype=np.float64),
        reached=np.array([reached for _, reached in crossings], dtype=np.bool_),
        seeds=tuple(every),
        batch_size=newest.batch_size,
        eval_every_steps=newest.eval_every_steps,
        system=" and ".join(dict.fromkeys(found.system for found in sets)),
        date=newest.date,
        command=newest.command,
    )


def _crossing(curve: Curve, target: Target) -> tuple[int, bool]:
    for step, value in zip(curve.steps, curve.values, strict=True):
        if target.met_by(value):
            return step, True
    return curve.steps[-1], False


def describe() -> Iterator[tuple[str, str, str, int, str, str]]:
    """Yield task, hash, what was evaluated, runs, system and date of all that is shipped."""
    for found in shipped_curves():
        what = f"any {found.metric} on {found.split}"
        yield found.task, found.task_hash, what, len(found.curves), found.system, found.date
    for point in references.convergence_points():
        yield (
            point.task, point.task_hash, point.target, len(point.steps), point.system, point.date,
        )  # fmt: skip
