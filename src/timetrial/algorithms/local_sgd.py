"""Local SGD: every worker trains alone, and all average their weights every `period` steps.

What a worker's optimizer gets is k times its gradient: the mean over its own part of the
mini-batch. With period 1 the averaged weights are those of synchronous SGD, momentum included,
since both rules are linear in the gradients (up to rounding).

The source has no momentum. `momentum` says what becomes of it when weights are averaged: `local`:
each worker keeps its own, nothing is sent; `averaged` like the weights, as Yu, Jin and Yang 2019,
arXiv 1905.03817, do; `reset` to zero. Learning-rate schedules go on with the common step.

Sends 2 (k-1)/k n s / period bytes per step, twice that with averaged momentum. An evaluation
averages a copy of the weights on top of that.

Source: Stich, Local SGD converges fast and communicates little, arXiv 1805.09767, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from timetrial.algorithms.wire import Flat, Wire, mean_of, scale


@final
class LocalSgd:
    """The mean of all weights, now and then."""

    def __init__(
        self, weights: Sequence[Tensor], wire: Wire, *, period: int, momentum: str
    ) -> None:
        """Make the buffer."""
        self._wire = wire
        self._period = period
        self._momentum = momentum
        self._mean = Flat(weights)

    @torch.no_grad()
    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return this worker's own gradient, as the mean over its part."""
        return scale(gradients, self._wire.size)

    @torch.no_grad()
    def mix(self, weights: list[Tensor], step: int) -> None:
        """Average all workers' weights after every `period` steps."""
        if self._due(step):
            mean_of(self._wire, self._mean, weights)
            self._mean.give(weights)

    @torch.no_grad()
    def mix_momentum(self, velocity: list[Tensor], step: int) -> None:
        """Average or reset the momentum where the weights were averaged."""
        if not self._due(step):
            return
        if self._momentum == "averaged":
            mean_of(self._wire, self._mean, velocity)
            self._mean.give(velocity)
        elif self._momentum == "reset":
            scale(velocity, 0.0)

    @torch.no_grad()
    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return the mean of all workers' weights."""
        return mean_of(self._wire, self._mean, weights)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing: each worker's checkpoint holds its own weights."""
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""

    def _due(self, step: int) -> bool:
        return (step + 1) % self._period == 0


def build(
    weights: Sequence[Tensor],
    *,
    group: ProcessGroup | None,
    seed: int,
    period: int,
    momentum: str,
) -> LocalSgd:
    """Build it; no random numbers."""
    return LocalSgd(weights, Wire(group), period=period, momentum=momentum)
