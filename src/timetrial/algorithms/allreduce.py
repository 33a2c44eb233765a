"""Synchronous SGD: the gradients of all workers are summed in every step, explicitly.

All tensors travel as one flat buffer, in slices (`timetrial.algorithms.wire`). The call begins when
the backward pass has ended, so the time of communication stands alone; "ddp" overlaps the two.

Sends 2 (k-1)/k n s bytes per step. Weights stay the same in all workers.

Source: Goyal et al., Accurate, large minibatch SGD, arXiv 1706.02677, 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from timetrial.algorithms.wire import Flat, Wire


@final
class AllReduce:
    """The sum of all gradients."""

    def __init__(self, weights: Sequence[Tensor], wire: Wire) -> None:
        """Make the buffer."""
        self._wire = wire
        self._sum = Flat(weights)

    @torch.no_grad()
    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return the sum over all workers."""
        self._wire.sum(self._sum.take(gradients))
        return self._sum.views

    def mix(self, weights: list[Tensor], step: int) -> None:
        """Leave the weights: they are the same everywhere."""

    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return None: the weights are the same everywhere."""
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing."""
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""


def build(weights: Sequence[Tensor], *, group: ProcessGroup | None, seed: int) -> AllReduce:
    """Build it; no random numbers."""
    return AllReduce(weights, Wire(group))
