"""Tasks cut down to a few examples, with data of their shapes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from timetrial.spec import Split, SplitName, Task


def small_task(task: Task, *, train: int = 70, batch: int = 16) -> Task:
    """Return the task with few examples; the last batch of an epoch is a partial one."""
    dataset = msgspec.structs.replace(
        task.dataset, train_count=train, validation_count=30, test_count=30
    )
    size = None if task.batch_size is None else batch
    return msgspec.structs.replace(task, dataset=dataset, batch_size=size)


def small_splits(task: Task) -> Mapping[SplitName, Split]:
    """Return made-up data: each class is a pattern of its own under noise."""
    rng = np.random.default_rng(3)
    use = task.dataset
    patterns = rng.integers(0, 200, size=(use.classes, *use.input_shape))
    splits: dict[SplitName, Split] = {}
    counts = {"train": use.train_count, "validation": use.validation_count, "test": use.test_count}
    for name, count in counts.items():
        labels = rng.permutation(np.arange(count) % use.classes).astype(np.int64)
        noise = rng.integers(0, 56, size=(count, *use.input_shape))
        kind = np.uint8 if len(use.input_shape) == 3 else np.float64
        values = patterns[labels] + noise
        for column, codes in enumerate(use.categories):
            if codes:
                values[:, column] %= codes
        splits[name] = Split(name, values.astype(kind), labels)
    return splits
