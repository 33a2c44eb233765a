"""A server of weights with a bound on staleness: threads of worker 0, one per other worker, TCP.

A worker sends the change that its step made and gets the server's weights back, once no worker is
more than `staleness` steps behind it. The reply is taken at the very moment at which that holds:
with a staleness of 0 no worker can have begun the next step, and all get the same weights.

Both messages are the n numbers as they lie in memory; a connection begins with a greeting that only
a worker of this run can know. Nothing listens any more once all workers have come.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Final, final

import numpy as np

from timetrial.errors import PeerLostError

TOKEN_BYTES: Final = 16
FIND_S: Final = 60.0  # how long a worker looks for the server
_GREETING: Final = struct.Struct("!16sIQ8s")  # token, rank, count, type
_WELCOME: Final = b"welcome"
_GREETING_S: Final = 5.0
_RETRY_S: Final = 0.05


@final
class Server:
    """The weights, and how many steps each worker has done."""

    def __init__(self, *, count: int, dtype: np.dtype, workers: int, staleness: int) -> None:
        """Hold no weights yet; `open` gives them."""
        self.token = secrets.token_bytes(TOKEN_BYTES)
        self._weights = np.zeros(count, dtype)
        self._staleness = staleness
        self._done = [0] * workers
        self._opened = False
        self._waiting: set[int] = set()
        self._replies: dict[int, np.ndarray] = {}
        self._sending = 0
        self._lost: str | None = None
        self._over = False
        self._changed = threading.Condition()
        self._listener: socket.socket | None = None
        self._connections: dict[int, socket.socket] = {}

    # --- the weights -----------------------------------------------------------------------------

    @property
    def opened(self) -> bool:
        """Whether it holds weights."""
        return self._opened

    def open(self, weights: np.ndarray) -> None:
        """Take these weights, all workers having done as many steps."""
        with self._changed:
            self._weights[:] = weights
            self._done = [0] * len(self._done)
            self._opened = True
            self._changed.notify_all()

    def exchange(self, rank: int, change: np.ndarray) -> np.ndarray:
        """Add a k-th of a worker's change; return the weights once it may go on.

        Raises:
            PeerLostError: A worker is gone.
        """
        with self._changed:
            self._wait(lambda: self._opened)
            self._weights += change / len(self._done)
            self._done[rank] += 1
            self._waiting.add(rank)
            self._release()
            self._wait(lambda: rank not in self._waiting)
            return self._replies.pop(rank)

    def together(self) -> np.ndarray:
        """Return the weights once all workers have done as many steps as worker 0.

        Raises:
            PeerLostError: A worker is gone.
        """
        with self._changed:
            self._wait(lambda: min(self._done) >= self._done[0] and not self._sending)
            return self._weights.copy()

    def _release(self) -> None:
        """Let everyone go on who is not too far ahead, with the weights as they are now."""
        slowest = min(self._done)
        ready = [rank for rank in self._waiting if self._done[rank] - slowest <= self._staleness]
        if ready:
            copy = self._weights.copy()
            self._replies.update(dict.fromkeys(ready, copy))
            self._waiting.difference_update(ready)
            self._sending += sum(1 for rank in ready if rank != 0)
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self._lost is not None:
                raise PeerLostError(self._lost)
            self._changed.wait()

    # --- the other workers -----------------------------------------------------------------------

    def listen(self, address: str) -> int:
        """Begin to wait for the other workers; return the port."""
        # elsewhere the address may be one that only the network knows this machine by
        own = address if address.startswith("127.") else ""
        self._listener = socket.create_server((own, 0), backlog=len(self._done))
        threading.Thread(target=self._accept, name="weights", daemon=True).start()
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Close all connections; their threads end."""
        with self._changed:
            self._over = True
            sockets = [*self._connections.values(), *filter(None, [self._listener])]
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in it
            each.close()

    def _accept(self) -> None:
        assert self._listener is not None
        with self._listener, contextlib.suppress(OSError):  # closed by `close`
            while len(self._connections) < len(self._done) - 1:
                connection, _ = self._listener.accept()
                rank = self._greet(connection)
                if rank is None:
                    connection.close()
                    continue
                with self._changed:
                    if self._over:
                        connection.close()
                        return
                    self._connections[rank] = connection
                name = f"weights for worker {rank}"
                arguments = (rank, connection)
                threading.Thread(target=self._serve, args=arguments, name=name, daemon=True).start()

    def _greet(self, connection: socket.socket) -> int | None:
        """Return the rank of the worker that connected, None for a stranger."""
        try:
            _prepare(connection, timeout_s=_GREETING_S)
            greeting = bytearray(_GREETING.size)
            _receive(connection, memoryview(greeting))
            token, rank, count, kind = _GREETING.unpack(greeting)
            known = hmac.compare_digest(token, self.token)
            if not known or rank in self._connections or not 0 < rank < len(self._done):
                return None
            if (count, kind) != (self._weights.size, _kind(self._weights.dtype)):
                return None
            connection.sendall(_WELCOME)
            connection.settimeout(None)
        except OSError:
            return None
        return int(rank)

    def _serve(self, rank: int, connection: socket.socket) -> None:
        """Exchange with one worker until it goes."""
        change = np.empty_like(self._weights)
        try:
            while True:
                _receive(connection, _bytes(change))
                reply = self.exchange(rank, change)
                connection.sendall(_bytes(reply))
                with self._changed:
                    self._sending -= 1
                    self._changed.notify_all()
        except (OSError, PeerLostError):
            with self._changed:
                if not self._over and self._lost is None:
                    self._lost = f"worker {rank} left the server of weights"
                self._changed.notify_all()
        finally:
            connection.close()


@final
class Client:
    """A worker's connection to the server."""

    def __init__(self, address: str, port: int, token: bytes, *, rank: int) -> None:
        """Keep where the server is; `connect` goes there."""
        self._place = (address, port)
        self._token = token
        self._rank = rank
        self._connection: socket.socket | None = None

    def connect(self, count: int, dtype: np.dtype, *, wait_s: float = FIND_S) -> None:
        """Find the server, for so many weights of a type.

        Raises:
            PeerLostError: It is not there, or takes this worker for a stranger.
        """
        deadline = time.monotonic() + wait_s
        greeting = _GREETING.pack(self._token, self._rank, count, _kind(dtype))
        while self._connection is None:
            try:
                self._connection = self._greeted(greeting)
            except OSError as error:
                if time.monotonic() > deadline:
                    address, port = self._place
                    raise PeerLostError(
                        f"the server of weights was not found at {address}:{port} within "
                        f"{wait_s:g} s: {error}"
                    ) from error
                time.sleep(_RETRY_S)

    def _greeted(self, greeting: bytes) -> socket.socket:
        """Return a connection in which the server has said welcome."""
        connection = socket.create_connection(self._place, timeout=_GREETING_S)
        try:
            _prepare(connection, timeout_s=_GREETING_S)
            connection.sendall(greeting)
            _receive(connection, memoryview(bytearray(len(_WELCOME))))
        except OSError:
            connection.close()
            raise
        connection.settimeout(None)
        return connection

    def exchange(self, change: np.ndarray, reply: np.ndarray) -> None:
        """Send the change of a step; return when the server's weights are in `reply`.

        Raises:
            PeerLostError: The server is gone.
        """
        assert self._connection is not None
        try:
            self._connection.sendall(_bytes(change))
            _receive(self._connection, _bytes(reply))
        except OSError as error:
            raise PeerLostError(f"the server of weights in worker 0 is gone: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


def _prepare(connection: socket.socket, *, timeout_s: float) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(timeout_s)


def _receive(connection: socket.socket, place: memoryview) -> None:
    """Fill `place`."""
    while place:
        count = connection.recv_into(place)
        if count == 0:
            raise ConnectionError("closed by the other side")
        place = place[count:]


def _bytes(array: np.ndarray) -> memoryview:
    return array.view(np.uint8).data


def _kind(dtype: np.dtype) -> bytes:
    return dtype.str.encode().ljust(8, b"\0")
