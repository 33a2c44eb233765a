"""Runs a whole attempt from inside its machines: python -m timetrial.launch.attend RUN_DIR.

What a manifest starts on each machine, where nobody watches from outside. The machine of rank 0
makes the run directory, if it must, from the plan in TIMETRIAL_PLAN, and keeps the launcher's log;
all machines run an agent. The run directory is on a file system that they share.

The clocks of such a run begin with this program: what came before it (a queue, an image that was
fetched, a machine that was started) is not seen, and so not in its log.

SIGTERM and SIGINT ask the workers to save and end; a second time kills them.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import msgspec

from timetrial import plan as plans
from timetrial.datasets import sources
from timetrial.engine.events import WorkerEvent
from timetrial.errors import LaunchError, TimetrialError
from timetrial.launch import agent
from timetrial.launch.outlying import OutlyingJob, Seen
from timetrial.launch.remote import arrival
from timetrial.launch.supervise import EXIT_ASKED, supervise
from timetrial.plan import Plan
from timetrial.rundir import RunDir, disk_errors, pretty_json, write_atomically

PLAN_VARIABLE: Final = "TIMETRIAL_PLAN"
EXIT_FAILED: Final = 70
_PLAN_S: Final = 1800.0  # until rank 0 has the plan's data
_LOOK_S: Final = 0.2


@final
class _OwnMachine:
    """This machine's agent, in the place of a batch system."""

    def __init__(self, command: Sequence[str], run: RunDir, attempt: int) -> None:
        self._word = run.exit(attempt, 0)
        self._begun_s = time.time()
        self._killed = False
        self._agent = subprocess.Popen(command, start_new_session=True)  # signals come to us

    def look(self) -> Seen:
        """Return how the agent is; when it has said its word, the others may still have theirs."""
        code = self._agent.poll()
        if code is None or (self._word.exists() and not self._killed):
            return Seen("running", "attended by its first machine", self._begun_s)
        return Seen("over", f"the agent of rank 0 ended with exit code {code}", self._begun_s)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the agent; its worker tells the others."""
        self._agent.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the agent, with which its worker dies; the others lose it and end."""
        self._killed = True
        self._agent.kill()

    def clean(self) -> str:
        """See the agent end."""
        self._agent.kill()
        self._agent.wait()
        return ""


@final
class _Attending:
    """Starts the agent of this machine; those of the others are started as this program was."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt

    def start(self, run: RunDir, plan: Plan, attempt: int) -> OutlyingJob:
        """Start it.

        Raises:
            LaunchError: The other machines were told another attempt.
        """
        if attempt != self._attempt:
            raise LaunchError(
                f"{run.path} is at attempt {attempt}; this manifest was written for attempt "
                f"{self._attempt}. Write it anew: timetrial show RUN_DIR --manifest."
            )
        command = _agent_command(run, attempt)
        return OutlyingJob(run, plan, attempt, _OwnMachine(command, run, attempt))


def _agent_command(run: RunDir, attempt: int) -> list[str]:
    words = [sys.executable, "-P", "-m", "timetrial.launch.agent", str(run.path)]
    return [*words, "--attempt", str(attempt)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this machine's part; return its exit code."""
    parser = argparse.ArgumentParser(prog="timetrial.launch.attend", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--attempt", type=int, default=0)
    options = parser.parse_args(arguments)
    run = RunDir(options.run_dir.absolute())
    try:
        if agent.place_of(os.environ).rank > 0:
            _wait_for_plan(run)
            os.execv(sys.executable, _agent_command(run, options.attempt))
        return _attend(run, options.attempt)
    except TimetrialError as error:
        sys.stderr.write(f"timetrial: {error}\n")
        return agent.EXIT_UNUSABLE


def _attend(run: RunDir, attempt: int) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if not run.plan.exists():
            _make(run)
        plan = plans.decode_plan(run.plan.read_bytes(), str(run.plan))
        result = supervise(run, plan, _Attending(attempt), _watch_nothing)
    except KeyboardInterrupt:
        return EXIT_ASKED
    sys.stderr.write(f"timetrial: {plan.run}: {result.status or 'unfinished'}: {result.reason}\n")
    if result.status is None:
        return EXIT_ASKED
    return 0 if result.status in ("reached", "budget") else EXIT_FAILED


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _watch_nothing(_events: Sequence[WorkerEvent]) -> None:
    """Say nothing: nobody looks."""


def _make(run: RunDir) -> None:
    """Make the run directory from the plan in the environment, its data located for here.

    Raises:
        LaunchError: There is no such plan.
        DataError: Its data cannot be had.
    """
    content = os.environ.get(PLAN_VARIABLE)
    if not content:
        raise LaunchError(
            f"{run.plan} is not there, and {PLAN_VARIABLE} holds no plan. Write the manifest with: "
            "timetrial show RUN_DIR --manifest."
        )
    plan = plans.decode_plan(content.encode(), PLAN_VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        draft = RunDir(Path(folder))
        draft.plan.write_bytes(pretty_json(plan))
        if plan.data_files:
            arrival.relocate(draft, sources.search_path(os.environ), None)
        plan = plans.decode_plan(draft.plan.read_bytes(), str(draft.plan))
    with disk_errors(run.path):
        run.path.mkdir(parents=True, exist_ok=True)
    write_atomically(run.plan, pretty_json(msgspec.structs.replace(plan, run=run.path.name)))


def _wait_for_plan(run: RunDir) -> None:
    """Wait until rank 0 has made the run directory.

    Raises:
        LaunchError: It did not.
    """
    deadline = time.monotonic() + _PLAN_S
    while not (run.path.is_dir() and run.plan in run.path.iterdir()):
        if time.monotonic() > deadline:
            raise LaunchError(
                f"{run.plan} did not appear within {_PLAN_S:g} s. The machines need a file system "
                "that they share, and rank 0 must be able to write there."
            )
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    sys.exit(main())
