"""Progress bars on standard error: one for the runs, one for the run at work, one for data."""

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
from timetrial.engine.events import Evaluated, Exchanged, Stopped, WorkerEvent
from timetrial.launch.supervise import Result
from timetrial.plan import Plan


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
        self._run: TaskID | None = None
        self._data: TaskID | None = None
        self._label = ""
        self._last: Evaluated | None = None
        self._exchanged: Exchanged | None = None

    def __enter__(self) -> Self:
        """Begin drawing."""
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop drawing."""
        self._progress.stop()

    def begin(self, plan: Plan, *, number: int, of: int | None) -> None:
        """Show which run begins."""
        cores = "1 core" if plan.cores == 1 else f"{plan.cores} cores"
        light = ", light" if plan.light else ""
        self._label = f"{plan.subject.name}, {plan.framework}, {cores}{light}"
        self._last = self._exchanged = None
        if self._data is not None:
            self._progress.remove_task(self._data)
            self._data = None
        if self._runs is None:
            self._runs = self._progress.add_task("runs", total=of, note="")
        self._progress.update(self._runs, total=of, completed=number - 1)
        if self._run is not None:
            self._progress.remove_task(self._run)
        self._run = self._progress.add_task(
            self._label, total=None if plan.script else plan.steps_max, note="starting"
        )

    def events(self, plan: Plan, events: Sequence[WorkerEvent]) -> None:
        """Move the bar of the run."""
        if self._run is None:
            return
        step = max((e.step for e in events if hasattr(e, "step")), default=None)
        for event in events:
            if isinstance(event, Evaluated):
                self._last = event
            if isinstance(event, Exchanged):
                self._exchanged = event
            if isinstance(event, Stopped):
                step = event.step
        note = "starting"
        if self._last is not None:
            note = f"{units.percent(self._last.accuracy)} {self._last.split}"
        elif self._exchanged is not None:
            note = f"{units.bytes_(self._exchanged.bytes)} {self._exchanged.dtype} done"
        elif step:
            note = "training"
        if step is not None:
            self._progress.update(self._run, completed=step, note=note)

    def end(self, plan: Plan, result: Result) -> None:
        """Count the run."""
        if self._runs is not None:
            self._progress.advance(self._runs)
        if self._lines:
            word = result.status or f"unfinished ({result.reason})"
            seen = (
                f", {units.percent(self._last.accuracy)} on {self._last.split}"
                if self._last
                else ""
            )
            self._console.print(f"{self._label}: {word}{seen}", highlight=False)

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
