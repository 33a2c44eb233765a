"""The clock inside a worker: segments that tile wall time, and laps inside a fenced step."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from timetrial.engine.events import Fenced, Segment, SegmentName
from timetrial.rundir import LogWriter

Now = Callable[[], int]
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str | None:
    """Return what tells this start of this machine from all others; None: not on this system.

    Times of the monotonic clock can be compared only where it is the same.
    """
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else None


class SegmentClock:
    """Writes one line per segment. A segment ends where the next begins: nothing is left out."""

    def __init__(
        self, log: LogWriter, *, start_ns: int, first: SegmentName, now: Now = time.monotonic_ns
    ) -> None:
        """Begin with the segment `first`, which started at `start_ns`."""
        self._log = log
        self._now = now
        self._start_ns = start_ns
        self._name: SegmentName = first

    def enter(self, name: SegmentName, *, step: int, sync: bool = False) -> int:
        """End the running segment, begin `name`, and return the instant between them."""
        instant = self._now()
        self._log.write(
            Segment(t_ns=instant, start_ns=self._start_ns, name=self._name, next=name, step=step),
            sync=sync,
        )
        self._start_ns = instant
        self._name = name
        return instant


class Laps:
    """Splits a fenced step into parts; outside fenced steps calling it does nothing."""

    def __init__(self, synchronise: Callable[[], None], now: Now = time.monotonic_ns) -> None:
        """Wait for the device with `synchronise` before each reading."""
        self._synchronise = synchronise
        self._now = now
        self._on = False
        self._begun_ns = 0
        self._last_ns = 0
        self._parts: dict[str, int] = {}

    def __call__(self, part: str) -> None:
        """End the part of that name."""
        if not self._on:
            return
        self._synchronise()
        instant = self._now()
        self._parts[part] = self._parts.get(part, 0) + instant - self._last_ns
        self._last_ns = instant

    def wait(self) -> None:
        """Return when the device has finished all it was given."""
        self._synchronise()

    def begin(self) -> None:
        """Fence the next step."""
        self._synchronise()
        self._parts = {}
        self._on = True
        self._begun_ns = self._last_ns = self._now()

    def end(self, step: int) -> Fenced:
        """Return the parts of the fenced step; time after the last lap is in no part."""
        self._synchronise()
        instant = self._now()
        self._on = False
        return Fenced(
            t_ns=instant, step=step, total_ns=instant - self._begun_ns, parts_ns=self._parts
        )
