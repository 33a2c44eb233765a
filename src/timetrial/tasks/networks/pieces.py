"""Pieces that the rules of several tasks are made of: plain records, nothing is computed here."""

from __future__ import annotations

from typing import Final

from timetrial.spec import (
    BatchNorm,
    Conv2d,
    DatasetUse,
    Dense,
    Layer,
    MaxPool2d,
    Metric,
    Precision,
    Relu,
    SplitRule,
    Target,
)

PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "float64", "bfloat16")
NORM: Final = BatchNorm(epsilon=1e-5, momentum=0.1)  # PyTorch's own figures
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


def conv(filters: int, kernel: int = 3, stride: int = 1) -> Conv2d:
    """Return a residual network's convolution: no bias, an edge that keeps the size."""
    return Conv2d(
        filters=filters,
        kernel=kernel,
        padding=kernel // 2,
        activation="linear",
        init="he_normal_fan_out",
        stride=stride,
        bias=False,
    )


def projection(filters: int, stride: int) -> tuple[Layer, ...]:
    """Return the shortcut of a block that changes the shape: 1 × 1, normalised."""
    return conv(filters, kernel=1, stride=stride), NORM


def imagenet_stem() -> tuple[Layer, ...]:
    """Return what stands before the blocks of torchvision's ResNets."""
    return conv(64, kernel=7, stride=2), NORM, Relu(), MaxPool2d(size=3, stride=2, padding=1)


def scores(classes: int) -> Dense:
    """Return a last layer with PyTorch's own initial weights."""
    return Dense(units=classes, activation="linear", init="uniform_fan_in")


def on_test(threshold: float, metric: Metric = "accuracy") -> Target:
    """Return "at least `threshold` of the metric on test"."""
    return Target(metric=metric, threshold=threshold, direction="at_least", split="test")


def cifar10(mean: tuple[float, float, float], std: tuple[float, float, float]) -> DatasetUse:
    """Return CIFAR-10 as shipped, all 50,000 for training, normalised by these figures."""
    return DatasetUse(
        name="cifar10",
        input_shape=(32, 32, 3),
        classes=10,
        train_count=50_000,
        validation_count=0,
        test_count=10_000,
        split=SplitRule(test_fraction=None, validation_count=0, seed=0),
        divide_by=255.0,
        mean=mean,
        std=std,
    )
