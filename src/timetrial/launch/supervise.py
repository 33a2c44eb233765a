"""Watches one attempt of a run from outside: the parent's log, stop requests, the last record."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from timetrial.engine.events import (
    LAUNCHER_LOG,
    WORKER_LOG,
    Allocated,
    Exited,
    Released,
    Spawned,
    Started,
    Status,
    Stopped,
    WorkerEvent,
)
from timetrial.errors import DiskError, LaunchError, StoreError
from timetrial.launch import Exit, Launcher
from timetrial.plan import FORMAT, Plan
from timetrial.rundir import Done, LogWriter, RunDir, seal, write_atomically

POLL_S: Final = 0.04  # how late a worker's end is seen at most; each look costs it a little
LOOK_S: Final = 0.2
EXIT_DISK: Final = 74
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

Watch = Callable[[Sequence[WorkerEvent]], None]
"""Called with the worker's new events, about five times a second, also when there are none."""


class Result(NamedTuple):
    """How an attempt ended. `status` None: unfinished, can be resumed; `reason` says why."""

    status: Status | None
    reason: str


def supervise(
    run: RunDir,
    plan: Plan,
    launcher: Launcher,
    watch: Watch,
    *,
    prepare: Callable[[], None] = lambda: None,
) -> Result:
    """Run one attempt of `plan` in `run` to its end.

    `prepare` is called once the directory is locked, before the attempt begins: what it writes
    there cannot meet another process's work.

    Ctrl-C (KeyboardInterrupt) asks the workers to save and end, then goes on upwards.

    Raises:
        LaunchError: The workers could not be started.
        RunLockedError: Another process works on this run.
        DiskError: The disk is full.
    """
    _refuse_finished(run)
    with LogWriter(run.launcher_events) as log:
        _refuse_finished(run)  # another process may have finished it just now
        with LogWriter(run.events(0)):  # refused while the worker of a killed launcher still saves
            pass
        prepare()
        attempt = 1 + max(
            (e.attempt for e in LAUNCHER_LOG.read(run.launcher_events) if isinstance(e, Allocated)),
            default=-1,
        )
        log.write(
            Allocated(
                t_ns=time.monotonic_ns(),
                utc_ns=time.time_ns(),
                attempt=attempt,
                boot_id=_BOOT_ID.read_text().strip() if _BOOT_ID.exists() else None,
                host=socket.gethostname(),
                pid=os.getpid(),
            )
        )
        try:
            exits, timed_out = _attend(run, plan, launcher, attempt, log=log, watch=watch)
        finally:
            log.write(
                Released(t_ns=time.monotonic_ns(), utc_ns=time.time_ns(), attempt=attempt),
                sync=True,
            )
        result = _judge(run, exits, attempt, timed_out=timed_out)
        if result.status is not None:  # still locked: nobody begins another attempt meanwhile
            close(run, plan, result.status, {rank: exit_.code for rank, exit_ in exits.items()})
    return result


def _refuse_finished(run: RunDir) -> None:
    if run.done.exists():
        raise StoreError(f"{run.path} is finished and read-only. Start a new run instead.")


def close(run: RunDir, plan: Plan, status: Status, codes: dict[int, int]) -> None:
    """Write done.json: from now on the directory is complete and read-only."""
    shutil.rmtree(run.scratch, ignore_errors=True)  # a worker that was killed left it
    done = Done(
        format=FORMAT,
        run=plan.run,
        status=status,
        exit_codes={str(rank): code for rank, code in sorted(codes.items())},
        finished_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        sha256=run.hashes(),
    )
    write_atomically(run.done, seal(done))


def _attend(
    run: RunDir, plan: Plan, launcher: Launcher, attempt: int, *, log: LogWriter, watch: Watch
) -> tuple[dict[int, Exit], bool]:
    deadline = time.monotonic() + plan.rhythm.timeout_s
    offset = run.events(0).stat().st_size if run.events(0).exists() else 0
    timed_out = interrupted = False
    look_at = 0.0
    with launcher.start(run, plan, attempt) as job:
        for rank, pid in job.pids.items():
            log.write(
                Spawned(
                    t_ns=time.monotonic_ns(),
                    attempt=attempt,
                    rank=rank,
                    pid=pid,
                    limits=job.limits,
                )
            )
        exits = None
        while exits is None:
            try:
                if time.monotonic() > deadline and not timed_out:
                    timed_out = True
                    job.kill()
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + LOOK_S
                    events: list[WorkerEvent] = []
                    if run.events(0).exists():
                        events, offset = WORKER_LOG.read_from(run.events(0), offset)
                    watch(events)
                time.sleep(POLL_S)
                exits = job.poll()
            except KeyboardInterrupt:
                if interrupted:
                    job.kill()
                interrupted = True
                job.ask_to_stop()
        instant = time.monotonic_ns()
        for rank, exit_ in exits.items():
            log.write(_exited(instant, attempt, rank, exit_))
    if run.events(0).exists():
        watch(WORKER_LOG.read_from(run.events(0), offset)[0])
    if interrupted:
        raise KeyboardInterrupt
    return dict(exits), timed_out


def _exited(t_ns: int, attempt: int, rank: int, exit_: Exit) -> Exited:
    return Exited(
        t_ns=t_ns,
        attempt=attempt,
        rank=rank,
        code=exit_.code,
        user_s=exit_.user_s,
        system_s=exit_.system_s,
        peak_rss_bytes=exit_.peak_rss_bytes,
        cgroup_cpu_s=exit_.cgroup_cpu_s,
        cgroup_peak_bytes=exit_.cgroup_peak_bytes,
        out_of_memory=exit_.out_of_memory,
    )


def _judge(run: RunDir, exits: dict[int, Exit], attempt: int, *, timed_out: bool) -> Result:
    """Return the status that exit codes and the worker's own last word amount to."""
    if timed_out:
        return Result("timeout", "the plan's timeout passed")
    if any(exit_.out_of_memory for exit_ in exits.values()):
        return Result("out_of_memory", "the memory limit was reached")
    if any(exit_.code == EXIT_DISK for exit_ in exits.values()):
        raise DiskError(
            f"The worker could not write to {run.path}: the disk is full. What was written is "
            "kept. Free some space, then continue with: timetrial run --resume"
        )
    own = _events_of(attempt, WORKER_LOG.read(run.events(0)))
    stopped = [event for event in own if isinstance(event, Stopped)]
    codes = sorted(exit_.code for exit_ in exits.values())
    if codes[0] < 0:
        return Result(None, f"the worker was ended by signal {-codes[0]}")
    if not stopped:
        text = run.stdout(0).read_text(errors="replace").strip().splitlines()
        last = text[-1] if text else "it printed nothing"
        raise LaunchError(
            f"The worker ended with exit code {codes[-1]} and no last word: {last}. "
            f"All it printed is in {run.stdout(0)}."
        )
    return Result(stopped[-1].status, stopped[-1].detail)


def _events_of(attempt: int, events: Sequence[WorkerEvent]) -> list[WorkerEvent]:
    """Return what the worker of one attempt wrote: an earlier one's last word is not its own."""
    own: list[WorkerEvent] = []
    for event in events:
        if isinstance(event, Started):
            own = []
        own.append(event)
    begun = own and isinstance(own[0], Started) and own[0].attempt == attempt
    return own if begun else []
