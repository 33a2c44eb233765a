"""The algorithms in plain NumPy, all workers in one process: (workers, weights) arrays.

Written from the papers' formulas, not from our PyTorch: what the real processes must come to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from timetrial.engine import seeds
from timetrial.testing.quadratic import DECAY, MOMENTUM, RATE, SHAPES, Problem, first_weights

SIZES = [math.prod(shape) for shape in SHAPES]
COUNT = sum(SIZES)


class Simulated(NamedTuple):
    """What came of it, by step."""

    weights: np.ndarray  # (steps, workers, weights)
    given: np.ndarray  # what each worker's optimizer got
    gradients: np.ndarray  # of each worker


class Reference:
    """Synchronous SGD: the others change one method or two."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def reduce(self, gradients: np.ndarray) -> np.ndarray:
        return np.tile(gradients.sum(axis=0), (self.workers, 1))

    def mix(self, weights: np.ndarray, velocity: np.ndarray, step: int) -> None:
        pass


class LocalSgd(Reference):
    def __init__(self, workers: int, *, period: int, momentum: str) -> None:
        super().__init__(workers)
        self.period, self.momentum = period, momentum

    def reduce(self, gradients: np.ndarray) -> np.ndarray:
        return gradients * self.workers

    def mix(self, weights: np.ndarray, velocity: np.ndarray, step: int) -> None:
        if (step + 1) % self.period:
            return
        weights[:] = weights.mean(axis=0)
        if self.momentum == "averaged":
            velocity[:] = velocity.mean(axis=0)
        if self.momentum == "reset":
            velocity[:] = 0


class Compressed(Reference):
    """Whatever `sent` keeps of a worker's gradient plus what it carries over."""

    def __init__(self, workers: int, *, feedback: bool = True) -> None:
        super().__init__(workers)
        self.feedback = feedback
        self.carried = np.zeros((workers, COUNT))

    def reduce(self, gradients: np.ndarray) -> np.ndarray:
        whole = gradients + self.carried
        sent = self.sent(whole)
        if self.feedback:
            self.carried = whole - sent
        return super().reduce(sent)

    def sent(self, whole: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class TopK(Compressed):
    def __init__(self, workers: int, *, ratio: float, feedback: bool) -> None:
        super().__init__(workers, feedback=feedback)
        self.kept = math.ceil(ratio * COUNT)

    def sent(self, whole: np.ndarray) -> np.ndarray:
        found = np.zeros_like(whole)
        for mine, worker in zip(found, whole, strict=True):
            largest = np.argsort(-np.abs(worker))[: self.kept]
            mine[largest] = worker[largest]
        return found


class ScaledSigns(Compressed):
    def sent(self, whole: np.ndarray) -> np.ndarray:
        parts = np.split(whole, np.cumsum(SIZES)[:-1], axis=1)
        return np.concatenate(
            [np.where(p >= 0, 1, -1) * np.abs(p).mean(axis=1, keepdims=True) for p in parts], axis=1
        )


class MajorityVote(Reference):
    def __init__(self, workers: int, *, size: float) -> None:
        super().__init__(workers)
        self.size = size

    def reduce(self, gradients: np.ndarray) -> np.ndarray:
        return self.size * np.sign(super().reduce(np.sign(gradients)))


class PowerSgd(Compressed):
    """Algorithm 1 of the paper, with its Gram-Schmidt."""

    def __init__(self, workers: int, *, seed: int, rank: int, feedback: bool) -> None:
        super().__init__(workers, feedback=feedback)
        self.right = []
        for shape in (shape for shape in SHAPES if len(shape) > 1):
            rows, columns = shape[0], math.prod(shape[1:])
            rng = seeds.generator(seed, f"powersgd/{len(self.right)}")
            self.right.append(rng.normal(size=(columns, min(rank, rows, columns))))

    def reduce(self, gradients: np.ndarray) -> np.ndarray:
        whole = gradients + self.carried
        given, lost = [], []
        number = 0
        for part, shape in zip(np.split(whole, np.cumsum(SIZES)[:-1], axis=1), SHAPES, strict=True):
            if len(shape) < 2:
                given.append(part.sum(axis=0))
                lost.append(np.zeros_like(part))
                continue
            matrices = np.array([in_memory(each.reshape(shape)) for each in part])
            left = gram_schmidt((matrices @ self.right[number]).sum(axis=0))
            rights = matrices.transpose(0, 2, 1) @ left
            self.right[number] = rights.sum(axis=0)
            given.append(as_vector(left @ self.right[number].T, shape))
            own = left @ rights.transpose(0, 2, 1)
            lost.append(np.array([as_vector(each, shape) for each in matrices - own]))
            number += 1
        if self.feedback:
            self.carried = np.concatenate(lost, axis=1)
        return np.tile(np.concatenate(given), (self.workers, 1))


def in_memory(values: np.ndarray) -> np.ndarray:
    """A tensor as a matrix, columns as they lie in channels-last memory."""
    last = values.transpose(0, 2, 3, 1) if values.ndim == 4 else values
    return last.reshape(len(values), -1)


def as_vector(matrix: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The inverse, as a vector in the order of the dimensions."""
    if len(shape) == 4:
        filters, channels, height, width = shape
        matrix = matrix.reshape(filters, height, width, channels).transpose(0, 3, 1, 2)
    return matrix.reshape(-1)


def gram_schmidt(matrix: np.ndarray) -> np.ndarray:
    columns: list[np.ndarray] = []
    for column in matrix.T:
        for other in columns:
            column = column - (column @ other) * other
        columns.append(column / np.linalg.norm(column))
    return np.array(columns).T


class Gossip(LocalSgd):
    def __init__(self, workers: int, *, matrix: np.ndarray) -> None:
        super().__init__(workers, period=1, momentum="local")
        self.matrix = matrix

    def mix(self, weights: np.ndarray, velocity: np.ndarray, step: int) -> None:
        weights[:] = self.matrix @ weights


def simulate(
    make: Callable[[int], Reference], workers: int, *, steps: int, noise: float = 0.1
) -> Simulated:
    """Learn the problem of `timetrial.testing.quadratic` in one process."""
    problem = Problem.of(workers, COUNT, noise=noise)
    algorithm = make(workers)
    weights = np.tile(first_weights(COUNT), (workers, 1))
    velocity = np.zeros_like(weights)
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for step in range(steps):
        gradients = np.array([problem.gradient(r, step, w) for r, w in enumerate(weights)])
        given = algorithm.reduce(gradients)
        velocity = MOMENTUM * velocity + given + DECAY * weights
        weights = weights - RATE * velocity
        algorithm.mix(weights, velocity, step)
        seen.append((weights.copy(), given, gradients))
    return Simulated(*(np.array(part) for part in zip(*seen, strict=True)))
