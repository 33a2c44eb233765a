"""The workers of one run among themselves: who decides, who is still there.

Worker 0 decides. The others are told over connections of our own to it (TCP, a JSON value per
line), so that no framework is needed for it and a worker that waits inside a collective call is
still heard: a thread of each worker sends a sign of life every second. Who is silent for too long
or gone without a word is lost, and with it the run: each worker that notices ends by itself.

Training is not held up: what worker 0 decides while a stretch of steps runs holds from the next
stretch on, when the others have long been told.
"""

from __future__ import annotations

import contextlib
import json
import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, final

from timetrial.errors import LaunchError, PeerLostError

BEAT_S: Final = 1.0
JOIN_S: Final = 120.0  # how long the others may take to start
EXIT_LOST: Final = 76
PARENT_VARIABLE: Final = "TIMETRIAL_PARENT"  # process id of who started the worker
DIES_VARIABLE: Final = "TIMETRIAL_DIES_WITH_PARENT"  # set by an agent on another machine
FIRST_PACE: Final = 4
_GRACE_S: Final = 3.0  # for the main thread to see for itself that a worker is lost
_LINE_MAX: Final = 2**20
_RECEIVE: Final = 2**16


class Seat(NamedTuple):
    """Which worker of how many, and where worker 0 listens."""

    rank: int = 0
    size: int = 1
    address: str = "127.0.0.1"
    port: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Return the seat that a launcher assigned.

        Raises:
            LaunchError: A variable is missing or is no number.
        """
        try:
            return cls(
                rank=int(environment.get("RANK", "0")),
                size=int(environment.get("WORLD_SIZE", "1")),
                address=environment.get("MASTER_ADDR", "127.0.0.1"),
                port=int(environment.get("MASTER_PORT", "0")),
            )
        except ValueError as error:
            names = ("RANK", "WORLD_SIZE", "MASTER_PORT")
            seen = ", ".join(f"{name}={environment.get(name)!r}" for name in names)
            raise LaunchError(
                f"The launcher gave this worker {seen}. Allowed: whole numbers."
            ) from error


class _Peer:
    """A connection to another worker."""

    def __init__(self, rank: int, connection: socket.socket, left_over: bytes = b"") -> None:
        self.rank = rank
        self.connection = connection
        self.seen_s = time.monotonic()
        self.gone = False  # said goodbye
        self.given: queue.Queue[Any] = queue.Queue()
        self.text = bytearray(left_over)

    def lines(self, content: bytes) -> list[dict[str, Any]]:
        """Return the whole lines among what came so far."""
        self.text += content
        *whole, rest = bytes(self.text).split(b"\n")
        self.text = bytearray(rest)
        if len(rest) > _LINE_MAX:
            raise PeerLostError(f"worker {self.rank} sent a line without an end")
        try:
            return [json.loads(line) for line in whole]
        except ValueError as error:
            raise PeerLostError(f"worker {self.rank} sent what is no message") from error


@final
class Team:
    """All workers of a run as one of them sees them; alone, every call returns at once."""

    def __init__(
        self, seat: Seat, *, run: str = "", attempt: int = 0, lost_after_s: float = 20.0
    ) -> None:
        """Keep the seat; `join` connects."""
        self._lost_after_s = lost_after_s
        self.rank, self.size = seat.rank, seat.size
        self._seat = seat
        self._hello = {"run": run, "attempt": attempt}
        self._peers: list[_Peer] = []
        self._paces: deque[int] = deque([FIRST_PACE])
        self._lock = threading.Lock()  # of sending
        self._over = threading.Event()
        self._lost: str | None = None
        self._stop_asked = False
        self._wait_s = JOIN_S
        self._on_lost: Callable[[str], None] = lambda reason: None
        self._thread: threading.Thread | None = None

    # --- beginning and end -----------------------------------------------------------------------

    def join(self, wait_s: float = JOIN_S) -> None:
        """Find the other workers.

        Raises:
            PeerLostError: Not all came within `wait_s`.
        """
        if self.size == 1:
            return
        self._wait_s = wait_s
        deadline = time.monotonic() + wait_s
        self._peers = self._gather_all(deadline) if self.rank == 0 else [self._find_first(deadline)]
        self._thread = threading.Thread(target=self._listen, name="team", daemon=True)
        self._thread.start()

    def when_lost(self, act: Callable[[str], None]) -> None:
        """Call `act` with the reason, in another thread, where the main thread does not notice."""
        self._on_lost = act

    @property
    def lost(self) -> str | None:
        """Why the run cannot go on, None while all are there."""
        return self._lost

    def lost_within(self, wait_s: float) -> str | None:
        """Return `lost`, after waiting for it: a collective call may fail before it is known."""
        deadline = time.monotonic() + wait_s
        while self.size > 1 and self._lost is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return self._lost

    def leave(self, failure: str | None = None) -> None:
        """Say goodbye, or why this worker fails, and close the connections."""
        if self._over.is_set() or self.size == 1:
            return
        self._over.set()
        self._send_all({"bye": True} if failure is None else {"fail": failure[:1000]})
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=2 * BEAT_S)
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.connection.close()

    def __enter__(self) -> Self:
        """Return the team."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave; the others are told of a failure."""
        self.leave(None if error is None else f"{type(error).__name__}: {error}")

    # --- deciding --------------------------------------------------------------------------------

    def agree(self, value: Any) -> Any:
        """Return worker 0's value in every worker; it must be JSON.

        Raises:
            PeerLostError: A worker is lost.
        """
        if self.size == 1:
            return value
        self._check()
        if self.rank == 0:
            self._send_all({"say": value})
            return value
        return self._receive(self._peers[0])

    def gather(self, value: Any) -> list[Any] | None:
        """Return all workers' values by rank in worker 0, None in the others.

        Raises:
            PeerLostError: A worker is lost.
        """
        if self.size == 1:
            return [value]
        if self.rank == 0:
            return [value, *(self._receive(peer) for peer in self._peers)]
        self._send_all({"say": value})
        return None

    def pace(self, wanted: int) -> int:
        """Return the number of steps of the next stretch, the same in every worker.

        Alone it is `wanted`. In a team it is what worker 0 wanted one call earlier: so nobody waits
        for a message. All workers call it equally often.

        Raises:
            PeerLostError: A worker is lost.
        """
        if self.size == 1:
            return wanted
        self._check()
        if self.rank == 0:
            self._send_all({"pace": wanted})
            self._paces.append(wanted)
        while not self._paces:
            self._check()
            time.sleep(0.0005)
        return self._paces.popleft()

    def ask_to_stop(self) -> None:
        """Tell worker 0, once, that this one was asked to stop."""
        if self.rank != 0 and not self._stop_asked:
            self._stop_asked = True
            self._send_all({"stop": True})

    @property
    def stop_asked(self) -> bool:
        """Whether a worker was asked to stop, as far as this one knows."""
        return self._stop_asked

    # --- connections -----------------------------------------------------------------------------

    def _gather_all(self, deadline: float) -> list[_Peer]:
        """Listen until every other worker has said who it is."""
        found: dict[int, _Peer] = {}
        # elsewhere the address may be one that only the network knows this machine by
        own = self._seat.address if self._seat.address.startswith("127.") else ""
        with socket.create_server((own, self._seat.port), backlog=self.size) as server:
            while len(found) < self.size - 1:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    connection, _ = server.accept()
                except TimeoutError as error:
                    missing = sorted(set(range(1, self.size)) - set(found))
                    raise PeerLostError(
                        f"workers {missing} of {self.size} did not come within {self._wait_s:g} s "
                        f"to {self._seat.address}:{self._seat.port}"
                    ) from error
                peer = self._greet(connection)
                if peer is not None:
                    found[peer.rank] = peer
        return [found[rank] for rank in sorted(found)]

    def _greet(self, connection: socket.socket) -> _Peer | None:
        """Return the worker that connected; None for anyone who is none of this run."""
        connection.settimeout(5.0)
        content = b""
        try:
            while b"\n" not in content and len(content) < 4096:
                more = connection.recv(4096)
                if not more:
                    raise ValueError("no greeting")
                content += more
            line, _, rest = content.partition(b"\n")
            hello = json.loads(line)
            rank = hello.pop("rank") if isinstance(hello, dict) else None
            if hello != self._hello or type(rank) is not int or not 0 < rank < self.size:
                raise ValueError("a greeting of another run")
        except (OSError, ValueError, KeyError):
            connection.close()
            return None
        self._set_up(connection)
        connection.sendall(b'{"welcome": true}\n')
        return _Peer(rank, connection, rest)

    def _find_first(self, deadline: float) -> _Peer:
        """Connect to worker 0, which may not listen yet."""
        hello = json.dumps({**self._hello, "rank": self.rank}).encode() + b"\n"
        while True:
            try:
                connection = socket.create_connection(
                    (self._seat.address, self._seat.port), timeout=5.0
                )
                connection.sendall(hello)
                content = b""
                while b"\n" not in content:
                    more = connection.recv(4096)
                    if not more:
                        raise ConnectionError("turned away")
                    content += more
                self._set_up(connection)
                return _Peer(0, connection, content.partition(b"\n")[2])
            except OSError as error:
                if time.monotonic() > deadline:
                    raise PeerLostError(
                        f"worker 0 was not found at {self._seat.address}:{self._seat.port} within "
                        f"{self._wait_s:g} s: {error}"
                    ) from error
                time.sleep(0.05)

    def _set_up(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._lost_after_s)

    def _send_all(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            for peer in self._peers:
                if not peer.gone:
                    with contextlib.suppress(OSError):  # the thread sees that it is gone
                        peer.connection.sendall(line)

    def _receive(self, peer: _Peer) -> Any:
        while True:
            try:
                return peer.given.get(timeout=0.2)
            except queue.Empty:
                self._check()

    def _check(self) -> None:
        if self._lost is not None:
            raise PeerLostError(self._lost)

    # --- the thread ------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Read what comes, send signs of life, notice who is lost."""
        try:
            self._read_until_over()
        except PeerLostError as error:
            if self._over.is_set():
                return
            self._lost = str(error)
            self._send_all({"fail": self._lost})
            if not self._over.wait(_GRACE_S):
                self._on_lost(self._lost)

    def _read_until_over(self) -> None:
        beat_s = 0.0
        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                selector.register(peer.connection, selectors.EVENT_READ, peer)
                self._take(peer, peer.lines(b""))
            while not self._over.is_set():
                for key, _ in selector.select(timeout=BEAT_S / 4):
                    if not self._hear(key.data):
                        selector.unregister(key.fileobj)
                now = time.monotonic()
                if now - beat_s >= BEAT_S:
                    beat_s = now
                    self._send_all({"beat": True})
                self._find_silent(self._peers, now)

    def _find_silent(self, peers: Sequence[_Peer], now_s: float) -> None:
        for peer in peers:
            if not peer.gone and now_s - peer.seen_s > self._lost_after_s:
                silence = f"was silent for {self._lost_after_s:g} s: frozen, or cut off"
                raise PeerLostError(f"worker {peer.rank} {silence}")

    def _hear(self, peer: _Peer) -> bool:
        """Take what a worker sent; return whether more can come."""
        try:
            content = peer.connection.recv(_RECEIVE)
        except OSError:
            content = b""
        if content:
            peer.seen_s = time.monotonic()
            self._take(peer, peer.lines(content))
            return True
        if peer.gone:
            return False
        raise PeerLostError(f"worker {peer.rank} is gone")

    def _take(self, peer: _Peer, messages: Sequence[dict[str, Any]]) -> None:
        for message in messages:
            match message:
                case {"say": value}:
                    peer.given.put(value)
                case {"pace": int(steps)}:
                    self._paces.append(steps)
                case {"stop": True}:
                    self._stop_asked = True
                case {"bye": True}:
                    peer.gone = True
                case {"fail": str(why)}:
                    raise PeerLostError(f"worker {peer.rank} failed: {why}")
                case _:  # a sign of life
                    pass
