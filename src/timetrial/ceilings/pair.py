"""The all-reduce of two workers of this machine: one side of it, and what both sides' times say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, cast

import numpy as np

from timetrial._registry import load_object
from timetrial.ceilings.orders import Order, Summed
from timetrial.errors import AuditError
from timetrial.exchange.allreduce import ALLREDUCE
from timetrial.frameworks import Place
from timetrial.spec import BuildCollective, Collective, Point, expected_sum
from timetrial.stats import exchanges
from timetrial.stats.intervals import Estimate

WORKERS: Final = 2
REPETITIONS: Final[Mapping[int, int]] = {  # bytes of the array in one worker -> in each round
    4: 20,
    2**16: 10,
    2**20: 5,
    2**22: 3,
    2**24: 3,
}
_LATENCY_BYTES: Final = 4


def sums(order: Order, say: Callable[[str, float], None]) -> Iterator[Summed]:
    """Sum arrays with the other worker, and yield this one's times.

    Raises:
        AuditError: A sum is wrong.
    """
    from timetrial.frameworks.torch import Torch

    framework = Torch()
    place = Place(order.rank, WORKERS, "127.0.0.1", order.port, order.device)
    framework.connect(place)
    framework.setup(device=order.device, threads=order.threads, precision="float32")
    build = cast(BuildCollective, load_object(ALLREDUCE.implementations["torch"]))
    collective = build(order.device)
    found: dict[int, list[tuple[float, ...]]] = {size: [] for size in REPETITIONS}
    for number in range(order.rounds):
        for place_, (size, count) in enumerate(REPETITIONS.items()):
            say("allreduce", (number + place_ / len(REPETITIONS)) / order.rounds)
            collective.prepare(Point("float32", size))
            _once(collective)
            if collective.result() != (expected_sum(WORKERS),) * 2:
                raise AuditError(
                    f"the sum of {size} bytes over {WORKERS} workers is {collective.result()}, and "
                    f"should be {expected_sum(WORKERS):g} everywhere: reinstall PyTorch"
                )
            found[size].append(tuple(_once(collective) for _ in range(count)))
    framework.disconnect()
    for size, rounds in found.items():
        yield Summed(bytes=size, rounds=tuple(rounds))


def _once(collective: Collective) -> float:
    collective.meet()
    at = time.perf_counter()
    collective.reduce()
    return time.perf_counter() - at


def bandwidth_and_latency(workers: Sequence[Sequence[Summed]]) -> tuple[Estimate, Estimate]:
    """Return bit/s of one direction of a link and seconds of a round trip from all workers' times.

    Of a repetition the mean over the workers counts, of a round its fastest repetition, as in all
    ceilings. The line and the two figures are those of the measuring task `allreduce`. A bandwidth
    that cannot be told, as a byte takes no time, has no value.
    """
    seconds: dict[int, np.ndarray] = {}
    for summed in zip(*workers, strict=True):
        each = np.array([side.rounds for side in summed])  # workers x rounds x repetitions
        seconds[summed[0].bytes] = each.mean(axis=0).min(axis=1)
    n = len(seconds[_LATENCY_BYTES])
    line = exchanges.fit_line(np.array(list(seconds), dtype=np.float64), list(seconds.values()))
    slope = np.array([line.s_per_byte])
    bandwidth = exchanges.from_draws(
        float(exchanges.bandwidth_bit_per_s(slope, len(workers))[0]),
        exchanges.bandwidth_bit_per_s(line.s_per_byte_draws, len(workers)),
        n,
    )
    trips = exchanges.round_trip_s(seconds[_LATENCY_BYTES], len(workers))
    latency = exchanges.from_draws(float(np.median(trips)), exchanges.median_draws(trips), n)
    return bandwidth, latency
