"""Synchronous SGD on several workers, each a real process, beside one worker and plain NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from every_layer import every_layer
from one_of_several import STEPS
from small_data import small_splits, small_task

from timetrial.launch.local import free_port
from timetrial.plan import find_task
from timetrial.spec import Task, Workload
from timetrial.tasks.networks import reference
from timetrial.testing.contracts import no_lap

PROGRAM = Path(__file__).with_name("one_of_several.py")
BOUND = 1e-8  # relative to each tensor's largest value
FORMS = ("allreduce", "ddp")


def without_norm() -> Task:
    """Return a task whose last mini-batch holds one example: with weights by class."""
    small = small_task(find_task("digits-cnn"), train=37, batch=12)
    return msgspec.structs.replace(small, class_weights=tuple(1.0 + label for label in range(10)))


CASES = [
    Workload(task=task, seed=5, device="cpu", precision="float64", algorithm=form)
    for task in (without_norm(), every_layer())
    for form in FORMS
]


class Together(NamedTuple):
    """What several workers ended with."""

    workers: int
    by_rank: list[Mapping[str, np.ndarray]]

    def variables(self, rank: int, case: int) -> dict[str, np.ndarray]:
        """Return one worker's variables of one case."""
        head = f"{case}/"
        return {n[len(head) :]: v for n, v in self.by_rank[rank].items() if n.startswith(head)}


@pytest.fixture(scope="module", params=[2, 3])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Together:
    """Train every case with so many processes."""
    size = request.param
    folder = tmp_path_factory.mktemp(f"workers{size}")
    cases = folder / "cases.json"
    cases.write_bytes(msgspec.json.encode(CASES))
    port = str(free_port())
    outs = [folder / f"{rank}.npz" for rank in range(size)]
    processes = []
    for rank, out in enumerate(outs):
        told = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_PORT": port}
        command = [sys.executable, str(PROGRAM), "torch", str(cases), str(out)]
        processes.append(subprocess.Popen(command, env={**os.environ, **told}))
    assert [process.wait(timeout=120) for process in processes] == [0] * size
    return Together(size, [dict(np.load(out)) for out in outs])


def reference_variables(work: Workload, workers: int) -> Mapping[str, np.ndarray]:
    """Return what NumPy in one process comes to."""
    work = msgspec.structs.replace(work, workers=workers)
    made = reference.build(work, small_splits(work.task), no_lap)
    made.advance(STEPS)
    return made.variables()


def off_by(seen: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference of a tensor, relative to its largest value."""
    assert seen.keys() == expected.keys()
    return max(
        float(np.abs(seen[name] - value).max() / max(np.abs(value).max(), 1e-300))
        for name, value in expected.items()
    )


@pytest.mark.parametrize("form", FORMS)
def test_several_workers_end_with_the_weights_of_one(together: Together, form: str) -> None:
    case = FORMS.index(form)
    one = reference_variables(CASES[case], 1)
    for rank in range(together.workers):
        assert off_by(together.variables(rank, case), one) < BOUND


@pytest.mark.parametrize("form", FORMS)
def test_batch_norm_goes_by_each_workers_own_part(together: Together, form: str) -> None:
    case = len(FORMS) + FORMS.index(form)
    expected = reference_variables(CASES[case], together.workers)
    assert off_by(together.variables(0, case), expected) < BOUND
    assert off_by(together.variables(0, case), reference_variables(CASES[case], 1)) > 1e3 * BOUND


def test_with_batch_norm_all_workers_hold_the_same_weights_but_own_statistics(
    together: Together,
) -> None:
    first, second = (together.variables(rank, len(FORMS)) for rank in (0, 1))
    for name, value in first.items():
        same = np.array_equal(value, second[name])
        assert same != name.endswith((".mean", ".variance")), name
