"""Theoretical figures beside the measured ones, each with how it was derived and what it assumes.

A figure that needs a guess is None, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from timetrial import units
from timetrial.meter.gpu import GpuChip


class Theory(NamedTuple):
    """A theoretical figure, and in words how it is derived; None: why there is none."""

    value: float | None
    words: str


# --- processors -----------------------------------------------------------------------------------


class Chip(NamedTuple):
    """What a processor says of itself."""

    vendor: str
    family: int
    flags: frozenset[str]
    frequency_hz: float | None
    frequency_from: str
    virtual: bool


_LANES: Final = {"float64": 1, "float32": 2}  # in 64 bits
# FLOP or operations of one core in one cycle by the tile unit.
# Source: Intel 64 and IA-32 Architectures Optimization Reference Manual, chapter "Intel AMX": a
# product of tiles of 16 x 16 results takes 16 cycles, with 32 bfloat16 or float16 pairs, or 64 int8
# pairs, for each result: 2 * 16 * 16 * 32 / 16 = 1,024 and 2,048. That is 1,024 and 2,048
# operations per cycle and core as Intel told it at its Architecture Day 2021.
_TILES: Final = {
    "bfloat16": ("amx_bf16", 1024),
    "float16": ("amx_fp16", 1024),
    "int8": ("amx_int8", 2048),
}
# Instructions that multiply shorter numbers in vectors: flags, and how many times the float32 rate
# Source: Intel Intrinsics Guide, _mm512_dpbf16_ps, _mm512_fmadd_ph, _mm512_dpbusd_epi32: 2, 2 and 4
# pairs in the place of one float32.
_VECTORS: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "bfloat16": (("avx512_bf16",), 2),
    "float16": (("avx512_fp16",), 2),
    "int8": (("avx512_vnni", "avx_vnni"), 4),
}
_ZEN_4: Final = 25  # CPU family: its 512-bit operations take two cycles of its 256-bit units


def read_chip(cpuinfo: str, max_frequency_hz: float | None = None) -> Chip:
    """Return what the first processor of /proc/cpuinfo says; the highest frequency, where known."""
    pairs = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    told = {name.strip(): value.strip() for name, _, value in pairs}
    flags = frozenset(told.get("flags", "").split())
    shown = re.fullmatch(r"\d+(\.\d+)?", told.get("cpu MHz", ""))
    frequency = max_frequency_hz or (float(told["cpu MHz"]) * 1e6 if shown else None)
    source = "the highest that the system names" if max_frequency_hz else "as /proc/cpuinfo shows"
    return Chip(
        vendor=told.get("vendor_id", ""),
        family=int(told["cpu family"]) if told.get("cpu family", "").isdecimal() else 0,
        flags=flags,
        frequency_hz=frequency,
        frequency_from=source,
        virtual="hypervisor" in flags,
    )


def processor_peak(chip: Chip, precision: str, cores: int) -> Theory:
    """Return the FLOP/s (or operations per second) of so many cores in one precision."""
    if not chip.flags:
        return Theory(None, "no figure: the system lists no instructions of an x86 processor")
    if precision == "tfloat32":
        return Theory(None, "no figure: the processor has no tf32")
    per_cycle, words = _per_cycle(chip, precision)
    if per_cycle is None:
        return Theory(None, f"no figure: {words}")
    if chip.frequency_hz is None:
        return Theory(None, "no figure: the system tells no frequency")
    words = (
        f"{words} × cores × "
        f"{units.quantity(chip.frequency_hz, 'Hz')} ({chip.frequency_from}"
        f"{'; a virtual machine may run at another' if chip.virtual else ''})"
    )
    return Theory(per_cycle * cores * chip.frequency_hz, words)


def _per_cycle(chip: Chip, precision: str) -> tuple[int | None, str]:
    """Return operations of one core in one cycle, and how they are counted."""
    if precision in _TILES and _TILES[precision][0] in chip.flags:
        flag, count = _TILES[precision]
        return count, f"{flag}: {count:,} per cycle, one tile unit assumed"
    bits, vector = _vector_bits(chip)
    if bits is None:
        return None, vector
    if precision in _LANES:
        lanes = _LANES[precision] * bits // 64
        return 2 * lanes * 2, f"{vector}: 2 FMA units assumed × {lanes} lanes × 2"
    flags, times = _VECTORS[precision]
    if not chip.flags & set(flags):
        return None, f"no instruction for {precision} is listed ({', '.join(flags)})"
    lanes = times * bits // 32
    named = next(flag for flag in flags if flag in chip.flags)
    return 2 * lanes * 2, f"{named}: 2 units assumed × {lanes} lanes × 2"


def _vector_bits(chip: Chip) -> tuple[int | None, str]:
    """Return the width of a vector unit.

    Two units of 512 bits: Intel's server processors but the cheapest of the first generation
    (ARK, "# of AVX-512 FMA Units"); of 256 bits: all with AVX2 and FMA since 2013.
    Source: Document 002's footnote counts the same way, 2 FMA × 16 lanes × 2 × 16 cores × 2 GHz.
    """
    if "avx512f" in chip.flags:
        if chip.vendor == "AuthenticAMD" and chip.family <= _ZEN_4:
            return 256, "AVX-512 in units of 256 bits"
        return 512, "AVX-512"
    if {"avx2", "fma"} <= chip.flags:
        return 256, "AVX2"
    return None, "neither AVX-512 nor AVX2 with FMA is listed"


# --- GPUs -----------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """FLOP or operations of one multiprocessor in one cycle, by precision."""

    cuda_cores: int
    rates: Mapping[str, int]


# Source: CUDA C++ Programming Guide, "Arithmetic Instructions", throughput of native instructions
# (results per cycle and multiprocessor; a multiply-add is 2); tensor cores: NVIDIA's white papers
# of V100, T4, A100, GA102, AD102 and H100, dense. Check: A100, 108 × 2,048 × 1.41 GHz = 312
# TFLOP/s, as printed.
_KINDS: Final[Mapping[str, _Kind]] = {
    "7.0": _Kind(64, {"float64": 64, "float32": 128, "float16": 1024}),
    "7.5": _Kind(64, {"float64": 4, "float32": 128, "float16": 1024, "int8": 2048}),
    "8.0": _Kind(64, {"float64": 128, "float32": 128, "tfloat32": 1024, "bfloat16": 2048,
                      "float16": 2048, "int8": 4096}),
    "8.6": _Kind(128, {"float64": 4, "float32": 256, "tfloat32": 512, "bfloat16": 1024,
                       "float16": 1024, "int8": 2048}),
    "8.9": _Kind(128, {"float64": 4, "float32": 256, "tfloat32": 512, "bfloat16": 1024,
                       "float16": 1024, "int8": 2048}),
    "9.0": _Kind(128, {"float64": 256, "float32": 256, "tfloat32": 2048, "bfloat16": 4096,
                       "float16": 4096, "int8": 8192}),
}  # fmt: skip
_HALVED: Final = ("8.6", "8.9")
# Source: PCI Express Base Specification, GT/s and line code of each generation; payload of a lane
_PCIE_BYTE_PER_S: Final = {1: 2.5e9 / 10, 2: 5e9 / 10, 3: 8e9 * 128 / 130 / 8,
                           4: 16e9 * 128 / 130 / 8, 5: 32e9 * 128 / 130 / 8}  # fmt: skip


def gpu_peak(chip: GpuChip | None, precision: str) -> Theory:
    """Return the dense FLOP/s (or operations per second) of a GPU in one precision."""
    if chip is None:
        return _UNTOLD
    kind = _KINDS.get(chip.capability or "")
    if kind is None:
        return Theory(
            None,
            f"no figure: compute capability {chip.capability} is none of {', '.join(_KINDS)}",
        )
    if precision not in kind.rates:
        return Theory(None, f"no figure: compute capability {chip.capability} has no {precision}")
    if not chip.cuda_cores or not chip.max_clock_hz:
        return Theory(None, "no figure: NVML tells no number of cores, or no clock")
    many, rate = chip.cuda_cores // kind.cuda_cores, kind.rates[precision]
    halved = chip.capability in _HALVED and precision in ("tfloat32", "bfloat16", "float16")
    words = (
        f"{many} multiprocessors × {rate:,} per cycle (compute capability {chip.capability}, "
        f"dense{'; GeForce cards sum in float32 at half of it' if halved else ''}) × "
        f"{units.quantity(chip.max_clock_hz, 'Hz')} (the highest that NVML names; it may not be "
        "held)"
    )
    return Theory(many * rate * chip.max_clock_hz, words)


def gpu_memory(chip: GpuChip | None) -> Theory:
    """Return the byte/s of a GPU's memory: two transfers per cycle on every line."""
    if chip is None:
        return _UNTOLD
    if not chip.memory_clock_hz or not chip.bus_bit:
        return Theory(None, "no figure: NVML tells no memory clock, or no bus width")
    words = (
        f"2 transfers × {units.quantity(chip.memory_clock_hz, 'Hz')} × {chip.bus_bit} bit "
        "(both of NVML) / 8"
    )
    return Theory(2 * chip.memory_clock_hz * chip.bus_bit / 8, words)


def gpu_link(chip: GpuChip | None) -> Theory:
    """Return the byte/s of one direction of a GPU's PCI Express link."""
    if chip is None:
        return _UNTOLD
    rate = _PCIE_BYTE_PER_S.get(chip.pcie_generation or 0)
    if rate is None or not chip.pcie_lanes:
        return Theory(None, f"no figure for PCI Express generation {chip.pcie_generation}")
    words = f"PCI Express {chip.pcie_generation}, {chip.pcie_lanes} lanes, without packet headers"
    return Theory(rate * chip.pcie_lanes, words)


_UNTOLD: Final = Theory(None, "no figure: NVML does not tell what this device is")
