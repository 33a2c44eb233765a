"""What a run starts from: weights by the rules' inits, statistics before any batch."""

from __future__ import annotations

import numpy as np

from timetrial.engine import seeds
from timetrial.spec import BatchNorm, Conv2d, Dense, Task, walk
from timetrial.tasks.networks import rules_of


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
