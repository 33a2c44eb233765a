"""What else the machine is doing while a record is made."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from timetrial.machine.records import Load
from timetrial.meter.cpu import busy_s, load_1min, steal_s

_BUSY_CORES: Final = 0.3
_WINDOW_S: Final = 0.1  # at least: Linux counts CPU time in hundredths of a second


class _Used(NamedTuple):
    parent: int
    cpu_ticks: int


class LoadWindow:
    """Looks at the machine twice: when made by `begin_load` and at `end`."""

    def __init__(
        self, *, began_s: float, steal: float | None, load: float | None, used: dict[int, _Used]
    ) -> None:
        """Keep the first look."""
        self._began_s = began_s
        self._steal = steal
        self._load = load
        self._used = used

    def end(self) -> Load:
        """Return what happened since the first look; this process and its children apart."""
        time.sleep(max(self._began_s + _WINDOW_S - time.monotonic(), 0))
        window_s = time.monotonic() - self._began_s
        steal = steal_s()
        grown = None if steal is None or self._steal is None else steal - self._steal
        return Load(
            load_1min=self._load,
            steal_since_boot_s=steal,
            window_s=window_s,
            steal_in_window_s=grown,
            busy_processes=self._busy(window_s),
            busy_since_boot_s=busy_s(),
        )

    def _busy(self, window_s: float) -> int | None:
        now = _processes()
        if not self._used or not now:
            return None
        ticks = _BUSY_CORES * window_s * os.sysconf("SC_CLK_TCK")
        own = _family(now, os.getpid())
        busy = 0
        for pid, used in now.items():
            before = self._used.get(pid, _STARTED_SINCE)
            if pid not in own:
                busy += used.cpu_ticks - before.cpu_ticks >= max(ticks, 2)  # one tick is chance
        return busy


_STARTED_SINCE: Final = _Used(0, 0)


def begin_load() -> LoadWindow:
    """Take the first look, as early as can be: the load is that before our own work."""
    return LoadWindow(
        began_s=time.monotonic(), steal=steal_s(), load=load_1min(), used=_processes()
    )


def _processes() -> dict[int, _Used]:
    """Return parent and CPU ticks of every process; empty but on Linux. Costs 2 ms for 100."""
    found: dict[int, _Used] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended just now
        found[int(folder.name)] = _Used(int(fields[1]), int(fields[11]) + int(fields[12]))
    return found


def _family(processes: dict[int, _Used], root: int) -> set[int]:
    """Return a process and its descendants."""
    family = {root}
    grown = True
    while grown:
        children = {pid for pid, used in processes.items() if used.parent in family}
        grown = not children <= family
        family |= children
    return family
