"""digits-mlp: scikit-learn's digits, two hidden layers."""

from __future__ import annotations

from typing import Final

from timetrial.spec import DatasetUse, Sgd, Source, SplitRule, Target, Task
from timetrial.tasks.networks import IMPLEMENTATIONS
from timetrial.tasks.networks.ready import mlp

USE: Final = DatasetUse(
    name="digits",
    input_shape=(8, 8, 1),
    classes=10,
    train_count=1_077,
    validation_count=360,
    test_count=360,
    split=SplitRule(test_fraction=0.2, validation_count=360, seed=1),
    divide_by=16.0,
)


def _accuracy(threshold: float) -> Target:
    return Target(metric="accuracy", threshold=threshold, direction="at_least", split="validation")


TASK: Final = Task(
    name="digits-mlp",
    version=1,
    title="8 x 8 handwritten digits, two hidden layers",
    dataset=USE,
    model=mlp(USE),
    loss="cross_entropy",
    optimizer=Sgd(
        learning_rate=0.1,
        momentum=0.9,
        nesterov=True,
        rate_in_velocity=False,
        weight_decay=0.0,
        schedule=None,
    ),
    step="mini-batch",
    batch_size=64,
    steps_max=340,  # 20 epochs of 17
    eval_every_steps=17,
    eval_split="validation",
    targets=(_accuracy(0.9),),
    light_target=_accuracy(0.8),
    stops_at_target=True,
    measures=(),
    precisions=("float32", "float64"),
    implementations=IMPLEMENTATIONS,  # or framework -> "module:attribute" of your own Build
    sources=(Source(text="Rules: an example of timetrial's documentation"),),
    notes=("The data set ships no test set: a fifth is cut by the task's recorded seed.",),
)
