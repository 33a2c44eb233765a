"""The job of workers that agents run elsewhere, seen through the run directory that all share.

What differs between batch systems is a `Backend`: it says how far the machines are, passes on a
request to stop, kills, and cleans up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Literal, NamedTuple, Protocol, Self, final

from timetrial.errors import LaunchError
from timetrial.launch import Exit
from timetrial.launch.reports import Begun, read_begun, read_exits
from timetrial.plan import Plan
from timetrial.rundir import RunDir

FILES_S: Final = 0.1  # between looks at the run directory
CLOCKS_OFF_S: Final = 1.0
BACKEND_S: Final = 2.0  # between questions to the batch system while the workers run
WAITING_S: Final = 0.5  # likewise while they wait
_SILENCE_S: Final = 120.0  # from the machines' grant to the agents' first word
_LATE_S: Final = 5.0  # how late a last word may be seen after the batch system's
_LATE_KILLED_S: Final = 1.0  # the same where it was killed: it has none
_KILLED: Final = 9

_log = logging.getLogger(__name__)


class Seen(NamedTuple):
    """How far the machines of a job are, as its batch system says."""

    phase: Literal["waiting", "running", "over"]
    detail: str  # for people: state, reason, machines
    granted_utc_s: float | None = None  # when the machines were granted, None: not yet, or unknown
    signal: int = _KILLED  # of what is over without a word of its agents


class Backend(Protocol):
    """One job of a batch system."""

    def look(self) -> Seen:
        """Ask the batch system. Takes a moment."""

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the agents; a job that still waits is cancelled."""

    def kill(self) -> None:
        """End everything at once."""

    def clean(self) -> str:
        """See it end, end what lingers, remove its own files; return what its log said last."""


@final
class OutlyingJob:
    """The workers of one attempt on other machines."""

    def __init__(self, run: RunDir, plan: Plan, attempt: int, backend: Backend) -> None:
        """Keep what a launcher has just submitted."""
        self._run = run
        self._attempt = attempt
        self._ranks = range(plan.workers)
        self._backend = backend
        self._seen = Seen("waiting", "submitted")
        self._submitted_ns = time.monotonic_ns()
        self._running_s: float | None = None
        self._over_s: float | None = None
        self._ask_at = self._files_at = 0.0
        self._begun: dict[int, Begun] = {}
        self._exits: dict[int, Exit] = {}
        self._killed = False
        self._cleaned = False
        self.granted_ns: int | None = None
        self.spawned_ns: Mapping[int, int] = {}
        self.hosts: Mapping[int, str] = {}
        self.pids: Mapping[int, int] = {}
        self.limits: Mapping[int, Mapping[str, str]] = {}

    def waiting(self) -> bool:
        """Return whether workers are still to be started.

        Raises:
            LaunchError: The job ended, or no agent said a word: with the reason.
        """
        self._ask(WAITING_S)
        self._read()
        if len(self._begun) == len(self._ranks):
            return False
        if self._over_s is not None and self._late():
            if self._begun:
                return False  # those that began are a run, and the others lost its workers
            raise self._never_began("ended before a worker began")
        silent = self._running_s is not None and not self._begun
        if silent and time.monotonic() - (self._running_s or 0.0) > _SILENCE_S:
            raise self._never_began(f"said nothing for {_SILENCE_S:g} s")
        return True

    def poll(self) -> Mapping[int, Exit]:
        """Return how those workers ended that have, by their agents or else the batch system."""
        self._read()
        if len(self._exits) < len(self._ranks):
            self._ask(BACKEND_S)
            if self._over_s is not None and self._late():
                self._read(now=True)
                for rank in self._ranks:
                    if rank not in self._exits:
                        self._exits[rank] = _lost(self._seen)
        return dict(self._exits)

    def ask_to_stop(self) -> None:
        """Ask all workers to save and end."""
        if len(self._exits) < len(self._ranks) and self._over_s is None:
            self._backend.ask_to_stop()

    def kill(self) -> None:
        """End the workers and their agents at once."""
        if len(self._exits) < len(self._ranks) and not self._killed:
            self._killed = True
            self._backend.kill()
            self._ask_at = 0.0

    def __enter__(self) -> Self:
        """Return the job."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the job with all it started; nothing of it is left."""
        self.kill()
        self._clean()

    def _clean(self) -> str:
        self._cleaned, before = True, self._cleaned
        return "" if before else self._backend.clean()

    def _ask(self, every_s: float) -> None:
        now = time.monotonic()
        if now < self._ask_at or self._over_s is not None:
            return
        self._seen = self._backend.look()
        self._ask_at = time.monotonic() + every_s
        running, utc_s = self._seen.phase == "running", self._seen.granted_utc_s
        if running and self._running_s is None:
            self._running_s = now
        if self.granted_ns is None and (running or utc_s is not None):
            self.granted_ns = self._granted_ns(utc_s)
        if self._seen.phase == "over":
            self._over_s = now

    def _granted_ns(self, utc_s: float | None) -> int:
        """Return the grant on this machine's clock, between the request and when it was seen."""
        now_ns = time.monotonic_ns()
        granted_ns = now_ns if utc_s is None else _here_ns(int(utc_s * 1e9))
        return min(max(granted_ns, self._submitted_ns), now_ns)

    def _late(self) -> bool:
        """Return whether no further word is to be expected of what is over."""
        assert self._over_s is not None
        allowed = _LATE_KILLED_S if self._killed else _LATE_S
        return time.monotonic() - self._over_s > allowed

    def _read(self, *, now: bool = False) -> None:
        if not now and time.monotonic() < self._files_at:
            return
        self._files_at = time.monotonic() + FILES_S
        if len(self._begun) < len(self._ranks):
            for rank, begun in read_begun(self._run, self._attempt, self._ranks).items():
                if rank not in self._begun:
                    self._refuse_other_clock(begun)
                    self._begun[rank] = begun
            found = sorted(self._begun.items())
            self.pids = {rank: begun.pid for rank, begun in found}
            self.hosts = {rank: begun.host for rank, begun in found}
            self.limits = {
                rank: {**begun.limits, "job": self._seen.detail} for rank, begun in found
            }
            self.spawned_ns = {rank: _here_ns(begun.utc_ns) for rank, begun in found}
        self._exits.update(read_exits(self._run, self._attempt, self._ranks))

    def _refuse_other_clock(self, begun: Begun) -> None:
        """Refuse times that could not be set beside this machine's.

        Raises:
            LaunchError: The worker began before the job was submitted, or is still to begin.
        """
        at_ns = _here_ns(begun.utc_ns)
        off_s = max(self._submitted_ns - at_ns, at_ns - time.monotonic_ns()) / 1e9
        if off_s > CLOCKS_OFF_S:
            self._clean()
            raise LaunchError(
                f"The clocks of {begun.host} and of this machine are {off_s:.1f} s apart at least, "
                f"so times of this run would be wrong. Allowed: {CLOCKS_OFF_S:g} s. Set the clocks "
                "by the network (NTP), then run again."
            )

    def _never_began(self, what: str) -> LaunchError:
        detail = self._seen.detail
        said = self._clean()
        return LaunchError(
            f"The job {what} ({detail}). {said or 'Its log is empty or was never written.'} "
            f"Needed: {self._run.path} on a file system that this machine and the job's machines "
            "see at the same path, and this Python there too. Choose the place with --store DIR."
        )


def _here_ns(utc_ns: int) -> int:
    """Return an instant of the wall clock on this machine's monotonic clock."""
    return time.monotonic_ns() - (time.time_ns() - utc_ns)


def _lost(seen: Seen) -> Exit:
    """Return the end of a worker whose agent had no last word: it was killed with its agent."""
    return Exit(
        code=-seen.signal,
        user_s=None,
        system_s=None,
        peak_rss_bytes=None,
        cgroup_cpu_s=None,
        cgroup_peak_bytes=None,
        out_of_memory=False,
        why=seen.detail,
    )
