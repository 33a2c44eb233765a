"""One of two workers that talk over TCP: `python talk.py RANK ADDRESS SECONDS`.

Worker 0 prints a line of JSON: the shortest round trip of a byte, and, for both ways at once, the
mean rate of what arrived, the best over a second, and whether it arrived as it was sent.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import sys
import threading
import time

PORT, TRIPS, PIECE = 7077, 30, 2**18


def connected(rank: int, address: str) -> list[socket.socket]:
    """Three connections: one for each way, one for single bytes."""
    if rank == 0:
        with socket.create_server((address, PORT)) as server:
            return [server.accept()[0] for _ in range(3)]
    made: list[socket.socket] = []
    while len(made) < 3:
        try:
            made.append(socket.create_connection((address, PORT)))
        except OSError:
            time.sleep(0.02)
    return made


def round_trip(talk: socket.socket, rank: int) -> float:
    talk.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    took = []
    for _ in range(TRIPS):
        began = time.monotonic()
        if rank == 0:
            talk.sendall(b"x")
            talk.recv(1)
            took.append(time.monotonic() - began)
        else:
            talk.recv(1)
            talk.sendall(b"x")
    return min(took, default=0.0)


def send(out: socket.socket, seconds: float) -> None:
    piece = random.Random(1).randbytes(PIECE)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        out.sendall(piece)
    out.shutdown(socket.SHUT_WR)


def receive(into: socket.socket, seen: dict[str, float]) -> None:
    piece = random.Random(1).randbytes(PIECE)
    arrived: list[tuple[float, int]] = []
    total, sha = 0, hashlib.sha256()
    while content := into.recv(PIECE):
        total += len(content)
        arrived.append((time.monotonic(), total))
        sha.update(content)
    whole = hashlib.sha256()
    for _ in range(total // PIECE):
        whole.update(piece)
    rates = []
    for when, count in arrived:
        later = next((other for other in arrived if other[0] >= when + 1.0), None)
        if later is not None:
            rates.append(8 * (later[1] - count) / (later[0] - when))
    first, last = arrived[0], arrived[-1]
    seen["mean_bit_per_s"] = 8 * (last[1] - first[1]) / (last[0] - first[0])
    seen["best_bit_per_s"] = max(rates, default=0.0)
    seen["intact"] = sha.digest() == whole.digest()


def main() -> None:
    rank, address, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    ways = connected(rank, address)
    trip_s = round_trip(ways[2], rank)
    seen: dict[str, float] = {}
    sender = threading.Thread(target=send, args=(ways[rank], seconds))
    sender.start()
    receive(ways[1 - rank], seen)
    sender.join()
    print(json.dumps({"round_trip_s": trip_s, **seen}), flush=True)


if __name__ == "__main__":
    main()
