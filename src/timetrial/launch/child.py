"""One worker as a child of this process, in a control group of its own if allowed, and metered.

The launchers that start workers on this machine use it, and the agent on other machines.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self, final

import psutil

from timetrial.engine.team import PARENT_VARIABLE
from timetrial.errors import LaunchError
from timetrial.launch import Exit
from timetrial.meter.cgroup import JOIN_FAILED_EXIT, Cgroup, open_cgroup
from timetrial.meter.sidecar import Sidecar, sampler_command
from timetrial.plan import Plan, cpus_of
from timetrial.rundir import RunDir, disk_errors
from timetrial.scripted.processes import kill_told

_ALLOCATOR: Final = {
    # glibc gives big blocks back to the system at once, so every step of a network faults its
    # memory in again: 33 to 37 ms a step of mnist-cnn instead of 22 (docs/results.md)
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerPlace(NamedTuple):
    """Which worker, on which machine's behalf, and where worker 0 listens."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    address: str = "127.0.0.1"
    port: int = 29500


@final
class Child:
    """One worker process, its group and its sampler."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        group: Cgroup,
        sidecar: Sidecar | None,
        *,
        plan: Plan,
        run: RunDir,
        place: WorkerPlace,
        spawned_ns: int,
    ) -> None:
        """Keep what `start_child` made."""
        self._process = process
        self._predictions = run.predictions.absolute() if plan.script else None
        self._group = group
        self._sidecar = sidecar
        self._resources = contextlib.ExitStack()
        self._exit: Exit | None = None
        self.pid = process.pid
        self.spawned_ns = spawned_ns
        self.limits: Mapping[str, str] = describe_limits(plan, group, place)

    def poll(self) -> Exit | None:
        """Return how the worker ended, or None while it runs."""
        if self._exit is None:
            self._exit = self._collect()
        return self._exit

    def ask_to_stop(self) -> None:
        """Send SIGTERM: the worker saves its state and ends."""
        if self._exit is None:
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL, to the worker and to all processes of its group."""
        below: list[psutil.Process] = []
        if self._exit is None:
            with contextlib.suppress(psutil.Error):
                below = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
        for process in below:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._kill_group()

    def _kill_group(self) -> None:
        for pid in self._group.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)

    def __enter__(self) -> Self:
        """Return the child; its group and sampler are closed with it."""
        self._resources.enter_context(self._group)
        if self._sidecar is not None:
            self._resources.enter_context(self._sidecar)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill what still runs, end the sampler, remove the group."""
        killed = self._exit is None or self._exit.code < 0
        if self._exit is None:
            self.kill()
            self._process.wait()
        self._kill_group()  # what a worker that was killed left behind
        if killed and self._predictions is not None:
            kill_told(self._predictions)  # the same where no group is allowed
        self._resources.close()

    def _collect(self) -> Exit | None:
        """Reap the worker with wait4: its counters cover all descendants that were waited for."""
        if not hasattr(os, "wait4"):
            code = self._process.poll()
            return None if code is None else self._result(code, None)
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if pid == 0:
            return None
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._result(self._process.returncode, usage)

    def _result(self, code: int, usage: object | None) -> Exit:
        if code == JOIN_FAILED_EXIT:
            raise LaunchError(
                f"The worker could not enter its control group {self._group.folders}. "
                "Next step: run again; if it persists, run without the right to make groups."
            )
        counters = self._group.counters
        kilo = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
        return Exit(
            code=code,
            user_s=getattr(usage, "ru_utime", None),
            system_s=getattr(usage, "ru_stime", None),
            peak_rss_bytes=usage.ru_maxrss * kilo if usage else None,  # type: ignore[attr-defined]
            cgroup_cpu_s=counters.cpu_s() if counters else None,
            cgroup_peak_bytes=counters.peak_bytes() if counters else None,
            out_of_memory=bool(counters and counters.oom_kills()) and code != 0,
        )


def start_child(
    run: RunDir,
    plan: Plan,
    attempt: int,
    place: WorkerPlace,
    *,
    prefix: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Child:
    """Start one worker and its sampler; enter the result.

    `prefix` goes before the worker's command, and must end by executing it in its own process.
    `variables` are added to its environment.

    Raises:
        LaunchError: A limit asked for cannot be enforced here.
    """
    group = open_cgroup(f"{plan.run[-8:]}-{place.rank}", memory_bytes=plan.memory_bytes)
    command = [sys.executable, "-P", "-m", "timetrial.worker", str(run.path.absolute())]
    try:
        with disk_errors(run.path), run.stdout(place.rank).open("ab") as output:
            spawned_ns = time.monotonic_ns()  # afterwards it may be at work before we are
            process = subprocess.Popen(
                [*group.join_command_prefix(), *prefix, *command, "--attempt", str(attempt)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**worker_environment(plan, place), **(variables or {})},
                start_new_session=True,  # Ctrl-C reaches the parent alone
            )
    except BaseException:
        group.close()
        raise
    sampler = _start_sampler(process.pid, run, plan, group, attempt, place)
    return Child(process, group, sampler, plan=plan, run=run, place=place, spawned_ns=spawned_ns)


def _start_sampler(
    pid: int, run: RunDir, plan: Plan, group: Cgroup, attempt: int, place: WorkerPlace
) -> Sidecar | None:
    """Return the sampler of one worker, to be entered; None where the plan wants none."""
    if plan.rhythm.sample_every_s == 0:
        return None
    out = run.meter(socket.gethostname(), attempt, place.rank)
    return Sidecar(sampler_command(pid, out, group=group, interval_s=plan.rhythm.sample_every_s))


def worker_environment(plan: Plan, place: WorkerPlace) -> dict[str, str]:
    """Return the environment of a worker: this process's, its place, and its number of threads."""
    told = {
        "RANK": str(place.rank),
        "LOCAL_RANK": str(place.local_rank),
        "WORLD_SIZE": str(place.size),
        "MASTER_ADDR": place.address,
        "MASTER_PORT": str(place.port),
        "PYTHONUNBUFFERED": "1",
        PARENT_VARIABLE: str(os.getpid()),  # the worker saves and ends when this process is gone
    }
    return {**environment_of(plan.cores), **told}


def environment_of(threads: int) -> dict[str, str]:
    """Return this process's environment with a worker's number of threads, and its allocator."""
    allocator = _ALLOCATOR if sys.platform == "linux" else {}
    limited = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return {**allocator, **os.environ, **limited}


def describe_limits(plan: Plan, group: Cgroup, place: WorkerPlace) -> dict[str, str]:
    """Return what is restricted, and how, for the log."""
    cpus = None if plan.cpus is None else list(cpus_of(plan, place.local_rank))
    limits = {"cpu": "none" if cpus is None else f"affinity {cpus}"}
    if group.refusal:
        limits["group"] = f"none: {group.refusal}"
    else:
        limits["group"] = ", ".join(str(folder) for folder in group.folders)
    limits["threads"] = str(plan.cores)
    if sys.platform == "linux":
        used = {name: os.environ.get(name, value) for name, value in _ALLOCATOR.items()}
        limits["allocator"] = ", ".join(f"{name}={value}" for name, value in used.items())
    if plan.memory_bytes is not None:
        limits["memory"] = f"{plan.memory_bytes} bytes; {'; '.join(group.notes) or 'swap too'}"
    return limits
