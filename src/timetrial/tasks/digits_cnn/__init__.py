"""digits-cnn: 8 x 8 digits that ship inside scikit-learn; learned in seconds, without a network."""

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
    name="digits-cnn",
    version=1,
    title="8 x 8 handwritten digits, a small convolutional network",
    dataset=DatasetUse(
        name="digits",
        input_shape=(8, 8, 1),
        classes=10,
        train_count=1_077,
        validation_count=360,
        test_count=360,
        split=SplitRule(test_fraction=0.2, validation_count=360, seed=20_261_122),
        divide_by=16.0,
    ),
    model=Network(
        layers=(
            Conv2d(filters=16, kernel=3, padding=1, activation="relu", init="he_normal"),
            Conv2d(filters=32, kernel=3, padding=1, activation="relu", init="he_normal"),
            MaxPool2d(size=2),
            Flatten(),
            Dense(units=64, activation="relu", init="he_normal"),
            Dense(units=10, activation="linear", init="glorot_uniform"),
        )
    ),
    loss="cross_entropy",
    optimizer=Sgd(
        learning_rate=0.05,
        momentum=0.9,
        nesterov=True,
        rate_in_velocity=False,
        weight_decay=1e-4,
        schedule=OneCycle(warmup_steps=34, start_factor=0.1, end_factor=0.0),
    ),
    step="mini-batch",
    batch_size=64,
    steps_max=680,  # 40 epochs of 17
    eval_every_steps=17,
    eval_split="validation",
    targets=(Target(metric="accuracy", threshold=0.97, direction="at_least", split="validation"),),
    light_target=Target(
        metric="accuracy", threshold=0.90, direction="at_least", split="validation"
    ),
    stops_at_target=True,
    measures=(),
    precisions=("float32", "float64", "bfloat16"),
    implementations=IMPLEMENTATIONS,
    sources=(
        Source(
            text="Data: scikit-learn's copy of the test part of UCI's Optical Recognition of "
            "Handwritten Digits",
            url="https://archive.ics.uci.edu/dataset/80",
            read_on="2026-11-22",
        ),
        Source(text="Network, optimizer and target: chosen for this project"),
    ),
    notes=("The data set ships no test set: a fifth is cut by the task's recorded seed.",),
)
