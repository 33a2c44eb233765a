"""Ceilings of this machine with round figures, for tests of what is done with them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from timetrial import machine
from timetrial.machine.ceilings import FORMAT, Ceiling, Ceilings, Missing
from timetrial.machine.records import MachineRecord


def here() -> MachineRecord:
    return machine.gather(["timetrial"], Path.cwd(), cloud_timeout_s=0)


def ceiling(measure: str = "matmul_fp32", **changes: object) -> Ceiling:
    usual = Ceiling(
        measure=measure,
        device="cpu",
        cores=1,
        workers=1,
        value=100e9,
        low=100e9,
        high=110e9,
        median=80e9,
        n=8,
        unit="FLOP/s",
        precision="float32",
        size="1024 × 1024",
        how="torch 2.13.0, torch.mm into a tensor",
        theoretical=128e9,
        derivation="AVX-512: 2 FMA units assumed × 16 lanes × 2 × cores × 2.00 GHz",
    )
    return msgspec.structs.replace(usual, **changes)


def ceilings(of: MachineRecord, **changes: object) -> Ceilings:
    """fp32 on one core and on all, bf16 and the triad on all; no tf32."""
    cores = of.cpu.allowed_cores or 1
    usual = Ceilings(
        format=FORMAT,
        measured_utc="2026-11-23T12:00:00Z",
        seconds=48.0,
        timetrial="0.1.0",
        hostname=of.hostname,
        cpu=of.cpu,
        memory=of.memory,
        accelerators=of.accelerators,
        virtualisation=of.virtualisation,
        cloud=None,
        software={"torch": "2.13.0"},
        light=False,
        busy=None,
        ceilings=(
            ceiling(),
            ceiling(cores=cores, value=200e9, low=200e9, high=210e9, theoretical=128e9),
            ceiling(
                "matmul_bf16", cores=cores, value=1e12, low=1e12, high=1.1e12,
                precision="bfloat16", theoretical=4e12,
            ),
            ceiling(
                "memory_triad", cores=cores, value=20e9, low=20e9, high=None, unit="byte/s",
                precision="float64", theoretical=None, derivation="no figure",
            ),
        ),
        missing=(Missing(measure="matmul_tf32", device="cpu", cores=None, why="only on GPUs"),),
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)
