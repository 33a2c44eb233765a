"""The job of workers whose run directories are on other machines, mirrored into the local one.

A launcher has a `Link` to each worker's place (`elsewhere` makes everything ready there); a thread
for each worker then keeps the mirror, passes on what is asked, and clears up there.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self, final

from timetrial.errors import LaunchError, TimetrialError
from timetrial.launch import Exit
from timetrial.launch.remote.link import FarEnd, LostError
from timetrial.launch.remote.mirror import LIVE_BYTES, Mirror
from timetrial.launch.reports import Begun, read_begun, read_exits
from timetrial.rundir import RunDir

LOOK_S: Final = 0.2  # between looks at a worker's run directory; its end is seen at once
BEGIN_S: Final = 120.0  # for an agent to describe its machine and to start its worker
_GLANCE_S: Final = 0.02
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
        self.remarks = start.remarks
        self.begun: Begun | None = None
        self.exit: Exit | None = None
        self.error: TimetrialError | None = None
        self.lost = ""
        self._wishes: list[str] = []
        self._thread = threading.Thread(target=self._tend, daemon=True)
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
        if self._thread.is_alive():
            self._start.far.link.abandon()
            self._thread.join()

    def _tend(self) -> None:
        try:
            self._watch()
            self._start.mirror.settle()
        except LostError as error:
            self._start.far.link.abandon()
            self.lost = str(error)
            _log.warning("worker %d is lost: %s", self.rank, error)
        except TimetrialError as error:
            self.error = error
        finally:
            if self.exit is None and self.error is None:
                self.exit = ended_by_signal(self.lost)
            self._start.mirror.tidy()
            self._start.far.link.close()

    def _watch(self) -> None:
        """Mirror until the agent has ended and all is here."""
        far, mirror = self._start.far, self._start.mirror
        have: Mapping[str, int] = {}
        while True:
            while self._wishes:
                far.signal(self._wishes.pop(0))
            seen, load = far.look(have, wait_s=LOOK_S, most_bytes=LIVE_BYTES)
            mirror.take(seen, load)
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


def ended_by_signal(why: str = "") -> Exit:
    """Return the end of a worker that was killed with its agent, or whose machine is lost."""
    return Exit(
        code=_KILLED,
        user_s=None,
        system_s=None,
        peak_rss_bytes=None,
        cgroup_cpu_s=None,
        cgroup_peak_bytes=None,
        out_of_memory=False,
        why=why,
    )


@final
class MirroredJob:
    """The workers of one attempt, made ready in a thread, each then tended by one of its own."""

    def __init__(
        self,
        run: RunDir,
        attempt: int,
        make_ready: Callable[[], Sequence[Start]],
        give_up: Callable[[], None],
        resources: contextlib.ExitStack,
    ) -> None:
        """Begin to make ready; `give_up` has that end early, `resources` are closed at the end."""
        self._run = run
        self._attempt = attempt
        self._make_ready = make_ready
        self._give_up = give_up
        self._resources = resources
        self._tenders: list[_Tender] = []
        self._error: BaseException | None = None
        self._begin_by_s = float("inf")
        self._began_ns = time.monotonic_ns()
        self.granted_ns: int | None = None  # nothing is waited for that is not `provision`
        self.spawned_ns: Mapping[int, int] = {}
        self.hosts: Mapping[int, str] = {}
        self.pids: Mapping[int, int] = {}
        self.limits: Mapping[int, Mapping[str, str]] = {}
        self._thread = threading.Thread(target=self._begin, daemon=True)
        self._thread.start()

    def waiting(self) -> bool:
        """Return whether workers are still to be started.

        Raises:
            LaunchError: They cannot be, with the reason.
        """
        self._raise_error()
        if self._thread.is_alive():
            return True
        for tender in self._tenders:
            late = time.monotonic() > self._begin_by_s
            if tender.begun is None and (late or tender.is_over()):
                said = tender.lost or f"It has not begun within {BEGIN_S:g} s."
                raise LaunchError(f"Worker {tender.rank} did not start. {said}")
        begun = {tender.rank: tender.begun for tender in self._tenders if tender.begun}
        if len(begun) < len(self._tenders):
            return True
        if not self.pids:
            self.pids = {rank: one.pid for rank, one in begun.items()}
            self.hosts = {rank: one.host for rank, one in begun.items()}
            self.spawned_ns = {rank: self._here_ns(one.utc_ns) for rank, one in begun.items()}
            self.limits = {t.rank: {**begun[t.rank].limits, **t.remarks} for t in self._tenders}
        return False

    def poll(self) -> Mapping[int, Exit]:
        """Return how those workers ended that have.

        Raises:
            LaunchError: An agent could not start its worker, or files came back changed.
            DiskError, StoreError: The disk here refuses.
        """
        self._raise_error()
        return {t.rank: t.exit for t in self._tenders if t.exit is not None}

    def ask_to_stop(self) -> None:
        """Ask every agent to have its worker save and end."""
        for tender in self._tenders:
            tender.wish("stop")

    def kill(self) -> None:
        """Kill every worker, frozen ones too."""
        for tender in self._tenders:
            tender.wish("kill")

    def __enter__(self) -> Self:
        """Return the job."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill what still runs, bring everything back, clear up there.

        Raises:
            LaunchError: A file did not come back as it is there.
            DiskError, StoreError: The disk here refuses.
        """
        try:
            if self._thread.is_alive():
                self._give_up()
                self._thread.join()
                self._error = None  # that it was given up
            for tender in self._tenders:
                if tender.exit is None:
                    tender.wish("kill")
            # each ends: a connection that is silent counts as lost
            while not all(tender.is_over() for tender in self._tenders):
                time.sleep(_GLANCE_S)
        finally:
            for tender in self._tenders:
                tender.abandon()
            self._resources.close()
        if error is None:
            self._raise_error()

    def _begin(self) -> None:
        """Make ready and start the agents, in the job's own thread."""
        try:
            starts = self._make_ready()
            for start in starts:
                start.far.start(start.words, start.environment)
            self._begin_by_s = time.monotonic() + BEGIN_S
            self._tenders = [
                _Tender(start, self._run, self._attempt, rank) for rank, start in enumerate(starts)
            ]
        except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
            self._error = error

    def _here_ns(self, utc_ns: int) -> int:
        """Return a wall clock's time on this machine's monotonic one, within the job's life."""
        now_ns = time.monotonic_ns()
        return min(max(now_ns - (time.time_ns() - utc_ns), self._began_ns), now_ns)

    def _raise_error(self) -> None:
        for error in (self._error, *(tender.error for tender in self._tenders)):
            if error is not None:
                raise error
