"""Top-k with memory: of each worker's gradient only the entries largest in absolute value are sent.

The largest are found among all entries of all tensors together. What a worker did not send it adds
to its gradient of the next step (`feedback`); without that it is lost. Every worker adds up what
all have sent, in the order of ranks: the weights stay the same in all workers, bit for bit.

The source carries learning rate times gradient over; here the optimizer comes after the exchange,
so it is the gradient, as in PowerSGD: the two differ where the learning rate changes.

Sends (k-1) K (s + 4) bytes per step, K = ceil(ratio n): values and 32-bit indices, gathered by all.

Source: Stich, Cordonnier and Jaggi, Sparsified SGD with memory, arXiv 1809.07599, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from timetrial.algorithms.catalogue import kept
from timetrial.algorithms.wire import Flat, Wire, copy_array
from timetrial.errors import UsageError


@final
class TopK:
    """The sum of all workers' largest entries."""

    def __init__(
        self, weights: Sequence[Tensor], wire: Wire, *, ratio: float, feedback: bool
    ) -> None:
        """Begin with nothing carried over.

        Raises:
            UsageError: More weights than 32-bit indices can tell apart.
        """
        self._wire = wire
        self._feedback = feedback
        self._carried = Flat(weights)
        self._sum = Flat(weights)
        count = self._carried.buffer.numel()
        if count >= 2**31:
            raise UsageError(
                f"--algorithm top-k is not possible for {count} weights. Allowed: below 2^31."
            )
        self._kept = kept(ratio, count)

    @torch.no_grad()
    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return the sum of what all workers send of their gradients."""
        whole = self._carried.add(gradients)
        chosen = whole.abs().topk(self._kept, sorted=False).indices
        values = whole[chosen]
        if self._feedback:
            whole[chosen] = 0
        else:
            whole.zero_()
        total = self._sum.buffer.zero_()
        for message in self._wire.gather(_pack(values, chosen)):
            theirs, places = _unpack(message, values.dtype)
            total.index_add_(0, places, theirs)
        return self._sum.views

    def mix(self, weights: list[Tensor], step: int) -> None:
        """Leave the weights: they are the same everywhere."""

    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return None: the weights are the same everywhere."""
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what this worker carries over."""
        return {"carried": self._carried.array()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Carry the same over again."""
        copy_array(arrays, "carried", self._carried.buffer)


def _pack(values: Tensor, places: Tensor) -> Tensor:
    return torch.cat([values.view(torch.uint8), places.to(torch.int32).view(torch.uint8)])


def _unpack(message: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    split = message.numel() * dtype.itemsize // (dtype.itemsize + 4)
    return message[:split].view(dtype), message[split:].view(torch.int32)


def build(
    weights: Sequence[Tensor],
    *,
    group: ProcessGroup | None,
    seed: int,
    ratio: float,
    feedback: bool,
) -> TopK:
    """Build it; no random numbers."""
    return TopK(weights, Wire(group), ratio=ratio, feedback=feedback)
