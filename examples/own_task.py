"""A task of one's own in Python: every rule, and data that are described beside it.

python examples/make_own_data.py
timetrial run examples/own_task.py
"""

from __future__ import annotations

from pathlib import Path

from timetrial.datasets.load import use_of
from timetrial.datasets.own import csv_table
from timetrial.spec import Sgd, Source, SplitRule, Target, Task
from timetrial.tasks.networks import IMPLEMENTATIONS
from timetrial.tasks.networks.ready import mlp

DATA = csv_table(
    Path(__file__).parent / "own-data" / "tumours.csv", label="diagnosis", name="tumours"
)
USE = use_of(DATA, SplitRule(test_fraction=0.2, validation_count=91, seed=7), divide_by=1000.0)


def accuracy(threshold: float) -> Target:
    return Target(metric="accuracy", threshold=threshold, direction="at_least", split="validation")


TASK = Task(
    name="tumours-mlp",
    version=1,
    title="Tumours told apart by 30 measurements, two hidden layers",
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
    batch_size=32,
    steps_max=600,
    eval_every_steps=12,
    eval_split="validation",
    targets=(accuracy(0.85),),
    light_target=accuracy(0.75),
    stops_at_target=True,
    measures=(),
    precisions=("float32",),
    implementations=IMPLEMENTATIONS,
    sources=(Source(text="Rules: an example of timetrial's documentation"),),
    notes=(),
)
