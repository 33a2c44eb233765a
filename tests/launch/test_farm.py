"""Runs side by side: as many as have room, in their order, ended together."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from timetrial.errors import LaunchError
from timetrial.launch import farm

WAIT_S = 30.0


class Work:
    """Keeps who ran beside whom; an item runs until two are there, or until it is let go."""

    def __init__(self, at_once: int = 1) -> None:
        self.order: list[str] = []
        self.most = 0
        self._now: set[str] = set()
        self._at_once = at_once
        self._lock = threading.Lock()
        self.met = threading.Event()

    def __call__(self, item: str, hear: farm.Hear) -> None:
        with self._lock:
            self.order.append(item)
            self._now.add(item)
            self.most = max(self.most, len(self._now))
            if len(self._now) >= self._at_once:
                self.met.set()
        try:
            assert self.met.wait(WAIT_S)
            hear()
        finally:
            with self._lock:
                self._now.discard(item)


def press_ctrl_c() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def test_as_many_run_at_once_as_have_room_and_no_more():
    work = Work(at_once=2)
    farm.run_all("abcdef", [1 / 2] * 6, work)
    assert work.order == list("abcdef")
    assert work.most == 2


def test_runs_that_need_all_the_room_run_alone_and_in_their_turn():
    work = Work()
    farm.run_all("abcd", [1 / 3, farm.ALONE, 1 / 3, farm.ALONE], work)
    assert work.order == list("abcd")
    assert work.most == 1


def test_shares_of_different_sizes_fill_the_room_together():
    work = Work(at_once=3)
    farm.run_all("abc", [1 / 2, 1 / 4, 1 / 4], work)
    assert work.most == 3


def test_a_run_alone_has_the_main_thread_which_ctrl_c_reaches():
    threads = []
    farm.run_all("a", [farm.ALONE], lambda item, hear: threads.append(threading.current_thread()))
    assert threads == [threading.main_thread()]


def test_after_an_error_the_others_end_and_no_further_one_begins():
    ended: list[str] = []
    failed = threading.Event()

    def work(item: str, hear: farm.Hear) -> None:
        if item == "a":
            failed.set()
            raise LaunchError("no machine")
        assert failed.wait(WAIT_S)
        time.sleep(0.2)
        ended.append(item)

    with pytest.raises(LaunchError, match="no machine"):
        farm.run_all("abcd", [1 / 2] * 4, work)
    assert ended == ["b"]


def test_ctrl_c_is_heard_by_all_that_run_and_nothing_else_begins():
    begun: list[str] = []
    heard: list[str] = []

    def work(item: str, hear: farm.Hear) -> None:
        begun.append(item)
        if len(begun) == 2:
            press_ctrl_c()
        deadline = time.monotonic() + WAIT_S
        try:
            while time.monotonic() < deadline:
                hear()
                time.sleep(0.01)
        except KeyboardInterrupt:
            heard.append(item)
            raise

    with pytest.raises(KeyboardInterrupt):
        farm.run_all("abcd", [1 / 2] * 4, work)
    assert sorted(begun) == sorted(heard) == ["a", "b"]


def test_a_second_ctrl_c_is_heard_as_a_second_one():
    heard = []

    def work(item: str, hear: farm.Hear) -> None:
        for _ in range(2):
            press_ctrl_c()
            deadline = time.monotonic() + WAIT_S
            try:
                while time.monotonic() < deadline:
                    hear()
                    time.sleep(0.01)
            except KeyboardInterrupt:
                heard.append(item)

    with pytest.raises(KeyboardInterrupt):
        farm.run_all("a", [1 / 2], work)
    assert heard == ["a", "a"]
