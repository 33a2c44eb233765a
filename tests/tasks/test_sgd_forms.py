"""SGD in its four forms against hand-computed steps and torch.optim; schedules at known steps."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from small_data import small_splits, small_task

from timetrial.engine import seeds
from timetrial.plan import find_task
from timetrial.spec import (
    Dense,
    InverseTimeDecay,
    Network,
    OneCycle,
    PolynomialDecay,
    Sgd,
    Workload,
)
from timetrial.tasks.networks import reference, with_torch
from timetrial.tasks.networks.schedules import learning_rate
from timetrial.tasks.networks.weights import initial_variables

G = (2.0, -1.0, 0.5)  # the gradients of three steps
W0, MOMENTUM = 3.0, 0.5
RATES = (0.1, 0.05, 0.1 / 3)  # 0.1 / (1 + 1 · step)

# computed by hand from the definitions in spec.Sgd, w after each step; no weight decay
BY_HAND = {
    # v: 2, 0, 0.5; w = 3 - 0.1·2, then - 0.05·0, then - 0.0333·0.5
    ("pytorch", False): (2.8, 2.8, 2.8 - 0.5 * 0.1 / 3),
    # changes g + 0.5·v: 3, -1, 0.75
    ("pytorch", True): (2.7, 2.75, 2.75 - 0.75 * 0.1 / 3),
    # v: -0.2, -0.05, -0.025 - 0.5·0.0333
    ("keras", False): (2.8, 2.75, 2.75 - 0.025 - 0.5 * 0.1 / 3),
    # changes 0.5·v - lr·g: -0.3, +0.025, 0.5·(-0.0416667) - 0.0166667
    ("keras", True): (2.7, 2.725, 2.725 - 0.5 * (0.025 + 0.5 * 0.1 / 3) - 0.5 * 0.1 / 3),
}


def rules(form: str, nesterov: bool, *, decay: float = 0.0) -> Sgd:
    return Sgd(
        learning_rate=0.1,
        momentum=MOMENTUM,
        nesterov=nesterov,
        rate_in_velocity=form == "keras",
        weight_decay=decay,
        schedule=InverseTimeDecay(rate=1.0),
    )


def made(kind: str, optimizer: Sgd):
    """Return an implementation whose one weight matrix is free to be set."""
    base = small_task(find_task("digits-cnn"))
    layers = (
        *(layer for layer in base.model.layers if type(layer).__name__ == "Flatten"),
        Dense(units=10, activation="linear", init="glorot_uniform"),
    )
    task = msgspec.structs.replace(base, model=Network(layers=layers), optimizer=optimizer)
    work = Workload(task=task, seed=1, device="cpu", precision="float64")
    module = with_torch if kind == "torch" else reference
    return module.build(work, small_splits(task), lambda part: None)


def weights_after(kind: str, optimizer: Sgd) -> list[float]:
    """Return the weight after each of three updates with the gradients G."""
    implementation = made(kind, optimizer)
    seen = []
    for step, g in enumerate(G):
        implementation._step = step
        if kind == "torch":
            if step == 0:
                for leaf in implementation._leaves:
                    leaf.data.fill_(W0)
            implementation._update([torch.full_like(leaf, g) for leaf in implementation._leaves])
        else:
            if step == 0:
                for weight in implementation._variables.values():
                    weight[...] = W0
            implementation._update(
                {name: np.full_like(value, g) for name, value in implementation._variables.items()}
            )
        values = np.unique(implementation.variables()["1.weight"])
        assert len(values) == 1
        seen.append(float(values[0]))
    return seen


@pytest.mark.parametrize("kind", ["torch", "numpy"])
@pytest.mark.parametrize(("form", "nesterov"), list(BY_HAND))
def test_three_steps_are_those_computed_by_hand(kind: str, form: str, nesterov: bool):
    seen = weights_after(kind, rules(form, nesterov))
    assert seen == pytest.approx(BY_HAND[form, nesterov], rel=1e-14)


@pytest.mark.parametrize("kind", ["torch", "numpy"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_the_pytorch_form_is_that_of_torch_optim(kind: str, nesterov: bool, decay: float):
    weight = torch.tensor(W0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD(
        [weight], lr=0.1, momentum=MOMENTUM, nesterov=nesterov, weight_decay=decay
    )
    expected = []
    for rate, g in zip(RATES, G, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        expected.append(weight.item())
    assert weights_after(kind, rules("pytorch", nesterov, decay=decay)) == pytest.approx(
        expected, rel=1e-13
    )


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_two_forms_agree_where_the_rate_is_constant_and_differ_where_not(nesterov: bool):
    constant = [
        msgspec.structs.replace(rules(form, nesterov), schedule=None)
        for form in ("keras", "pytorch")
    ]
    seen = [weights_after("torch", each) for each in constant]
    assert seen[0] == pytest.approx(seen[1], rel=1e-14)
    assert BY_HAND["keras", nesterov][1:] != pytest.approx(BY_HAND["pytorch", nesterov][1:])


def test_mnist_cnn_ends_at_the_learning_rate_of_ten_epochs_of_time_decay():
    task = find_task("mnist-cnn")
    rates = [learning_rate(task.optimizer, step, task.steps_max) for step in (0, 1, 4_689)]
    assert rates == pytest.approx([0.05, 0.05 / 1.00001, 0.05 / 1.04689], rel=1e-15)
    assert round(rates[-1], 4) == 0.0478


def test_one_cycle_rises_to_the_peak_and_falls_to_its_end():
    one = Sgd(
        learning_rate=0.2,
        momentum=0.9,
        nesterov=True,
        rate_in_velocity=False,
        weight_decay=0.0,
        schedule=OneCycle(warmup_steps=10, start_factor=0.1, end_factor=0.5),
    )
    known = {0: 0.02, 5: 0.11, 9: 0.182, 10: 0.2, 20: 0.15, 30: 0.1}
    for step, rate in known.items():
        assert learning_rate(one, step, 30) == pytest.approx(rate, rel=1e-14)
    flat = msgspec.structs.replace(one, schedule=None)
    assert learning_rate(flat, 17, 30) == 0.2


def test_polynomial_decay_falls_in_a_part_of_the_steps_and_stays():
    one = Sgd(
        learning_rate=0.2,
        momentum=0.9,
        nesterov=True,
        rate_in_velocity=False,
        weight_decay=0.0,
        schedule=PolynomialDecay(fraction=0.5, power=2.0, end_factor=0.1),
    )
    known = {0: 0.2, 10: 0.2 * (0.1 + 0.9 * 0.25), 20: 0.02, 39: 0.02}
    for step, rate in known.items():
        assert learning_rate(one, step, 40) == pytest.approx(rate, rel=1e-14)


def test_glorot_weights_fill_the_published_range_and_no_more():
    """fan_in + fan_out of 3·3·16 inputs and 3·3·32 outputs: limit sqrt(6 / 432)."""
    values = seeds.initial_weights(3, "x", (3, 3, 16, 32), "glorot_uniform")
    limit = np.sqrt(6 / (3 * 3 * 16 + 3 * 3 * 32))
    assert np.abs(values).max() <= limit
    assert np.abs(values).max() > 0.99 * limit
    assert values.var() == pytest.approx(limit**2 / 3, rel=0.05)


def test_he_weights_have_the_published_variance():
    values = seeds.initial_weights(3, "x", (3, 3, 16, 64), "he_normal")
    assert values.var() == pytest.approx(2 / 144, rel=0.05)
    assert abs(values.mean()) < 4 * np.sqrt(2 / 144 / values.size)


def test_layers_of_one_shape_get_other_weights_and_biases_begin_at_zero():
    parameters = initial_variables(find_task("fashion-mnist-cnn"), seed=1)
    assert all((value == 0).all() for name, value in parameters.items() if "bias" in name)
    first = seeds.initial_weights(1, "0", (4, 4), "he_normal")
    assert not np.array_equal(first, seeds.initial_weights(1, "1", (4, 4), "he_normal"))
    assert not np.array_equal(first, seeds.initial_weights(2, "0", (4, 4), "he_normal"))


def test_dropout_masks_keep_the_share_of_their_rate_and_change_by_epoch():
    masks = [seeds.keep_mask(1, "dropout/4", epoch, (400, 50), 0.2) for epoch in (0, 1)]
    for mask in masks:
        spread = np.sqrt(0.8 * 0.2 / mask.size)
        assert mask.mean() == pytest.approx(0.8, abs=5 * spread)
    assert not np.array_equal(masks[0], masks[1])


def test_an_epoch_shows_every_example_once_in_an_order_of_its_own():
    first, second = (seeds.order(9, epoch, 100) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(100))
    assert not np.array_equal(first, second)
