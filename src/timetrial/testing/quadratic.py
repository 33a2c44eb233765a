"""A small convex problem for several workers, by hand: gradients are exact, the best is known.

Worker r has f_r(w) = ½ Σ h_r (w - c_r)² with curvatures and centres of its own; each step adds
noise to its gradient, drawn by rank and step. As in training, a worker's gradient is its share of
the whole, so the gradient of the problem is the sum. The problem itself is in NumPy, so that it can
be simulated in one process.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from timetrial.engine import seeds

if TYPE_CHECKING:
    from torch import Tensor, dtype

SHAPES: Final = ((6, 5), (5,), (4, 3, 3, 3), (4,))
LARGE: Final = ((300, 200), (200,), (64, 32, 3, 3), (64,))
MOMENTUM: Final = 0.9
RATE: Final = 0.05
DECAY: Final = 1e-3
_RECEIVED_AT: Final = 128  # of tcpi_bytes_received in Linux' struct tcp_info


class Problem(NamedTuple):
    """What all workers minimise together; arrays are (workers, weights)."""

    curvatures: np.ndarray
    centres: np.ndarray
    noise: float

    @classmethod
    def of(cls, workers: int, count: int, *, noise: float = 0.1, spread: float = 1.0) -> Problem:
        """Return the problem of so many workers and weights; `spread` of the centres about 0."""
        rng = seeds.generator(11, "quadratic")
        curvatures = rng.uniform(0.5, 1.5, size=(workers, count))
        return cls(curvatures, rng.normal(scale=spread, size=(workers, count)), noise)

    def gradient(self, rank: int, step: int, weights: np.ndarray) -> np.ndarray:
        """Return a worker's share of the gradient at `weights`."""
        workers, count = self.centres.shape
        noise = seeds.generator(rank, "noise", step).normal(scale=self.noise, size=count)
        whole = self.curvatures[rank] * (weights - self.centres[rank]) + noise
        return np.asarray(whole / workers)

    def loss(self, weights: np.ndarray) -> float:
        """Return the mean of all workers' losses at `weights`, above that of the best."""
        best = (self.curvatures * self.centres).sum(axis=0) / self.curvatures.sum(axis=0)
        values = [
            0.5 * (self.curvatures * (point - self.centres) ** 2).sum(axis=1).mean()
            for point in (weights, best)
        ]
        return float(values[0] - values[1])


def first_weights(count: int) -> np.ndarray:
    """Return what every worker begins with."""
    return np.asarray(seeds.generator(12, "first weights").normal(size=count))


def train(
    *,
    rank: int,
    size: int,
    algorithm: str,
    steps: int,
    rate: float = RATE,
    noise: float = 0.1,
    spread: float = 1.0,
    restart: int | None = None,
    settle_every: int = 0,
    shapes: Sequence[Sequence[int]] = SHAPES,
    kind: str = "float64",
) -> dict[str, np.ndarray]:
    """Learn the problem; return this worker's weights after each step, and what else is asked.

    After `restart` steps everything is built anew and restored. `settle_every` so many steps
    `settled` is asked. Weights of four dimensions lie in channels-last memory.
    """
    import torch

    from timetrial import algorithms

    count = sum(int(np.prod(shape)) for shape in shapes)
    problem = Problem.of(size, count, noise=noise, spread=spread)
    leaves = _leaves(shapes, getattr(torch, kind))
    velocity = [torch.zeros_like(leaf) for leaf in leaves]
    made = algorithms.build(algorithm, leaves, seed=3)
    begun = {f"begun/{name}": value for name, value in made.arrays().items()}
    after: list[np.ndarray] = []
    given: list[np.ndarray] = []
    torch.distributed.barrier()  # what building sends is over
    received = _bytes_received()
    for step in range(steps):
        if step == restart:
            kept = made.arrays()
            _close(made)
            made = algorithms.build(algorithm, leaves, seed=4)
            made.restore(kept)
        share = problem.gradient(rank, step, _flat(leaves))
        reduced = made.reduce(_like(leaves, share))
        given.append(_flat(reduced))
        for leaf, moving, gradient in zip(leaves, velocity, reduced, strict=True):
            moving.mul_(MOMENTUM).add_(gradient).add_(leaf, alpha=DECAY)
            leaf.sub_(moving, alpha=rate)
        made.mix(leaves, step)
        if isinstance(made, algorithms.MixesMomentum):
            made.mix_momentum(velocity, step)
        after.append(_flat(leaves))
        if settle_every and (step + 1) % settle_every == 0:
            made.settled(leaves)
    torch.distributed.barrier()  # a server may still hear of steps of others
    received = _bytes_received() - received
    ended = {f"ended/{name}": value for name, value in made.arrays().items()}
    settled = made.settled(leaves)
    scored = _flat(leaves if settled is None else settled)
    torch.distributed.barrier()  # nobody leaves while another still asks
    _close(made)
    return {
        "weights": np.array(after),
        "given": np.array(given),
        "scored": scored,
        "settles": np.array(settled is not None),
        "loss": np.array(problem.loss(scored)),
        "bytes_per_step": np.array(received / steps),
        **begun,
        **ended,
    }


def _leaves(shapes: Sequence[Sequence[int]], dtype: dtype) -> list[Tensor]:
    import torch

    count = sum(int(np.prod(shape)) for shape in shapes)
    leaves = [torch.zeros(tuple(shape), dtype=dtype) for shape in shapes]
    last = torch.channels_last
    leaves = [leaf.contiguous(memory_format=last) if leaf.ndim == 4 else leaf for leaf in leaves]
    return [
        leaf.copy_(value)
        for leaf, value in zip(leaves, _like(leaves, first_weights(count)), strict=True)
    ]


def _flat(tensors: Sequence[Tensor]) -> np.ndarray:
    """Return tensors as one vector, each in the order of its dimensions."""
    return np.concatenate([t.detach().cpu().numpy().reshape(-1) for t in tensors])


def _like(leaves: Sequence[Tensor], values: np.ndarray) -> list[Tensor]:
    """Return a vector cut into tensors of these shapes and types."""
    import torch

    parts = np.split(values, np.cumsum([leaf.numel() for leaf in leaves])[:-1])
    pairs = zip(parts, leaves, strict=True)
    return [torch.tensor(part, dtype=leaf.dtype).view(leaf.shape) for part, leaf in pairs]


def _close(made: object) -> None:
    from timetrial import algorithms

    if isinstance(made, algorithms.Closes):
        made.close()


def _bytes_received() -> int:
    """Return what came in by all TCP connections of this process, headers left out; Linux only."""
    total = 0
    opened = Path("/proc/self/fd")
    for place in opened.iterdir() if opened.is_dir() else ():
        with contextlib.suppress(OSError):  # closed meanwhile, or a socket of another kind
            if not place.is_socket():
                continue
            with socket.socket(fileno=os.dup(int(place.name))) as each:
                facts = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            total += struct.unpack_from("=Q", facts, _RECEIVED_AT)[0]
    return total
