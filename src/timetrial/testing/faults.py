"""Faults of one worker among several at chosen moments: killed, frozen, slow, cut off."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeAlias

import psutil

from timetrial.engine.events import WORKER_LOG, Segment, Started, WorkerEvent
from timetrial.launch import Launcher
from timetrial.launch.supervise import Result, supervise
from timetrial.plan import Plan
from timetrial.rundir import RunDir

Kind: TypeAlias = Literal["killed", "frozen", "slow", "cut off"]
SLOW_S: Final = 4.0  # for so long a slow worker computes SLOW_SHARE of the time
SLOW_SHARE: Final = 0.1
_SLICE_S: Final = 0.1
_LOOK_S: Final = 0.005


class Fault(NamedTuple):
    """What was done to a worker, and what came of it."""

    kind: Kind
    rank: int
    result: Result
    seconds: float | None  # from the fault to the end of the attempt; None: the run had ended
    left_over: tuple[int, ...]  # processes of the run that still live after the attempt


def faulty_attempt(
    run: RunDir,
    plan: Plan,
    launcher: Launcher,
    *,
    kind: Kind,
    rank: int,
    after_s: float,
    cut: Callable[[RunDir, int], None] | None = None,
) -> Fault:
    """Run one attempt, and let the fault befall a worker `after_s` after it began to train.

    The workers' processes must be on this machine, whatever the launcher. `cut` takes a worker
    off its network.
    """
    over = threading.Event()
    struck: list[float] = []
    known = _known_bytes(run, rank)

    def strike() -> None:
        pid = _training(run, rank, known, over)
        if pid is None or over.wait(after_s):
            return
        struck.append(time.monotonic())
        _strike(pid, kind, over, cut=lambda: cut(run, rank) if cut else None)

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        result = supervise(run, plan, launcher, lambda events: None)
        ended = time.monotonic()
    finally:
        over.set()
        thread.join()
    seconds = ended - struck[0] if struck else None
    return Fault(kind, rank, result, seconds, tuple(processes_of(run)))


def processes_of(run: RunDir) -> list[int]:
    """Return the processes of this machine whose command names the run directory."""
    name = run.path.name
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(name in word for word in words):
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
    return found


def _known_bytes(run: RunDir, rank: int) -> int:
    log = run.events(rank)
    return log.stat().st_size if log.exists() else 0


def _training(run: RunDir, rank: int, offset: int, over: threading.Event) -> int | None:
    """Wait until the worker trains; return its process number, None where the attempt ends."""
    pid: int | None = None
    while not over.wait(_LOOK_S):
        events: list[WorkerEvent] = []
        if run.events(rank).exists():
            events, offset = WORKER_LOG.read_from(run.events(rank), offset)
        for event in events:
            if isinstance(event, Started):
                pid = event.pid
            elif isinstance(event, Segment) and event.next == "train":
                return pid
    return None


def _strike(pid: int, kind: Kind, over: threading.Event, *, cut: Callable[[], None]) -> None:
    with contextlib.suppress(ProcessLookupError):
        match kind:
            case "killed":
                os.kill(pid, signal.SIGKILL)
            case "frozen":
                os.kill(pid, signal.SIGSTOP)
            case "cut off":
                cut()
            case "slow":
                until = time.monotonic() + SLOW_S
                while time.monotonic() < until and not over.is_set():
                    os.kill(pid, signal.SIGSTOP)
                    time.sleep(_SLICE_S * (1 - SLOW_SHARE))
                    os.kill(pid, signal.SIGCONT)
                    time.sleep(_SLICE_S * SLOW_SHARE)
