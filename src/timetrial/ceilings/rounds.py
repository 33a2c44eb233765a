"""How anything is timed: rounds in turn, of each its fastest repetition.

A repetition is a call that returns when the device has finished. All measures of a child take
turns, one round of each, then the next round of each: what disturbs the machine for a second falls
into one round of several measures and not into all rounds of one. Of a round the fastest repetition
counts, as in STREAM, and of all rounds the best: the machine did do that. A product is tried in
several sizes first; the three best take part in all rounds, and the best round counts.

Source: McCalpin, STREAM (www.cs.virginia.edu/stream, read 2026-11-23): best time of the trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

FIT: Final = 1.5  # repetitions of a product that a round has room for
SIZES: Final = 3  # of a product, that take part in the rounds


class Work(NamedTuple):
    """One thing to time: a call that does `amount` of work."""

    measure: str
    amount: float
    call: Callable[[], object]
    precision: str
    size: str
    how: str
    per_call: int = 1  # the seconds of a call are shared by so many


def fastest_s(work: Work, least_s: float) -> float:
    """Return the seconds of the fastest of the calls that fill `least_s`; there is at least one."""
    fastest, begun = float("inf"), time.perf_counter()
    while True:
        at = time.perf_counter()
        work.call()
        ended = time.perf_counter()
        fastest = min(fastest, ended - at)
        if ended - begun >= least_s:
            return fastest / work.per_call


def best_of(sizes: Iterable[Work], round_s: float) -> tuple[Work, ...]:
    """Return the works of the three highest rates among sizes that rise, of those that fit a round.

    Each was called once, so that the library has its plan and the memory is there. The first
    counts whatever it takes; one of which FIT calls do not fit into `round_s` ends the trial.
    Three, as one trial may fall into a lucky moment: all rounds decide between them.
    """
    rates: dict[Work, float] = {}
    for work in sizes:
        seconds = fastest_s(work, round_s / FIT)
        fits = seconds * FIT <= round_s
        if fits or not rates:
            rates[work] = work.amount / seconds
        if not fits:
            break
    return tuple(sorted(rates, key=lambda work: rates[work], reverse=True)[:SIZES])


def take_turns(
    groups: Sequence[Sequence[Work]],
    rounds: int,
    round_s: float,
    say: Callable[[str, float], None],
    wait: Callable[[], None] = lambda: None,
) -> list[tuple[Work, tuple[float, ...]]]:
    """Return, of each group, the work of the best round and the seconds of all of its rounds.

    The works of a group share the time of its round. Before each round `wait` is called.
    """
    found: dict[Work, list[float]] = {work: [] for group in groups for work in group}
    for number in range(rounds):
        wait()
        for place, group in enumerate(groups):
            say(group[0].measure, (number + place / len(groups)) / rounds)
            for work in group:
                found[work].append(fastest_s(work, round_s / len(group)))
    best = (max(group, key=lambda work: work.amount / min(found[work])) for group in groups)
    return [(work, tuple(found[work])) for work in best]
