"""All-reduce in PyTorch: the default process group, whatever its backend is."""

from __future__ import annotations

import torch
import torch.distributed as dist

from timetrial.frameworks.torch import find_device, wait
from timetrial.spec import ITEM_BYTES, Point


class TorchCollective:
    """The default process group, with an array on one device."""

    def __init__(self, device: torch.device) -> None:
        """Start without an array."""
        self._device = device
        self._value = float(1 + dist.get_rank() % 8)
        self._array = torch.empty(0, device=device)

    def prepare(self, point: Point) -> None:
        """Make the array."""
        count = point.bytes // ITEM_BYTES[point.dtype]
        dtype = torch.float16 if point.dtype == "float16" else torch.float32
        self._array = torch.empty(count, dtype=dtype, device=self._device)

    def meet(self) -> None:
        """Fill the array again, and wait for all workers."""
        self._array.fill_(self._value)
        wait(self._device)
        dist.barrier()
        wait(self._device)

    def reduce(self) -> None:
        """Sum in place, as training does."""
        dist.all_reduce(self._array)
        wait(self._device)

    def result(self) -> tuple[float, float]:
        """Return the smallest and the largest element."""
        low, high = torch.aminmax(self._array)
        return float(low), float(high)


def build(device: str) -> TorchCollective:
    """Return the collective of the default process group, which is connected already."""
    return TorchCollective(find_device(device))
