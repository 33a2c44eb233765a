"""The switch between the workers of an emulated network.

A program of its own, `python -m timetrial.launch.network.delayline`. It is given a line of JSON
(`Setting`) and open TAP devices, one a worker; says "ready"; forwards
frames until its standard input ends, which happens when the launcher does, by whatever cause; and
prints a line of JSON (`Account`).

A frame that is read from worker i for worker j takes i's link for bits / rate, once the frame
before it has left; arrives after the delay between i and j; and takes its turn on j's link, whose
first bit may pass while the last is still on its way. All of this is reckoned, not waited for: a
switch that was kept from the processor is late, but not slow. A frame that follows within JITTER_S
counts as one that came in time, or a link would lose what it was idle between two frames that were
late; it is handed on no earlier for that.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import math
import os
import random
import select
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from timetrial.launch.network import ethernet
from timetrial.spec import Record
from timetrial.spec.network import Link

QUEUE_S: Final = 0.1  # what waits for a link longer than this is dropped, as by a switch
QUEUE_BYTES_MIN: Final = 256 * 1024  # but so many bytes may always wait
JITTER_S: Final = 0.003
HELD_BYTES_MAX: Final = 256 * 2**20  # in flight, all together
_BATCH: Final = 32  # frames read from one device before another has its turn
_NICENESS: Final = -10
_STDIN: Final = 0
_LATE_S: Final = 0.001


class Setting(Record, frozen=True, kw_only=True):
    """What to forward between. Lists go by rank."""

    taps: tuple[int, ...]  # descriptors
    addresses: tuple[str, ...]  # hardware addresses, in hex
    links: tuple[Link, ...]
    seed: int


class Account(Record, frozen=True, kw_only=True):
    """What passed, and what it cost."""

    seconds: float
    cpu_s: float
    trains: int
    frames: int  # as they would be on a wire
    bytes: int
    lost: int  # by the loss asked for
    overflowed: int  # more than a link's queue holds
    refused: int  # by a device that was down
    late: int  # trains handed over more than 1 ms after their time
    latest_s: float
    priority: str  # of its process


class Switch:
    """Queues, clocks and random losses of all links; `forward` runs them."""

    def __init__(self, setting: Setting) -> None:
        """Take the setting; reads nothing yet."""
        self._taps = setting.taps
        self._ports = {bytes.fromhex(mac): port for port, mac in enumerate(setting.addresses)}
        links = setting.links
        size = range(len(links))
        self._s_per_byte = [8 / (link.rate_bit_per_s or math.inf) for link in links]
        self._queue_s = [max(QUEUE_S, QUEUE_BYTES_MIN * each) for each in self._s_per_byte]
        self._delay_s = [[(links[i].delay_s + links[j].delay_s) / 2 for j in size] for i in size]
        self._loss = [
            [Losses(links[i], links[j], [setting.seed, i, j]) for j in size] for i in size
        ]
        self._sent_at = [0.0 for _ in size]  # when worker i's link is free again
        self._received_at = [0.0 for _ in size]
        # (due, number, port, frame, wire bytes, when its first bit arrives); bytes 0: hand it over
        self._flying: list[tuple[float, int, int, bytes, int, float]] = []
        self._number = self._held_bytes = 0
        self._trains = self._frames = self._bytes = self._lost = self._overflowed = (
            self._refused
        ) = self._late = 0
        self._latest_s = 0.0
        self._open = set(setting.taps)

    def forward(self, priority: str) -> Account:
        """Forward until standard input ends."""
        began, used = time.monotonic(), time.process_time()
        ranks = {tap: rank for rank, tap in enumerate(self._taps)}
        flying, clock = self._flying, time.monotonic
        while True:
            wait = max(0.0, flying[0][0] - clock()) if flying else None
            readable, _, _ = select.select([_STDIN, *self._open], (), (), wait)
            for tap in readable:
                if tap == _STDIN:
                    if not os.read(_STDIN, 4096):
                        return self._account(clock() - began, time.process_time() - used, priority)
                    continue
                self._read(tap, ranks[tap])
            now = clock()
            while flying and flying[0][0] <= now:
                self._arrive(now)

    def _read(self, tap: int, sender: int) -> None:
        """Take what a worker has sent, each frame with the time that it may leave at."""
        for _ in range(_BATCH):
            try:
                frame = os.read(tap, ethernet.FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:  # the device is gone with its namespace
                self._open.discard(tap)
                return
            train = ethernet.measure(frame)
            now = time.monotonic()
            free = self._sent_at[sender]
            if free - now > self._queue_s[sender]:
                self._overflowed += train.frames
                continue
            took = train.wire_bytes * self._s_per_byte[sender]
            self._sent_at[sender] = sent = (free if now - free < JITTER_S else now) + took
            self._frames += train.frames
            self._trains += 1
            self._bytes += train.wire_bytes
            port = self._ports.get(ethernet.destination(frame))
            others = [port] if port is not None else range(len(self._taps))
            for receiver in others:
                if receiver != sender:
                    self._fly(frame, train, sender, receiver, max(now, sent), took)

    def _fly(
        self,
        frame: bytes,
        train: ethernet.Train,
        sender: int,
        receiver: int,
        sent: float,
        took: float,
    ) -> None:
        """Put on its way what the loss leaves of a train."""
        losses = self._loss[sender][receiver]
        arrives = sent + self._delay_s[sender][receiver]
        if train.frames < losses.spared:
            losses.spared -= train.frames
            parts = [frame]
        else:
            gone = losses.of(train.frames)
            self._lost += len(gone)
            parts = ethernet.without(frame, train, gone)
        for part in parts:
            if self._held_bytes + len(part) > HELD_BYTES_MAX:
                self._overflowed += train.frames
                return
            size = train.wire_bytes if part is frame else ethernet.measure(part).wire_bytes
            self._held_bytes += len(part)
            self._number += 1
            heapq.heappush(
                self._flying, (arrives, self._number, receiver, part, size, arrives - took)
            )

    def _arrive(self, now: float) -> None:
        """Give the next train its turn on the receiver's link, or hand it over."""
        due, _, port, frame, size, arrives = heapq.heappop(self._flying)
        if size:
            begins = max(arrives, self._received_at[port])
            if begins - arrives > self._queue_s[port]:
                self._held_bytes -= len(frame)
                self._overflowed += 1
                return
            ends = max(due, begins + size * self._s_per_byte[port])
            self._received_at[port] = ends
            if ends > now:
                self._number += 1
                heapq.heappush(self._flying, (ends, self._number, port, frame, 0, ends))
                return
            due = ends
        self._held_bytes -= len(frame)
        late_s = now - due
        if late_s > self._latest_s:
            self._latest_s = late_s
        if late_s > _LATE_S:
            self._late += 1
        try:
            os.write(self._taps[port], frame)
        except OSError:
            self._refused += 1

    def _account(self, seconds: float, cpu_s: float, priority: str) -> Account:
        return Account(
            seconds=seconds,
            cpu_s=cpu_s,
            trains=self._trains,
            frames=self._frames,
            bytes=self._bytes,
            lost=self._lost,
            overflowed=self._overflowed,
            refused=self._refused,
            late=self._late,
            latest_s=self._latest_s,
            priority=priority,
        )


class Losses:
    """Which frames between two workers are lost: each with the same probability, for itself."""

    def __init__(self, sender: Link, receiver: Link, key: Sequence[int]) -> None:
        """Begin the random sequence that belongs to `key`."""
        self._loss = (sender.loss + receiver.loss) / 2
        self._random = random.Random(":".join(map(str, key)))
        self.spared = self._gap()

    def of(self, count: int) -> list[int]:
        """Return which of the next `count` frames are lost, from 0."""
        lost: list[int] = []
        while self.spared < count:
            lost.append(int(self.spared))
            self.spared += 1 + self._gap()
        self.spared -= count
        return lost

    def _gap(self) -> float:
        """Return how many frames pass before the next loss: the geometric distribution."""
        if self._loss == 0:
            return math.inf
        return math.floor(math.log(1.0 - self._random.random()) / math.log1p(-self._loss))


def main() -> None:
    """Forward as told on standard input."""
    setting = msgspec.json.decode(sys.stdin.buffer.readline(), type=Setting)
    switch = Switch(setting)
    priority = _hurry()
    gc.disable()  # nothing here refers to itself
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    account = switch.forward(priority)
    sys.stdout.buffer.write(msgspec.json.encode(account) + b"\n")


def _hurry() -> str:
    """Take the best priority that is allowed, and say which: a late switch is a wrong network."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return "real time"
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
        return f"nice {_NICENESS}"
    return "usual"


if __name__ == "__main__":
    main()
