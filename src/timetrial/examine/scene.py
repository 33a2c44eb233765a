"""What an examiner works with in one step: what it finds, the files it leaves, commands it runs."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias, final

from timetrial.engine.events import Exhibited, Found, Progress
from timetrial.errors import UnknownNameError, UsageError
from timetrial.examine.commands import run_command
from timetrial.plan import Plan
from timetrial.rundir import LogWriter, RunDir, disk_errors, write_atomically
from timetrial.spec import YES_NO, ExaminationStep

_SIGN_S: Final = 1.0  # between signs of life in the log


class StopAsked(Exception):  # noqa: N818 - no error of the examiner, who lets it pass
    """The run is to stop: the step is left, and done again when the run goes on."""


@final
class Scene:
    """One step of one run. What it seeks is found once each, or lacks for a reason."""

    def __init__(
        self,
        run: RunDir,
        plan: Plan,
        log: LogWriter,
        stop_asked: Callable[[], bool],
        *,
        step: ExaminationStep,
        done: int,
    ) -> None:
        """Begin the step; `done` is how many steps of the run were done before."""
        self.plan = plan
        self.step = step
        self.run_dir = run
        self._log = log
        self._stop_asked = stop_asked
        self._done = done
        self._open = {sought.measure: sought for sought in step.seeks}
        self._said_s = time.monotonic()

    @property
    def exhibits(self) -> Path:
        """The folder of the files that this step and those before it have left."""
        return self.run_dir.exhibits

    @property
    def scratch(self) -> Path:
        """A folder to work in, the same for all steps and attempts of the run; gone at its end."""
        with disk_errors(self.run_dir.scratch):
            self.run_dir.scratch.mkdir(exist_ok=True)
        return self.run_dir.scratch.absolute()

    def find(
        self,
        measure: str,
        value: float,
        *,
        low: float | None = None,
        high: float | None = None,
        n: int = 1,
        facts: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Write down a finding: a number in the unit of the measure, from n observations.

        `low` and `high` are the ends of a 95 % interval, of several observations in this very run.
        `facts` are what only some tables show, `notes` what a reader must know of the number.

        Raises:
            UnknownNameError: The step does not seek it.
            UsageError: It was found already, or is no finite number; of YES_NO: not 0 or 1.
        """
        for number in (value, low, high):
            if number is not None and not math.isfinite(number):
                raise UsageError(
                    f"Step {self.step.name} found {number} for {measure}. Allowed: a finite "
                    "number; where there is none, say why: scene.lacks."
                )
        sought = self._open.get(measure)
        if sought is not None and sought.unit == YES_NO and value not in (0, 1):
            raise UsageError(f"{measure} is an answer, not {value}. Allowed: 1 (yes) or 0 (no).")
        self._write(
            measure, value=float(value), low=low, high=high, n=n, facts=facts, notes=notes, why=""
        )

    def answer(
        self,
        measure: str,
        yes: bool,
        *,
        facts: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Write down an answer, of a measure whose unit is YES_NO.

        Raises:
            UnknownNameError, UsageError: As `find`.
        """
        self.find(measure, 1.0 if yes else 0.0, facts=facts, notes=notes)

    def lacks(
        self,
        measure: str,
        why: str,
        *,
        facts: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Write down why there is no such finding: what is missing, and what would bring it.

        Raises:
            UnknownNameError: The step does not seek it.
            UsageError: It was found already, or no reason is given.
        """
        if not why.strip():
            raise UsageError(f"Step {self.step.name} has no {measure} and does not say why.")
        self._write(
            measure, value=None, low=None, high=None, n=0, facts=facts, notes=notes, why=why
        )

    def lack_the_rest(self, why: str) -> None:
        """Write the same reason down for all that was not found yet."""
        for measure in list(self._open):
            self.lacks(measure, why)

    @property
    def missing(self) -> list[str]:
        """What was neither found nor has a reason yet."""
        return list(self._open)

    def keep(self, name: str, content: bytes, *, title: str, about: str) -> Path:
        """Leave a file in the run's folder `exhibits`; return its path.

        PNG pictures are shown on the page. `about` says what is to be seen in it.

        Raises:
            FormatError: A name that leads elsewhere.
            DiskError, StoreError: The disk refuses.
        """
        path = self.run_dir.exhibit(name)
        with disk_errors(path):
            path.parent.mkdir(exist_ok=True)
        write_atomically(path, content)
        self._log.write(
            Exhibited(
                t_ns=time.monotonic_ns(),
                step=self._done,
                place=self.step.name,
                file=name,
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                title=title,
                about=about,
            )
        )
        return path

    def run(
        self,
        command: Sequence[str | Path],
        *,
        timeout_s: float,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command to its end; return its standard output.

        `folder` of None: `scratch`. `environment` is added to this process's. The command and all
        that it started ends with it, with the step, and with the worker.

        Raises:
            CannotExamineError: It cannot be started, took too long, or ended with another code
                than 0; the last line of its standard error is in the reason.
        """
        return run_command(
            command,
            timeout_s=timeout_s,
            folder=folder or self.scratch,
            environment={**os.environ, **(environment or {})},
            look_up=self.look_up,
        )

    def look_up(self) -> None:
        """Give a sign of life, and leave the step if the run is to stop; called in long steps.

        Raises:
            StopAsked: Which the examiner lets pass.
        """
        if self._stop_asked():
            raise StopAsked
        if time.monotonic() - self._said_s >= _SIGN_S:
            self._said_s = time.monotonic()
            self._log.write(Progress(t_ns=time.monotonic_ns(), step=self._done))

    def _write(
        self,
        measure: str,
        *,
        value: float | None,
        low: float | None,
        high: float | None,
        n: int,
        facts: Mapping[str, str] | None,
        notes: Sequence[str],
        why: str,
    ) -> None:
        known = [sought.measure for sought in self.step.seeks]
        if measure not in known:
            raise UnknownNameError(f"finding of step {self.step.name}", measure, known)
        sought = self._open.pop(measure, None)
        if sought is None:
            raise UsageError(f"Step {self.step.name} found {measure} twice. Allowed: once.")
        self._log.write(
            Found(
                t_ns=time.monotonic_ns(),
                step=self._done,
                place=self.step.name,
                measure=measure,
                unit=sought.unit,
                value=value,
                low=None if low is None else float(low),
                high=None if high is None else float(high),
                n=int(n),
                reason=why,
                facts=dict(facts or {}),
                notes=tuple(notes),
            )
        )


class Examiner(Protocol):
    """Carries out the steps of an examination, in one framework or with one tool."""

    def versions(self) -> Mapping[str, str]:
        """Return what examines: its own name, as in the plan's `framework`, and version first.

        What our own frameworks say of themselves need not be said again.
        """

    def carry_out(self, scene: Scene) -> None:
        """Do the step `scene.step`: find all that it seeks.

        What a later step needs, an earlier one leaves as a file: steps that were done are not done
        again when a run goes on, in another process.

        Raises:
            CannotExamineError: The step cannot be done here; its text becomes the reason of all
                that was not found yet, and the run goes on with the next step.
        """


BuildExaminer: TypeAlias = Callable[[], Examiner]
"""Makes the examiner, in the worker; whatever it needs is imported then, or in its steps."""
