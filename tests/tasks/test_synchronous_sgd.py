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
from every_layer import LAYERS, every_layer
from one_of_several import STEPS
from own_process import XLA_IN_A_HURRY
from small_data import small_splits, small_task

from timetrial.launch.local import free_port
from timetrial.plan import find_task
from timetrial.spec import Network, Residual, Task, Workload
from timetrial.tasks.networks import reference
from timetrial.testing.contracts import no_lap

PROGRAM = Path(__file__).with_name("one_of_several.py")
BOUND = 1e-8  # relative to each tensor's largest value
FORMS = ("allreduce", "ddp")


def without_norm() -> Task:
    """Return a task whose last mini-batch holds one example: with weights by class."""
    small = small_task(find_task("digits-cnn"), train=37, batch=12)
    return msgspec.structs.replace(small, class_weights=tuple(1.0 + label for label in range(10)))


def with_norm() -> Task:
    """Return a task with batch norm, dropout and crops; its last mini-batch holds 8 examples."""
    layers = tuple(layer for layer in LAYERS if not isinstance(layer, Residual))
    return msgspec.structs.replace(every_layer(), model=Network(layers=layers))


CASES = [
    Workload(task=task, seed=5, device="cpu", precision="float64", algorithm=form)
    for task in (without_norm(), with_norm())
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


SLOW = (pytest.mark.slow, pytest.mark.timeout(900))  # JAX compiles each network for each worker


@pytest.fixture(
    scope="module",
    params=[
        *(("torch", size) for size in (2, 3)),
        pytest.param(("jax", 3), marks=SLOW),
    ],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Together:
    """Train every case in one framework with so many processes."""
    framework, size = request.param
    folder = tmp_path_factory.mktemp(f"{framework}-workers{size}")
    cases = folder / "cases.json"
    cases.write_bytes(msgspec.json.encode(CASES))
    port = str(free_port())
    outs = [folder / f"{rank}.npz" for rank in range(size)]
    processes = []
    for rank, out in enumerate(outs):
        told = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_PORT": port}
        command = [sys.executable, str(PROGRAM), framework, str(cases), str(out)]
        environment = {**os.environ, "XLA_FLAGS": XLA_IN_A_HURRY, **told}
        processes.append(subprocess.Popen(command, env=environment))
    limit_s = 800 if framework == "jax" else 120
    assert [process.wait(timeout=limit_s) for process in processes] == [0] * size
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
