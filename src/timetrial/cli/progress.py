"""Progress bars on standard error: one for all runs, one for each at work, one for data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from timetrial import units
from timetrial.engine.events import Evaluated, Exchanged, Inferred, Stopped, WorkerEvent
from timetrial.launch import ON_THIS_MACHINE
from timetrial.launch.supervise import Result
from timetrial.plan import CLOSED_ALGORITHMS, Plan
from timetrial.spec import Examination


class _Bar:
    """What is shown of one run."""

    def __init__(self, label: str, task: TaskID) -> None:
        self.label = label
        self.task = task
        self.last: Evaluated | None = None
        self.exchanged: Exchanged | None = None
        self.inferred: Inferred | None = None


class ProgressWatcher:
    """Draws progress of a batch; where standard error is no terminal, a line per run."""

    def __init__(self, *, quiet: bool) -> None:
        """Prepare; with `quiet` no lines are printed where there is no terminal."""
        self._console = Console(stderr=True)
        self._lines = not self._console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
            refresh_per_second=4,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._runs: TaskID | None = None
        self._bars: dict[str, _Bar] = {}
        self._data: TaskID | None = None

    def __enter__(self) -> Self:
        """Begin drawing."""
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop drawing."""
        self._progress.stop()

    def begin(self, plan: Plan, *, number: int, of: int | None) -> None:
        """Show which run begins, beside those that run already."""
        if self._data is not None:
            self._progress.remove_task(self._data)
            self._data = None
        if self._runs is None:
            self._runs = self._progress.add_task("runs", total=of, note="")
        self._progress.update(self._runs, total=of)
        label, total = _label(plan), None if plan.script else plan.steps_max
        waits = plan.launcher not in ON_THIS_MACHINE
        note = "waiting for machines" if waits else "starting"
        self._bars[plan.run] = _Bar(label, self._progress.add_task(label, total=total, note=note))

    def events(self, plan: Plan, events: Sequence[WorkerEvent]) -> None:
        """Move the bar of the run."""
        bar = self._bars.get(plan.run)
        if bar is None:
            return
        step = max((e.step for e in events if hasattr(e, "step")), default=None)
        for event in events:
            if isinstance(event, Evaluated):
                bar.last = event
            if isinstance(event, Exchanged):
                bar.exchanged = event
            if isinstance(event, Inferred):
                bar.inferred = event
            if isinstance(event, Stopped):
                step = event.step
        note = "starting"
        if bar.inferred is not None:
            note = f"predicting, {units.count(bar.inferred.batch, 'example')} at a time"
        elif bar.last is not None:
            note = _quality(plan, bar.last).replace(" on ", " ")
        elif bar.exchanged is not None:
            note = f"{units.bytes_(bar.exchanged.bytes)} {bar.exchanged.dtype} done"
        elif plan.examination is not None and step is not None:
            note = _under_way(plan.examination, step, light=plan.light)
        elif step:
            note = "training"
        if step is not None:
            self._progress.update(bar.task, completed=step, note=note)

    def end(self, plan: Plan, result: Result) -> None:
        """Count the run, and take its bar away."""
        if self._runs is not None:
            self._progress.advance(self._runs)
        bar = self._bars.pop(plan.run, None)
        if bar is None:
            return
        self._progress.remove_task(bar.task)
        if self._lines:
            word = result.status or f"unfinished ({result.reason})"
            seen = f", {_quality(plan, bar.last)}" if bar.last else ""
            self._console.print(f"{bar.label}: {word}{seen}", highlight=False)

    def data(self, what: str, bytes_done: int, bytes_total: int | None) -> None:
        """Show a download, or what is decoded of one."""
        if self._data is None:
            self._data = self._progress.add_task(f"data: {what}", total=bytes_total, note="")
        self._progress.update(
            self._data,
            description=f"data: {what}",
            completed=bytes_done,
            total=bytes_total,
            note=units.bytes_(bytes_done),
        )


def _quality(plan: Plan, seen: Evaluated) -> str:
    """Return such as "97.31 % on test"; an area under the ROC curve is named."""
    area = plan.learned is not None and plan.task.targets[0].metric == "auc" and seen.auc
    quality = f"AUC {seen.auc:.4f}" if area else units.percent(seen.accuracy)
    return f"{quality} on {seen.split}"


def _under_way(examination: Examination, done: int, *, light: bool) -> str:
    """Return the step that an examination is at."""
    steps = examination.chosen(light=light)
    return steps[min(done, len(steps) - 1)].name


def _label(plan: Plan) -> str:
    cores = "1 core" if plan.cores == 1 else f"{plan.cores} cores"
    light = ", light" if plan.light else ""
    workers = f"{plan.workers} workers, each " if plan.workers > 1 else ""
    said = [plan.subject.name, plan.framework, f"{workers}{cores}"]
    if plan.algorithm != CLOSED_ALGORITHMS[0]:
        said.append(plan.algorithm)
    if plan.network is not None:
        said.append(plan.network)
    return ", ".join(said) + light
