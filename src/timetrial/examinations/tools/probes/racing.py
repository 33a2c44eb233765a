"""Tuning: searches by a tool beside random searches of the same budget, on Branin's function.

The tool is given the space once and each result as it comes; between them nothing of ours decides.
Seed by seed, a random search draws as many points evenly over the same space.

Source: Surjanovic and Bingham, Virtual Library of Simulation Experiments, Branin function: its
formula, its domain and its least value of 0.397887; read 2026-11-23.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

import numpy as np

from timetrial.examinations.tools.probes.telling import Order, Telling

FUNCTION: Final = "branin"
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {"x1": (-5.0, 10.0), "x2": (0.0, 15.0)}
LEAST: Final = 0.39788735772973816

Point: TypeAlias = Mapping[str, float]


class Searcher(Protocol):
    """One search by the tool, which minimises."""

    def ask(self) -> Point:
        """Return the point that the tool proposes next."""

    def tell(self, point: Point, value: float) -> None:
        """Tell the tool the value at the point it proposed last."""


def branin(point: Point) -> float:
    """Return Branin's function, which has three minima of one depth."""
    x1, x2 = point["x1"], point["x2"]
    bend = x2 - 5.1 / (4 * math.pi**2) * x1**2 + 5 / math.pi * x1 - 6
    return bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x1) + 10


def race(
    order: Order, telling: Telling, new_search: Callable[[int], Searcher], *, how: str
) -> None:
    """Search once for each seed by the tool and at random; tell how far each stayed above."""
    races = []
    spent_s = 0.0
    for seed in order.seeds:
        best = math.inf
        begun_s = time.perf_counter()
        search = new_search(seed)
        for _ in range(order.budget):
            point = search.ask()
            _check(point)
            value = branin(point)
            search.tell(point, value)
            best = min(best, value)
        spent_s += time.perf_counter() - begun_s
        races.append(
            {"seed": seed, "tool": _above(best), "random": _above(_random(seed, order.budget))}
        )
    telling.tell(
        "raced",
        function=FUNCTION,
        budget=order.budget,
        races=races,
        seconds_per_point=spent_s / (len(races) * order.budget),
        how=how,
    )


def _random(seed: int, budget: int) -> float:
    """Return the best of a random search."""
    draws = np.random.Generator(np.random.Philox(seed)).random((budget, len(BOUNDS)))
    lows = np.array([low for low, _ in BOUNDS.values()])
    highs = np.array([high for _, high in BOUNDS.values()])
    points = lows + draws * (highs - lows)
    return min(branin(dict(zip(BOUNDS, row, strict=True))) for row in points.tolist())


def _above(value: float) -> float:
    return max(0.0, value - LEAST)


def _check(point: Point) -> None:
    for name, (low, high) in BOUNDS.items():
        if not low <= point[name] <= high:
            raise ValueError(f"The tool proposed {name} = {point[name]}, outside {low} to {high}.")
