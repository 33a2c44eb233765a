"""Between an algorithm and the other workers: collective operations, and many tensors as one.

The tensors stay on their device: gloo serves the CPU, NCCL the GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from timetrial.errors import UsageError

# Gloo sums 59 MB in slices of 4 MiB in 225 ms, in one piece in 305 and 469 ms (median of 15, two
# processes of one thread each on two busy Xeon cores, PyTorch 2.13.0, 2026-11-22).
SLICE_BYTES: Final = 2**22


@final
class Wire:
    """The workers of one group."""

    def __init__(self, group: ProcessGroup | None) -> None:
        """Find this worker's place in the group; None is the default group."""
        self._group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)

    def sum(self, values: Tensor) -> None:
        """Replace a vector by its sum over all workers, the same bits in each."""
        for part in torch.split(values, max(1, SLICE_BYTES // values.element_size())):
            dist.all_reduce(part, group=self._group)

    def gather(self, values: Tensor) -> list[Tensor]:
        """Return every worker's vector by rank; all have one length."""
        found = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(found, values, group=self._group)
        return found

    def swap(self, values: Tensor, peers: Sequence[int]) -> list[Tensor]:
        """Send a vector to these workers, return theirs; each must have this one as a peer."""
        found = [torch.empty_like(values) for _ in peers]
        calls = []
        for peer, received in zip(peers, found, strict=True):
            there = peer if self._group is None else dist.get_global_rank(self._group, peer)
            calls.append(dist.P2POp(dist.isend, values, there, self._group))
            calls.append(dist.P2POp(dist.irecv, received, there, self._group))
        for work in dist.batch_isend_irecv(calls) if calls else []:
            work.wait()
        return found


@final
class Flat:
    """Tensors as views of one buffer, each in the order it has in memory.

    A convolution's weights in channels-last memory are then copied straight through.
    """

    def __init__(self, like: Sequence[Tensor]) -> None:
        """Make zeros with the shapes, type and memory order of `like`.

        Raises:
            UsageError: No tensors, or of several types.
        """
        kinds = {(tensor.dtype, tensor.device) for tensor in like}
        if len(kinds) != 1:
            seen = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds)) or "none"
            raise UsageError(
                f"The weights are {seen}. Allowed: one type on one device; train in one precision."
            )
        self.sizes = [tensor.numel() for tensor in like]
        self.buffer = like[0].new_zeros(sum(self.sizes))
        self.segments = list(torch.split(self.buffer, self.sizes))
        self.views = [
            segment.as_strided(tensor.shape, torch.empty_like(tensor).stride())
            for segment, tensor in zip(self.segments, like, strict=True)
        ]

    def take(self, tensors: Sequence[Tensor]) -> Tensor:
        """Copy tensors of these shapes in; return the buffer."""
        torch._foreach_copy_(self.views, list(tensors))
        return self.buffer

    def add(self, tensors: Sequence[Tensor]) -> Tensor:
        """Add tensors of these shapes; return the buffer."""
        torch._foreach_add_(self.views, list(tensors))
        return self.buffer

    def give(self, tensors: Sequence[Tensor]) -> None:
        """Copy the views out, into tensors of these shapes."""
        torch._foreach_copy_(list(tensors), self.views)

    def array(self) -> np.ndarray:
        """Return a copy of the buffer."""
        return to_array(self.buffer)


def mean_of(wire: Wire, flat: Flat, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the mean of all workers' tensors, as views of `flat`."""
    wire.sum(flat.take(tensors))
    flat.buffer.div_(wire.size)
    return flat.views


def scale(tensors: Sequence[Tensor], factor: float) -> list[Tensor]:
    """Multiply tensors in place; return them."""
    torch._foreach_mul_(list(tensors), factor)
    return list(tensors)


def to_array(tensor: Tensor) -> np.ndarray:
    """Return a copy that later changes of the tensor leave alone."""
    return np.array(tensor.detach().cpu().numpy())


def copy_array(arrays: Mapping[str, np.ndarray], name: str, tensor: Tensor) -> None:
    """Copy the array called `name` into a tensor of its shape."""
    tensor.copy_(torch.from_numpy(np.ascontiguousarray(arrays[name])))
