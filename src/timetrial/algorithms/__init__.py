"""How several workers learn together (in PyTorch), one file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class Algorithm(Protocol):
    """One way of learning together."""

    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return what the optimizer gets."""

    def mix(self, weights: list[Tensor], step: int) -> None:
        """Change the weights after the update of `step`."""

    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return the weights to evaluate, None: the weights themselves."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state for a checkpoint."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from `arrays`."""


def build(text: str, leaves: Sequence[Tensor], *, seed: int) -> Algorithm:
    """Return the algorithm."""
    from timetrial.algorithms.allreduce import AllReduce

    return AllReduce()
