"""What is timed without PyTorch: NumPy knows neither bfloat16 nor devices beside the CPU."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Float

from timetrial.ceilings.orders import Order
from timetrial.ceilings.rounds import Work
from timetrial.machine.ceilings import MATMULS

_SIZES: Final = (256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
_BLOCK: Final = 4096  # elements of a part: three of 32 KiB stay in the L2 cache
_FACTOR: Final = 3.0


def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    return {"numpy": np.__version__}


def settings() -> dict[str, str]:
    """Return the library that multiplies."""
    blas = np.__config__.CONFIG["Build Dependencies"]["blas"]
    return {"blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()}


def products(measure: str, why_not: dict[str, str]) -> Iterator[Work]:
    """Yield the products of one precision by rising size, each done once; of most none, and why."""
    precision = MATMULS[measure]
    if precision not in ("float64", "float32"):
        why_not[measure] = (
            f"NumPy multiplies no {precision}; install PyTorch: pip install 'timetrial[torch]'"
        )
        return
    generator = np.random.default_rng(0)
    for size in _SIZES:
        left, right = (generator.random((size, size)).astype(precision) for _ in range(2))
        out = np.matmul(left, right)
        yield Work(
            measure=measure,
            amount=2.0 * size**3,
            call=functools.partial(np.matmul, left, right, out),
            precision=precision,
            size=f"{size} × {size}",
            how="numpy.matmul into an array",
        )


class Memory:
    """Three arrays, copied and added by threads in parts; NumPy lets go of Python's lock."""

    def __init__(self, order: Order) -> None:
        """Make the arrays, and the threads for their parts."""
        count = order.array_bytes // 8
        self._a, self._b, self._c = (np.full(count, value) for value in (0.0, 1.0, 2.0))
        self._threads = order.threads
        self._pool = concurrent.futures.ThreadPoolExecutor(order.threads)
        cuts = [count * place // order.threads for place in range(order.threads + 1)]
        self._parts = [slice(*cuts[place : place + 2]) for place in range(order.threads)]

    def works(self, measures: tuple[str, ...]) -> list[Work]:
        """Return what of copy and triad is asked for."""
        found = []
        count, how = len(self._a), "numpy, one thread for each part of the arrays"
        size = f"{8 * count / 2**20:.0f} MiB"
        if "memory_copy" in measures:
            found.append(
                Work("memory_copy", 16.0 * count, self._copy_all, "float64", size, f"copyto; {how}")
            )
        if "memory_triad" in measures:
            how = f"multiply, then add, {_BLOCK} elements at a time; {how}"
            found.append(Work("memory_triad", 24.0 * count, self._triad_all, "float64", size, how))
        return found

    def _copy_all(self) -> None:
        list(self._pool.map(self._copy, self._parts))

    def _triad_all(self) -> None:
        list(self._pool.map(self._triad, self._parts))

    def _copy(self, part: slice) -> None:
        np.copyto(self._a[part], self._b[part])

    def _triad(self, part: slice) -> None:
        a, b, c = (whole[part] for whole in (self._a, self._b, self._c))
        scaled: Float[np.ndarray, " block"] = np.empty(_BLOCK)
        for at in range(0, len(a), _BLOCK):
            end = min(at + _BLOCK, len(a))
            np.multiply(c[at:end], _FACTOR, out=scaled[: end - at])
            np.add(b[at:end], scaled[: end - at], out=a[at:end])


def tiny_operation() -> Work:
    """Return the time of the smallest operation: adding to one element."""
    one, calls = np.zeros(1, dtype=np.float32), 200

    def call() -> None:
        for _ in range(calls):
            np.add(one, 1.0, out=one)

    how = f"numpy.add to one element; {calls} one after the other"
    return Work("op_launch", 1.0, call, "float32", "1 element", how, per_call=calls)
