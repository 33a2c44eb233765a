"""The processes below one: found, and killed with all that they left behind.

The standard library alone: the text of this file is sent to a launcher's far end (`far`).

Source: prctl(2), PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER, Linux man-pages 6.9.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

_LINUX: Final = sys.platform == "linux"


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process, where the system is Linux."""
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    prctl(1, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of processes below this one whose own parent ends."""
    prctl(36, 1)


def parents() -> dict[int, int]:
    """Return process -> parent, of all processes."""
    found: dict[int, int] = {}
    if _LINUX:
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                text = (entry / "stat").read_text(errors="replace")
                found[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
        return found
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False
    )
    for line in listed.stdout.splitlines():
        pid, parent = line.split()
        found[int(pid)] = int(parent)
    return found


def below(root: int) -> list[int]:
    """Return the processes below one, those nearest to it first."""
    by_parent: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        by_parent.setdefault(parent, []).append(pid)
    found = list(by_parent.get(root, ()))
    for pid in found:  # grows while it is walked
        found += by_parent.get(pid, ())
    return found


def is_sampler(pid: int) -> bool:
    """Return whether a process is a meter, which ends by itself after the worker."""
    with contextlib.suppress(OSError):
        return b"timetrial.meter.sampler" in Path("/proc", str(pid), "cmdline").read_bytes()
    return False


def kill(pid: int) -> None:
    """Kill one process, stopped ones too."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def bury(known: int) -> None:
    """Wait for the children of this process that have ended, but for the one that is `known`."""
    while hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None and ended.si_pid != known:
                os.waitpid(ended.si_pid, os.WNOHANG)
                continue
        return
