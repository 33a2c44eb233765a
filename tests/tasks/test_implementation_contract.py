"""Every implementation of every task, in each of its precisions, keeps the contract."""

from __future__ import annotations

from typing import cast

import pytest
from small_data import small_splits, small_task

from timetrial._registry import load_object
from timetrial.plan import TASKS, find_task
from timetrial.spec import Build, Workload
from timetrial.testing import fakes
from timetrial.testing.contracts import ImplementationCase, ImplementationContract

CASES = [
    (name, path, precision)
    for name in TASKS.names()
    if name != "imagenet-resnet50"  # hours: its own test has few and small steps
    for path in find_task(name).implementations.values()
    for precision in find_task(name).precisions
]
CASES += [
    ("digits-cnn", "timetrial.tasks.networks.reference:build", "float64"),
    (fakes.TASK.name, "timetrial.testing.fakes:build", "float64"),
]


@pytest.mark.parametrize(("name", "path", "precision"), CASES)
class TestImplementations(ImplementationContract):
    @pytest.fixture
    def case(self, name: str, path: str, precision: str) -> ImplementationCase:
        task = small_task(fakes.TASK if name == fakes.TASK.name else find_task(name))
        work = Workload(task=task, seed=7, device="cpu", precision=precision)
        return ImplementationCase(cast(Build, load_object(path)), work, small_splits(task))
