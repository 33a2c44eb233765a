"""All-reduce in JAX: a compiled psum over one device of every process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from timetrial.frameworks.jax import find_device
from timetrial.spec import ITEM_BYTES, Point

_WORKERS: Final = "workers"
_SMALL: Final = Point("float32", 4)


class JaxCollective:
    """One device of every process, with a row of an array on each."""

    def __init__(self, device: jax.Device) -> None:
        """Compile the sum by which workers meet; all must be there."""
        self._device = device
        everyone = [device for device in jax.devices() if device.platform == self._device.platform]
        by_process = {device.process_index: device for device in reversed(everyone)}
        chosen = [by_process[process] for process in sorted(by_process)]
        self._mesh = Mesh(np.array(chosen), (_WORKERS,))
        self._value = 1 + jax.process_index() % 8
        self._rows = NamedSharding(self._mesh, PartitionSpec(_WORKERS))
        self._small, self._sum_small = self._ready(_SMALL)
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
        own = np.asarray(self._total.addressable_data(0))
        return float(own.min()), float(own.max())

    def _ready(self, point: Point) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
        """Return the array, a row of it here, and the compiled sum over its rows."""
        count = point.bytes // ITEM_BYTES[point.dtype]
        row = jax.device_put(np.full((1, count), self._value, dtype=point.dtype), self._device)
        whole = (len(self._mesh.devices), count)
        array = jax.make_array_from_single_device_arrays(whole, self._rows, [row])
        total = jax.jit(
            jax.shard_map(
                lambda part: jax.lax.psum(part, _WORKERS),
                mesh=self._mesh,
                in_specs=PartitionSpec(_WORKERS),
                out_specs=PartitionSpec(),
            )
        )
        return array, total.lower(array).compile()


def build(device: str) -> JaxCollective:
    """Return the collective of all connected processes."""
    return JaxCollective(find_device(device))
