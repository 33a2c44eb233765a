"""Networks: any chain of the layers in `timetrial.spec`, trained by SGD on mini-batches.

weights       what a run starts from
schedules     the learning rate of every step
pieces        what the rules of several tasks are made of
batches       order, augmentation and dropout masks: the same random numbers for every framework
decoding      mini-batches of images that are decoded when asked for
with_torch, with_jax, with_keras
              the timed implementations
reference     the same in plain NumPy, to check them against
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from timetrial.errors import UsageError
from timetrial.spec import Network, Placed, Sgd, Task, placed

IMPLEMENTATIONS: Final[Mapping[str, str]] = {
    # framework -> Build; the first is the default
    "torch": "timetrial.tasks.networks.with_torch:build",
    "jax": "timetrial.tasks.networks.with_jax:build",
    "keras-tensorflow": "timetrial.tasks.networks.with_keras:build",
    "keras-jax": "timetrial.tasks.networks.with_keras:build",
    "keras-torch": "timetrial.tasks.networks.with_keras:build",
}


PREDICT_BATCH: Final = 250  # examples; 1000 took PyTorch 2.4 times as long (docs/results.md)


class Rules(NamedTuple):
    """What these implementations read of a task."""

    task: Task
    chain: list[Placed]
    optimizer: Sgd
    batch_size: int


def rules_of(task: Task) -> Rules:
    """Return the rules of a task that this folder can train.

    Raises:
        UsageError: Another model or optimizer, or no batch size.
    """
    if (
        not isinstance(task.model, Network)
        or not isinstance(task.optimizer, Sgd)
        or task.batch_size is None
    ):
        raise UsageError(
            f"Task {task.name} is not a network trained by SGD on mini-batches; networks trains "
            "nothing else. Name another implementation in the task's `implementations`."
        )
    chain = placed(task.dataset.input_shape, task.model.layers)
    return Rules(task, chain, task.optimizer, task.batch_size)


def is_statistic(name: str) -> bool:
    """Return whether a variable is a running statistic: not learned, not in the gradient."""
    return name.endswith((".mean", ".variance"))


def decayed(optimizer: Sgd, names: Sequence[str]) -> list[bool]:
    """Return for each parameter whether weight decay is applied to it."""
    everything = optimizer.decays == "all"
    return [bool(optimizer.weight_decay) and (everything or n.endswith(".weight")) for n in names]
