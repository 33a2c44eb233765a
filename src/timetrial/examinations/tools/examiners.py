"""Examiners: a tool's observations become findings, and files to be judged from.

Each step leaves observations.<step>.jsonl, one observation per line: judgements are made from
them (`judging`), the findings are their numbers.
"""

from __future__ import annotations

import functools
import os
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar, cast, final

import msgspec
import numpy as np

from timetrial.errors import CannotExamineError, RunLockedError
from timetrial.examinations.tools import environment, examining, judging
from timetrial.examinations.tools.environment import RunCommand
from timetrial.examinations.tools.examining import LIGHT, WHOLE, Effort
from timetrial.examinations.tools.records import (
    Absent,
    Check,
    Checked,
    Column,
    Failed,
    Installed,
    Licensed,
    Observation,
    Page,
    Raced,
    Refused,
    Watched,
)
from timetrial.examinations.tools.registry import Tool, find_tool
from timetrial.examine.commands import run_command
from timetrial.examine.scene import Scene

T = TypeVar("T")
_CHECKS: Final[Mapping[Check, str]] = {
    "list": "runs_listed",
    "filter": "runs_filtered",
    "sort": "runs_sorted",
    "artefact": "artefact_fetched",
    "compare": "runs_compared",
}


def file_of(step: str) -> str:
    """Return the name of the file that a step leaves."""
    return f"observations.{step}.jsonl"


@final
class ToolExaminer:
    """Examines one tool of tools.toml."""

    def __init__(self, tool: Tool, effort: Effort | None = None) -> None:
        """Keep which tool, and how much is done; None: as the plan is light or not."""
        self._tool = tool
        self._effort = effort

    def versions(self) -> Mapping[str, str]:
        """Return the tool with the version that is asked for."""
        return {self._tool.name: self._tool.pin}

    def carry_out(self, scene: Scene) -> None:
        """Do one step.

        Raises:
            CannotExamineError: This system cannot, or another process makes the environment now.
        """
        why_not = examining.runs_here()
        if why_not is not None:
            raise CannotExamineError(why_not)
        run = _runner(scene)
        scratch = scene.scratch / scene.step.name
        shutil.rmtree(scratch, ignore_errors=True)  # of an attempt that was cut short
        scratch.mkdir()
        try:
            made = environment.prepare(self._tool, run, os.environ, scratch)
        except RunLockedError as error:
            raise CannotExamineError(
                f"another process makes the environment of {self._tool.name}: {error}"
            ) from error
        if scene.step.name == "environment":
            seen: list[Observation] = [made]
        elif isinstance(made, Refused):
            seen = []
        else:
            column = cast(Column, scene.step.name)  # of the examination's steps all others are
            effort = self._effort or (LIGHT if scene.plan.light else WHOLE)
            seen = examining.probe(
                self._tool,
                column,
                run,
                scratch,
                effort=effort,
                seeds=_seeds(scene.plan.seed, effort.searches),
                environ=os.environ,
            )
        scene.keep(
            file_of(scene.step.name),
            b"".join(msgspec.json.encode(item) + b"\n" for item in seen),
            title=f"{self._tool.title}: {scene.step.name}",
            about=f"what was seen of {self._tool.title} in this step, one JSON value per line",
        )
        _find(scene, made, seen)


def _runner(scene: Scene) -> RunCommand:
    def run(
        command: Sequence[str | Path],
        *,
        timeout_s: float,
        folder: Path,
        environment: Mapping[str, str],
    ) -> str:
        return run_command(
            command,
            timeout_s=timeout_s,
            folder=folder,
            environment=environment,
            look_up=scene.look_up,
        )

    return run


def _seeds(seed: int, count: int) -> list[int]:
    """Return the seeds of the searches, drawn from the run's."""
    words = np.random.SeedSequence(seed).generate_state(count, np.uint32)
    return [int(word) >> 1 for word in words]  # some tools take 31 bits


def _find(scene: Scene, made: Installed | Refused, seen: Sequence[Observation]) -> None:
    """Turn what was seen into the step's findings; what is left has a reason."""
    if isinstance(made, Refused):
        if scene.step.name == "environment":
            scene.answer("installed", False, facts={"wanted": made.wanted}, notes=[made.line])
        scene.lack_the_rest(f"cannot be installed: {made.line}")
        return
    match scene.step.name:
        case "environment":
            scene.answer("installed", True, facts={"how": made.how, "version": made.version})
            scene.find("environment_size", made.bytes)
            scene.find("environment_packages", len(made.packages))
        case "monitoring":
            _find_watched(scene, seen)
        case "organizing":
            _find_checks(scene, seen)
        case "tuning":
            _find_race(scene, seen)
        case "licence":
            for item in _of(Licensed, seen):
                scene.answer("open_licence", judging.open_licence(item))
    failed = next(_of(Failed, seen), None)
    absent = next(_of(Absent, seen), None)
    if scene.missing:
        lines = [failed.line] if failed is not None else []
        if absent is not None:
            lines.append(f"it has no such thing: {absent.names} names looked at")
        scene.lack_the_rest("; ".join(lines) or "its probe told nothing of it")


def _find_watched(scene: Scene, seen: Sequence[Observation]) -> None:
    for item in _of(Watched, seen):
        scene.find("steps_read_live", len(item.seen) / item.steps, n=item.steps)
        if item.seen:
            median_ms = statistics.median(one.latency_ms for one in item.seen)
            scene.find(
                "monitoring_latency",
                median_ms / 1e3,
                n=len(item.seen),
                facts={"how": item.how, "means": item.means},
            )


def _find_checks(scene: Scene, seen: Sequence[Observation]) -> None:
    checks = list(_of(Checked, seen))
    for item in checks:
        notes = [item.line] if item.line else []
        scene.answer(_CHECKS[item.what], item.passed, facts={"how": item.how}, notes=notes)
    if checks:
        pages = [page for page in _of(Page, seen) if page.status == 200 and not page.missing]
        scene.answer("page_answered", bool(pages))


def _find_race(scene: Scene, seen: Sequence[Observation]) -> None:
    for item in _of(Raced, seen):
        ratio = judging.ratio_of(item)
        assert ratio.value is not None  # there are races
        facts = {"how": item.how, "budget": str(item.budget), "function": item.function}
        scene.find(
            "search_ratio", ratio.value, low=ratio.low, high=ratio.high, n=ratio.n, facts=facts
        )
        scene.find("time_per_proposal", item.seconds_per_point, n=ratio.n * item.budget)


def _of(kind: type[T], seen: Sequence[object]) -> Iterator[T]:
    return (item for item in seen if isinstance(item, kind))


def _named(name: str) -> ToolExaminer:
    return ToolExaminer(find_tool(name))


ax = functools.partial(_named, "ax")
clearml = functools.partial(_named, "clearml")
comet = functools.partial(_named, "comet")
mlflow = functools.partial(_named, "mlflow")
optuna = functools.partial(_named, "optuna")
orion = functools.partial(_named, "orion")
scikit_optimize = functools.partial(_named, "scikit-optimize")
tensorboard = functools.partial(_named, "tensorboard")
visdom = functools.partial(_named, "visdom")
wandb = functools.partial(_named, "wandb")
