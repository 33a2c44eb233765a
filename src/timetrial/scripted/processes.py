"""A command as a child of the worker: its output with the time it was read, and its whole tree.

On Linux the worker takes in processes whose parent has ended (prctl), so that one which detached
itself is found as well, and its CPU time is counted. Elsewhere the process group is what is ended.
A worker that is killed cannot end anything: its launcher calls `kill_told`.

Source: prctl(2), PR_SET_CHILD_SUBREAPER and PR_SET_PDEATHSIG, Linux man-pages 6.9.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, final

import psutil

from timetrial.errors import LaunchError
from timetrial.scripted import variables

PIECE: Final = 64 * 1024
PIECES_HELD: Final = 64  # then the command waits: memory stays bounded
SETTLE_S: Final = 0.5  # helpers of a command that has ended may end by themselves
KILL_S: Final = 5.0
_SUBREAPER: Final = 36
_DEATH_SIGNAL: Final = 1

_log = logging.getLogger(__name__)


class Piece(NamedTuple):
    """Bytes of standard output, and when they were read."""

    t_ns: int
    utc_ns: int  # the same instant by the wall clock, which files are dated by
    content: bytes


@final
class Child:
    """A running command. Standard error goes where the worker's own goes."""

    def __init__(self, argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        """Start it, in a session and process group of its own.

        Raises:
            LaunchError: It cannot be started.
        """
        prctl = _prctl()
        if prctl is not None:
            prctl(_SUBREAPER, 1, 0, 0, 0)
        try:
            self._process = subprocess.Popen(
                argv,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                # it must not outlive a worker that is killed
                preexec_fn=end_with_parent(),
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise LaunchError(
                f"The command {argv[0]} cannot be started in {folder}: {reason}. "
                "Check that both are there and that it may be executed."
            ) from error
        self.pid = self._process.pid
        self._pieces: queue.Queue[Piece | None] = queue.Queue(PIECES_HELD)
        self._at_end = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        while True:
            try:
                content = os.read(handle, PIECE)
            except OSError:
                content = b""
            piece = Piece(time.monotonic_ns(), time.time_ns(), content)
            self._pieces.put(piece if content else None)
            if not content:
                return

    def read(self, timeout_s: float) -> Piece | None:
        """Return the next bytes; None: none came in time, or there will be no more."""
        if self._at_end:
            time.sleep(timeout_s)
            return None
        try:
            piece = self._pieces.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._at_end = piece is None
        return piece

    def rest(self) -> Iterator[Piece]:
        """Yield what was still in the pipe when all processes had ended.

        For at most KILL_S: one that could not be ended may write for ever.
        """
        deadline = time.monotonic() + KILL_S
        while time.monotonic() < deadline:
            piece = self.read(0 if self._at_end else SETTLE_S)
            if piece is None:
                return
            yield piece

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal), None while it runs."""
        return self._process.poll()

    def ask_to_end(self) -> None:
        """Send SIGTERM to the group and all descendants."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the group and all descendants."""
        self._signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)

    def _signal(self, number: int) -> None:
        running = _descendants()
        if sys.platform != "win32" and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        for process in running:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def end_rest(self, *, settle_s: float = SETTLE_S) -> int:
        """End all that still runs once the command has ended; return how many were ended.

        One that cannot be ended within KILL_S is given up, with a warning, and is not counted.
        """
        calm = time.monotonic() + settle_s
        while self._running() and time.monotonic() < calm:
            _reap()
            time.sleep(0.01)
        killed: set[int] = set()
        deadline = time.monotonic() + KILL_S
        while (running := self._running()) and time.monotonic() < deadline:
            killed.update(running)
            for process in running.values():  # until none is left: they may start others meanwhile
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if sys.platform != "win32" and self._group_lives():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        _reap()
        if running:
            _log.warning("processes %s of the command could not be ended", sorted(running))
        return len(killed.difference(running))

    def _running(self) -> dict[int, psutil.Process]:
        """Return the living processes below this one, and those of the command's group."""
        found = {process.pid: process for process in _descendants()}
        if sys.platform != "win32" and self._group_lives():
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                    member = process.pid not in found and os.getpgid(process.pid) == self.pid
                    if member and process.status() != psutil.STATUS_ZOMBIE:
                        found[process.pid] = process
        return found

    def _group_lives(self) -> bool:
        """Return whether a process, or what is left of one, is in the command's group."""
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def kill_told(predictions: Path) -> int:
    """Kill the processes that were given this folder for predictions; return how many it was.

    That is what is left of a command when its worker was killed: the command goes with it, what the
    command itself has started does not. Each has the command's environment, wherever it is now.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + KILL_S
    while (found := _told(predictions)) and time.monotonic() < deadline:
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.add(process.pid)
        time.sleep(0.01)
    return len(killed)


def _told(predictions: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # not ours to look at, or just gone
            told = process.environ().get(variables.PREDICTIONS) == str(predictions)
            if told and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_with_parent() -> Callable[[], object] | None:
    """Return what a child calls before its program, to be killed with this process.

    None where the system has no such call.
    """
    prctl = _prctl()
    return None if prctl is None else lambda: prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _prctl() -> ctypes._FuncPointer | None:
    """Return the system call, loaded before any fork; None where there is none."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    return prctl


def _descendants() -> list[psutil.Process]:
    """Return the living processes below this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _reap() -> None:
    """Wait for ended processes that were taken in, so that their CPU time is counted."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
