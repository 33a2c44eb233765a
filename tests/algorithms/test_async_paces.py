"""Asynchronous SGD: nobody is too far ahead, and up to that nobody waits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from timetrial.testing.gang import Gang

Gangs = Callable[[int], Gang]
STEPS = 12


def leads(found: list[dict[str, np.ndarray]], rank: int) -> np.ndarray:
    """At the beginning of each step of a worker, how far it was ahead of the slowest."""
    done = [
        [np.count_nonzero(other["ended"] < begin) for other in found]
        for begin in found[rank]["begun"]
    ]
    return np.arange(STEPS) - np.array(done).min(axis=1)


@pytest.mark.parametrize(("workers", "slow"), [(2, 0), (3, 1)])
@pytest.mark.parametrize("staleness", [0, 3])
def test_others_run_ahead_of_a_slow_worker_up_to_the_bound_and_no_further(
    workers: int, slow: int, staleness: int, gangs: Gangs
) -> None:
    found = gangs(workers).call(
        "paces:run", staleness=staleness, steps=STEPS, slow=slow, pause_s=0.3
    )

    for rank in range(workers):
        assert leads(found, rank).max() <= staleness
        if rank != slow:
            assert leads(found, rank).max() == staleness
    assert leads(found, slow).max() == 0 or staleness


def test_an_evaluation_sees_the_steps_of_all(gangs: Gangs) -> None:
    found = gangs(3).call("paces:run", staleness=5, steps=STEPS, slow=2, pause_s=0.1)

    # each of 12 steps of 3 workers takes a third of 3 off
    assert np.allclose(found[0]["total"], -3 * STEPS)


@pytest.mark.parametrize("gone", [1, 2])
def test_who_waits_for_a_worker_that_left_is_told_so(gone: int, gangs: Gangs) -> None:
    found = gangs(3).call("paces:lose", gone=gone)

    for rank, each in enumerate(found):
        told = str(each["told"])
        if rank == gone:
            assert told == ""
        elif rank == 0:
            assert told == f"worker {gone} left the server of weights"
        else:
            assert told.startswith("the server of weights in worker 0 is gone")
