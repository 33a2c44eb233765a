"""Rounds in turn, of each the fastest repetition; the best of several sizes."""

from __future__ import annotations

import time
from collections.abc import Callable

from timetrial.ceilings import rounds
from timetrial.ceilings.rounds import Work


def work(measure: str, amount: float, call: Callable[[], object], per_call: int = 1) -> Work:
    return Work(measure, amount, call, "float32", f"{amount:g}", "a test", per_call)


def sleeper(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def test_the_fastest_repetition_counts_and_is_shared_by_its_calls() -> None:
    waits = iter([0.03, 0.002, 0.03])

    seconds = rounds.fastest_s(work("a", 1, lambda: time.sleep(next(waits)), 10), 0.05)

    assert 0.0002 <= seconds < 0.003


def test_one_call_is_enough_where_it_takes_longer_than_the_round() -> None:
    calls: list[int] = []

    rounds.fastest_s(work("a", 1, lambda: calls.append(time.sleep(0.002) or 1)), 0.001)

    assert calls == [1]


def test_the_three_best_sizes_stay_and_one_too_slow_ends_the_trial() -> None:
    def unreached() -> None:
        raise AssertionError("a size above one that does not fit is not tried")

    sizes = [
        work("a", 1, sleeper(0.01)),
        work("a", 30, sleeper(0.01)),
        work("a", 20, sleeper(0.01)),
        work("a", 10, sleeper(0.01)),
        work("a", 1e6, sleeper(0.2)),
        work("a", 1e9, unreached),
    ]

    assert [found.amount for found in rounds.best_of(sizes, 0.15)] == [30, 20, 10]


def test_the_first_size_counts_whatever_it_takes_and_none_is_none() -> None:
    assert [found.amount for found in rounds.best_of([work("a", 1, sleeper(0.02))], 0.001)] == [1]
    assert rounds.best_of([], 0.001) == ()


def test_measures_take_turns_and_all_rounds_decide_between_two_sizes() -> None:
    order: list[str] = []
    told: list[float] = []

    def call(name: str, seconds: float) -> Callable[[], None]:
        return lambda: order.append(name) or time.sleep(seconds)

    lucky, steady = work("a", 1, call("lucky", 0.02)), work("a", 1, call("steady", 0.002))
    other = work("b", 1, call("other", 0.002))

    found = rounds.take_turns(
        [(lucky, steady), (other,)], 3, 0.0, lambda _what, share: told.append(share),
        lambda: order.append("wait"),
    )  # fmt: skip

    assert order == ["wait", "lucky", "steady", "other"] * 3
    assert [chosen for chosen, _ in found] == [steady, other]
    assert [len(seconds) for _, seconds in found] == [3, 3]
    assert told == sorted(told)
    assert told[-1] < 1
