"""Gossip (decentralised SGD): every worker averages its weights with its neighbours', each step.

Neighbours stand beside each other on a ring or a torus. A worker and its d neighbours have equal
shares 1 / (d + 1): the matrix of shares is symmetric and doubly stochastic, so the mean of all
workers' weights is that of the updates alone. Momentum stays each worker's own. What the optimizer
gets is k times the worker's gradient: the mean over its own part of the mini-batch.

The source mixes the weights of before the step and then subtracts the gradient; here the step comes
first and its result is mixed ("adapt, then combine"). Both have the same mean.

Sends d n s bytes per step, in messages between two workers. An evaluation averages a copy of all
workers' weights on top of that.

Source: Lian et al., Can decentralized algorithms outperform centralized algorithms?, arXiv
1705.09056, Algorithm 1; Sayed, Adaptation, learning, and optimization over networks, 2014, 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from timetrial.algorithms.topology import neighbours
from timetrial.algorithms.wire import Flat, Wire, mean_of, scale


@final
class Gossip:
    """The mean of a worker's and its neighbours' weights."""

    def __init__(self, weights: Sequence[Tensor], wire: Wire, *, topology: str) -> None:
        """Find the neighbours."""
        self._wire = wire
        self._neighbours = neighbours(topology, wire.rank, wire.size)
        self._mixed = Flat(weights)

    @torch.no_grad()
    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return this worker's own gradient, as the mean over its part."""
        return scale(gradients, self._wire.size)

    @torch.no_grad()
    def mix(self, weights: list[Tensor], step: int) -> None:
        """Average the weights with those of the neighbours."""
        mine = self._mixed.take(weights)
        for theirs in self._wire.swap(mine, self._neighbours):
            mine += theirs
        mine /= len(self._neighbours) + 1
        self._mixed.give(weights)

    @torch.no_grad()
    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return the mean of all workers' weights."""
        return mean_of(self._wire, self._mixed, weights)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing: each worker's checkpoint holds its own weights."""
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""


def build(
    weights: Sequence[Tensor], *, group: ProcessGroup | None, seed: int, topology: str
) -> Gossip:
    """Build it; no random numbers."""
    return Gossip(weights, Wire(group), topology=topology)
