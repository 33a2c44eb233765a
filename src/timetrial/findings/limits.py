"""How close training came to what its machine can do, and what holds it back.

Arithmetic and memory traffic of a step are counted from the rules (`spec.work`), the ceilings were
measured on the machine (`timetrial machine`) and lie in the run directory. A step is divided into
waiting for data and communication, which split steps show, into calls of the framework, their
number times the time of a tiny one, and into computing, which is the rest. Computing is bound by
arithmetic or by memory: by that which alone would take longer at the ceiling (the roofline).

Source of the last rule: Williams, Waterman and Patterson, Commun. ACM 52 (2009), 65-76.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from timetrial.findings.estimates import mean_row
from timetrial.findings.groups import Group
from timetrial.machine.ceilings import Ceilings
from timetrial.rows import Limit, Row
from timetrial.spec import step_work
from timetrial.stats import communication, measures
from timetrial.store import RunRecord

MATMUL_OF: Final = {
    "float32": "matmul_fp32",
    "float64": "matmul_fp64",
    "bfloat16": "matmul_bf16",
}
TRIAD: Final = "memory_triad"
_CALLS: Final = ("op_launch", "kernel_launch")


class _Seen(NamedTuple):
    """One run beside the ceilings of its machine; shares of a step."""

    step_s: float
    flops_per_s: float  # of each worker
    bytes_per_s: float
    of_matmul: float | None
    of_triad: float | None
    data: float
    communication: float
    calls: float | None


def limit_rows(group: Group) -> list[Row]:
    """Return achieved operations and bytes per second, and their shares of the ceilings.

    [] where nothing can be counted: scripts, fits of a solver, runs without steps. Shares need
    ceilings of so many cores in the run directories; without them there are none.
    """
    seen = [_seen(run) for run in group.runs]
    if not any(seen):
        return []

    def values(name: str) -> list[float | None]:
        return [None if one is None else getattr(one, name) for one in seen]

    rows = [
        mean_row(group, "achieved_flops", "FLOP/s", values("flops_per_s")),
        mean_row(group, "share_of_matmul", "fraction", values("of_matmul")),
        mean_row(group, "achieved_bytes", "byte/s", values("bytes_per_s")),
        mean_row(group, "share_of_triad", "fraction", values("of_triad")),
    ]
    return [row for row in rows if row is not None]


def limit_of(group: Group) -> Limit | None:
    """Return what a step is made of and what bounds it; None without ceilings or split steps."""
    known = [one for run in group.runs if (one := _seen(run)) is not None]
    whole = [one for one in known if one.of_matmul is not None and one.of_triad is not None]
    if not whole:
        return None
    arithmetic, memory = _mean([one.of_matmul for one in whole]), _mean([o.of_triad for o in whole])
    data = _mean([one.data for one in whole])
    exchange = _mean([one.communication for one in whole])
    calls = _mean([one.calls or 0.0 for one in whole])
    computing = max(0.0, 1.0 - data - exchange - calls)
    bound = "arithmetic" if arithmetic >= memory else "memory"
    parts = {"data": data, "communication": exchange, "Python": calls, bound: computing}
    ceilings = group.runs[-1].ceilings
    return Limit(
        task=group.system.task,
        framework=group.system.framework,
        system=group.system.name,
        n=len(whole),
        step_s=_mean([one.step_s for one in whole]),
        parts={name: share for name, share in parts.items() if share > 0},
        bottleneck=max(parts, key=lambda name: parts[name]),
        share_of_matmul=arithmetic,
        share_of_triad=memory,
        matmul=MATMUL_OF[group.system.precision],
        measured=ceilings.measured_utc[:10] if ceilings else "",
    )


def _mean(values: Sequence[float | None]) -> float:
    return math.fsum(value or 0.0 for value in values) / len(values)


def _seen(run: RunRecord) -> _Seen | None:
    plan = run.plan
    seconds = measures.seconds_per_step(run)
    if plan.script or plan.learned is None or seconds is None or plan.task.batch_size is None:
        return None
    examples = round(plan.task.dataset.train_count / plan.task.steps_per_epoch / plan.workers)
    work = step_work(plan.task, plan.precision, max(1, examples))
    if work is None:
        return None
    ceilings = run.ceilings
    flops, moved = work.flops / seconds, work.bytes_ / seconds
    shares = measures.part_shares(run)
    count = 1 if "fused" in shares else work.operations
    call_s = _ceiling(ceilings, run, *_CALLS)
    matmul = _ceiling(ceilings, run, MATMUL_OF[plan.precision])
    triad = _ceiling(ceilings, run, TRIAD)
    return _Seen(
        step_s=seconds,
        flops_per_s=flops,
        bytes_per_s=moved,
        of_matmul=None if matmul is None else flops / matmul,
        of_triad=None if triad is None else moved / triad,
        data=shares.get("data", 0.0),
        communication=communication.communication_share(run) or 0.0,
        calls=None if call_s is None else min(1.0, count * call_s / seconds),
    )


def _ceiling(ceilings: Ceilings | None, run: RunRecord, *measures_: str) -> float | None:
    """Return a measured ceiling of the run's device and cores, None where there is none."""
    if ceilings is None:
        return None
    device = run.plan.device
    cores = run.plan.cores if device == "cpu" else None
    place = f"{device}:0" if device in ("cuda", "rocm") else device
    for measure in measures_:
        found = ceilings.find(measure, place, cores) or (
            ceilings.find(measure, place) if measure in _CALLS else None
        )
        if found is not None:
            return found.value
    return None
