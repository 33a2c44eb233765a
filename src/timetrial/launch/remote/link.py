"""The far end of one worker, as a launcher sees it.

`Link` is what a transport offers: one request out, one answer back. `FarEnd` gives the requests of
`far` their types.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeVar, final

import msgspec

from timetrial.errors import LaunchError
from timetrial.spec import MALFORMED, Record

LOST_S: Final = 20.0  # a far end that sends no byte for so long is lost
PIECE_BYTES: Final = 256 * 1024  # of a file, in one request: 20 s of a line of 100 kbit/s

T = TypeVar("T")


class LostError(LaunchError):
    """The connection to a machine, or the machine, is gone."""


class Link(Protocol):
    """One connection to one far end."""

    host: str  # as the user calls it

    def open(self) -> None:
        """Connect; return when the far end is there.

        Raises:
            LaunchError: It cannot be had, with the reason.
        """

    def call(self, head: Mapping[str, object], load: bytes) -> tuple[bytes, bytes]:
        """Return the head (JSON) and the load of the answer to one request.

        Raises:
            LostError: The far end is gone, or has sent nothing for `LOST_S`.
        """

    def close(self) -> None:
        """End the far end, which clears up, and the connection. For the thread that calls."""

    def abandon(self) -> None:
        """Give the connection up at once, for any thread: who waits for an answer is told."""


class Machine(Record, frozen=True, kw_only=True):
    """What a far end says of its machine."""

    host: str
    boot_id: str | None
    t_ns: int  # its monotonic clock
    python: str
    executable: str
    system: str
    cache: str


class Look(Record, frozen=True, kw_only=True):
    """What there is in the run directory, and how far the agent is."""

    files: Mapping[str, tuple[int, int]]  # name -> bytes, time of change
    pieces: tuple[tuple[str, int, int], ...]  # name, offset and length of what the load holds
    code: int | None  # of the agent that has ended; negative: the signal
    said: str  # the end of what the agent itself printed


class _Opened(Record, frozen=True, kw_only=True):
    run: str


class _Executed(Record, frozen=True, kw_only=True):
    code: int


class _Ports(Record, frozen=True, kw_only=True):
    ports: tuple[int, ...]


class _Begun(Record, frozen=True, kw_only=True):
    pid: int


class _Hashes(Record, frozen=True, kw_only=True):
    sha256: Mapping[str, str]


class _Cores(Record, frozen=True, kw_only=True):
    cpus: tuple[int, ...] | None


class _Nothing(Record, frozen=True, kw_only=True):
    pass


@final
class FarEnd:
    """The requests that a far end answers. Each may raise LostError, or LaunchError: refused."""

    def __init__(self, link: Link) -> None:
        """Ask over `link`."""
        self.link = link
        self.host = link.host

    def hello(self, environment: Mapping[str, str]) -> Machine:
        """Set variables there; return what the machine is."""
        return self._ask(Machine, "hello", environment=environment)[0]

    def open(self, run: str) -> str:
        """Make a run directory called `run`; return its path there."""
        return self._ask(_Opened, "open", run=run)[0].run

    def put(self, name: str, content: bytes, *, into_cache: bool = False) -> None:
        """Write a file into the run directory, or below the cache, checked by its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        for offset in range(0, max(len(content), 1), PIECE_BYTES):
            last = offset + PIECE_BYTES >= len(content)
            self._ask(
                _Nothing,
                "put",
                content[offset : offset + PIECE_BYTES],
                name=name,
                offset=offset,
                sha256=sha256 if last else None,
                place="cache" if into_cache else "run",
            )

    def execute(
        self,
        words: Sequence[str],
        *,
        timeout_s: float,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run a program there to its end; return its exit code and all it printed.

        The word "{run}" stands for the run directory.
        """
        told, said = self._ask(
            _Executed,
            "execute",
            words=words,
            environment=environment or {},
            timeout_s=timeout_s,
        )
        return told.code, said.decode(errors="replace")

    def cores(self, count: int) -> tuple[int, ...] | None:
        """Return CPUs that no other worker of this user has there; None: too few are free."""
        return self._ask(_Cores, "cores", count=count)[0].cpus

    def free_port(self) -> int:
        """Return a port that is free there now."""
        return self._ask(_Ports, "port", count=1)[0].ports[0]

    def start(self, words: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start the agent; return its process id."""
        return self._ask(_Begun, "start", words=words, environment=environment)[0].pid

    def look(
        self, have: Mapping[str, int], *, wait_s: float, most_bytes: int
    ) -> tuple[Look, bytes]:
        """Return what there is, with new bytes of the files in `have` beyond those offsets."""
        return self._ask(Look, "look", have=have, wait_s=wait_s, most_bytes=most_bytes)

    def hashes(self) -> Mapping[str, str]:
        """Kill what still runs; return the SHA-256 of every file."""
        return self._ask(_Hashes, "hashes")[0].sha256

    def keep(self) -> str:
        """Keep the run directory when the connection ends; return where it is now."""
        return self._ask(_Opened, "keep")[0].run

    def signal(self, kind: str) -> None:
        """Pass on "stop" or "kill" to the worker."""
        self._ask(_Nothing, "signal", kind=kind)

    def _ask(
        self, record: type[T], what: str, load: bytes = b"", **named: object
    ) -> tuple[T, bytes]:
        head, answer = self.link.call({"do": what, **named}, load)
        try:
            told = msgspec.json.decode(head)
            if isinstance(told, dict) and "error" in told:
                raise LaunchError(f"{self.host} could not {what}: {told['error']}.")
            return msgspec.convert(told, record), answer
        except MALFORMED as error:
            raise LostError(f"{self.host} answered {head[:200]!r}: {error}.") from error
