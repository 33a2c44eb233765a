"""mnist-cnn: the network and optimizer of benchm-dl (document 004), to the letter."""

from __future__ import annotations

from typing import Final

from timetrial.spec import (
    Conv2d,
    DatasetUse,
    Dense,
    Dropout,
    Flatten,
    InverseTimeDecay,
    MaxPool2d,
    Network,
    Sgd,
    Source,
    SplitRule,
    Target,
    Task,
)
from timetrial.tasks.networks import IMPLEMENTATIONS

TASK: Final = Task(
    name="mnist-cnn",
    version=1,
    title="Handwritten digits, the network of benchm-dl, 10 epochs",
    dataset=DatasetUse(
        name="mnist",
        input_shape=(28, 28, 1),
        classes=10,
        train_count=60_000,
        validation_count=0,
        test_count=10_000,
        split=SplitRule(test_fraction=None, validation_count=0, seed=0),
        divide_by=255.0,
    ),
    model=Network(
        layers=(
            Conv2d(filters=32, kernel=4, padding=0, activation="relu", init="glorot_uniform"),
            MaxPool2d(size=2),
            Conv2d(filters=16, kernel=3, padding=0, activation="relu", init="glorot_uniform"),
            MaxPool2d(size=2),
            Dropout(rate=0.2),
            Flatten(),
            Dense(units=128, activation="relu", init="glorot_uniform"),
            Dense(units=64, activation="relu", init="glorot_uniform"),
            Dense(units=10, activation="linear", init="glorot_uniform"),
        )
    ),
    loss="cross_entropy",
    optimizer=Sgd(
        learning_rate=0.05,
        momentum=0.9,
        nesterov=False,
        rate_in_velocity=True,
        weight_decay=0.0,
        schedule=InverseTimeDecay(rate=1e-5),
    ),
    step="mini-batch",
    batch_size=128,
    steps_max=4_690,  # 10 epochs of 469
    eval_every_steps=200,
    eval_split="test",
    targets=(Target(metric="accuracy", threshold=0.99, direction="at_least", split="test"),),
    light_target=Target(metric="accuracy", threshold=0.97, direction="at_least", split="test"),
    stops_at_target=False,
    measures=("train_time_after_10_epochs", "error_rate_after_10_epochs"),
    precisions=("float32", "float64", "bfloat16"),
    implementations=IMPLEMENTATIONS,
    sources=(
        Source(
            text="szilard/benchm-dl, cnn-mnist/1-keras.py: network, optimizer, epochs, split",
            url="https://github.com/szilard/benchm-dl",
            read_on="2026-11-22",
        ),
        Source(
            text="Keras 1 and 2, optimizers.SGD: learning rate inside the velocity, time decay",
            url="https://github.com/keras-team/keras/blob/2.0.4/keras/optimizers.py",
            read_on="2026-11-22",
        ),
    ),
    notes=(
        "Trains on all 60,000 training images as the document does: there is no validation split, "
        "the run stops on nothing and always does 10 epochs.",
        "The target is read off the test curve, so its time is one of hindsight.",
    ),
    light_steps_max=200,
)
