"""Every implementation of every kind of task, in each of its precisions, keeps the contract.

The CIFAR tasks are one implementation with other layers: the one that has every kind of layer and
the first of the family stand for them. JAX compiles each network anew, for seconds: it does one
small task and the one with every layer. Keras needs a process for each backend:
test_networks_in_keras.py.
"""

from __future__ import annotations

from typing import cast

import pytest
from every_layer import every_layer
from small_data import small_splits, small_task

from timetrial._registry import load_object
from timetrial.plan import TASKS, find_task
from timetrial.spec import Build, Workload
from timetrial.testing import fakes
from timetrial.testing.contracts import ImplementationCase, ImplementationContract

JAX, KERAS, TORCH = (
    f"timetrial.tasks.networks.with_{name}:build" for name in ("jax", "keras", "torch")
)
CASES = [
    (name, path, precision)
    for name in TASKS.names()
    if name != "imagenet-resnet50"  # hours: its own test has few and small steps
    for path in find_task(name).implementations.values()
    for precision in find_task(name).precisions
    if not name.startswith(("cifar10", "imagenet")) and path not in (JAX, KERAS)
]
CASES += [
    ("digits-cnn", "timetrial.tasks.networks.reference:build", "float64"),
    (fakes.TASK.name, "timetrial.testing.fakes:build", "float64"),
    ("mnist-cnn", JAX, "float32"),
    (every_layer().name, JAX, "bfloat16"),
    *((every_layer().name, TORCH, precision) for precision in every_layer().precisions),
    ("cifar10-resnet20-v1-2020", TORCH, "float32"),  # its schedule looks at evaluations
]
OWN = {fakes.TASK.name: fakes.TASK, every_layer().name: every_layer()}


@pytest.mark.parametrize(("name", "path", "precision"), CASES)
class TestImplementations(ImplementationContract):
    @pytest.fixture
    def case(self, name: str, path: str, precision: str) -> ImplementationCase:
        task = small_task(OWN.get(name) or find_task(name))
        work = Workload(task=task, seed=7, device="cpu", precision=precision)
        return ImplementationCase(cast(Build, load_object(path)), work, small_splits(task))
