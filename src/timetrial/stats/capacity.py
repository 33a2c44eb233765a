"""Time at full capacity: wall time less what a hypervisor took from the processor meanwhile.

On a virtual machine others may have the processor for seconds on end, the more so when its cores
have just become busy; a probe that falls into such seconds shows a slow system, and a run of
minutes sees little of them. The machine counts what was taken (steal, proc(5)).

What s stolen seconds cost n threads is s / n where each has work of its own, and s where all wait
for the one that was stopped. Threads of a network do some of both: taken is the middle,
s (1 + 1 / n) / 2. On two cores that made 35 probes and the runs after them agree best (seconds per
step, pooled standard deviation of the logarithm: 9.4 %; 10.8 % with s / n, 11.2 % with s, 15.8 %
with nothing taken off; torch, Keras and JAX, 2026-11-23).

What is usual on a machine is what was stolen since it started, over that and what it computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import numpy as np

from timetrial.machine.records import MachineRecord
from timetrial.meter.records import Sample
from timetrial.plan import Plan
from timetrial.store import RunRecord

LOST_MOST: Final = 0.9  # of any stretch: beyond that a counter of hundredths tells nothing


@final
class Capacity:
    """Maps seconds of a machine's clock to seconds at full capacity; both grow together."""

    def __init__(self, samples: Sequence[Sample], cores: int, *, behind_s: float = 0.0) -> None:
        """Read the counter off the samples of a machine whose `cores` did the work.

        `behind_s` is added to the samples' own clock.
        """
        counted = [
            (one.t_ns / 1e9 + behind_s, one.steal_s) for one in samples if one.steal_s is not None
        ]
        times = np.array([at for at, _ in counted])
        stolen = np.array([seconds for _, seconds in counted])
        cost = np.diff(stolen) * (1 + 1 / cores) / 2
        lost = np.clip(cost, 0.0, LOST_MOST * np.diff(times))
        self._times = times
        self._lost = np.concatenate([np.zeros(min(1, len(times))), np.cumsum(lost)])

    @classmethod
    def of(cls, record: RunRecord) -> Capacity:
        """Return that of a run's first worker; on accelerators, or without a counter: wall time."""
        log = record.meter_logs.get(0)
        if log is None or record.plan.device != "cpu":
            return cls((), 1)
        return cls(log.samples, _cores(record.plan), behind_s=record.behind_s(0))

    def at(self, t_s: float) -> float:
        """Return `t_s` less what was lost since the first sample; none is lost outside of them."""
        if not len(self._times):
            return t_s
        return t_s - float(np.interp(t_s, self._times, self._lost))

    def between(self, start_s: float, stop_s: float) -> float:
        """Return the seconds at full capacity between two moments."""
        return self.at(stop_s) - self.at(start_s)


def _cores(plan: Plan) -> int:
    return len(plan.cpus) if plan.cpus is not None else plan.cores * plan.workers


def usual_share(machine: MachineRecord | None) -> float | None:
    """Return the share of processor time that was stolen since the machine started.

    None where the machine does not count both.
    """
    load = None if machine is None else machine.load
    if load is None or load.steal_since_boot_s is None or load.busy_since_boot_s is None:
        return None
    whole = load.steal_since_boot_s + load.busy_since_boot_s
    return min(LOST_MOST, load.steal_since_boot_s / whole) if whole > 0 else 0.0
