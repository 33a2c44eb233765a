"""The job of workers whose run directories are on other machines, mirrored into the local one.

A launcher opens a `Link` to each worker's place; `start_workers` makes everything ready there, and
a thread for each worker then keeps the mirror, passes on what is asked, and clears up there.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
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

    def start(self) -> None:
        """Start the agent, and the thread."""
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
        if self._thread.ident is None:  # never started: nobody else closes it
            self._start.far.link.close()
        elif self._thread.is_alive():
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

    def __init__(self, tenders: Sequence[_Tender], resources: contextlib.ExitStack) -> None:
        """Keep what `start_workers` began, and what is closed after it."""
        self._tenders = tenders
        self._resources = resources
        self.granted_ns = time.monotonic_ns()
        self.pids: Mapping[int, int] = {}
        self.limits: Mapping[int, Mapping[str, str]] = {}

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

    def waiting(self) -> bool:
        """Return whether workers are still to be started: none is, once there is a job."""
        return False

    def begin(self) -> None:
        """Start the agents; return when every worker runs, or has run.

        Raises:
            LaunchError: One does not, with the reason.
        """
        for tender in self._tenders:
            tender.start()
        deadline = time.monotonic() + BEGIN_S
        while any(tender.begun is None for tender in self._tenders):
            self._raise_error()
            for tender in self._tenders:
                if tender.begun is None and (tender.is_over() or time.monotonic() > deadline):
                    raise LaunchError(
                        f"Worker {tender.rank} did not begin within {BEGIN_S:g} s. {tender.lost}"
                    )
            time.sleep(_GLANCE_S)
        begun = {tender.rank: tender.begun for tender in self._tenders if tender.begun}
        self.pids = {rank: one.pid for rank, one in begun.items()}
        self.limits = {
            tender.rank: {**begun[tender.rank].limits, **tender.remarks} for tender in self._tenders
        }

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
            for tender in self._tenders:
                if tender.exit is None:
                    tender.wish("kill")
            self._await_end()
        finally:
            for tender in self._tenders:
                tender.abandon()
            self._resources.close()
        if error is None:
            self._raise_error()

    def _await_end(self) -> None:
        """Wait until all is here: a connection that is silent counts as lost by itself."""
        while not all(tender.is_over() for tender in self._tenders):
            time.sleep(_GLANCE_S)

    def _raise_error(self) -> None:
        for tender in self._tenders:
            if tender.error is not None:
                raise tender.error


def start_workers(
    starts: Sequence[Start], run: RunDir, attempt: int, resources: contextlib.ExitStack
) -> MirroredJob:
    """Start all workers, or none; `resources` are closed when the job ends.

    Raises:
        LaunchError: An agent could not be started, or could not start its worker.
    """
    job = MirroredJob(
        [_Tender(start, run, attempt, rank) for rank, start in enumerate(starts)], resources
    )
    try:
        job.begin()
    except BaseException as error:
        job.__exit__(type(error), error, None)
        raise
    return job
