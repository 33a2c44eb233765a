"""Theoretical figures, each computed by hand."""

from __future__ import annotations

import pytest

from timetrial.ceilings import theory
from timetrial.meter.gpu import GpuChip

SKYLAKE = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model name\t: Intel(R) Xeon(R) CPU @ 2.00GHz
cpu MHz\t\t: 2000.000
flags\t\t: fpu sse2 avx avx2 fma avx512f hypervisor

processor\t: 1
cpu MHz\t\t: 1500.000
"""


def with_flags(flags: str, *, vendor: str = "GenuineIntel", family: int = 6) -> theory.Chip:
    return theory.read_chip(
        f"vendor_id : {vendor}\ncpu family : {family}\ncpu MHz : 2000.000\nflags : {flags}\n"
    )


def chip(**changes: object) -> GpuChip:
    a100 = {
        "uuid": "GPU-1", "capability": "8.0", "cuda_cores": 6912, "max_clock_hz": 1.41e9,
        "memory_clock_hz": 1.215e9, "bus_bit": 5120, "pcie_generation": 4, "pcie_lanes": 16,
    }  # fmt: skip
    return GpuChip(**{**a100, **changes})  # type: ignore[arg-type]


def test_the_footnote_of_document_002_comes_out() -> None:
    """2 FMA units × 16 lanes × 2 operations × 16 cores × 2 GHz."""
    found = theory.processor_peak(theory.read_chip(SKYLAKE), "float32", 16)

    assert found.value == 2.048e12
    assert found.words == (
        "AVX-512: 2 FMA units assumed × 16 lanes × 2 × cores × 2.00 GHz (as /proc/cpuinfo "
        "shows; a virtual machine may run at another)"
    )


@pytest.mark.parametrize(
    ("flags", "precision", "per_cycle"),
    [
        ("avx512f", "float64", 32),
        ("avx2 fma", "float32", 32),
        ("avx2 fma", "float64", 16),
        ("avx512f amx_bf16 avx512_bf16", "bfloat16", 1024),
        ("avx512f avx512_bf16", "bfloat16", 128),
        ("avx512f avx512_fp16", "float16", 128),
        ("avx512f amx_int8", "int8", 2048),
        ("avx512f avx512_vnni", "int8", 256),
        ("avx2 fma avx_vnni", "int8", 128),
    ],
)
def test_operations_per_cycle_follow_from_the_instructions(
    flags: str, precision: str, per_cycle: int
) -> None:
    found = theory.processor_peak(with_flags(flags), precision, 1)

    assert found.value == per_cycle * 2e9
    assert "assumed" in found.words


def test_zen_4_does_avx_512_in_units_of_256_bits() -> None:
    zen_4 = with_flags("avx512f avx2 fma", vendor="AuthenticAMD", family=25)
    zen_5 = with_flags("avx512f avx2 fma", vendor="AuthenticAMD", family=26)

    assert theory.processor_peak(zen_4, "float32", 1).value == 32 * 2e9
    assert theory.processor_peak(zen_5, "float32", 1).value == 64 * 2e9


def test_the_highest_frequency_counts_where_the_system_names_it() -> None:
    found = theory.processor_peak(theory.read_chip(SKYLAKE, 3.5e9), "float32", 1)

    assert found.value == 64 * 3.5e9
    assert "the highest that the system names" in found.words


@pytest.mark.parametrize(
    ("text", "precision", "why"),
    [
        ("", "float32", "lists no instructions"),
        ("flags : avx2 fma\n", "float32", "no frequency"),
        ("flags : sse2\ncpu MHz : 2000.0\n", "float32", "neither AVX-512 nor AVX2"),
        ("flags : avx2 fma\ncpu MHz : 2000.0\n", "float16", "no instruction for float16"),
        (SKYLAKE, "tfloat32", "no tf32"),
    ],
)
def test_what_cannot_be_derived_says_why(text: str, precision: str, why: str) -> None:
    found = theory.processor_peak(theory.read_chip(text), precision, 1)

    assert found.value is None
    assert why in found.words


def test_the_figures_of_known_gpus_come_out() -> None:
    """A100: 312 TFLOP/s fp16, 156 tf32, 19.5 fp32, 1,555 GB/s; V100: 125; H100 SXM: 989."""
    v100 = chip(capability="7.0", cuda_cores=5120, max_clock_hz=1.53e9)
    h100 = chip(capability="9.0", cuda_cores=16896, max_clock_hz=1.83e9)

    assert theory.gpu_peak(chip(), "float16").value == pytest.approx(312e12, rel=0.001)
    assert theory.gpu_peak(chip(), "tfloat32").value == pytest.approx(156e12, rel=0.001)
    assert theory.gpu_peak(chip(), "float32").value == pytest.approx(19.5e12, rel=0.002)
    assert theory.gpu_memory(chip()).value == pytest.approx(1555e9, rel=0.001)
    assert theory.gpu_peak(v100, "float16").value == pytest.approx(125e12, rel=0.003)
    assert theory.gpu_peak(h100, "bfloat16").value == pytest.approx(989e12, rel=0.001)
    assert theory.gpu_link(chip()).value == pytest.approx(31.5e9, rel=0.001)


def test_a_gpu_that_tells_nothing_has_no_figure() -> None:
    for found in (
        theory.gpu_peak(None, "float32"),
        theory.gpu_memory(None),
        theory.gpu_link(None),
        theory.gpu_peak(chip(capability="6.1"), "float32"),
        theory.gpu_peak(chip(capability="7.0"), "bfloat16"),
        theory.gpu_peak(chip(max_clock_hz=None), "float32"),
        theory.gpu_memory(chip(bus_bit=None)),
        theory.gpu_link(chip(pcie_generation=None)),
    ):
        assert found.value is None
        assert found.words.startswith("no figure")
