"""The job of workers whose run directories are on other machines, mirrored into the local one.

A launcher opens a `Link` to each worker's place; `start_workers` makes everything ready there, and
a thread for each worker then keeps the mirror, passes on what is asked, and clears up there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, final

from timetrial.errors import LaunchError, TimetrialError
from timetrial.launch import Exit
from timetrial.launch.link import FarEnd, LostError
from timetrial.launch.mirror import LIVE_BYTES, Mirror
from timetrial.launch.reports import Begun, read_begun, read_exits
from timetrial.rundir import RunDir

LOOK_S: Final = 0.2  # between looks at a worker's run directory; its end is seen at once
BEGIN_S: Final = 120.0  # for an agent to describe its machine and to start its worker
_SETTLE_S: Final = 30.0  # without a sign of progress, after the workers have ended
_KILLED: Final = -9

_log = logging.getLogger(__name__)


class Start(NamedTuple):
    """What starts one worker's agent where everything is ready for it."""

    far: FarEnd
    mirror: Mirror
    words: Sequence[str]
    environment: Mapping[str, str]
    remarks: Mapping[str, str]  # for the log, beside the worker's limits


@final
class _Tender:
    """Looks after one worker, in a thread of its own."""

    def __init__(self, start: Start, run: RunDir, attempt: int, rank: int) -> None:
        self._start = start
        self._run = run
        self._attempt = attempt
        self.rank = rank
        self.begun: Begun | None = None
        self.exit: Exit | None = None
        self.error: TimetrialError | None = None
        self.lost = ""
        self.moved_s = time.monotonic()
        self._wishes: list[str] = []
        self._thread = threading.Thread(target=self._tend, daemon=True)

    def start(self) -> None:
        self._start.far.start(self._start.words, self._start.environment)
        self._thread.start()

    def wish(self, kind: str) -> None:
        """Have "stop" or "kill" passed on with the next look."""
        if self._thread.is_alive():
            self._wishes.append(kind)

    def is_over(self) -> bool:
        """Return whether all of it has come back, or never will."""
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Give the connection up; the thread ends."""
        self._start.far.link.abandon()
        self._thread.join()

    def _tend(self) -> None:
        try:
            self._watch()
            self._start.mirror.settle()
        except LostError as error:
            self.lost = str(error)
            _log.warning("worker %d is lost: %s", self.rank, error)
        except TimetrialError as error:
            self.error = error
        finally:
            self._start.mirror.tidy()
            self._start.far.link.close()
            if self.exit is None and self.error is None:
                self.exit = ended_by_signal()

    def _watch(self) -> None:
        """Mirror until the agent has ended and all is here."""
        far, mirror = self._start.far, self._start.mirror
        have: Mapping[str, int] = {}
        while True:
            while self._wishes:
                far.signal(self._wishes.pop(0))
            seen, load = far.look(have, wait_s=LOOK_S, most_bytes=LIVE_BYTES)
            mirror.take(seen, load)
            self.moved_s = time.monotonic()
            have = mirror.wanted(seen)
            self._read()
            if seen.code is not None and mirror.is_whole(seen):
                break
        if self.exit is None:
            self.exit = ended_by_signal()
            if seen.code >= 0 or self.begun is None:
                said = seen.said.strip() or "It printed nothing."
                self.error = LaunchError(
                    f"The agent of worker {self.rank} on {far.host} ended with exit code "
                    f"{seen.code} and no word of its worker: {said}"
                )

    def _read(self) -> None:
        ranks = [self.rank]
        if self.begun is None:
            self.begun = read_begun(self._run, self._attempt, ranks).get(self.rank)
        if self.exit is None:
            self.exit = read_exits(self._run, self._attempt, ranks).get(self.rank)


def ended_by_signal() -> Exit:
    """Return the end of a worker that was killed with its agent, or whose machine is lost."""
    return Exit(
        code=_KILLED,
        user_s=None,
        system_s=None,
        peak_rss_bytes=None,
        cgroup_cpu_s=None,
        cgroup_peak_bytes=None,
        out_of_memory=False,
    )


@final
class MirroredJob:
    """The workers of one attempt, each tended by a thread."""

    def __init__(self, tenders: Sequence[_Tender]) -> None:
        """Keep what `start_workers` began."""
        self._tenders = tenders
        self.granted_ns = time.monotonic_ns()
        self.pids: Mapping[int, int] = {}
        self.limits: Mapping[int, Mapping[str, str]] = {}
