"""A machine record in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Protocol

from timetrial import units
from timetrial.machine.records import (
    Accelerator,
    Checkout,
    CloudInstance,
    Cpu,
    Load,
    MachineRecord,
)

# Source of both: ours. No published limit was found (searched 2026-11-22; monitoring tools warn at
# 1 to 4 per core, when a machine is full, which is far too late for a measurement).
# Half of what fills the machine: from there on our threads have to wait for a core at times.
_BUSY_LOAD_PER_CORE: Final = 0.5
# Time lost to others goes straight into the result; 2 % is what an estimate of 5 % can bear.
_BUSY_STEAL: Final = 0.02
_STEAL_TICK_S: Final = 0.01  # Linux counts in hundredths of a second: one of them is chance

_MARKS: Final = re.compile(r"\((?:R|TM|tm|r)\)|®|™| CPU(?= |$)| @ .*$|\bProcessor(?= @)")


class Described(Protocol):
    """What a machine's name is made of: a machine record has it, and its ceilings."""

    @property
    def cpu(self) -> Cpu:
        """The processor."""

    @property
    def accelerators(self) -> tuple[Accelerator, ...]:
        """The GPUs."""

    @property
    def cloud(self) -> CloudInstance | None:
        """The cloud instance."""


def busy(record: MachineRecord) -> str | None:
    """Return why the machine was busy before the start; None when it was quiet, as far as known.

    The load is an average over a minute: right after a run of our own it holds that run. Ask it of
    the first record of a session; the number of other busy processes in the text tells the rest.
    """
    reasons: list[str] = []
    load, cores = record.load, record.cpu.logical_cores or 1
    others = "unknown" if load.busy_processes is None else load.busy_processes
    if load.load_1min is not None and load.load_1min / cores > _BUSY_LOAD_PER_CORE:
        reasons.append(
            f"the load was {units.significant(load.load_1min / cores, 2)} per core "
            f"(quiet: up to {_BUSY_LOAD_PER_CORE}; other busy processes now: {others})"
        )
    share = _steal_share(load, cores)
    if share is not None and share > _BUSY_STEAL:
        reasons.append(
            f"the hypervisor gave {units.percent(share, 1)} of the time to others "
            f"(quiet: up to {units.percent(_BUSY_STEAL, 0)})"
        )
    return "; ".join(reasons) or None


def system_name(
    record: Described, *, cores: int | None, device: str = "cpu", software: str | None = None
) -> str:
    """Return a short name of the system, such as "Intel Xeon Processor, 2 cores".

    `cores` of None: those allowed. On another device than "cpu" the GPUs come first. `software` is
    such as "torch 2.13.0".
    """
    count = cores if cores is not None else record.cpu.allowed_cores
    parts = [_short_model(record.cpu)]
    if count is not None:
        parts.append("1 core" if count == 1 else f"{count} cores")
    if device != "cpu" and record.accelerators:
        parts.insert(0, _accelerators(record.accelerators))
    if record.cloud is not None:
        parts.insert(0, f"{record.cloud.provider} {record.cloud.instance_type}")
    return ", ".join([*parts, *([software] if software else [])])


def facts(record: MachineRecord) -> dict[str, str]:
    """Return label -> text, in reading order; what is not known is left out."""
    rows = {
        "machine": system_name(record, cores=record.cpu.allowed_cores),
        **_hardware_facts(record),
        **_software_facts(record),
        **_state_facts(record),
    }
    return {label: text for label, text in rows.items() if text}


def _hardware_facts(record: MachineRecord) -> dict[str, str | None]:
    cpu, memory, disk, cloud = record.cpu, record.memory, record.disk, record.cloud
    swap = units.bytes_(memory.swap_bytes) if memory.swap_bytes else "none"
    kind = {True: "rotating", False: "not rotating", None: None}[disk.rotational]
    if record.virtualisation.hypervisor:
        kind = None  # a virtual disk says rotating, whatever lies below it
    free = f"{units.bytes_(disk.free_bytes)} free"
    spot = {True: "spot", False: "not spot", None: None}
    instance = (
        (cloud.provider, cloud.instance_type, cloud.region, spot[cloud.spot]) if cloud else ()
    )
    return {
        "processor": _joined((cpu.model, cpu.architecture)),
        "cores": _cores(cpu),
        "max. frequency": _quantity(cpu.max_frequency_hz, "Hz"),
        "governor": cpu.governor,
        "caches": _joined(f"{name} {units.bytes_(size)}" for name, size in cpu.cache_bytes.items()),
        "instructions": " ".join(cpu.instructions),
        "memory": f"{units.bytes_(memory.total_bytes)}, swap {swap}",
        "memory limit": _quantity(memory.limit_bytes, "byte"),
        "disk": _joined((disk.device, disk.file_system, kind, free)),
        "GPU": _accelerators(record.accelerators) or f"none ({record.accelerators_reason})",
        "GPU driver": _gpu_driver(record.accelerators),
        "virtual": _virtual(record),
        "cloud": _joined(instance),
    }  # fmt: skip


def _software_facts(record: MachineRecord) -> dict[str, str | None]:
    software = record.software
    variables = (f"{name}={value}" for name, value in software.environment.items())
    return {
        "system": f"{software.os}, kernel {software.kernel}",
        "Python": software.python,
        "timetrial": _joined((software.timetrial, _commit(software.timetrial_checkout))),
        "packages": f"{len(software.packages)} installed",
        "repository": _commit(software.checkout),
        "variables": " ".join(variables) or None,
    }


def _state_facts(record: MachineRecord) -> dict[str, str | None]:
    load = record.load
    others = load.busy_processes
    stolen_s = load.steal_since_boot_s
    return {
        "host": record.hostname,
        "recorded": record.time_utc,
        "load before": _quantity(load.load_1min, "1"),
        "other busy processes": _quantity(others, "1"),
        "stolen since boot": _quantity(stolen_s, "s"),
        "busy": busy(record),
    }


def _steal_share(load: Load, cores: int) -> float | None:
    """Return the share of all cores' time; 0 for a single tick, which a short window overstates."""
    if load.steal_in_window_s is None or load.window_s <= 0:
        return None
    if load.steal_in_window_s < 1.5 * _STEAL_TICK_S:
        return 0.0
    return load.steal_in_window_s / (load.window_s * cores)


def _short_model(cpu: Cpu) -> str:
    return " ".join(_MARKS.sub("", cpu.model or cpu.architecture).split())


def _cores(cpu: Cpu) -> str | None:
    return _joined(
        (
            None if cpu.physical_cores is None else f"{cpu.physical_cores} physical",
            None if cpu.logical_cores is None else f"{cpu.logical_cores} logical",
            None if cpu.allowed_cores is None else f"{cpu.allowed_cores} allowed",
            None if cpu.quota_cores is None else f"quota {units.significant(cpu.quota_cores)}",
        )
    )


def _accelerators(gpus: Iterable[Accelerator]) -> str:
    names = [gpu.name or "unnamed GPU" for gpu in gpus]
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))


def _gpu_driver(gpus: tuple[Accelerator, ...]) -> str | None:
    if not gpus:
        return None
    gpu = gpus[0]
    limit = _quantity(gpu.power_limit_w, "W")
    return _joined(
        (
            gpu.driver,
            None if gpu.cuda is None else f"CUDA up to {gpu.cuda}",
            _quantity(gpu.memory_bytes, "byte"),
            None if limit is None else f"power limit {limit}",
        )
    )


def _virtual(record: MachineRecord) -> str | None:
    virtual = record.virtualisation
    if virtual.hypervisor is None and virtual.container is None:
        return None
    machine = "under a hypervisor" if virtual.hypervisor else "no hypervisor seen"
    return _joined((machine, virtual.product, virtual.container))


def _commit(checkout: Checkout | None) -> str | None:
    if checkout is None:
        return None
    return f"{checkout.commit[:12]}{', with changes' if checkout.dirty else ''}"


def _quantity(value: float | None, unit: str) -> str | None:
    return None if value is None else units.quantity(value, unit)


def _joined(parts: Iterable[str | None]) -> str:
    return ", ".join(part for part in parts if part)
