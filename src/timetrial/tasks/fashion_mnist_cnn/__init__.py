"""fashion-mnist-cnn: pictures of clothes; a real data set that a laptop learns in seconds."""

from __future__ import annotations

from typing import Final

from timetrial.spec import (
    Conv2d,
    DatasetUse,
    Dense,
    Flatten,
    MaxPool2d,
    Network,
    OneCycle,
    Sgd,
    Source,
    SplitRule,
    Target,
    Task,
)
from timetrial.tasks.networks import IMPLEMENTATIONS

TASK: Final = Task(
    name="fashion-mnist-cnn",
    version=1,
    title="Pictures of clothes, a small convolutional network",
    dataset=DatasetUse(
        name="fashion-mnist",
        input_shape=(28, 28, 1),
        classes=10,
        train_count=55_000,
        validation_count=5_000,
        test_count=10_000,
        split=SplitRule(test_fraction=None, validation_count=5_000, seed=20_261_122),
        divide_by=255.0,
    ),
    model=Network(
        layers=(
            Conv2d(filters=16, kernel=5, padding=0, activation="relu", init="he_normal"),
            MaxPool2d(size=2),
            Conv2d(filters=32, kernel=3, padding=0, activation="relu", init="he_normal"),
            MaxPool2d(size=2),
            Flatten(),
            Dense(units=128, activation="relu", init="he_normal"),
            Dense(units=10, activation="linear", init="glorot_uniform"),
        )
    ),
    loss="cross_entropy",
    optimizer=Sgd(
        learning_rate=0.1,
        momentum=0.9,
        nesterov=True,
        rate_in_velocity=False,
        weight_decay=0.0,
        schedule=OneCycle(warmup_steps=100, start_factor=0.1, end_factor=0.0),
    ),
    step="mini-batch",
    batch_size=128,
    steps_max=1_290,  # 3 epochs of 430
    eval_every_steps=86,
    eval_split="validation",
    targets=(Target(metric="accuracy", threshold=0.89, direction="at_least", split="validation"),),
    light_target=Target(
        metric="accuracy", threshold=0.85, direction="at_least", split="validation"
    ),
    stops_at_target=True,
    measures=(),
    precisions=("float32", "float64", "bfloat16"),
    implementations=IMPLEMENTATIONS,
    sources=(
        Source(
            text="Data: Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv 1708.07747",
            url="https://github.com/zalandoresearch/fashion-mnist",
            read_on="2026-11-22",
        ),
        Source(text="Network, optimizer and target: chosen for this project"),
    ),
    notes=("Validation: 5,000 of the 60,000 training images, cut by the task's recorded seed.",),
)
