"""Run by test_networks_in_keras.py, in a process of its own for each of Keras' backends."""

from __future__ import annotations

import keras
import pytest
from every_layer import few_layers
from framework_parity import TASKS, NetworkParity
from small_data import small_splits

from timetrial.frameworks import REGISTRY
from timetrial.spec import Build, Compilable, Workload
from timetrial.tasks.networks import with_keras
from timetrial.testing.contracts import ImplementationCase, ImplementationContract, no_lap

# Keras' own conversion of PyTorch's tensors (backend/torch/core.py), under NumPy 2
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.fixture(autouse=True, scope="session")
def _as_in_a_run() -> None:
    """One thread and repeatable bits: without them TensorFlow promises no bit twice."""
    made = REGISTRY.get(f"keras-{keras.backend.backend()}")()
    made.setup(device="cpu", threads=1, precision="float32")


class TestKerasNetwork(NetworkParity):
    @pytest.fixture
    def build(self) -> Build:
        return with_keras.build


class TestContract(ImplementationContract):
    @pytest.fixture
    def case(self) -> ImplementationCase:
        task = few_layers()  # each of some twenty models is compiled anew
        work = Workload(task=task, seed=7, device="cpu", precision="float32")
        return ImplementationCase(with_keras.build, work, small_splits(task))


def test_compile_changes_no_number():
    task = few_layers()
    work = Workload(task=task, seed=3, device="cpu", precision="float32")
    made = with_keras.build(work, small_splits(task), no_lap)
    before = made.state()
    assert isinstance(made, Compilable)
    made.compile()
    assert made.state() == before


def test_keras_sgd_is_used_where_its_rules_are_the_tasks():
    for name, stock in (("mnist-cnn", True), ("every-layer", False)):
        task = TASKS[name]()
        work = Workload(task=task, seed=3, device="cpu", precision="float32")
        made = with_keras.build(work, small_splits(task), no_lap)
        ours = isinstance(made._optimizer, with_keras.CoupledSgd)
        assert isinstance(made._optimizer, keras.optimizers.SGD)
        assert ours != stock
