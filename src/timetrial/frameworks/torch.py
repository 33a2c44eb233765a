"""PyTorch: threads, devices, waiting for the device."""

from __future__ import annotations

import platform

import torch

from timetrial.errors import UsageError
from timetrial.frameworks import Setup
from timetrial.spec import Precision


class Torch:
    """The PyTorch of this process."""

    def __init__(self) -> None:
        """Start on the CPU; `setup` chooses."""
        self._device = torch.device("cpu")

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Choose the device and the number of threads of one operation.

        The arithmetic follows the tensors; an implementation makes them in `precision`.

        Raises:
            UsageError: No such device here.
        """
        self._device = find_device(device)
        return Setup(
            versions={**set_arithmetic(threads), "python": platform.python_version()},
            threads=torch.get_num_threads(),
            settings=settings(self._device),
            device_name=device_name(self._device),
        )

    def synchronise(self) -> None:
        """Return when the device has finished; a CPU always has."""
        wait(self._device)


def set_arithmetic(threads: int) -> dict[str, str]:
    """Set threads, float32 products in float32, and repeatable bits; return the versions."""
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")  # float32 means float32, never TF32
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True  # a resumed run repeats the same bits
    versions = {"torch": str(torch.__version__)}
    if torch.version.cuda:
        versions["cuda"] = torch.version.cuda
    if torch.version.hip:
        versions["rocm"] = torch.version.hip
    return versions


def settings(device: torch.device) -> dict[str, str]:
    """Return what decides how this PyTorch computes."""
    seen = {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "mkldnn": str(torch.backends.mkldnn.enabled),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    if device.type == "cuda" and torch.version.hip:
        seen["device"] = f"{device}, as PyTorch's ROCm build calls AMD's accelerators"
    return seen


def find_device(name: str) -> torch.device:
    """Return the device called cpu, cuda, cuda:N, rocm, rocm:N or mps.

    PyTorch's ROCm build calls AMD's accelerators cuda; here they are rocm.

    Raises:
        UsageError: PyTorch does not know it or does not see it here.
    """
    seen = {"cpu": "cpu"}
    if torch.cuda.is_available():
        kind = "rocm" if torch.version.hip else "cuda"
        seen[kind] = "cuda"
        seen.update((f"{kind}:{index}", f"cuda:{index}") for index in _indices())
    if torch.backends.mps.is_available():
        seen["mps"] = "mps"
    if name not in seen:
        raise UsageError(
            f"--device {name} is not to be had: this PyTorch ({torch.__version__}) sees "
            f"{', '.join(seen)} here."
        )
    return torch.device(seen[name])


def device_name(device: torch.device) -> str:
    """Return the accelerator's name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def wait(device: torch.device) -> None:
    """Return when the device has finished; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _indices() -> range:
    return range(torch.cuda.device_count())
