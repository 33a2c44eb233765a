"""Searches beside random searches: who learns wins, who draws at random does not."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize
from tool_records import installed, made_tool

from timetrial.examinations.tools import judging
from timetrial.examinations.tools.probes import racing, with_lines
from timetrial.examinations.tools.probes.racing import BOUNDS, LEAST, Point, Searcher, branin
from timetrial.examinations.tools.probes.telling import Order, Telling
from timetrial.examinations.tools.records import Raced, read_line

ORDER = Order(Path(), steps=1, pace_s=0.0, budget=30, seeds=tuple(range(12)))


class Draws:
    """Learns nothing: another random search."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)

    def ask(self) -> Point:
        return {name: self._draw.uniform(*ends) for name, ends in BOUNDS.items()}

    def tell(self, point: Point, value: float) -> None:
        pass


class Strays(Draws):
    """Proposes what is not in the space."""

    def ask(self) -> Point:
        return {"x1": 11.0, "x2": 0.0}


def raced(new_search: Callable[[int], Searcher]) -> Raced:
    out = io.StringIO()
    racing.race(ORDER, Telling(out), new_search, how="")
    seen = read_line(out.getvalue().encode())
    assert isinstance(seen, Raced)
    return seen


def test_branins_least_value_is_the_published_one_and_is_inside_the_space() -> None:
    ends = list(BOUNDS.values())
    found = optimize.dual_annealing(
        lambda x: branin({"x1": x[0], "x2": x[1]}), ends, rng=1, maxiter=200
    )

    assert found.fun == pytest.approx(LEAST, abs=1e-9)
    assert pytest.approx(0.397887, abs=1e-6) == LEAST


def test_who_learns_beats_random_search() -> None:
    cell = judging.judge(made_tool(), [installed(), raced(with_lines._Search)])["tuning"]

    assert (cell.value, cell.short) == ("yes", ""), cell.reason


def test_another_random_search_does_not() -> None:
    cell = judging.judge(made_tool(), [installed(), raced(Draws)])["tuning"]

    assert (cell.value, cell.short) == ("limited", "not told from random"), cell.reason


def test_every_seed_has_a_random_search_of_its_own() -> None:
    races = raced(Draws).races

    assert [race.seed for race in races] == list(ORDER.seeds)
    assert len({race.random for race in races}) == len(races)
    assert all(race.random > 0 and np.isfinite(race.random) for race in races)


def test_a_point_outside_the_space_ends_the_race() -> None:
    with pytest.raises(ValueError, match=r"proposed x1 = 11.0, outside -5.0 to 10.0"):
        raced(Strays)
