"""Operations and bytes of a step against counts by hand and PyTorch's own counter."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))
from small_data import small_splits, small_task

from timetrial.plan import find_task
from timetrial.spec import Dense, Flatten, Network, Task, Workload, step_work
from timetrial.spec.work import ACTIVATION_BYTES

NETWORKS = ("digits-cnn", "mnist-cnn", "fashion-mnist-cnn", "cifar10-resnet20-v1",
            "cifar10-resnet20-v2", "cifar10-vgg-published", "cifar10-resnet18")  # fmt: skip


def test_the_network_of_document_004_by_hand() -> None:
    # 28 x 28 x 1; conv 4 x 4 to 25 x 25 x 32; pool to 12; conv 3 x 3 to 10 x 10 x 16; pool to 5
    first = 2 * 25 * 25 * 32 * 4 * 4 * 1
    second = 2 * 10 * 10 * 16 * 3 * 3 * 32
    dense = 2 * (400 * 128 + 128 * 64 + 64 * 10)
    found = step_work(find_task("mnist-cnn"), "float32")
    assert found is not None
    assert found.forward_flops == 128 * (first + second + dense)
    assert found.flops == 128 * (3 * (first + second + dense) - first)


def small(units: int) -> Task:
    task = find_task("mnist-cnn")
    layers = (Flatten(), Dense(units=units, activation="linear", init="glorot_uniform"))
    return msgspec.structs.replace(task, model=Network(layers=layers))


def test_the_bytes_of_one_dense_layer_by_hand() -> None:
    found = step_work(small(10), "float32", examples=2)
    assert found is not None
    inputs, outputs, parameters = 2 * 784 * 4, 2 * 10 * 4, (784 * 10 + 10) * 4
    forward = inputs + parameters + outputs
    backward = inputs + outputs + parameters + inputs + parameters
    update = 5 * parameters  # weight, gradient, velocity read; weight, velocity written
    assert found.bytes_ == forward + backward + update


def test_half_the_bytes_of_activations_in_bfloat16() -> None:
    task = find_task("cifar10-vgg-published")
    whole, half = step_work(task, "float32"), step_work(task, "bfloat16")
    assert whole is not None
    assert half is not None
    assert ACTIVATION_BYTES["bfloat16"] * 2 == ACTIVATION_BYTES["float32"]
    assert half.bytes_ < whole.bytes_
    assert half.flops == whole.flops


def test_a_solver_has_no_steps_to_count() -> None:
    assert step_work(find_task("breast-cancer-logreg"), "float64") is None


@pytest.mark.parametrize("name", NETWORKS)
def test_operations_are_those_that_pytorch_counts(name: str) -> None:
    pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from timetrial.tasks.networks.with_torch import build

    task = small_task(find_task(name), train=8, batch=2)
    found = step_work(task, "float32")
    assert found is not None
    workload = Workload(task=task, seed=1, device="cpu", precision="float32")
    network = build(workload, small_splits(task), lambda part: None)
    with FlopCounterMode(display=False) as count:
        network.advance(1)
    assert count.get_total_flops() == found.flops
