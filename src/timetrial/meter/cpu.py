"""CPU seconds: a group's counter where there is one, else what the samples of a tree see."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, final

from timetrial.meter.counters import Counters
from timetrial.meter.records import Method

if TYPE_CHECKING:
    from timetrial.meter.tree import ProcessTree


class Rusage(Protocol):
    """What `os.wait4` returns of a child; `resource` does not exist on Windows."""

    @property
    def ru_utime(self) -> float:
        """CPU seconds in user code."""

    @property
    def ru_stime(self) -> float:
        """CPU seconds in the kernel."""


def rusage_cpu_s(usage: Rusage) -> float:
    """Return the CPU seconds of a child and of all descendants that were waited for.

    Exact for short-lived children; misses daemons that outlive the child.
    Source: getrusage(2), wait4(2).
    """
    return usage.ru_utime + usage.ru_stime


class CpuReader(Protocol):
    """Reads CPU seconds used so far."""

    method: Method

    def read_s(self) -> float | None:
        """Return the seconds for the curve."""

    def total_s(self) -> float | None:
        """Return the seconds by a counter that misses nothing; None without such a counter."""


@final
class GroupCpu:
    """The counter of the run's own group."""

    def __init__(self, counters: Counters) -> None:
        """Keep the counter and its name."""
        self._counters = counters
        name = "v1 cpuacct.usage" if counters.version == 1 else "v2 cpu.stat usage_usec"
        self.method = Method(scope="process tree", method=f"cgroup {name}, since it was made")

    def read_s(self) -> float | None:
        """Return the counter."""
        return self._counters.cpu_s()

    def total_s(self) -> float | None:
        """Return the counter."""
        return self._counters.cpu_s()


@final
class TreeCpu:
    """A sum over the live processes of a tree, and over the children they have waited for."""

    def __init__(self, tree: ProcessTree) -> None:
        """Keep the tree."""
        self._tree = tree
        self.method = Method(
            scope="process tree, as sampled",
            method=(
                "psutil: sum over live processes and their waited-for children, for the curve "
                "only; the total is the launcher's wait4"
            ),
        )

    def read_s(self) -> float | None:
        """Return the sum; None when nothing runs any more."""
        from psutil import Error

        total_s: float | None = None
        for process in self._tree.processes():
            try:
                times = process.cpu_times()
            except Error:
                continue
            total_s = (total_s or 0.0) + times.user + times.system
            total_s += times.children_user + times.children_system
        return total_s

    def total_s(self) -> float | None:
        """Return None: a sum of samples is no total."""
        return None


STEAL_METHOD: Final = Method(
    scope="machine",
    method="/proc/stat, time the hypervisor gave to others, since boot, all cores",
)


def steal_s(stat: Path = Path("/proc/stat")) -> float | None:
    """Return the seconds in which a core of this virtual machine was ready but had no real one.

    Summed over cores since boot; None where the system does not count them. Source: proc(5).
    """
    ticks = _all_cores(stat)
    return None if len(ticks) < 8 else ticks[7] / os.sysconf("SC_CLK_TCK")


def busy_s(stat: Path = Path("/proc/stat")) -> float | None:
    """Return the seconds that all cores computed since boot; None where they are not counted.

    User, nice, system and interrupts; what guests of this machine computed is in user. Source:
    proc(5).
    """
    ticks = _all_cores(stat)
    if len(ticks) < 8:
        return None
    user, nice, system, _idle, _iowait, irq, softirq = ticks[:7]
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _all_cores(stat: Path) -> list[int]:
    """Return the counters of the first line, in hundredths of a second; [] without such a line."""
    try:
        with stat.open() as lines:
            return [int(field) for field in lines.readline().split()[1:]]
    except (OSError, ValueError):
        return []


LOAD_METHOD: Final = Method(
    scope="machine", method="load average over 1 min: running or waiting for a core or a disk"
)


def load_1min() -> float | None:
    """Return the load average over 1 minute; None on Windows."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
