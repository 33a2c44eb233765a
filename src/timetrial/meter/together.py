"""The meters of several workers as those of one run: what is summed, and what counts once a host.

Each worker has a sampler of its own. What it reads of the worker's process tree is summed; what it
reads of the machine (GPUs, energy, stolen time) is the same for all workers of a host and counts
once for each host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from timetrial.meter.records import MeterSummary, Method

T = TypeVar("T", int, float)

PEAKS_APART: Final = "sum of the workers' peaks, which need not fall together"


class OfWorker(NamedTuple):
    """The meters of one worker, and the host it ran on."""

    host: str
    summary: MeterSummary


def combined(meters: Sequence[OfWorker], *, workers: int, own_network: bool) -> MeterSummary | None:
    """Return the meters of a run of `workers` workers; None without any.

    A sum that lacks a worker or a host is None, never a part of it. `own_network`: every worker has
    a network namespace of its own, so that its bytes are summed; else they count once a host. The
    share of time in which GPUs were busy is the mean over the hosts, the load the largest.
    """
    if not meters:
        return None
    all_there = len(meters) == workers
    each = [meter.summary for meter in meters]
    hosts = list({meter.host: meter.summary for meter in reversed(meters)}.values())[::-1]

    def summed(pick: Callable[[MeterSummary], T | None]) -> T | None:
        return _sum([pick(summary) for summary in each]) if all_there else None

    def once(pick: Callable[[MeterSummary], T | None]) -> T | None:
        return _sum([pick(summary) for summary in hosts]) if all_there else None

    traffic = summed if own_network else once
    kinds = {summary.peak_memory_kind for summary in each}
    busy = [summary.gpu_busy_any_kernel for summary in hosts]
    known = [share for share in busy if share is not None]
    loads = [s.load_1min_max for s in each if s.load_1min_max is not None]
    return MeterSummary(
        cpu_s=summed(lambda s: s.cpu_s),
        cores_used=summed(lambda s: s.cores_used),
        peak_memory_bytes=summed(lambda s: s.peak_memory_bytes),
        peak_memory_kind=kinds.pop() if len(kinds) == 1 else None,
        network_rx_bytes=traffic(lambda s: s.network_rx_bytes),
        network_tx_bytes=traffic(lambda s: s.network_tx_bytes),
        loopback_rx_bytes=traffic(lambda s: s.loopback_rx_bytes),
        loopback_tx_bytes=traffic(lambda s: s.loopback_tx_bytes),
        steal_s=once(lambda s: s.steal_s),
        load_1min_max=max(loads, default=None),
        energy_j=once(lambda s: s.energy_j),
        gpu_busy_any_kernel=sum(known) / len(known) if known and len(known) == len(busy) else None,
        gpu_peak_memory_bytes=once(lambda s: s.gpu_peak_memory_bytes),
        gpu_energy_j=once(lambda s: s.gpu_energy_j),
        samples=sum(summary.samples for summary in each),
        gaps=_sum([summary.gaps for summary in each]),
        sampler_cpu_s=summed(lambda s: s.sampler_cpu_s),
        methods=_methods(each[0].methods, workers, len(hosts), own_network=own_network),
    )


def _sum(values: Sequence[T | None]) -> T | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _methods(
    first: Mapping[str, Method], workers: int, hosts: int, *, own_network: bool
) -> dict[str, Method]:
    """Return the first worker's methods, each with what became of it here."""
    summed, once = f"sum over {workers} workers", f"once for each of {hosts} hosts"
    said = {
        "cpu_s": summed,
        "cores_used": summed,
        "memory_bytes": f"{summed}; the peak is the {PEAKS_APART}",
        "network_bytes": summed if own_network else once,
        "load_1min": f"the largest of {workers} workers",
    }
    return {
        name: method
        if method.method is None
        else msgspec.structs.replace(method, method=f"{method.method}; {said.get(name, once)}")
        for name, method in first.items()
    }
