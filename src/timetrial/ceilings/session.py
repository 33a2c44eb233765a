"""One measurement of this machine's ceilings: its child processes, one after the other.

Each child has the affinity, the number of threads and the allocator of a worker (`launch.child`),
as a library's threads are fixed when it starts: products, memory and the smallest operation once on
one core and once on all allowed ones, in turns of a round; each GPU; the pair of an all-reduce; the
disk.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

import timetrial
from timetrial import frameworks, machine
from timetrial.ceilings import pair, theory
from timetrial.ceilings.children import Heard, Part, Say, run
from timetrial.ceilings.orders import (
    Began,
    Found,
    Lacked,
    Library,
    Order,
    Summed,
)
from timetrial.ceilings.theory import Chip, Theory
from timetrial.launch.local import free_port
from timetrial.machine import hardware
from timetrial.machine.ceilings import FORMAT, MATMULS, UNITS, Ceiling, Ceilings, Missing
from timetrial.machine.records import Cpu, MachineRecord
from timetrial.meter.gpu import GpuChip, Gpus
from timetrial.plan import allowed_cpus
from timetrial.stats import intervals
from timetrial.stats.intervals import Estimate

_LIGHT: Final = ("matmul_fp32", "matmul_bf16", "memory_triad")
_MEMORY: Final = ("memory_copy", "memory_triad")
_OF_GPU: Final = ("host_to_device", "device_to_host", "kernel_launch")
_OF_PAIR: Final = ("allreduce_bandwidth", "allreduce_latency")
_GPU_ARRAY_BYTES: Final = 2**29  # the caches of today's GPUs hold up to a fifth of it
_FILE_BYTES: Final = 2**28


class Effort(NamedTuple):
    """How much is measured."""

    measures: tuple[str, ...]
    rounds: int
    round_s: float
    budget_s: float  # of the children of products and memory, each
    file_bytes: int = _FILE_BYTES
    array_bytes_max: int = 2**31


WHOLE: Final = Effort(tuple(UNITS), rounds=10, round_s=0.2, budget_s=15.0)
LIGHT: Final = Effort(_LIGHT, rounds=7, round_s=0.1, budget_s=4.0)


def measure(folder: Path, *, effort: Effort, say: Say) -> Ceilings:
    """Measure this machine; `folder` is on the disk that is read.

    What cannot be measured is `missing`, with the reason.
    """
    begun = time.monotonic()
    here = machine.gather(["timetrial", "machine"], Path.cwd(), store=folder)
    parts = list(_parts_of_cpu(here, folder, effort))
    heard = run(parts, say, done=0.0, whole=0.9 if here.accelerators else 1.0)
    devices = _devices_seen(heard)
    if devices and effort.measures != LIGHT.measures:
        heard += run(list(_parts_of_gpus(devices, effort)), say, done=0.9, whole=1.0)
    elif devices:
        heard += run([_gpu_part(name, effort) for name in devices], say, done=0.9, whole=1.0)
    found, missing = _gathered(heard, here, effort)
    return Ceilings(
        format=FORMAT,
        measured_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")[:19] + "Z",
        seconds=round(time.monotonic() - begun, 1),
        timetrial=timetrial.__version__,
        hostname=here.hostname,
        cpu=here.cpu,
        memory=here.memory,
        accelerators=here.accelerators,
        virtualisation=here.virtualisation,
        cloud=here.cloud,
        software=_versions(heard),
        light=effort.measures == LIGHT.measures,
        busy=machine.busy(here),
        ceilings=tuple(found),
        missing=tuple(missing),
    )


# --- what is asked --------------------------------------------------------------------------------


def _parts_of_cpu(here: MachineRecord, folder: Path, effort: Effort) -> Iterator[Part]:
    cpus = allowed_cpus()
    here_cores = len(cpus) if cpus is not None else here.cpu.logical_cores or 1
    asked = [name for name in effort.measures if name in (*MATMULS, *_MEMORY, "op_launch")]
    orders = tuple(
        Order(
            measures=tuple(asked),
            library=library(),
            cpus=chosen,
            threads=cores,
            rounds=effort.rounds,
            round_s=effort.round_s,
            in_turns=True,
            budget_s=effort.budget_s,
            array_bytes=_array_bytes(here, chosen, effort) if _wants_memory(asked) else 0,
        )
        for cores in sorted({1, here_cores})
        for chosen in [None if cpus is None else cpus[:cores]]
    )
    yield Part(orders, about_s=effort.budget_s * len(orders))
    if set(_OF_PAIR) & set(effort.measures) and library() == "torch":
        yield Part(_pair_orders(cpus, max(1, here_cores // 2), effort), about_s=6)
    if "disk_read" in effort.measures:
        order = Order(
            measures=("disk_read",),
            library="none",
            rounds=effort.rounds,
            round_s=0,
            folder=str(_existing(folder)),
            file_bytes=effort.file_bytes,
        )
        yield Part((order,), about_s=2)


def library() -> Library:
    """Return what products and memory are measured with here."""
    return "torch" if frameworks.installed("torch") else "numpy"


def _wants_memory(measures: Sequence[str]) -> bool:
    return bool(set(measures) & set(_MEMORY))


def _array_bytes(here: MachineRecord, cpus: Sequence[int] | None, effort: Effort) -> int:
    """Return the size of each of three arrays: 4 times the last caches, where memory allows.

    Source: McCalpin, stream.c, instructions (read 2026-11-23): each array must be at least 4 times
    the size of the available cache memory.
    """
    caches = hardware.last_level_cache_bytes(cpus or ()) or 2**25
    free = min(here.memory.available_bytes, here.memory.limit_bytes or sys.maxsize)
    size = min(max(4 * caches, 2**26), free // 12, effort.array_bytes_max)
    return size // 4096 * 4096


def _pair_orders(cpus: Sequence[int] | None, cores: int, effort: Effort) -> tuple[Order, ...]:
    port = free_port()
    return tuple(
        Order(
            measures=_OF_PAIR,
            library="torch",
            cpus=None
            if cpus is None
            else tuple(cpus[(rank * cores + place) % len(cpus)] for place in range(cores)),
            threads=cores,
            rounds=effort.rounds,
            round_s=effort.round_s,
            rank=rank,
            port=port,
        )
        for rank in range(pair.WORKERS)
    )


def _parts_of_gpus(devices: Sequence[str], effort: Effort) -> Iterator[Part]:
    for name in devices:
        yield _gpu_part(name, effort)
    if len(devices) >= pair.WORKERS:
        orders = _pair_orders(allowed_cpus(), 1, effort)
        changed = msgspec.structs.replace
        placed = zip(orders, devices, strict=False)
        yield Part(tuple(changed(order, device=name) for order, name in placed), about_s=8)


def _gpu_part(name: str, effort: Effort) -> Part:
    wanted = (*MATMULS, *_MEMORY, *_OF_GPU)
    asked = tuple(measure for measure in effort.measures if measure in wanted)
    order = Order(
        measures=asked,
        library="torch",
        device=name,
        cpus=allowed_cpus(),
        threads=1,
        rounds=effort.rounds,
        round_s=effort.round_s,
        budget_s=effort.budget_s,
        array_bytes=_GPU_ARRAY_BYTES if _wants_memory(asked) else 0,
    )
    return Part((order,), about_s=effort.budget_s)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    place = folder.absolute()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return place


# --- what was found -------------------------------------------------------------------------------


def _devices_seen(heard: Sequence[Heard]) -> tuple[str, ...]:
    began = [a for part in heard for answers in part.answers for a in answers]
    return next((a.devices for a in began if isinstance(a, Began)), ())


def _versions(heard: Sequence[Heard]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in heard:
        for answer in (a for answers in part.answers for a in answers):
            if isinstance(answer, Began):
                found.update(answer.versions)
    return found


def _gathered(
    heard: Sequence[Heard], here: MachineRecord, effort: Effort
) -> tuple[list[Ceiling], list[Missing]]:
    """Return the ceilings in the order of their measures, and what there is none of."""
    chip = theory.read_chip(hardware.cpuinfo_text(), here.cpu.max_frequency_hz)
    with Gpus() as gpus:
        chips = {gpu.uuid.removeprefix("GPU-"): gpu for gpu in gpus.chips() if gpu.uuid}
    found: list[Ceiling] = []
    missing: list[Missing] = []
    for part in heard:
        new, lacking = _of_part(part, chip, chips, here.cpu)
        found += new
        missing += lacking
    seen = {ceiling.measure for ceiling in found} | {item.measure for item in missing}
    for measure in effort.measures:
        if measure not in seen:
            why = here.accelerators_reason or "no GPU that PyTorch can use"
            if measure in _OF_PAIR:
                why = "PyTorch is not installed: pip install 'timetrial[torch]'"
            missing.append(Missing(measure=measure, device="cpu" if measure in _OF_PAIR else "cuda",
                                   cores=None, why=why))  # fmt: skip
    order = list(UNITS)
    found.sort(key=lambda c: (c.device != "cpu", c.device, order.index(c.measure), c.cores or 0))
    return found, _once_each(missing)


def _once_each(missing: Sequence[Missing]) -> list[Missing]:
    """Return what is missing; what is on any number of cores for one reason, once."""
    groups: dict[tuple[str, str, str], list[Missing]] = {}
    for item in missing:
        groups.setdefault((item.measure, item.device, item.why), []).append(item)
    return [
        same[0] if len(same) == 1 else msgspec.structs.replace(same[0], cores=None)
        for same in groups.values()
    ]


def _of_part(
    part: Heard, chip: Chip, chips: Mapping[str, GpuChip], cpu: Cpu
) -> tuple[list[Ceiling], list[Missing]]:
    order, answers = part.orders[0], part.answers[0]
    began = next((a for a in answers if isinstance(a, Began)), None)
    gpu = chips.get((began.device_uuid or "").removeprefix("GPU-")) if began else None
    found = [
        _ceiling(order, answer, began, _theory(order, answer, chip, gpu))
        for answer in answers
        if isinstance(answer, Found)
    ]
    if order.measures == _OF_PAIR and not part.failure:
        found += _of_pair(part, began)
    lacked = {answer.measure: answer.why for answer in answers if isinstance(answer, Lacked)}
    known = {ceiling.measure for ceiling in found}
    cores = order.threads if order.device == "cpu" and order.library != "none" else None
    missing = [
        Missing(
            measure=measure,
            device=order.device,
            cores=cores,
            why=lacked.get(measure) or part.failure or "its process did not measure it",
        )
        for measure in order.measures
        if measure not in known
    ]
    return found, missing


def _ceiling(order: Order, found: Found, began: Began | None, derived: Theory) -> Ceiling:
    """Return a rate, or seconds: that of the best round, and how far beyond it may be had."""
    rates = found.amount / np.array(found.seconds)
    estimate = intervals.largest_interval(rates)
    assert estimate.value is not None  # every round has its seconds
    unit = UNITS[found.measure]
    value, low, high, median = estimate.value, estimate.low, estimate.high, float(np.median(rates))
    if unit == "s":  # the amount is one: a rate is how often a second
        low, high = (None if end is None else found.amount / end for end in (high, low))
        value, median = found.amount / value, found.amount / median
    how = found.how
    if found.measure in _MEMORY and order.device == "cpu":
        caches = hardware.last_level_cache_bytes(order.cpus or ())
        if caches is not None and order.array_bytes < 4 * caches:
            how += "; arrays smaller than 4 times the last caches: part of it is their speed"
    with_what = f"{order.library} {began.versions.get(order.library, '')}, " if began else ""
    return Ceiling(
        measure=found.measure,
        device=order.device,
        cores=order.threads if order.device == "cpu" and order.library != "none" else None,
        workers=1,
        value=value,
        low=low,
        high=high,
        median=median,
        n=estimate.n,
        unit=unit,
        precision=found.precision,
        size=found.size,
        how=f"{with_what}{how}",
        theoretical=derived.value,
        derivation=derived.words,
    )


def _theory(order: Order, found: Found, chip: Chip, gpu: GpuChip | None) -> Theory:
    if order.device == "cpu":
        if found.measure in MATMULS:
            return theory.processor_peak(chip, found.precision, order.threads)
        if found.measure in _MEMORY:
            return Theory(
                None, "no figure: the system does not tell the memory's channels and rate"
            )
        return Theory(None, "no figure can be derived")
    if found.measure in MATMULS:
        return theory.gpu_peak(gpu, found.precision)
    if found.measure in _MEMORY:
        return theory.gpu_memory(gpu)
    if found.measure in ("host_to_device", "device_to_host"):
        return theory.gpu_link(gpu)
    return Theory(None, "no figure can be derived")


def _of_pair(part: Heard, began: Began | None) -> list[Ceiling]:
    """Return bandwidth and latency between the two workers; without a bandwidth, latency alone."""
    order = part.orders[0]
    sides = [[a for a in answers if isinstance(a, Summed)] for answers in part.answers]
    bandwidth, latency = pair.bandwidth_and_latency(sides)
    version = began.versions.get("torch", "") if began else ""
    backend = "nccl" if order.device.startswith("cuda") else "gloo"
    how = f"torch {version}, all-reduce of float32 by {backend} between 2 processes, each checked"
    largest = f"4 B to {max(pair.REPETITIONS) // 2**20} MiB"

    def ceiling(measure: str, estimate: Estimate, size: str, more: str) -> Ceiling | None:
        if estimate.value is None:
            return None
        return Ceiling(
            measure=measure,
            device=order.device.partition(":")[0],
            cores=order.threads,
            workers=pair.WORKERS,
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            n=estimate.n,
            unit=UNITS[measure],
            precision="float32",
            size=size,
            how=f"{how}; {more}",
            theoretical=None,
            derivation="no figure can be derived",
        )

    both = (
        ceiling("allreduce_bandwidth", bandwidth, largest, "the slope of a line through the sizes"),
        ceiling("allreduce_latency", latency, "4 B", "a round trip"),
    )
    return [found for found in both if found is not None]
