"""Synchronous SGD: the sum of all workers' gradients, in one all-reduce of one flat vector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, distributed


class AllReduce:
    """Adds up the gradients."""

    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return the sums."""
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        pairs = zip(parts, gradients, strict=True)
        return [part.view(gradient.shape) for part, gradient in pairs]

    def mix(self, weights: list[Tensor], step: int) -> None:
        """Do nothing."""

    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return None."""
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing."""
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""
