"""One worker on a machine far from the launcher: python -m timetrial.launch.agent RUN_DIR.

A launcher's means (ssh, Slurm, a Ray actor, a pod) start it with RANK, LOCAL_RANK, WORLD_SIZE,
MASTER_ADDR and MASTER_PORT in the environment. It describes the machine, starts the worker as its
child with group and sampler, says so in the run directory, waits, says how the worker ended, and
ends with the worker's exit code (128 + n after signal n).

SIGTERM and SIGINT ask the worker to save and end, and so does the end of a launcher that held its
log in the same run directory. The worker dies with its agent.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from timetrial import machine
from timetrial import plan as plans
from timetrial.engine.team import DIES_VARIABLE
from timetrial.errors import LaunchError, TimetrialError
from timetrial.launch import Exit
from timetrial.launch.child import Child, WorkerPlace, start_child
from timetrial.launch.reports import Begun, write_begun, write_exit
from timetrial.machine import kept
from timetrial.plan import Plan
from timetrial.rundir import RunDir, is_held, pretty_json, write_atomically

EXIT_UNUSABLE: Final = 78  # the agent itself could not start a worker; no exit file then
_LOOK_S: Final = 0.04
_LAUNCHER_LOOK_S: Final = 2.0
_LOOKS_WITHOUT: Final = 3  # a look that comes between two of the launcher's logs is no proof


class _StopRequest:
    """Becomes true when this process is asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def ignore(self) -> None:
        """Leave the signals alone from now on: Python drops its handlers before it has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, _number: int, _frame: object) -> None:
        self.asked = True


class _LauncherWatch:
    """Sees that the launcher is gone, where it holds its log in this run directory."""

    def __init__(self, run: RunDir) -> None:
        self._log = run.launcher_events
        self._held = is_held(self._log)  # False: it writes elsewhere, or locks are not shared
        self._without = 0
        self._look_at = time.monotonic() + _LAUNCHER_LOOK_S

    def gone(self) -> bool:
        if self._held and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LAUNCHER_LOOK_S
            self._without = 0 if is_held(self._log) else self._without + 1
        return self._without >= _LOOKS_WITHOUT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one agent; return its exit code."""
    parser = argparse.ArgumentParser(prog="timetrial.launch.agent", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--attempt", type=int, default=0)
    options = parser.parse_args(arguments)
    stop = _StopRequest()
    stop.listen()
    run = RunDir(options.run_dir)
    try:
        place = place_of(os.environ)
        plan = _read_plan(run)
        exit_ = attend(run, plan, options.attempt, place, stop)
    except TimetrialError as error:
        print(f"timetrial: {error}", file=sys.stderr, flush=True)
        return EXIT_UNUSABLE
    finally:
        stop.ignore()
    return exit_.code if exit_.code >= 0 else 128 - exit_.code


def place_of(environment: Mapping[str, str]) -> WorkerPlace:
    """Return the worker's place that the launcher's means gave to the agent.

    Raises:
        LaunchError: A variable is missing or is no number.
    """
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    try:
        return WorkerPlace(
            rank=int(environment["RANK"]),
            local_rank=int(environment["LOCAL_RANK"]),
            size=int(environment["WORLD_SIZE"]),
            address=environment["MASTER_ADDR"],
            port=int(environment["MASTER_PORT"]),
        )
    except (KeyError, ValueError) as error:
        seen = ", ".join(f"{name}={environment.get(name)}" for name in names)
        raise LaunchError(
            f"The agent was given {seen}. Needed: all of them, whole numbers but the address. "
            "Start it through a launcher: timetrial run --launcher NAME."
        ) from error


def attend(run: RunDir, plan: Plan, attempt: int, place: WorkerPlace, stop: _StopRequest) -> Exit:
    """Run one worker to its end, and write both reports.

    Raises:
        LaunchError: A limit asked for cannot be enforced on this machine.
        DiskError, StoreError: The run directory cannot be written.
    """
    if place.local_rank == 0:
        here = machine.gather(plan.command, Path.cwd(), store=run.path)
        write_atomically(run.machine(here.hostname), pretty_json(here))
        kept.carry(run, here, os.environ)
    run.exit(attempt, place.rank).unlink(missing_ok=True)
    utc_ns = time.time_ns()
    with start_child(run, plan, attempt, place, variables={DIES_VARIABLE: "1"}) as child:
        write_begun(
            run,
            attempt,
            Begun(
                rank=place.rank,
                pid=child.pid,
                host=socket.gethostname(),
                utc_ns=utc_ns,
                limits={**child.limits, "cpu": child.limits["cpu"] + _bound()},
            ),
        )
        seen = _wait(child, stop, _LauncherWatch(run))
        exit_ = msgspec.structs.replace(seen, utc_ns=time.time_ns())
    write_exit(run, attempt, place.rank, exit_)  # after the block: the meter's last line is there
    return exit_


def _wait(child: Child, stop: _StopRequest, launcher: _LauncherWatch) -> Exit:
    told = False
    while (exit_ := child.poll()) is None:
        if not told and (stop.asked or launcher.gone()):
            told = True
            child.ask_to_stop()
        time.sleep(_LOOK_S)
    return exit_


def _bound() -> str:
    """Return the CPUs that a batch system or container leaves to this process, as a remark."""
    if not hasattr(os, "sched_getaffinity"):
        return ""
    return f" by timetrial; allowed here: {sorted(os.sched_getaffinity(0))}"


def _read_plan(run: RunDir) -> Plan:
    """Return the plan of a run directory.

    Raises:
        LaunchError: It is not there: the store is not on a file system of this machine.
    """
    try:
        content = run.plan.read_bytes()
    except OSError as error:
        raise LaunchError(
            f"{run.plan} cannot be read on {socket.gethostname()}: {error.strerror}. The store "
            "must be on a file system that the launcher and all machines see at the same path. "
            "Choose one with --store DIR."
        ) from error
    return plans.decode_plan(content, str(run.plan))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
