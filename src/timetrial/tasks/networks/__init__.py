"""Networks: any chain of the layers in `timetrial.spec`, trained by SGD on mini-batches.

schedules     the learning rate of every step
batches       order, augmentation and dropout masks: the same random numbers for every framework
decoding      mini-batches of images that are decoded when asked for
with_torch, with_jax, with_keras
              the timed implementations
reference     the same in plain NumPy, to check them against
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from timetrial.engine import seeds
from timetrial.errors import UsageError
from timetrial.spec import BatchNorm, Conv2d, Dense, Network, Placed, Sgd, Task, placed, walk

IMPLEMENTATIONS: Final[Mapping[str, str]] = {
    # framework -> Build; the first is the default
    "torch": "timetrial.tasks.networks.with_torch:build",
    "jax": "timetrial.tasks.networks.with_jax:build",
    "keras-tensorflow": "timetrial.tasks.networks.with_keras:build",
    "keras-jax": "timetrial.tasks.networks.with_keras:build",
    "keras-torch": "timetrial.tasks.networks.with_keras:build",
}


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


def initial_variables(task: Task, seed: int) -> dict[str, np.ndarray]:
    """Return parameters and running statistics in float64, by name ("3.body.0.weight").

    Convolution weights have shape (height, width, channels, filters), dense ones (inputs, units);
    batch normalisation has scale, shift, mean and variance of shape (channels,).
    """
    variables: dict[str, np.ndarray] = {}
    for path, layer, shape, _, _ in walk(rules_of(task).chain):
        match layer:
            case Conv2d(filters=filters, kernel=kernel, init=init, bias=bias):
                size: tuple[int, ...] = (kernel, kernel, shape[2], filters)
                variables[f"{path}.weight"] = seeds.initial_weights(seed, path, size, init)
                if bias:
                    variables[f"{path}.bias"] = seeds.initial_biases(seed, path, size, init)
            case Dense(units=units, init=init):
                size = (shape[0], units)
                variables[f"{path}.weight"] = seeds.initial_weights(seed, path, size, init)
                variables[f"{path}.bias"] = seeds.initial_biases(seed, path, size, init)
            case BatchNorm(initial_scale=scale):
                channels = shape[-1]
                variables[f"{path}.scale"] = np.full(channels, scale)
                variables[f"{path}.shift"] = np.zeros(channels)
                variables[f"{path}.mean"] = np.zeros(channels)
                variables[f"{path}.variance"] = np.ones(channels)
            case _:
                continue
    return variables


def is_statistic(name: str) -> bool:
    """Return whether a variable is a running statistic: not learned, not in the gradient."""
    return name.endswith((".mean", ".variance"))


def decayed(optimizer: Sgd, names: Sequence[str]) -> list[bool]:
    """Return for each parameter whether weight decay is applied to it."""
    everything = optimizer.decays == "all"
    return [bool(optimizer.weight_decay) and (everything or n.endswith(".weight")) for n in names]
