"""Real processes of each algorithm beside the same in plain NumPy, in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy_algorithms import (
    COUNT,
    SHAPES,
    SIZES,
    Gossip,
    LocalSgd,
    MajorityVote,
    PowerSgd,
    Reference,
    ScaledSigns,
    Simulated,
    TopK,
    as_vector,
    simulate,
)

from timetrial.testing.gang import Gang
from timetrial.testing.quadratic import Problem, first_weights

BOUND = 1e-8
STEPS = 25
TRAIN = "timetrial.testing.quadratic:train"
Gangs = Callable[[int], Gang]


def ring(workers: int) -> np.ndarray:
    """The mixing matrix of a ring, by its drawing."""
    hops = np.abs(np.subtract.outer(np.arange(workers), np.arange(workers)))
    near = (hops <= 1) | (hops == workers - 1)
    return near / near.sum(axis=1, keepdims=True)


def torus(rows: int, columns: int) -> np.ndarray:
    """The mixing matrix of a torus: neighbours on one of two rings, and where one is."""
    along = np.kron(np.eye(rows), ring(columns) > 0) + np.kron(ring(rows) > 0, np.eye(columns))
    return (along > 0) / (along > 0).sum(axis=1, keepdims=True)


def gossip(workers: int, matrix: Callable[[int], np.ndarray] = ring) -> Reference:
    return Gossip(workers, matrix=matrix(workers))


make = functools.partial
CASES: Mapping[str, Callable[[int], Reference]] = {
    "allreduce": Reference,
    "local-sgd:period=4": make(LocalSgd, period=4, momentum="local"),
    "local-sgd:period=4:momentum=averaged": make(LocalSgd, period=4, momentum="averaged"),
    "local-sgd:period=4:momentum=reset": make(LocalSgd, period=4, momentum="reset"),
    "top-k:ratio=0.07": make(TopK, ratio=0.07, feedback=True),
    "top-k:ratio=0.07:feedback=false": make(TopK, ratio=0.07, feedback=False),
    "sign": make(ScaledSigns, feedback=True),
    "sign:feedback=false": make(ScaledSigns, feedback=False),
    "sign:form=majority:size=0.01": make(MajorityVote, size=0.01),
    "powersgd:rank=2": make(PowerSgd, seed=3, rank=2, feedback=True),
    "powersgd:rank=1:feedback=false": make(PowerSgd, seed=3, rank=1, feedback=False),
    "gossip": gossip,
}
SYNCHRONOUS = {  # what all of these are, each in its own way
    "local-sgd:period=1": 2,
    "local-sgd:period=1:momentum=averaged": 3,
    "top-k:ratio=1": 3,
    "powersgd:rank=100": 2,
    "powersgd:rank=5": 4,
    "gossip:topology=ring": 3,  # of three: everybody is a neighbour
    "async-sgd:staleness=0": 4,
}


def off_by(found: list[dict[str, np.ndarray]], expected: Simulated) -> float:
    """The largest difference of any weight after any step."""
    seen = np.array([each["weights"] for each in found])
    return float(np.abs(seen.transpose(1, 0, 2) - expected.weights).max())


@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("algorithm", CASES)
def test_several_processes_come_to_what_numpy_does(
    algorithm: str, workers: int, gangs: Gangs
) -> None:
    found = gangs(workers).call(TRAIN, algorithm=algorithm, steps=STEPS)

    expected = simulate(CASES[algorithm], workers, steps=STEPS)

    assert off_by(found, expected) < BOUND
    assert np.isfinite(expected.weights).all()
    if algorithm != "allreduce":  # the case tells the algorithms apart
        plain = simulate(Reference, workers, steps=STEPS)
        same = algorithm == "gossip" and workers < 4
        assert (np.abs(expected.weights - plain.weights).max() < BOUND) == same


def test_a_torus_of_two_by_two_is_a_ring_of_four(gangs: Gangs) -> None:
    assert np.array_equal(torus(2, 2)[0] > 0, [True, True, True, False])
    found = gangs(4).call(TRAIN, algorithm="gossip:topology=torus", steps=STEPS)

    assert off_by(found, simulate(make(gossip, matrix=lambda _: torus(2, 2)), 4, steps=STEPS)) < (
        BOUND
    )


@pytest.mark.parametrize("algorithm", SYNCHRONOUS)
def test_at_their_limits_they_are_synchronous_sgd(algorithm: str, gangs: Gangs) -> None:
    workers = SYNCHRONOUS[algorithm]

    found = gangs(workers).call(TRAIN, algorithm=algorithm, steps=STEPS)

    assert off_by(found, simulate(Reference, workers, steps=STEPS)) < BOUND


@pytest.mark.parametrize("algorithm", ["top-k:ratio=0.07", "sign", "powersgd:rank=1"])
def test_what_was_given_and_what_is_carried_over_is_all_of_the_gradients(
    algorithm: str, gangs: Gangs
) -> None:
    found = gangs(3).call(TRAIN, algorithm=algorithm, steps=STEPS)
    problem = Problem.of(3, COUNT)
    before = [first_weights(COUNT), *found[0]["weights"][:-1]]

    gradients = sum(problem.gradient(r, s, w) for s, w in enumerate(before) for r in range(3))
    carried = sum(in_order(each["ended/carried"]) for each in found)

    given = found[0]["given"].sum(axis=0)
    assert np.abs(given + carried - gradients).max() < BOUND
    assert np.abs(carried).max() > 1e3 * BOUND


def in_order(carried: np.ndarray) -> np.ndarray:
    """What lies in memory's order, in the order of the dimensions."""
    parts = zip(np.split(carried, np.cumsum(SIZES)[:-1]), SHAPES, strict=True)
    return np.concatenate([as_vector(part.reshape(shape[0], -1), shape) for part, shape in parts])
