"""What is timed in PyTorch, on the CPU or on another device that it sees."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterator
from typing import Final

import torch

from timetrial.ceilings.orders import Order
from timetrial.ceilings.rounds import Work
from timetrial.frameworks import torch as ours
from timetrial.machine.ceilings import MATMULS

_CPU_SIZES: Final = (256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
_DEVICE_SIZES: Final = (1024, 2048, 4096, 6144, 8192, 12288, 16384)
_DTYPES: Final = {
    "float64": torch.float64,
    "float32": torch.float32,
    "tfloat32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}
_COPIED_BYTES: Final = 2**28  # between host and device
_FACTOR: Final = 3.0


def versions(order: Order) -> dict[str, str]:
    """Set threads and exact float32 products; return the versions of what computes."""
    return {**ours.set_arithmetic(order.threads), "python": platform.python_version()}


def devices() -> tuple[str, ...]:
    """Return the devices beside the CPU, by the names of `--device`."""
    if torch.cuda.is_available():
        kind = "rocm" if torch.version.hip else "cuda"
        return tuple(f"{kind}:{index}" for index in range(torch.cuda.device_count()))
    return ("mps",) if torch.backends.mps.is_available() else ()


def uuid_of(name: str) -> str | None:
    """Return the identity of a GPU as its driver has it, None where PyTorch does not tell."""
    device = ours.find_device(name)
    if device.type != "cuda":
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return None if uuid is None else str(uuid)


# --- products -------------------------------------------------------------------------------------


def products(order: Order, measure: str, why_not: dict[str, str]) -> Iterator[Work]:
    """Yield the products of one precision by rising size, each done once; where it cannot, say why.

    The matrices are square and filled with noise between -1 and 1: zeros would draw less power, and
    so let a processor clock higher.
    """
    device = ours.find_device(order.device)
    precision = MATMULS[measure]
    if precision == "tfloat32" and device.type != "cuda":
        why_not[measure] = f"PyTorch has products in tf32 on NVIDIA's GPUs alone, not on {device}"
        return
    sizes = _CPU_SIZES if device.type == "cpu" else _DEVICE_SIZES
    for size in sizes:
        try:
            work = _product(measure, precision, size, device)
            work.call()
        except (RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
            # what a device or build lacks comes as any of these; of memory there may be too little
            if size == sizes[0]:
                why_not[measure] = f"PyTorch {torch.__version__}: {_first_line(error)}"
            return
        yield work


def _product(measure: str, precision: str, size: int, device: torch.device) -> Work:
    dtype = _DTYPES[precision]
    left, right = (_noise(size, dtype, device) for _ in range(2))
    if precision == "int8":
        name = "torch._int_mm"
        multiply = functools.partial(getattr(torch, "_int_mm"), left, right)  # noqa: B009 untyped
    else:
        name = "torch.mm into a tensor"
        multiply = functools.partial(torch.mm, left, right, out=torch.empty_like(left))

    def call() -> None:
        if device.type == "cuda":  # the switch holds for the whole process
            torch.set_float32_matmul_precision("high" if precision == "tfloat32" else "highest")
        multiply()
        ours.wait(device)

    return Work(measure, 2.0 * size**3, call, precision, f"{size} × {size}", name)


def _noise(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if dtype == torch.int8:
        return torch.randint(-127, 128, (size, size), dtype=dtype, device=device)
    generator = torch.Generator(device).manual_seed(0)
    made = torch.rand(size, size, generator=generator, device=device, dtype=torch.float32)
    return (2 * made - 1).to(dtype)


# --- memory ---------------------------------------------------------------------------------------


def memory(order: Order) -> list[Work]:
    """Return what of copy and triad is asked for, on arrays in the device's own memory."""
    device = ours.find_device(order.device)
    dtype = torch.float32 if device.type == "mps" else torch.float64  # which has no float64
    count = order.array_bytes // dtype.itemsize
    a, b, c = (torch.full((count,), value, dtype=dtype, device=device) for value in (0.0, 1.0, 2.0))
    size = f"{order.array_bytes / 2**20:.0f} MiB"
    precision = str(dtype).removeprefix("torch.")

    def work(measure: str, arrays: int, how: str, call: Callable[[], object]) -> Work:
        def finished() -> None:
            call()
            ours.wait(device)

        amount = float(arrays * dtype.itemsize * count)
        return Work(measure, amount, finished, precision, size, how)

    works = [
        work("memory_copy", 2, "Tensor.copy_", lambda: a.copy_(b)),
        work(
            "memory_triad",
            3,
            "torch.add with a factor into a tensor",
            lambda: torch.add(b, c, alpha=_FACTOR, out=a),
        ),
    ]
    return [work for work in works if work.measure in order.measures]


def host_copies(order: Order) -> list[Work]:
    """Return the copies between host and device; the host's memory is pinned where CUDA can."""
    device = ours.find_device(order.device)
    pinned = device.type == "cuda"
    here = torch.ones(_COPIED_BYTES, dtype=torch.uint8, pin_memory=pinned)
    there = torch.ones(_COPIED_BYTES, dtype=torch.uint8, device=device)
    how = f"Tensor.copy_, host memory {'pinned' if pinned else 'not pinned'}"
    size = f"{_COPIED_BYTES / 2**20:.0f} MiB"

    def to_device() -> None:
        there.copy_(here, non_blocking=pinned)
        ours.wait(device)

    def to_host() -> None:
        here.copy_(there, non_blocking=pinned)
        ours.wait(device)

    return [
        Work("host_to_device", float(_COPIED_BYTES), to_device, "uint8", size, how),
        Work("device_to_host", float(_COPIED_BYTES), to_host, "uint8", size, how),
    ]


# --- the smallest operation -----------------------------------------------------------------------


def tiny_operation(order: Order) -> Work:
    """Return the time of the smallest operation, one after the other, finished at the end."""
    device = ours.find_device(order.device)
    one, calls = torch.zeros(1, device=device), 200

    def call() -> None:
        for _ in range(calls):
            one.add_(1.0)
        ours.wait(device)

    measure = "op_launch" if device.type == "cpu" else "kernel_launch"
    how = f"Tensor.add_ to one element; {calls} one after the other"
    return Work(measure, 1.0, call, "float32", "1 element", how, per_call=calls)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
