"""A small network with every kind of layer, and one with few: quick to compile everywhere."""

from __future__ import annotations

from typing import Final

import msgspec
from small_data import small_task

from timetrial.plan import find_task
from timetrial.spec import (
    BatchNorm,
    Conv2d,
    CropFlip,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    MaxPool2d,
    Milestones,
    Network,
    Relu,
    Residual,
    Sgd,
    Task,
)

NORM: Final = BatchNorm(epsilon=1e-5, momentum=0.1)


def _conv(filters: int, *, kernel: int = 3, stride: int = 1, bias: bool = False) -> Conv2d:
    return Conv2d(
        filters=filters,
        kernel=kernel,
        padding=kernel // 2,
        activation="relu" if bias else "linear",
        init="he_normal_fan_out",
        stride=stride,
        bias=bias,
    )


LAYERS: Final = (
    _conv(4, kernel=5, bias=True),
    MaxPool2d(size=3, stride=2, padding=1),
    _conv(6),
    NORM,
    Relu(),
    Residual(
        body=(_conv(8, stride=2), NORM, Relu(), _conv(8), NORM),
        shortcut=(_conv(8, kernel=1, stride=2), NORM),
        activation="relu",
    ),
    Dropout(rate=0.3),
    Residual(body=(NORM, Relu(), _conv(8)), shortcut=(), activation="linear"),
    MaxPool2d(size=2),
    GlobalAveragePool(),
    Flatten(),
    Dense(units=12, activation="relu", init="uniform_fan_in"),
    NORM,
    Dense(units=10, activation="linear", init="uniform_fan_in"),
)
FEW: Final = (  # one of each kind that keeps something: weights, statistics, masks
    _conv(4, stride=2),
    NORM,
    Relu(),
    Dropout(rate=0.3),
    Flatten(),
    Dense(units=10, activation="linear", init="uniform_fan_in"),
)


def few_layers() -> Task:
    """Return the same task with few layers, for what is compiled again and again."""
    return msgspec.structs.replace(every_layer(), name="few-layers", model=Network(layers=FEW))


def every_layer() -> Task:
    """Return the task: PyTorch's form with Nesterov, decay of weights only, weights by class."""
    base = small_task(find_task("cifar10-resnet20-v2"), train=44, batch=12)
    return msgspec.structs.replace(
        base,
        name="every-layer",
        dataset=msgspec.structs.replace(base.dataset, input_shape=(12, 12, 3)),
        model=Network(layers=LAYERS),
        optimizer=Sgd(
            learning_rate=0.05,
            momentum=0.9,
            nesterov=True,
            rate_in_velocity=False,
            weight_decay=1e-2,
            schedule=Milestones(warmup_steps=2, start_factor=0.5, milestones=(4,), factor=0.1),
            decays="weights",
        ),
        augmentation=CropFlip(padding=2, flip=True),
        class_weights=tuple(0.5 + 0.25 * label for label in range(10)),
    )
