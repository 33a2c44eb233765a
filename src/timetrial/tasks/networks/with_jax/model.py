"""A task's layers as Flax modules, and the names of their variables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import numpy as jnp

from timetrial.errors import UsageError
from timetrial.spec import (
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool2d,
    Relu,
    Residual,
)

Tree: TypeAlias = Any  # nested dicts of arrays, as Flax and Optax keep them


class Chain(nn.Module):
    """Layers one after the other; each is called by its number, so paths are those of the rules."""

    layers: tuple[Layer, ...]
    dtype: Any  # of the arithmetic
    param_dtype: Any  # of weights and statistics
    above: str = ""  # the path of the chain itself

    @nn.compact
    def __call__(self, x: jax.Array, masks: Mapping[str, jax.Array], moves: bool) -> jax.Array:
        """Return the scores; `masks` of the dropout layers that are on, by path.

        `moves`: norms normalise by the batch and move their running figures.
        """
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        for index, layer in enumerate(self.layers):
            name = str(index)
            match layer:
                case Conv2d(filters=filters, kernel=kernel, stride=stride, bias=bias):
                    edge = (layer.padding, layer.padding)  # "SAME" pads strided ones otherwise
                    x = nn.Conv(
                        filters,
                        (kernel, kernel),
                        strides=stride,
                        padding=(edge, edge),
                        use_bias=bias,
                        name=name,
                        **kinds,
                    )(x)
                    x = nn.relu(x) if layer.activation == "relu" else x
                case Dense(units=units, activation=activation):
                    x = nn.Dense(units, name=name, **kinds)(x)
                    x = nn.relu(x) if activation == "relu" else x
                case BatchNorm():
                    x = Norm(layer.epsilon, layer.momentum, name=name, **kinds)(x, moves=moves)
                case Relu():
                    x = nn.relu(x)
                case MaxPool2d(size=size, padding=padding):
                    stride, edge = layer.stride or size, (padding, padding)
                    x = nn.max_pool(x, (size, size), (stride, stride), (edge, edge))
                case GlobalAveragePool():
                    x = x.mean(axis=(1, 2))
                case Dropout(rate=rate):
                    if f"{self.above}{name}" in masks:
                        kept = masks[f"{self.above}{name}"].astype(x.dtype)
                        x = x * (kept / jnp.asarray(1 - rate, x.dtype))
                case Flatten():
                    x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
                case Residual():
                    x = Block(layer, above=f"{self.above}{name}.", name=name, **kinds)(
                        x, masks, moves
                    )
        return x


class Block(nn.Module):
    """A residual block: two chains from one input, added up."""

    layer: Residual
    dtype: Any
    param_dtype: Any
    above: str

    @nn.compact
    def __call__(self, x: jax.Array, masks: Mapping[str, jax.Array], moves: bool) -> jax.Array:
        """Return the activation of body(x) + shortcut(x)."""
        ways = {"body": self.layer.body, "shortcut": self.layer.shortcut}
        body, shortcut = (
            Chain(layers, self.dtype, self.param_dtype, f"{self.above}{name}.", name=name)(
                x, masks, moves
            )
            for name, layers in ways.items()
        )
        y = body + shortcut
        return nn.relu(y) if self.layer.activation == "relu" else y


class Norm(nn.Module):
    """Batch normalisation whose running variance is the unbiased one; Flax's own keeps the biased.

    Computes in the type of the weights: under bfloat16 too, means and variances are float32.
    """

    epsilon: float
    momentum: float
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, moves: bool) -> jax.Array:
        """Normalise by the batch and move the running figures, or by these."""
        shape, kind = (x.shape[-1],), self.param_dtype
        scale = self.param("scale", nn.initializers.ones, shape, kind)
        shift = self.param("shift", nn.initializers.zeros, shape, kind)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, kind)
        variance = self.variable("batch_stats", "variance", jnp.ones, shape, kind)
        wide = x.astype(kind)
        centre, spread = mean.value, variance.value
        if moves:
            axes = tuple(range(x.ndim - 1))
            centre, spread = wide.mean(axis=axes), wide.var(axis=axes)
            count = x.size // x.shape[-1]
            if count == 1:
                raise UsageError(
                    "Batch normalisation needs more than 1 number per channel, and one example in "
                    "a mini-batch, or in a worker's part of one, gives 1. Take fewer workers or a "
                    "larger batch size."
                )
            mean.value += self.momentum * (centre - mean.value)
            variance.value += self.momentum * (spread * (count / (count - 1)) - variance.value)
        factor = scale * jax.lax.rsqrt(spread + self.epsilon)
        return ((wide - centre) * factor + shift).astype(self.dtype)


def name_of(path: Sequence[str]) -> str:
    """Return the rules' name of a Flax variable: its weights are called kernels."""
    return ".".join(path[:-1]) + "." + ("weight" if path[-1] == "kernel" else path[-1])


def named(tree: Tree) -> dict[str, np.ndarray]:
    """Return copies by name."""
    return {name_of(path): np.array(leaf) for path, leaf in flatten_dict(tree).items()}


def tree_of(named: Mapping[str, np.ndarray], dtype: np.dtype) -> Tree:
    """Return copies of named arrays as Flax keeps them."""
    leaves = {}
    for name, value in named.items():
        *above, last = name.split(".")
        leaves[(*above, "kernel" if last == "weight" else last)] = np.array(value, dtype)
    return unflatten_dict(leaves)
