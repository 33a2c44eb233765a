"""What the machine is made of, and how much of it this process may use."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from timetrial.machine.records import Accelerator, Cpu, Disk, Memory, Virtualisation
from timetrial.meter.gpu import Gpus
from timetrial.meter.hierarchy import own_groups

# Vector and matrix instructions that training libraries choose their kernels by.
_INSTRUCTIONS: Final = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "sve",
    "sve2",
    "bf16",
    "i8mm",
)
_UNLIMITED_BYTES: Final = 2**60  # cgroup v1 writes "no limit" as a number near 2**63
_CPU_0: Final = Path("/sys/devices/system/cpu/cpu0")


def cpu() -> Cpu:
    """Return the processor."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return Cpu(
        model=info.get("model name") or _cpu_name_elsewhere(),
        architecture=platform.machine(),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(),
        allowed_cores=_allowed_cores(),
        quota_cores=quota_cores(),
        max_frequency_hz=_max_frequency_hz(),
        governor=_text(_CPU_0 / "cpufreq" / "scaling_governor"),
        cache_bytes=_cache_bytes(),
        instructions=tuple(name for name in _INSTRUCTIONS if name in flags),
    )


def quota_cores() -> float | None:
    """Return how many cores' worth of time the cgroups allow: the least of all levels, or None."""
    quotas: list[float] = []
    for group in own_groups():
        for folder in group.lineage():
            if group.version == 2:
                words = (_text(folder / "cpu.max") or "max").split()
            else:
                quota = _text(folder / "cpu.cfs_quota_us") or "-1"
                words = [quota, _text(folder / "cpu.cfs_period_us") or "0"]
            if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0:
                quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def memory() -> Memory:
    """Return the memory of the machine, and the least limit of the cgroups of this process."""
    limits: list[int] = []
    for group in own_groups():
        name = "memory.max" if group.version == 2 else "memory.limit_in_bytes"
        texts = [_text(folder / name) or "max" for folder in group.lineage()]
        limits += [int(text) for text in texts if text.isdigit() and int(text) < _UNLIMITED_BYTES]
    virtual = psutil.virtual_memory()
    return Memory(
        total_bytes=virtual.total,
        available_bytes=virtual.available,
        swap_bytes=_swap_bytes(),
        limit_bytes=min(limits, default=None),
    )


def disk(store: Path) -> Disk:
    """Return the disk of a folder, or of the nearest parent that exists."""
    place = store.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    place = place.resolve()
    mounts = [
        part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)
    ]
    # The longest path; of two mounts on one path the later hides the earlier.
    mount = max(reversed(mounts), key=lambda part: len(part.mountpoint), default=None)
    return Disk(
        device=None if mount is None else mount.device,
        file_system=None if mount is None else mount.fstype,
        rotational=_rotational(place),
        free_bytes=shutil.disk_usage(place).free,
    )


def accelerators() -> tuple[tuple[Accelerator, ...], str | None]:
    """Return the GPUs, and why there are none."""
    with Gpus() as gpus:
        found = tuple(
            Accelerator(
                name=gpu.name,
                memory_bytes=gpu.memory_bytes,
                power_limit_w=gpu.power_limit_w,
                driver=gpu.driver,
                cuda=gpu.cuda,
            )
            for gpu in gpus.facts()
        )
        return found, gpus.reason


def virtualisation() -> Virtualisation:
    """Return whether the machine is virtual, or a container."""
    info = _cpuinfo()
    flags = info.get("flags")
    vendor = _text(Path("/sys/class/dmi/id/sys_vendor"))
    product = _text(Path("/sys/class/dmi/id/product_name"))
    return Virtualisation(
        hypervisor=None if flags is None else "hypervisor" in flags.split(),
        product=" ".join(part for part in (vendor, product) if part) or None,
        container=_container(),
    )


def boot_id() -> str | None:
    """Return what tells one start of this machine from the next; None but on Linux."""
    return _text(Path("/proc/sys/kernel/random/boot_id"))


def _cpuinfo() -> dict[str, str]:
    """Return the entries of the first processor; empty but on Linux."""
    first = cpuinfo_text().partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cpu_name_elsewhere() -> str | None:
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.TimeoutExpired):
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=1, check=False)
            return done.stdout.strip() or None
    if sys.platform == "win32":
        return platform.processor() or None
    return None


def _allowed_cores() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return psutil.cpu_count()


def _max_frequency_hz() -> float | None:
    kilohertz = _text(_CPU_0 / "cpufreq" / "cpuinfo_max_freq")
    if kilohertz is not None and kilohertz.isdigit():
        return int(kilohertz) * 1e3
    if sys.platform == "linux":
        return None  # psutil would give the frequency of this moment
    with suppress(OSError, NotImplementedError, RuntimeError):
        frequency = psutil.cpu_freq()
        return frequency.max * 1e6 if frequency is not None and frequency.max else None
    return None


def last_level_cache_bytes(cpus: Iterable[int]) -> int | None:
    """Return the size of the last caches that these CPUs use, each counted once; None if untold."""
    found: dict[tuple[str, str], int] = {}
    for cpu in cpus:
        levels: list[tuple[str, str, int]] = []
        for folder in (_CPU_0.parent / f"cpu{cpu}" / "cache").glob("index*"):
            level, shared, size = (
                _text(folder / name) for name in ("level", "shared_cpu_list", "size")
            )
            number = re.fullmatch(r"(\d+)K", size or "")
            if level and shared and number:
                levels.append((level, shared, int(number[1]) * 1024))
        if levels:
            level, shared, size_bytes = max(levels)
            found[level, shared] = size_bytes
    return sum(found.values()) or None


def cpuinfo_text() -> str:
    """Return what Linux says of the processors; empty elsewhere."""
    return _text(Path("/proc/cpuinfo")) or ""


def _cache_bytes() -> dict[str, int]:
    sizes: dict[str, int] = {}
    for folder in sorted((_CPU_0 / "cache").glob("index*")):
        level, kind, size = (_text(folder / name) for name in ("level", "type", "size"))
        number = re.fullmatch(r"(\d+)K", size or "")
        if level is not None and number is not None:
            suffix = {"Data": "d", "Instruction": "i"}.get(kind or "", "")
            sizes[f"L{level}{suffix}"] = int(number[1]) * 1024
    return sizes


def _swap_bytes() -> int:
    """Return the swap space; psutil's own function warns on systems with a partial /proc."""
    match = re.search(r"^SwapTotal:\s+(\d+) kB", _text(Path("/proc/meminfo")) or "", re.MULTILINE)
    return int(match[1]) * 1024 if match is not None else psutil.swap_memory().total


def _rotational(place: Path) -> bool | None:
    """Source: Linux kernel documentation, ABI/stable/sysfs-block, queue/rotational."""
    number = place.stat().st_dev
    try:
        device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    except AttributeError:  # Windows
        return None
    for folder in (device, device.parent):  # a partition lies in the folder of its disk
        flag = _text(folder / "queue" / "rotational")
        if flag is not None:
            return flag == "1"
    return None


def _container() -> str | None:
    marks = {"docker": "/.dockerenv", "podman": "/run/.containerenv"}
    if Path("/var/run/secrets/kubernetes.io").exists():
        return "kubernetes"
    return next((name for name, path in marks.items() if Path(path).exists()), None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
