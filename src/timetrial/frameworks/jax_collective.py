"""All-reduce in JAX: a compiled sum over one device of every worker."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import PartitionSpec

from timetrial.frameworks.jax import WORKERS, add_up, find_device, mesh_of, own, spread
from timetrial.spec import ITEM_BYTES, Point


class JaxCollective:
    """One device of every worker, with a part of an array on each."""

    def __init__(self, device: jax.Device) -> None:
        """Compile the sum by which workers meet; all must be there."""
        self._device = device
        self._mesh = mesh_of(device)
        self._value = 1 + jax.process_index() % 8
        self._small, self._sum_small = self._ready(Point("float32", 4))
        self._array, self._sum = self._small, self._sum_small
        self._total = self._array

    def prepare(self, point: Point) -> None:
        """Make the array and compile its sum."""
        self._array, self._sum = self._ready(point)

    def meet(self) -> None:
        """Wait for all workers: each needs a number of every other. The array is never changed."""
        self._total = self._array  # frees the last sum
        self._sum_small(self._small).block_until_ready()

    def reduce(self) -> None:
        """Sum into a new array, as JAX does."""
        self._total = self._sum(self._array).block_until_ready()

    def result(self) -> tuple[float, float]:
        """Return the smallest and the largest element."""
        seen = np.asarray(own(self._total))
        return float(seen.min()), float(seen.max())

    def _ready(self, point: Point) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
        """Return the array, a part of it here, and the compiled sum over its parts."""
        count = point.bytes // ITEM_BYTES[point.dtype]
        part = jax.device_put(np.full(count, self._value, dtype=point.dtype), self._device)
        array: jax.Array = spread(self._mesh, PartitionSpec(WORKERS), part)
        add_up.lower(self._mesh, array).compile()
        return array, functools.partial(add_up, self._mesh)


def build(device: str) -> JaxCollective:
    """Return the collective of all connected workers."""
    return JaxCollective(find_device(device))
