"""cifar10-resnet18: the training script of platform-benchmark (document 000), from scratch."""

from __future__ import annotations

from typing import Final

import msgspec

from timetrial.spec import (
    BatchNorm,
    Conv2d,
    DatasetUse,
    Dense,
    GlobalAveragePool,
    Layer,
    MaxPool2d,
    Network,
    Relu,
    Residual,
    Sgd,
    Source,
    SplitRule,
    Target,
    Task,
)
from timetrial.tasks.networks import IMPLEMENTATIONS

NORM: Final = BatchNorm(epsilon=1e-5, momentum=0.1)


def _conv(filters: int, kernel: int = 3, stride: int = 1) -> Conv2d:
    return Conv2d(
        filters=filters,
        kernel=kernel,
        padding=kernel // 2,
        activation="linear",
        init="he_normal_fan_out",
        stride=stride,
        bias=False,
    )


def _block(filters: int, stride: int) -> Residual:
    wider: tuple[Layer, ...] = (_conv(filters, kernel=1, stride=stride), NORM)
    return Residual(
        body=(_conv(filters, stride=stride), NORM, Relu(), _conv(filters), NORM),
        shortcut=wider if stride != 1 else (),
        activation="relu",
    )


def network() -> Network:
    """Return torchvision's ResNet-18 with ten outputs."""
    blocks = [
        _block(filters, 2 if filters > 64 and number == 0 else 1)
        for filters in (64, 128, 256, 512)
        for number in range(2)
    ]
    stem = (_conv(64, kernel=7, stride=2), NORM, Relu(), MaxPool2d(size=3, stride=2, padding=1))
    head = Dense(units=10, activation="linear", init="uniform_fan_in")
    return Network(layers=(*stem, *blocks, GlobalAveragePool(), head))


def _target(threshold: float) -> Target:
    return Target(metric="accuracy", threshold=threshold, direction="at_least", split="test")


TASK: Final = Task(
    name="cifar10-resnet18",
    version=1,
    title="CIFAR-10, the script of platform-benchmark: ResNet-18 from scratch, 5 epochs",
    dataset=DatasetUse(
        name="cifar10",
        input_shape=(32, 32, 3),
        classes=10,
        train_count=50_000,
        validation_count=0,
        test_count=10_000,
        split=SplitRule(test_fraction=None, validation_count=0, seed=0),
        divide_by=255.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    model=network(),
    loss="cross_entropy",
    optimizer=Sgd(
        learning_rate=0.1,
        momentum=0.0,
        nesterov=False,
        rate_in_velocity=False,
        weight_decay=0.0,
        schedule=None,
    ),
    step="mini-batch",
    batch_size=512,
    steps_max=485,  # 5 epochs of 97
    eval_every_steps=97,
    eval_split="test",
    targets=(_target(0.5),),
    light_target=_target(0.35),
    stops_at_target=False,
    measures=("confusion_matrix",),
    precisions=("float32", "float64", "bfloat16"),
    implementations=IMPLEMENTATIONS,
    sources=(
        Source(
            text="neuromation/platform-benchmark, branch master: network, optimizer, data",
            url="https://github.com/neuromation/platform-benchmark",
            read_on="2026-11-22",
        ),
        Source(
            text="torchvision's resnet18: layout and initial weights",
            url="https://github.com/pytorch/vision/blob/v0.3.0/torchvision/models/resnet.py",
            read_on="2026-11-22",
        ),
    ),
    notes=(
        "The document starts from weights trained on ImageNet (its 77.9 %); its google-ai branch "
        "does not, and neither does this task. The two accuracies cannot be compared.",
        "The document trains for 5 epochs and stops on nothing; the target is chosen for this "
        "project and read off the test curve.",
    ),
    last_batch="drop",
    light_steps_max=97,
    datasets=("cifar10-jpeg",),
)

WEIGHTED_TASK: Final = msgspec.structs.replace(
    TASK,
    name="cifar10-resnet18-weighted",
    title="CIFAR-10, step 6 of platform-benchmark: ResNet-18 with dogs counting three times",
    class_weights=(1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0),
)
