"""Watches one attempt of a run from outside: the parent's log, stop requests, the last record."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from timetrial.engine.clock import boot_id
from timetrial.engine.events import (
    LAUNCHER_LOG,
    WORKER_LOG,
    Allocated,
    Exited,
    Granted,
    Released,
    Spawned,
    Started,
    Status,
    Stopped,
    WorkerEvent,
)
from timetrial.engine.team import EXIT_LOST
from timetrial.errors import DiskError, LaunchError, StoreError
from timetrial.launch import Elsewhere, Exit, Job, Launcher
from timetrial.plan import FORMAT, Plan
from timetrial.rundir import Done, LogWriter, RunDir, seal, write_atomically
from timetrial.spec import read_record_types

POLL_S: Final = 0.04  # how late a worker's end is seen at most; each look costs it a little
LOOK_S: Final = 0.2
GRACE_S: Final = 10.0  # for the other workers, once one has ended
EXIT_DISK: Final = 74
EXIT_ASKED: Final = 75

Watch = Callable[[Sequence[WorkerEvent]], bool | None]
"""Called with the worker's new events, about five times a second, also when there are none.

Once it returns True the run is given up: the workers are asked to save and end, and the run ends
for good as `pruned`.
"""


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

    Time in a batch system's queue does not count towards the plan's timeout.

    `prepare` is called once the directory is locked, before the attempt begins: what it writes
    there cannot meet another process's work.

    Ctrl-C asks the workers to save and end, then goes on upwards; so does a KeyboardInterrupt that
    `watch` raises, which is how several runs at once are stopped.

    Raises:
        LaunchError: The workers could not be started.
        RunLockedError: Another process works on this run.
        DiskError: The disk is full.
    """
    read_record_types()  # launchers of other machines have threads
    _refuse_finished(run)
    with LogWriter(run.launcher_events) as log:
        _refuse_finished(run)  # another process may have finished it just now
        for rank in range(plan.workers):
            with LogWriter(
                run.events(rank)
            ):  # refused while a killed launcher's worker still saves
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
                boot_id=boot_id(),
                host=socket.gethostname(),
                pid=os.getpid(),
            )
        )
        try:
            left = _attend(run, plan, launcher, attempt, log=log, watch=watch)
        finally:
            log.write(
                Released(t_ns=time.monotonic_ns(), utc_ns=time.time_ns(), attempt=attempt),
                sync=True,
            )
        result = _judge(run, left, attempt)
        if result.status is not None:  # still locked: nobody begins another attempt meanwhile
            codes = {rank: exit_.code for rank, exit_ in left.exits.items()}
            close(run, plan, result.status, codes)
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


class _Left(NamedTuple):
    """How the workers of one attempt ended."""

    exits: Mapping[int, Exit]
    timed_out: bool
    outlived: Sequence[int]  # workers that were killed because another had ended long before
    given_up: bool


def _attend(
    run: RunDir, plan: Plan, launcher: Launcher, attempt: int, *, log: LogWriter, watch: Watch
) -> _Left:
    offset = run.events(0).stat().st_size if run.events(0).exists() else 0
    timed_out = interrupted = given_up = False
    outlived: Sequence[int] = ()
    look_at = 0.0
    grace_over = float("inf")
    with launcher.start(run, plan, attempt) as job:
        logged_ns = _log_beginnings(job, attempt, log=log, watch=watch)
        deadline = time.monotonic() + plan.rhythm.timeout_s
        exits: Mapping[int, Exit] = {}
        told: set[int] = set()
        while len(exits) < plan.workers:
            try:
                if time.monotonic() > deadline and not timed_out:
                    timed_out = True
                    job.kill()
                if time.monotonic() > grace_over and not outlived:
                    outlived = sorted(set(range(plan.workers)) - set(exits))
                    job.kill()
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + LOOK_S
                    events: list[WorkerEvent] = []
                    if run.events(0).exists():
                        events, offset = WORKER_LOG.read_from(run.events(0), offset)
                    if watch(events) and not given_up:
                        given_up = True
                        job.ask_to_stop()
                time.sleep(POLL_S)
                exits = job.poll()
            except KeyboardInterrupt:
                if interrupted:
                    job.kill()
                interrupted = True
                job.ask_to_stop()
            for at_ns, rank in sorted((_ended_ns(exits[r]), r) for r in set(exits) - told):
                told.add(rank)
                logged_ns = max(logged_ns, at_ns)
                log.write(_exited(logged_ns, attempt, rank, exits[rank]))
                grace_over = min(grace_over, time.monotonic() + GRACE_S)
    if run.events(0).exists():
        watch(WORKER_LOG.read_from(run.events(0), offset)[0])
    if interrupted:
        raise KeyboardInterrupt
    return _Left(exits, timed_out, outlived, given_up)


def _log_beginnings(job: Job, attempt: int, *, log: LogWriter, watch: Watch) -> int:
    """Write which workers were started, once they are; return the last line's `t_ns`.

    A KeyboardInterrupt while the job still waits goes upwards at once: nothing is to be saved.
    """
    at_ns = 0
    if isinstance(job, Elsewhere):
        look_at = 0.0
        while job.waiting():
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_S
                watch(())
            time.sleep(POLL_S)
        if job.granted_ns is not None:
            at_ns = job.granted_ns
            log.write(Granted(t_ns=at_ns, attempt=attempt))
    for rank in sorted(job.pids, key=lambda rank: job.spawned_ns[rank]):
        at_ns = max(at_ns, job.spawned_ns[rank])
        log.write(
            Spawned(
                t_ns=at_ns,
                attempt=attempt,
                rank=rank,
                pid=job.pids[rank],
                host=job.hosts[rank] if isinstance(job, Elsewhere) else None,
                limits=job.limits.get(rank, {}),
            )
        )
    return at_ns


def _ended_ns(exit_: Exit) -> int:
    """Return when a worker ended on this machine's clock: by its agent's word, or just now."""
    now_ns = time.monotonic_ns()
    if exit_.utc_ns is None:
        return now_ns
    return min(now_ns, now_ns - (time.time_ns() - exit_.utc_ns))


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
        why=exit_.why,
    )


def _judge(run: RunDir, left: _Left, attempt: int) -> Result:
    """Return the status that exit codes and the workers' own last words amount to."""
    codes = {rank: exit_.code for rank, exit_ in left.exits.items()}
    if left.timed_out:
        return Result("timeout", "the plan's timeout passed")
    if any(exit_.out_of_memory for exit_ in left.exits.values()):
        return Result("out_of_memory", "the memory limit was reached")
    if EXIT_DISK in codes.values():
        raise DiskError(
            f"A worker could not write to {run.path}: the disk is full. What was written is "
            "kept. Free some space, then continue with: timetrial run --resume"
        )
    words = {rank: _last_word(run, rank, attempt) for rank in codes}
    lost = [word.detail for rank, word in words.items() if word and codes[rank] == EXIT_LOST]
    signalled = [rank for rank, code in codes.items() if code < 0 and rank not in left.outlived]
    if signalled:
        first_rank, why = signalled[0], left.exits[signalled[0]].why
        said = f"{_worker(codes, first_rank)} ended by signal {-codes[first_rank]}"
        return Result(None, f"{said}: {why}" if why else said)
    failed = [word for word in words.values() if word and word.status not in (None, "reached",
                                                                             "budget")]  # fmt: skip
    if failed:  # the first of them; those that lost it ended for that reason
        first = min(failed, key=lambda word: word.t_ns)
        return Result(first.status, first.detail)
    if lost:
        return Result(None, lost[0])
    if left.outlived:
        return Result(None, f"worker {left.outlived[0]} went on {GRACE_S:g} s after the others")
    silent = [rank for rank, word in words.items() if word is None]
    if silent:
        text = run.stdout(silent[0]).read_text(errors="replace").strip().splitlines()
        last = text[-1] if text else "it printed nothing"
        raise LaunchError(
            f"The worker ended with exit code {codes[silent[0]]} and no last word: {last}. "
            f"All it printed is in {run.stdout(silent[0])}."
        )
    own = words[0]
    assert own is not None
    if own.status is None and left.given_up:
        return Result("pruned", "given up: others were better by then")
    return Result(own.status, own.detail)


def _worker(codes: Mapping[int, int], rank: int) -> str:
    return "the worker was" if len(codes) == 1 else f"worker {rank} was"


def _last_word(run: RunDir, rank: int, attempt: int) -> Stopped | None:
    events = _events_of(attempt, WORKER_LOG.read(run.events(rank)))
    stopped = [event for event in events if isinstance(event, Stopped)]
    return stopped[-1] if stopped else None


def _events_of(attempt: int, events: Sequence[WorkerEvent]) -> list[WorkerEvent]:
    """Return what the worker of one attempt wrote: an earlier one's last word is not its own."""
    own: list[WorkerEvent] = []
    for event in events:
        if isinstance(event, Started):
            own = []
        own.append(event)
    begun = own and isinstance(own[0], Started) and own[0].attempt == attempt
    return own if begun else []
