"""The timed PyTorch implementation computes what the NumPy reference does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from small_data import small_splits, small_task
from torch.nn import functional

from timetrial.engine.metrics import cross_entropy
from timetrial.errors import UsageError
from timetrial.plan import find_task
from timetrial.spec import (
    Conv2d,
    Dense,
    MaxPool2d,
    Network,
    Residual,
    Split,
    SplitName,
    Task,
    Workload,
    parameter_count,
    placed,
)
from timetrial.tasks.networks import reference, with_torch

TASKS = ("digits-cnn", "mnist-cnn", "fashion-mnist-cnn")
TOLERANCE = 1e-10


def no_lap(part: str) -> None:
    pass


def pair(
    task: Task, splits: Mapping[SplitName, Split], seed: int = 11
) -> tuple[with_torch.TorchNetwork, reference.NumpyNetwork]:
    work = Workload(task=task, seed=seed, device="cpu", precision="float64")
    return with_torch.build(work, splits, no_lap), reference.build(work, splits, no_lap)


def relative(seen: np.ndarray, expected: np.ndarray) -> float:
    scale = np.abs(expected).max()
    return float(np.abs(seen - expected).max() / scale) if scale else float(np.abs(seen).max())


@pytest.mark.parametrize("name", TASKS)
def test_losses_and_parameters_agree_over_an_epoch_and_its_partial_batch(name: str):
    task = small_task(find_task(name), train=44, batch=12)
    splits = small_splits(task)
    fast, slow = pair(task, splits)
    for step in range(6):  # steps 3 and 5 lie on either side of an epoch's partial batch
        for key, expected in slow.variables().items():
            assert relative(fast.variables()[key], expected) < TOLERANCE, (step, key)
        for split in (splits["train"], splits["test"]):
            losses = [cross_entropy(made.predict(split), split.labels) for made in (fast, slow)]
            assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE)
        fast.advance(1)
        slow.advance(1)
    assert any(np.abs(value).max() > 0 for key, value in slow.variables().items() if "bias" in key)


def test_dropout_is_what_tells_two_networks_apart_after_one_step():
    """The parity above would not notice masks that are never used."""
    task = small_task(find_task("mnist-cnn"))
    assert isinstance(task.model, Network)
    layers = tuple(layer for layer in task.model.layers if type(layer).__name__ != "Dropout")
    assert len(layers) == len(task.model.layers) - 1
    splits = small_splits(task)
    fast, _ = pair(task, splits)
    fast.advance(1)
    x, _, chosen = fast._batch(1)
    with torch.no_grad():
        trained = fast._scores(x, fast._training(chosen, moves=False))
        evaluated = fast._scores(x, with_torch._Way())
    assert not torch.equal(trained, evaluated)


@pytest.mark.parametrize("name", TASKS)
def test_the_torch_model_has_the_number_of_parameters_that_the_rules_say(name: str):
    task = small_task(find_task(name))
    fast, _ = pair(task, small_splits(task))
    assert sum(value.size for value in fast.variables().values()) == parameter_count(task)


def test_mnist_cnn_has_the_published_number_of_parameters():
    assert parameter_count(find_task("mnist-cnn")) == 65_402


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pooling_before_the_relu_changes_no_bit(name: str, dtype: torch.dtype):
    task = small_task(find_task(name))
    work = Workload(
        task=task,
        seed=5,
        device="cpu",
        precision="float32" if dtype == torch.float32 else "float64",
    )
    made = with_torch.build(work, small_splits(task), no_lap)
    made.advance(2)
    x = made._cast(made._inputs)
    with torch.no_grad():
        seen, plain = made._scores(x, with_torch._Way()), x
        for path, layer, _, _, _ in made._rules.chain:
            weight, bias = (made._weights.get(f"{path}.{part}") for part in ("weight", "bias"))
            if isinstance(layer, Conv2d):
                plain = functional.conv2d(plain, weight, bias, padding=layer.padding)
            elif isinstance(layer, Dense):
                plain = functional.linear(plain, weight.T, bias)
            elif isinstance(layer, MaxPool2d):
                plain = functional.max_pool2d(plain, layer.size)
            elif type(layer).__name__ == "Flatten":
                plain = plain.permute(0, 2, 3, 1).flatten(1)
            if getattr(layer, "activation", None) == "relu":
                plain = functional.relu(plain)
    assert torch.equal(seen, plain)


def test_pool_first_moves_relus_behind_poolings_and_nothing_else():
    task = find_task("digits-cnn")
    assert isinstance(task.model, Network)
    layers = task.model.layers
    order = [op.path for op in with_torch.program(placed(task.dataset.input_shape, layers))]
    assert order == ["0", "", "1", "2", "", "3", "4", "", "5"]  # "": a ReLU


def test_gradients_agree_with_finite_differences_of_the_loss():
    """The reference is checked against the definition of a derivative, not against PyTorch."""
    task = small_task(find_task("digits-cnn"), train=8, batch=8)
    splits = small_splits(task)
    _, slow = pair(task, splits)
    gradients = slow.probe(0).gradients
    rng = np.random.default_rng(0)
    for key, gradient in gradients.items():
        weight = slow._variables[key]
        place = tuple(rng.integers(0, size) for size in weight.shape)
        losses = []
        for shift in (1e-6, -1e-6):
            kept = weight[place]
            weight[place] = kept + shift
            losses.append(slow.probe(0).loss)
            weight[place] = kept
        slope = (losses[0] - losses[1]) / 2e-6
        assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-8), key


def test_a_residual_block_whose_ways_do_not_meet_is_refused():
    way = {"kernel": 3, "padding": 1, "activation": "linear", "init": "he_normal_fan_out"}
    block = Residual(
        body=(Conv2d(filters=8, stride=2, **way),),
        shortcut=(Conv2d(filters=8, **way),),
        activation="relu",
    )
    with pytest.raises(UsageError, match=r"block 0: .*\(4, 4, 8\).*\(8, 8, 8\)"):
        placed((8, 8, 3), (block,))


@pytest.mark.parametrize("count", [1, 16, 250, 251])
def test_prediction_sees_every_example_once_whatever_is_left_for_the_last_batch(count: int):
    task = small_task(find_task("cifar10-resnet20-v1"))
    made, _ = pair(task, small_splits(task))
    images = np.random.default_rng(1).integers(0, 256, size=(count, *task.dataset.input_shape))
    images = images.astype(np.uint8)
    together = made.predict(images)
    assert together.shape == (count, 10)
    for number in {0, count // 2, count - 1}:
        alone = made.predict(images[number : number + 1])
        np.testing.assert_allclose(together[number], alone[0], atol=1e-10)
