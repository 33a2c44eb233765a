"""The server of weights alone, without PyTorch: who may talk to it, and what it answers."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest

from timetrial.algorithms.parameter_server import TOKEN_BYTES, Client, Server
from timetrial.errors import PeerLostError

COUNT = 5
FLOAT = np.dtype(np.float64)


def serving(*, workers: int = 2, staleness: int = 0) -> tuple[Server, int]:
    server = Server(count=COUNT, dtype=FLOAT, workers=workers, staleness=staleness)
    server.open(np.zeros(COUNT))
    return server, server.listen("127.0.0.1")


def test_changes_are_averaged_and_all_get_the_same_weights() -> None:
    server, port = serving()
    client = Client("127.0.0.1", port, server.token, rank=1)
    client.connect(COUNT, FLOAT)
    mine = np.empty(COUNT)
    thread = threading.Thread(target=client.exchange, args=(np.full(COUNT, 4.0), mine))
    thread.start()

    theirs = server.exchange(0, np.full(COUNT, 2.0))
    thread.join(timeout=30)

    assert np.array_equal(theirs, np.full(COUNT, 3.0))
    assert np.array_equal(mine, theirs)
    assert np.array_equal(server.together(), theirs)
    client.close()
    server.close()


def test_a_push_waits_until_there_are_weights() -> None:
    server = Server(count=COUNT, dtype=FLOAT, workers=1, staleness=0)
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(server.exchange(0, np.ones(COUNT))))
    thread.start()
    assert not server.opened

    server.open(np.full(COUNT, 7.0))
    thread.join(timeout=30)

    assert np.array_equal(found[0], np.full(COUNT, 8.0))


@pytest.mark.parametrize(
    ("token", "rank", "count", "dtype"),
    [
        (b"x" * TOKEN_BYTES, 1, COUNT, FLOAT),
        (None, 0, COUNT, FLOAT),
        (None, 2, COUNT, FLOAT),
        (None, 1, COUNT + 1, FLOAT),
        (None, 1, COUNT, np.dtype(np.float32)),
    ],
)
def test_strangers_and_workers_with_other_weights_are_turned_away(
    token: bytes | None, rank: int, count: int, dtype: np.dtype
) -> None:
    server, port = serving()

    with pytest.raises(PeerLostError, match=f"not found at 127.0.0.1:{port}"):
        Client("127.0.0.1", port, token or server.token, rank=rank).connect(
            count, dtype, wait_s=0.2
        )

    right = Client("127.0.0.1", port, server.token, rank=1)
    right.connect(COUNT, FLOAT)
    right.close()
    server.close()


def test_garbage_does_not_stop_it() -> None:
    server, port = serving()
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"\0" * 100)

    client = Client("127.0.0.1", port, server.token, rank=1)
    client.connect(COUNT, FLOAT)
    client.close()
    server.close()


def test_nobody_listens_any_more_once_all_have_come() -> None:
    server, port = serving()
    client = Client("127.0.0.1", port, server.token, rank=1)
    client.connect(COUNT, FLOAT)
    for thread in threading.enumerate():
        if thread.name == "weights":
            thread.join(timeout=30)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    client.close()
    server.close()


def test_closing_ends_every_thread() -> None:
    before = set(threading.enumerate())
    server, port = serving(workers=3)
    client = Client("127.0.0.1", port, server.token, rank=1)
    client.connect(COUNT, FLOAT)

    server.close()
    client.close()

    deadline = time.monotonic() + 30
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)


def test_who_waits_when_another_goes_is_told() -> None:
    server, port = serving()
    client = Client("127.0.0.1", port, server.token, rank=1)
    client.connect(COUNT, FLOAT)
    client.close()

    with pytest.raises(PeerLostError, match="worker 1 left the server of weights"):
        server.exchange(0, np.ones(COUNT))
    server.close()
