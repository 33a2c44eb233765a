"""Two workers that talk over TCP: `python -m timetrial.testing.talk RANK ADDRESS SECONDS`.

Worker 0 listens at ADDRESS. Both measure round trips of a byte, then send to each other as much as
they can for SECONDS, each way on a connection of its own, and print a line of JSON (`Talk`).
"""

from __future__ import annotations

import hashlib
import itertools
import random
import socket
import sys
import threading
import time
from typing import Final

import msgspec

from timetrial.spec import Record

_PORT: Final = 7077
_TRIPS: Final = 30
_PIECE_BYTES: Final = 2**18
_SILENT_S: Final = 30.0  # after which a connection counts as dead
_WINDOW_S: Final = 1.0


class Talk(Record, frozen=True, kw_only=True):
    """What one worker saw."""

    round_trips_s: tuple[float, ...]  # of a byte, before anything else was sent
    bit_per_s: float  # of what arrived, first to last byte
    best_bit_per_s: float  # over a second; 0: it took less
    longest_pause_s: float  # between two arrivals
    intact: bool  # what arrived is what was sent


def main() -> None:
    """Talk as told by the command line."""
    rank, address, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    ways = _connected(rank, address)
    trips = _round_trips(ways[2], rank)
    sender = threading.Thread(target=_send, args=(ways[rank], seconds))
    sender.start()
    arrived, digest = _receive(ways[1 - rank])
    sender.join()
    gaps = [after[0] - before[0] for before, after in itertools.pairwise(arrived)]
    first, last = arrived[0], arrived[-1]
    talk = Talk(
        round_trips_s=tuple(trips),
        bit_per_s=8 * (last[1] - first[1]) / (last[0] - first[0]),
        best_bit_per_s=_best(arrived),
        longest_pause_s=max(gaps),
        intact=digest == _digest(last[1]),
    )
    sys.stdout.buffer.write(msgspec.json.encode(talk) + b"\n")


def _connected(rank: int, address: str) -> list[socket.socket]:
    """Return three connections: one for each way, one for single bytes."""
    if rank == 0:
        with socket.create_server((address, _PORT)) as server:
            made = [server.accept()[0] for _ in range(3)]
    else:
        made = []
        while len(made) < 3:
            try:
                made.append(socket.create_connection((address, _PORT)))
            except OSError:
                time.sleep(0.02)
    for connection in made:
        connection.settimeout(_SILENT_S)
    return made


def _round_trips(single: socket.socket, rank: int) -> list[float]:
    single.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    took = []
    for _ in range(_TRIPS):
        began = time.monotonic()
        if rank == 1:
            single.recv(1)
        single.sendall(b"x")
        if rank == 0:
            single.recv(1)
        took.append(time.monotonic() - began)
    return took


def _send(out: socket.socket, seconds: float) -> None:
    piece = random.Random(1).randbytes(_PIECE_BYTES)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        out.sendall(piece)
    out.shutdown(socket.SHUT_WR)


def _receive(into: socket.socket) -> tuple[list[tuple[float, int]], bytes]:
    """Return when how many bytes had come, and their SHA-256."""
    arrived: list[tuple[float, int]] = []
    total, sha = 0, hashlib.sha256()
    while content := into.recv(_PIECE_BYTES):
        total += len(content)
        arrived.append((time.monotonic(), total))
        sha.update(content)
    return arrived, sha.digest()


def _digest(total: int) -> bytes:
    """Return the SHA-256 of what was sent, whole pieces."""
    piece, sha = random.Random(1).randbytes(_PIECE_BYTES), hashlib.sha256()
    for _ in range(total // _PIECE_BYTES):
        sha.update(piece)
    return sha.digest()


def _best(arrived: list[tuple[float, int]]) -> float:
    best, end = 0.0, 0
    for when, count in arrived:
        while end < len(arrived) and arrived[end][0] < when + _WINDOW_S:
            end += 1
        if end == len(arrived):
            break
        best = max(best, 8 * (arrived[end][1] - count) / (arrived[end][0] - when))
    return best


if __name__ == "__main__":
    main()
