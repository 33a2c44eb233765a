"""How many workers pay, how many cost least, and how fast their network must be.

Each answer is a row of the system it speaks for; its `facts` hold what the sentence is made of.
Nothing is said where the runs do not show it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from timetrial.findings.costs import costs_usd
from timetrial.findings.estimates import completed, make_row, mean_row
from timetrial.findings.groups import Group, targets_of
from timetrial.findings.scaling import BILLED, Family, example_side, target_side
from timetrial.rows import Row
from timetrial.stats import clocks, communication, speedup
from timetrial.stats.intervals import Estimate
from timetrial.stats.speedup import BandwidthVerdict, Demand, Side

BY_TARGET: Final = "time_to_target"
BY_EXAMPLE: Final = "examples_per_s"
Latency = Callable[[Group], float | None]
"""Seconds of latency of one all-reduce among a group's workers, None where none was measured."""


def answers_of(family: Family, latency: Latency = lambda group: None) -> list[Row]:
    """Return the rows of all answers that the family's runs support."""
    rows = [break_even_row(family), cheapest_row(family)]
    rows += [
        least_bandwidth_row(fewer, more, latency)
        for fewer, more in itertools.pairwise(family.groups)
    ]
    return [row for row in rows if row is not None]


def break_even_row(family: Family) -> Row | None:
    """Return the most workers that clearly pay: by time to target, else by examples a second.

    By time to target only where a run of every number of workers reached it.
    """
    by = BY_TARGET
    sides = [target_side(group) for group in family.groups]
    if any(side is None or not side.reached.any() for side in sides):
        by, sides = BY_EXAMPLE, [example_side(group) for group in family.groups]
    known = [side for side in sides if side is not None]
    if len(known) < len(sides):
        return None
    found = speedup.break_even(known)
    facts = {"by": by, "counts": _counts(known)}
    if found.stop is not None:
        facts["next"] = str(found.stop.workers)
        facts["next_is"] = "slower" if found.stop.slower else "not distinguishable"
        if found.stop.more_runs is not None:
            facts["more_runs"] = str(found.stop.more_runs)
    group = _of(family, found.workers)
    return _row(group, "break_even_workers", found.workers, facts, targeted=by == BY_TARGET)


def cheapest_row(family: Family) -> Row | None:
    """Return the number of workers with the lowest mean cost of a run; None without a price."""
    sides: list[Side] = []
    for group in family.groups:
        costs = [cost for cost in costs_usd(completed(group), BILLED) if cost]
        if not costs:
            return None
        sides.append(speedup.side(group.system.workers, costs))
    found = speedup.cheapest(sides)
    facts = {"ties": ", ".join(map(str, found.ties)), "counts": _counts(sides)}
    row = _row(_of(family, found.workers), "cheapest_workers", found.workers, facts)
    return msgspec.structs.replace(row, clock=BILLED)


def _row(
    group: Group, measure: str, workers: int, facts: dict[str, str], *, targeted: bool = False
) -> Row:
    target = targets_of(group)[-1]
    row = make_row(
        group,
        measure=measure,
        unit="1",
        estimate=Estimate(
            value=float(workers), low=None, high=None, n=len(group.runs), method="verdicts"
        ),
        target=target if targeted else None,
        split=target.split if targeted else None,
        clock=clocks.HEADLINE if targeted else None,
        notes=["a count that follows from verdicts; it has no interval"],
    )
    return msgspec.structs.replace(row, facts=facts)


def _counts(sides: Sequence[Side]) -> str:
    """Return the runs behind a comparison: "1: 3, 2: 3" for three runs of 1 and of 2 workers."""
    return ", ".join(f"{side.workers}: {len(side.times_s)}" for side in sides)


def _of(family: Family, workers: int) -> Group:
    return next(group for group in family.groups if group.system.workers == workers)


# --- the network ---------------------------------------------------------------------------------


def exchange_rate_row(group: Group) -> Row | None:
    """Return the bits per second that each worker sends while gradients are exchanged.

    The bytes that the least all-reduce sends, over the seconds of the exchange, waiting left out.
    """
    rates: list[float | None] = []
    for run in group.runs:
        step, size = communication.split_step(run), communication.gradient_bytes(run)
        if step is None or size is None or step.exchange <= 0:
            rates.append(None)
            continue
        rates.append(8 * speedup.ring_bytes(size, run.plan.workers) / step.exchange)
    return mean_row(group, "exchange_rate", "bit/s", rates)


_BANDWIDTH_BASIS: Final = (
    "computed from measured seconds of computing and the bytes of all gradients, for a ring "
    "all-reduce that nothing overlaps"
)
_BANDWIDTH_NOTES: Final[Mapping[BandwidthVerdict, str]] = {
    "needs": "below it more workers do no more examples a second",
    "always": "at any bandwidth more workers do more examples a second",
    "never": "at no bandwidth: computing alone saves nothing with more workers",
    "untold": "the runs do not show whether computing alone saves anything with more workers",
}


def least_bandwidth_row(fewer: Group, more: Group, latency: Latency) -> Row | None:
    """Return below which bandwidth `more` workers do no more examples a second than `fewer`.

    None where the exchange is not explicit, or could not be told apart from computing. Where the
    latency of an all-reduce was measured on both networks it is taken out; else the bandwidth is
    the rate of the whole exchange, latency included.
    """
    waits = [0.0 if group.system.workers == 1 else latency(group) for group in (fewer, more)]
    apart = all(wait is not None for wait in waits)
    demands = [
        _demand(group, (wait or 0.0) if apart else 0.0)
        for group, wait in zip((fewer, more), waits, strict=True)
    ]
    if demands[0] is None or demands[1] is None:
        return None
    found = speedup.least_bandwidth(demands[0], demands[1])
    saved = [float(demand.computing_s.mean() / demand.batch) for demand in demands if demand]
    ran = exchange_rate_row(more)
    facts = {
        "fewer": str(found.fewer),
        "more": str(found.more),
        "verdict": found.verdict,
        "latency": "apart" if apart else "included",
        "parameters_bytes": f"{communication.gradient_bytes(more.runs[-1]) or 0}",
        "saved_s_per_step": f"{(saved[0] - saved[1]) * demands[1].batch:.6g}",
        "n": f"{len(demands[0].computing_s)} and {len(demands[1].computing_s)}",
    }
    if ran is not None and ran.value is not None:
        facts["ran_at_bit_per_s"] = f"{ran.value:.6g}"
    row = make_row(
        more,
        measure="least_bandwidth",
        unit="bit/s",
        estimate=found.bit_per_s,
        notes=[_BANDWIDTH_NOTES[found.verdict], _BANDWIDTH_BASIS],
    )
    return msgspec.structs.replace(row, facts=facts)


def _demand(group: Group, latency_s: float) -> Demand | None:
    """Return what a step of the group takes, by its runs that show it; None where none does."""
    seconds = [communication.computing_s(run) for run in group.runs]
    known = [second for second in seconds if second is not None]
    size = communication.gradient_bytes(group.runs[-1])
    if not known or size is None or group.task.batch_size is None:
        return None
    workers = group.system.workers
    return Demand(
        workers=workers,
        computing_s=np.array(known),
        batch=group.task.dataset.train_count / group.task.steps_per_epoch,
        ring_bytes=speedup.ring_bytes(size, workers),
        latency_s=latency_s,
    )
