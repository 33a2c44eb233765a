"""The workers of a run among themselves, over real connections; a lost one is noticed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from timetrial.engine import team as teams
from timetrial.engine.team import FIRST_PACE, Seat, Team
from timetrial.errors import LaunchError, PeerLostError
from timetrial.launch.local import free_port


def joined(size: int) -> list[Team]:
    """Return a team whose members are all in this process."""
    port = free_port()
    members = [
        Team(Seat(rank, size, "127.0.0.1", port), run="r", attempt=1) for rank in range(size)
    ]
    in_parallel([member.join for member in members])
    return members


def in_parallel(calls: list[Callable[[], Any]]) -> list[Any]:
    """Return what the calls return, or raise what one of them raises."""
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []

    def act(index: int) -> None:
        try:
            results[index] = calls[index]()
        except BaseException as error:  # noqa: BLE001 - handed on below
            errors.append(error)

    threads = [threading.Thread(target=act, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    if errors:
        raise errors[0]
    return results


def test_all_agree_on_what_worker_0_says_and_it_hears_all_by_rank() -> None:
    members = joined(3)
    said = in_parallel([lambda m=m: m.agree({"from": m.rank}) for m in members])  # type: ignore[misc]
    assert said == [{"from": 0}] * 3
    heard = in_parallel([lambda m=m: m.gather(m.rank * 10) for m in members])  # type: ignore[misc]
    assert heard == [[0, 10, 20], None, None]
    for member in members:
        member.leave()


def test_the_pace_is_what_worker_0_wanted_one_call_earlier() -> None:
    members = joined(2)
    for wanted, expected in ((7, FIRST_PACE), (9, 7), (0, 9), (5, 0)):
        got = in_parallel([lambda m=m, w=wanted: m.pace(w + m.rank * 100) for m in members])  # type: ignore[misc]
        assert got == [expected, expected]
    for member in members:
        member.leave()


def test_alone_everything_returns_at_once() -> None:
    alone = Team(Seat())
    alone.join()
    assert alone.agree(3) == 3
    assert alone.gather("x") == ["x"]
    assert alone.pace(12) == 12
    alone.leave()


def test_a_stop_asked_of_any_worker_reaches_worker_0() -> None:
    members = joined(3)
    members[2].ask_to_stop()
    deadline = time.monotonic() + 10
    while not members[0].stop_asked:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for member in members:
        member.leave()


def test_who_leaves_with_a_goodbye_is_not_lost() -> None:
    members = joined(3)
    members[1].leave()
    time.sleep(1.0)
    assert members[0].lost is None
    assert in_parallel([lambda m=m: m.agree(1) for m in (members[0], members[2])]) == [1, 1]  # type: ignore[misc]
    for member in members:
        member.leave()


def test_a_worker_that_fails_tells_the_others_why() -> None:
    members = joined(3)
    members[1].leave("its disk is full")
    for other in (members[0], members[2]):
        with pytest.raises(PeerLostError, match="worker 1 failed: its disk is full"):
            other.gather(1) if other.rank == 0 else other.agree(None)
    for member in members:
        member.leave()


PEER = """
    import json, os, sys, time
    from timetrial.engine.team import Seat, Team

    rank, port = int(sys.argv[1]), int(sys.argv[2])
    team = Team(Seat(rank, 2, "127.0.0.1", port), run="r", attempt=0)
    team.when_lost(lambda reason: (print("LOST " + reason, flush=True), os._exit(76)))
    team.join()
    print("joined", flush=True)
    time.sleep(120)  # as in a collective call that never returns
"""


def peers() -> list[subprocess.Popen[str]]:
    """Start two workers that wait in a call; return them joined."""
    port = free_port()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PEER), str(rank), str(port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "joined\n"
    return started


@pytest.mark.parametrize("gone", [0, 1])
def test_a_worker_that_waits_in_a_call_ends_when_the_other_was_killed(gone: int) -> None:
    pair = peers()
    pair[gone].kill()
    left = pair[1 - gone]
    assert left.stdout is not None
    assert left.stdout.readline() == f"LOST worker {gone} is gone\n"
    assert left.wait(30) == teams.EXIT_LOST
    pair[gone].wait(30)
    for process in pair:
        assert process.stdout is not None
        process.stdout.close()


def test_a_frozen_worker_is_noticed() -> None:
    port = free_port()
    first = Team(Seat(0, 2, "127.0.0.1", port), run="r", attempt=1, lost_after_s=2.0)
    opened: list[socket.socket] = []

    def mute() -> None:  # says who it is, and never a word again
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.sendall(json.dumps({"run": "r", "attempt": 1, "rank": 1}).encode() + b"\n")
        opened.append(connection)

    in_parallel([first.join, lambda: (time.sleep(0.3), mute())])
    with pytest.raises(PeerLostError, match=r"worker 1 was silent for 2 s: frozen, or cut off"):
        first.gather(None)
    first.leave()
    opened[0].close()


def test_a_stranger_is_turned_away_and_the_right_worker_still_comes() -> None:
    port = free_port()
    first = Team(Seat(0, 2, "127.0.0.1", port), run="r", attempt=1)
    second = Team(Seat(1, 2, "127.0.0.1", port), run="r", attempt=1)

    def strangers() -> None:
        for greeting in (b"GET / HTTP/1.1\r\n\r\n", b'{"run": "other", "attempt": 1, "rank": 1}\n',
                         b'{"run": "r", "attempt": 1, "rank": 9}\n', b"[]\n"):  # fmt: skip
            for _ in range(200):
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                        connection.sendall(greeting)
                        assert connection.recv(100) == b""
                    break
                except ConnectionRefusedError:
                    time.sleep(0.02)
        second.join()

    in_parallel([first.join, strangers])
    assert in_parallel([lambda: first.agree("hi"), lambda: second.agree(None)]) == ["hi", "hi"]
    first.leave()
    second.leave()


def test_who_never_comes_is_named() -> None:
    first = Team(Seat(0, 3, "127.0.0.1", free_port()), run="r", attempt=1)
    with pytest.raises(PeerLostError, match=r"workers \[1, 2\] of 3 did not come"):
        first.join(wait_s=0.3)
    second = Team(Seat(1, 2, "127.0.0.1", free_port()), run="r", attempt=1)
    with pytest.raises(PeerLostError, match=r"worker 0 was not found at 127\.0\.0\.1"):
        second.join(wait_s=0.3)


def test_a_seat_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="RANK='x'"):
        Seat.of({"RANK": "x"})
