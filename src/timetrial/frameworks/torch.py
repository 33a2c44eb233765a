"""PyTorch: threads, devices, waiting for the device."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from typing import Final

import torch
from torch import distributed

from timetrial.errors import UsageError
from timetrial.frameworks import Place, Setup, interface_towards
from timetrial.spec import Precision

BACKEND_VARIABLE: Final = "TIMETRIAL_TORCH_BACKEND"  # gloo, nccl or mpi; else by the device
# a worker that is lost is noticed by the team (engine/team.py) much earlier
_TIMEOUT: Final = datetime.timedelta(minutes=30)


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

    def connect(self, place: Place) -> Mapping[str, str]:
        """Make the default process group: NCCL between CUDA devices, else gloo, or MPI where asked.

        gloo and NCCL use the network interface that GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME name,
        else the one towards worker 0.

        Raises:
            UsageError: This PyTorch was built without the back end.
        """
        backend = choose_backend(place.device)
        interface = interface_towards(place.address)
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            if interface is not None:
                os.environ.setdefault(name, interface)
        if backend == "mpi":
            distributed.init_process_group("mpi", timeout=_TIMEOUT)
        else:
            distributed.init_process_group(
                backend,
                init_method=f"tcp://{place.address}:{place.port}",
                rank=place.rank,
                world_size=place.size,
                timeout=_TIMEOUT,
            )
        return {
            "backend": backend,
            "interface": os.environ.get("GLOO_SOCKET_IFNAME", "chosen by the back end"),
        }

    def disconnect(self) -> None:
        """Leave the process group."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def synchronise(self) -> None:
        """Return when the device has finished; a CPU always has."""
        wait(self._device)


def choose_backend(device: str) -> str:
    """Return the back end for workers on such devices: as TIMETRIAL_TORCH_BACKEND says, or usual.

    Raises:
        UsageError: Unknown, or this PyTorch was built without it.
    """
    usual = "nccl" if device.startswith(("cuda", "rocm")) else "gloo"
    backend = os.environ.get(BACKEND_VARIABLE, usual)
    built = {
        "gloo": distributed.is_gloo_available(),
        "mpi": distributed.is_mpi_available(),
        "nccl": distributed.is_nccl_available(),
    }
    if not built.get(backend, False):
        here = ", ".join(name for name, is_built in built.items() if is_built)
        raise UsageError(
            f"The back end {backend} is not to be had: this PyTorch ({torch.__version__}) was "
            f"built with {here}. Set {BACKEND_VARIABLE} to one of these, or install another build."
        )
    return backend


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
