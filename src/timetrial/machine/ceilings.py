"""What this machine can do at most, as it was measured: the record that runs carry along.

`timetrial.ceilings` measures; here is what it leaves, so that records of runs can hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from timetrial.machine.records import (
    Accelerator,
    CloudInstance,
    Cpu,
    MachineRecord,
    Memory,
    Virtualisation,
)
from timetrial.spec import Record

FORMAT: Final = 2

Unit: TypeAlias = Literal["FLOP/s", "OP/s", "byte/s", "bit/s", "s"]

MATMULS: Final[Mapping[str, str]] = {  # measure -> precision of the numbers multiplied
    "matmul_fp64": "float64",
    "matmul_fp32": "float32",
    "matmul_tf32": "tfloat32",
    "matmul_bf16": "bfloat16",
    "matmul_fp16": "float16",
    "matmul_int8": "int8",
}
UNITS: Final[Mapping[str, Unit]] = {  # of every measure there is, in the order of reports
    **dict.fromkeys(MATMULS, "FLOP/s"),
    "matmul_int8": "OP/s",
    "memory_copy": "byte/s",
    "memory_triad": "byte/s",
    "disk_read": "byte/s",
    "host_to_device": "byte/s",
    "device_to_host": "byte/s",
    "kernel_launch": "s",
    "op_launch": "s",
    "allreduce_bandwidth": "bit/s",
    "allreduce_latency": "s",
}


class Ceiling(Record, frozen=True, kw_only=True):
    """One measured ceiling: the best of n rounds, and how far beyond it there may be more (95 %).

    `value`, `low`, `high` and `median` are in `unit`; an end that n rounds cannot give is None. The
    all-reduce's are fitted to all rounds, with the interval of that fit.
    """

    measure: str  # of UNITS
    device: str  # "cpu", or as in `--device`, such as "cuda:0"
    cores: int | None  # threads used, each with a CPU of its own; of each of the `workers`
    workers: int
    value: float
    low: float | None
    high: float | None
    median: float | None = None  # of the rounds: what was to be had for half of the time
    n: int
    unit: Unit
    precision: str  # of the numbers computed or moved
    size: str  # of the arrays, the best of those tried
    how: str  # library, version, and what was timed
    theoretical: float | None  # in `unit`
    derivation: str  # of the theoretical figure, with what is assumed; why there is none


class Missing(Record, frozen=True, kw_only=True):
    """A ceiling that could not be measured."""

    measure: str
    device: str
    cores: int | None
    why: str


class Ceilings(Record, frozen=True, kw_only=True):
    """All ceilings of one machine, as one `timetrial machine` measured them."""

    format: int
    measured_utc: str
    seconds: float  # it took
    timetrial: str
    hostname: str
    cpu: Cpu
    memory: Memory
    accelerators: tuple[Accelerator, ...]
    virtualisation: Virtualisation
    cloud: CloudInstance | None
    software: Mapping[str, str]  # name -> version of what was measured with
    light: bool  # only the most important ones, in less time
    busy: str | None  # why the machine was not quiet before, as far as known
    ceilings: tuple[Ceiling, ...]
    missing: tuple[Missing, ...]

    def find(self, measure: str, device: str = "cpu", cores: int | None = None) -> Ceiling | None:
        """Return a ceiling, None where it was not measured.

        `cores` of None: the one of the most threads.
        """
        found = [
            ceiling
            for ceiling in self.ceilings
            if (ceiling.measure, ceiling.device) == (measure, device)
            and cores in (None, ceiling.cores)
        ]
        return max(found, key=lambda ceiling: ceiling.cores or 0, default=None)

    def fits(self, machine: MachineRecord) -> bool:
        """Return whether they are of this machine: host, CPU model, allowed cores, GPUs."""
        return (
            self.hostname == machine.hostname
            and self.cpu.model == machine.cpu.model
            and self.cpu.allowed_cores == machine.cpu.allowed_cores
            and _names(self.accelerators) == _names(machine.accelerators)
        )


def _names(gpus: tuple[Accelerator, ...]) -> list[str]:
    return sorted(gpu.name or "" for gpu in gpus)
