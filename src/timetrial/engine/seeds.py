"""Random numbers that every framework shares: NumPy's Philox, keyed by (seed, purpose, epoch).

Within an epoch a number belongs to an example by its place in the stream, so batch order, initial
weights and dropout masks are the same in every framework and do not depend on batch size, chunking,
number of workers or how often a run was resumed.

Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Philox).
"""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Return the stream of one purpose ("weights/conv1", "order", "dropout/4") in one epoch."""
    digest = hashlib.blake2b(f"{purpose}@{epoch}".encode(), digest_size=8).digest()
    key = np.array([seed, int.from_bytes(digest, "little")], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of `count` examples in an epoch: shape (count,), int64."""
    return generator(seed, "order", epoch).permutation(count)


def keep_mask(
    seed: int, purpose: str, epoch: int, shape: tuple[int, ...], rate: float
) -> np.ndarray:
    """Return booleans of `shape` (examples first): True is kept, with probability 1 - rate.

    16 random bits decide each, so the probability is off by at most 2^-17.
    """
    draws = generator(seed, purpose, epoch).integers(0, 2**16, size=shape, dtype=np.uint16)
    return draws >= np.uint16(round(rate * 2**16))


def initial_weights(seed: int, name: str, shape: tuple[int, ...], init: str) -> np.ndarray:
    """Return initial weights in float64; the last axis is the output, those before it the input.

    glorot_uniform: uniform in ±sqrt(6 / (fan_in + fan_out)). he_normal: normal with variance
    2 / fan_in, not truncated; he_normal_fan_out: with 2 / fan_out. uniform_fan_in: uniform in
    ±1 / sqrt(fan_in), PyTorch's default. Fans count the kernel's area.

    Source: Glorot and Bengio, AISTATS 2010, eq. 16; He et al., ICCV 2015, eq. 10.
    """
    rng = generator(seed, f"weights/{name}")
    fan_in = int(np.prod(shape[:-1]))
    fan_out = int(np.prod(shape[:-2])) * shape[-1]
    if init == "glorot_uniform":
        limit = np.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, size=shape)
    if init == "uniform_fan_in":
        return rng.uniform(-1 / np.sqrt(fan_in), 1 / np.sqrt(fan_in), size=shape)
    fan = fan_out if init == "he_normal_fan_out" else fan_in
    return rng.normal(0.0, np.sqrt(2 / fan), size=shape)


def initial_biases(seed: int, name: str, shape: tuple[int, ...], init: str) -> np.ndarray:
    """Return initial biases in float64 for weights of `shape`: 0, or as their init says.

    uniform_fan_in: uniform in ±1 / sqrt(fan_in), as PyTorch's layers do.
    """
    if init != "uniform_fan_in":
        return np.zeros(shape[-1])
    limit = 1 / np.sqrt(np.prod(shape[:-1]))
    return generator(seed, f"biases/{name}").uniform(-limit, limit, size=shape[-1])
