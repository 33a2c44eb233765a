"""NVIDIA GPUs by NVML (`pynvml`, package nvidia-ml-py): readings, and what they are.

NVML calls busy the share of time in which any kernel ran: one busy multiprocessor of 132 reads
near 100 %. Hence the name `gpu_busy_any_kernel`. Energy is the difference of the device's own
counter, never an integral of power samples: on A100 and H100 the power sensor looks at a quarter
of the time only (arXiv 2312.02741).
Source: NVML API reference, nvmlDeviceGetUtilizationRates, nvmlDeviceGetTotalEnergyConsumption.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, final

from timetrial.meter.records import GpuSample, MeterRecord, Method

_SCOPE: Final = "whole GPU, all processes"


class GpuFacts(MeterRecord, frozen=True, kw_only=True):
    """What one GPU is; None for what the driver does not tell."""

    index: int  # NVML's, in the order of the PCI bus; not CUDA's
    name: str | None
    memory_bytes: int | None
    power_limit_w: float | None
    driver: str | None
    cuda: str | None  # the newest that the driver supports, such as "12.8"


class GpuChip(MeterRecord, frozen=True, kw_only=True):
    """What one GPU could do at most is derived from these; None for what the driver does not tell.

    The clocks are the highest that it names.
    """

    uuid: str | None
    capability: str | None  # CUDA's compute capability, such as "9.0"
    cuda_cores: int | None
    max_clock_hz: float | None
    memory_clock_hz: float | None
    bus_bit: int | None
    pcie_generation: int | None
    pcie_lanes: int | None


@final
class Gpus:
    """The GPUs of this machine while the library is open; none at all where it is absent."""

    def __init__(self, only: Sequence[int] | None = None) -> None:
        """Choose GPUs by NVML index; None: all."""
        self._only = only
        self._nvml: Any = None
        self._handles: dict[int, Any] = {}
        self.reason: str | None = "not opened"

    def __enter__(self) -> Gpus:
        """Open the driver's library; `reason` says why there are no GPUs."""
        if not _driver_library():
            self.reason = "no NVIDIA driver: libnvidia-ml.so.1 is not found"
            return self
        try:
            import pynvml
        except ImportError:
            self.reason = "nvidia-ml-py is not installed (pip install 'timetrial[gpu]')"
            return self
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self.reason = f"no NVIDIA driver: {error}"
            return self
        self._nvml = pynvml
        count: int = self._ask(pynvml.nvmlDeviceGetCount) or 0
        wanted = range(count) if self._only is None else [i for i in self._only if i < count]
        for index in wanted:
            handle = self._ask(pynvml.nvmlDeviceGetHandleByIndex, index)
            if handle is not None:
                self._handles[index] = handle
        self.reason = None if self._handles else "the NVIDIA driver shows no GPU"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the library."""
        if self._nvml is not None:
            self._ask(self._nvml.nvmlShutdown)
            self._nvml = None
            self._handles = {}

    def methods(self) -> dict[str, Method]:
        """Return scope and method of the three GPU metrics."""
        texts = {
            "gpu_busy_any_kernel": "NVML utilisation: share of time in which any kernel ran",
            "gpu_memory_bytes": "NVML memory in use; peak is the largest sample",
            "gpu_energy_j": "NVML energy counter difference (Volta and newer)",
        }
        if self.reason is not None:
            return {name: Method(scope=_SCOPE, method=None, reason=self.reason) for name in texts}
        return {name: Method(scope=_SCOPE, method=text) for name, text in texts.items()}

    def sample(self) -> tuple[GpuSample, ...]:
        """Return a reading per GPU; empty without GPUs."""
        return tuple(self._sample(index, handle) for index, handle in self._handles.items())

    def facts(self) -> tuple[GpuFacts, ...]:
        """Return what each GPU is; empty without GPUs."""
        return tuple(self._facts(index, handle) for index, handle in self._handles.items())

    def chips(self) -> tuple[GpuChip, ...]:
        """Return what each GPU is made of; empty without GPUs."""
        return tuple(self._chip(handle) for handle in self._handles.values())

    def _chip(self, handle: Any) -> GpuChip:
        nvml = self._nvml
        capability = self._ask(nvml.nvmlDeviceGetCudaComputeCapability, handle)
        clock_mhz = self._ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM)
        memory_mhz = self._ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM)
        return GpuChip(
            uuid=_text(self._ask(nvml.nvmlDeviceGetUUID, handle)),
            capability=None if capability is None else ".".join(map(str, capability)),
            cuda_cores=self._ask(nvml.nvmlDeviceGetNumGpuCores, handle),
            max_clock_hz=None if clock_mhz is None else clock_mhz * 1e6,
            memory_clock_hz=None if memory_mhz is None else memory_mhz * 1e6,
            bus_bit=self._ask(nvml.nvmlDeviceGetMemoryBusWidth, handle),
            pcie_generation=self._ask(nvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
            pcie_lanes=self._ask(nvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
        )

    def _sample(self, index: int, handle: Any) -> GpuSample:
        nvml = self._nvml
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        millijoules = self._ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        return GpuSample(
            index=index,
            busy_any_kernel=None if rates is None else rates.gpu / 100,
            memory_bytes=None if memory is None else int(memory.used),
            energy_j=None if millijoules is None else millijoules / 1e3,
        )

    def _facts(self, index: int, handle: Any) -> GpuFacts:
        nvml = self._nvml
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        milliwatts = self._ask(nvml.nvmlDeviceGetPowerManagementLimit, handle)
        cuda = self._ask(nvml.nvmlSystemGetCudaDriverVersion)
        return GpuFacts(
            index=index,
            name=_text(self._ask(nvml.nvmlDeviceGetName, handle)),
            memory_bytes=None if memory is None else int(memory.total),
            power_limit_w=None if milliwatts is None else milliwatts / 1e3,
            driver=_text(self._ask(nvml.nvmlSystemGetDriverVersion)),
            cuda=None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
        )

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """Return the library's answer, None where this GPU or driver has none."""
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None


def _driver_library() -> bool:
    """Return False where the driver is surely absent: 4 ms, against 40 ms to import `pynvml`."""
    if sys.platform != "linux":
        return True
    import ctypes

    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
