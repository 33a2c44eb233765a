"""The switch, with sockets in the place of TAP devices: no rights are needed."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import pytest

from timetrial.launch.network.delayline import Account, Losses, Setting
from timetrial.spec.network import Link

NOBODY: Final = 255
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="TAP devices are Linux's")


def hardware(rank: int) -> bytes:
    return bytes([2, 0, 0, 0, 0, rank])


def frame(sender: int, receiver: int, number: int = 0, size: int = 1000) -> bytes:
    """A frame of `size` bytes with a number in it."""
    content = hardware(receiver) + hardware(sender) + b"\x08\x00" + number.to_bytes(4, "big")
    return bytes(10) + content.ljust(size, b"\0")


def number_of(content: bytes) -> int:
    return int.from_bytes(content[24:28], "big")


class Running:
    """A switch at work; `account` is there once the block is left."""

    def __init__(self, ports: list[socket.socket], process: subprocess.Popen[bytes]) -> None:
        self.ports = ports
        self.process = process
        self.account: Account | None = None

    def send(self, sender: int, receiver: int, count: int, *, size: int = 1000) -> None:
        for number in range(count):
            self.ports[sender].send(frame(sender, receiver, number, size))

    def received(self, rank: int, *, quiet_s: float = 1.0) -> list[tuple[float, int]]:
        """When which frames came, until none has come for `quiet_s`."""
        seen = []
        self.ports[rank].settimeout(quiet_s)
        with contextlib.suppress(TimeoutError):
            while True:
                content = self.ports[rank].recv(70_000)
                seen.append((time.monotonic(), number_of(content)))
        return seen


@contextlib.contextmanager
def switch(*links: Link, seed: int = 1) -> Iterator[Running]:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in links]
    for _, inner in pairs:
        inner.setblocking(False)
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**21)  # what waits to be received
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "timetrial.launch.network.delayline"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[inner.fileno() for _, inner in pairs],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    setting = Setting(
        taps=tuple(inner.fileno() for _, inner in pairs),
        addresses=tuple(hardware(rank).hex() for rank in range(len(links))),
        links=links,
        seed=seed,
    )
    process.stdin.write(msgspec.json.encode(setting) + b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"ready\n"
    running = Running([outer for outer, _ in pairs], process)
    try:
        yield running
    finally:
        last, _ = process.communicate(timeout=30)
        for outer, inner in pairs:
            outer.close()
            inner.close()
    assert process.returncode == 0
    running.account = msgspec.json.decode(last, type=Account)


def test_a_frame_goes_to_its_receiver_and_one_for_nobody_to_all_others() -> None:
    with switch(Link(), Link(), Link()) as running:
        running.send(0, 2, 3)
        running.ports[1].send(frame(1, NOBODY, 9))
        seen = [[number for _, number in running.received(rank)] for rank in range(3)]

    assert seen == [[9], [], [0, 1, 2, 9]]
    assert running.account is not None
    assert (running.account.trains, running.account.frames, running.account.bytes) == (4, 4, 4000)


def test_frames_arrive_in_order_after_the_mean_of_both_links_delays() -> None:
    delay_s = (0.02 + 0.1) / 2
    with switch(Link(delay_s=0.02), Link(delay_s=0.1)) as running:
        sent, seen = [], []
        for number in range(20):
            sent.append(time.monotonic())
            running.ports[0].send(frame(0, 1, number))
            time.sleep(0.005)
        seen = running.received(1)

    assert [number for _, number in seen] == list(range(20))
    took = [arrived - left for (arrived, _), left in zip(seen, sent, strict=True)]
    assert min(took) >= delay_s
    assert min(took) < 1.2 * delay_s


def spacing_s(running: Running, receiver: int) -> float:
    """The mean time between two frames."""
    seen = running.received(receiver)
    return (seen[-1][0] - seen[0][0]) / (len(seen) - 1)


@pytest.mark.parametrize("slow", [0, 1])
def test_frames_pass_at_the_rate_of_the_slower_link(slow: int) -> None:
    links = [Link(rate_bit_per_s=1e9, delay_s=0.005), Link(rate_bit_per_s=1e9, delay_s=0.005)]
    links[slow] = Link(rate_bit_per_s=1e6, delay_s=0.005)
    with switch(*links) as running:
        running.send(0, 1, 80)
        spacing = spacing_s(running, 1)

    assert spacing == pytest.approx(8 * 1000 / 1e6, rel=0.1)


def test_two_senders_share_their_receivers_link() -> None:
    with switch(*[Link(rate_bit_per_s=1e6)] * 3) as running:
        running.send(0, 2, 40)
        running.send(1, 2, 40)
        spacing = spacing_s(running, 2)

    assert spacing == pytest.approx(8 * 1000 / 1e6, rel=0.1)


def test_the_two_ways_of_a_link_do_not_share_its_rate() -> None:
    with switch(*[Link(rate_bit_per_s=1e6)] * 2) as running:
        running.send(0, 1, 80)
        running.send(1, 0, 80)
        with ThreadPoolExecutor() as pool:
            spacings = list(pool.map(lambda rank: spacing_s(running, rank), (0, 1)))

    assert spacings == pytest.approx([8 * 1000 / 1e6] * 2, rel=0.1)


def test_what_waits_too_long_is_dropped_and_counted() -> None:
    with switch(*[Link(rate_bit_per_s=1e5)] * 2) as running:
        for number in range(2000):
            running.ports[0].send(frame(0, 1, number))

    assert running.account is not None
    assert 1000 < running.account.overflowed < 2000  # 256 KiB may wait


def lost(links: Sequence[Link], seed: int) -> set[int]:
    with switch(*links, seed=seed) as running:
        running.send(0, 1, 1000, size=100)
        kept = {number for _, number in running.received(1)}
    assert running.account is not None
    assert running.account.lost == 1000 - len(kept)
    return set(range(1000)) - kept


def test_frames_are_lost_by_chance_as_often_as_asked_and_the_same_for_a_seed() -> None:
    links = [Link(loss=0.1), Link(loss=0.3)]
    first = lost(links, 1)

    assert 150 < len(first) < 250  # 200 on average, a standard deviation of 12.6
    assert lost(links, 1) == first
    assert lost(links, 2) != first


@pytest.mark.parametrize("loss", [0.0, 0.001, 0.5])
@pytest.mark.parametrize("train", [1, 7, 44])
def test_losses_are_as_frequent_in_trains_of_any_length(loss: float, train: int) -> None:
    frames = 44_000
    losses = Losses(Link(loss=loss), Link(loss=loss), [train])
    drawn = [losses.of(train) for _ in range(frames // train)]

    assert all(0 <= number < train for numbers in drawn for number in numbers)
    deviation = (frames * loss * (1 - loss)) ** 0.5
    assert sum(map(len, drawn)) == pytest.approx(frames * loss, abs=5 * deviation + 1e-9)


def test_a_switch_ends_with_the_one_that_started_it() -> None:
    program = (
        "import subprocess, sys, time\n"
        "made = subprocess.Popen([sys.executable, '-m', 'timetrial.launch.network.delayline'],\n"
        "    stdin=subprocess.PIPE)\n"
        """made.stdin.write(b'{"taps": [], "addresses": [], "links": [], "seed": 1}\\n')\n"""
        "made.stdin.flush()\n"
        "print(made.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert starter.stdout.readline() == "ready\n"
    starter.kill()
    assert "seconds" in starter.stdout.read()  # its last line; the output ends with the switch
    starter.wait()
    starter.stdout.close()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
