"""Systems that differ in the number of workers alone: speed-up, efficiency, what pays.

`paying` holds the answers: how many workers pay, and how fast their network must be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from timetrial.errors import TimetrialError
from timetrial.findings.costs import cost_row
from timetrial.findings.estimates import (
    ROUND_TIMES_S,
    after_rows,
    make_row,
    mean_row,
    per_run_row_of,
    run_notes,
    time_row,
    times_of,
)
from timetrial.findings.groups import Group, System, targets_of, workers_words
from timetrial.plan import find_task, variant_of
from timetrial.rows import Row, Scaling, ScalingLine
from timetrial.spec import Target, Task, for_workers
from timetrial.stats import clocks, communication, measures, speedup
from timetrial.stats.intervals import Estimate
from timetrial.stats.speedup import Side

Kind = Literal["strong", "weak"]
BILLED: Final = "billed"
_NOT_COMPARED: Final = ("name", "workers", "task_hash", "steps_max", "hosts")
_ALONE: Final = ("network", "cluster", "algorithm", "partition", "division")  # idle with one worker
_AFTER_COUNT: Final = 2


class Family(NamedTuple):
    """Systems that differ in the number of workers alone, the fewest first."""

    kind: Kind
    groups: Sequence[Group]
    left_out: int = 0  # systems of a number of workers that is here already

    @property
    def base(self) -> Group:
        """The system of the fewest workers."""
        return self.groups[0]


# --- which systems belong together ---------------------------------------------------------------


def families(groups: Sequence[Group]) -> list[Family]:
    """Return the families among the groups, each of two numbers of workers or more.

    One worker exchanges nothing: its system is the base also where network, algorithm and
    partition are another, if there is none with the same.
    """
    alone = [group for group in groups if group.system.workers == 1]
    teams: dict[tuple[object, ...], list[Group]] = {}
    for group in groups:
        if group.system.workers > 1:
            teams.setdefault(_key(group.system), []).append(group)
    found = []
    for members in teams.values():
        base = _base(members, alone)
        kinds: tuple[Kind, ...] = ("strong", "weak")
        for kind in kinds:
            others = {
                group.system.workers: group
                for group in reversed(members)
                if group is not base and _relation(base, group) == kind
            }
            left_out = sum(_relation(base, g) == kind for g in members if g is not base)
            if others:
                ordered = [others[workers] for workers in sorted(others)]
                found.append(Family(kind, [base, *ordered], left_out - len(others)))
    return found


def _key(system: System, *left_out: str) -> tuple[object, ...]:
    """Return all that a family shares; machines as workers to a machine, all on one apart."""
    told = {name: value for name, value in system._asdict().items() if name not in _NOT_COMPARED}
    shared = tuple(None if name in left_out else value for name, value in told.items())
    return (*shared, None if left_out or system.hosts == 1 else system.workers / system.hosts)


def _base(members: Sequence[Group], alone: Sequence[Group]) -> Group:
    """Return the one worker that the others are measured by, else the fewest of the workers."""
    first = min(members, key=lambda group: group.system.workers)
    wanted = _key(first.system, *_ALONE)
    candidates = [
        one
        for one in alone
        if _key(one.system, *_ALONE) == wanted and any(_relation(one, m) for m in members)
    ]

    def unlike(one: Group) -> int:
        return sum(getattr(one.system, name) != getattr(first.system, name) for name in _ALONE)

    return min(candidates, key=unlike, default=first)


def _relation(base: Group, other: Group) -> Kind | None:
    """Return what the work of `other` is beside that of `base`; None: other work."""
    if other.system.workers <= base.system.workers:
        return None
    if other.system.task_hash == base.system.task_hash:
        return "strong"
    try:
        one = base.task if base.system.workers == 1 else _as_for_one(base.task)
        hashes = [for_workers(one, group.system.workers).hash() for group in (base, other)]
    except TimetrialError:
        return None
    return "weak" if hashes == [base.system.task_hash, other.system.task_hash] else None


def _as_for_one(task: Task) -> Task:
    """Return a registered task as one worker learns it.

    Raises:
        TimetrialError: No such task here.
    """
    known = find_task(task.name)
    return variant_of(known, dataset=task.dataset.name, eval_split=task.eval_split)


# --- the estimates -------------------------------------------------------------------------------


def scaling_of(family: Family, after_s: Sequence[float], answers: Sequence[Row]) -> Scaling:
    """Return the family as a report shows it; `after_s` asks for the quality after these times."""
    base, target = family.base, targets_of(family.base)[-1]
    times = after_s or _round_times(family)
    lines = [
        ScalingLine(
            workers=group.system.workers,
            n=len(group.runs),
            ideal=group.system.workers / base.system.workers,
            cells={row.measure: row for row in _cells(family, group, times)},
            parts_s=communication.mean_parts(group.runs),
        )
        for group in family.groups
    ]
    after = [f"{target.metric}_after_{seconds:g}s" for seconds in times]
    return Scaling(
        task=base.system.task,
        framework=base.system.framework,
        system=_common_name(family),
        kind=family.kind,
        target=str(target),
        after=[name for name in after if any(name in line.cells for line in lines)],
        lines=lines,
        answers=answers,
        notes=_notes(family),
    )


def _round_times(family: Family) -> Sequence[float]:
    """Return the largest round times within the longest run, the same for all lines."""
    target = targets_of(family.base)[-1]
    ends = [
        points[-1].time_s
        for group in family.groups
        for run in group.runs
        if (points := measures.curve(run, metric=target.metric, split=target.split))
    ]
    return [second for second in ROUND_TIMES_S if second <= max(ends, default=0)][-_AFTER_COUNT:]


def _common_name(family: Family) -> str:
    """Return what is in the names of all but the one worker, without the number of workers."""
    names = [group.system.name.split(", ") for group in family.groups]
    several = names[1:] if family.base.system.workers == 1 else names
    count = workers_words(family.groups[-1].system.workers)
    return ", ".join(
        part
        for part in names[-1]
        if all(part in name for name in several) and not part.startswith(count)
    )


def _notes(family: Family) -> list[str]:
    counts = ", ".join(str(group.system.workers) for group in family.groups)
    fewest = workers_words(family.base.system.workers)
    text = (
        f"strong scaling: the same work is divided among {counts} workers"
        if family.kind == "strong"
        else f"weak scaling: each of {counts} workers has the mini-batch of one, the learning rate "
        "follows; a step of k workers counts for its examples"
    )
    notes = [text]
    if family.base.system.workers > 1:
        notes.append(f"no run of one worker: speed-up counts from {fewest}")
    if family.left_out:
        notes.append(f"{family.left_out} further systems of the same numbers are not shown here")
    return notes


def _cells(family: Family, group: Group, times: Sequence[float]) -> list[Row]:
    target = targets_of(group)[-1]
    shares = [communication.communication_share(run) for run in group.runs]
    rows: list[Row | None] = [
        per_run_row_of(group, "seconds_per_step"),
        per_run_row_of(group, "examples_per_s"),
        mean_row(group, "communication_share", "fraction", shares),
        per_run_row_of(group, "communication_per_step"),
        per_run_row_of(group, "waiting_share"),
        time_row(group, target, clocks.HEADLINE),
        *(after_rows(group, target, times) if times else []),
    ]
    if group.system.price_usd_per_h is not None:
        rows.append(cost_row(group, BILLED))
    if group is not family.base:
        rows += ratio_rows(family, group)
    return [row for row in rows if row is not None]


def ratio_rows(family: Family, group: Group) -> list[Row]:
    """Return speed-up and efficiency of a group over the family's base, where they can be had.

    speed_up compares seconds of training for an example, speed_up_to_target times to target.
    """
    return [
        *_training_rows(family, group),
        *speed_up_rows(family, group, targets_of(group)[-1], clocks.HEADLINE),
    ]


def _training_rows(family: Family, group: Group) -> list[Row]:
    sides = [example_side(one) for one in (family.base, group)]
    return _ratios(family, group, sides, "")


def speed_up_rows(family: Family, group: Group, target: Target, clock: str) -> list[Row]:
    """Return speed-up and efficiency of the time to any target on any clock, where they exist."""
    sides = [target_side(one, target, clock) for one in (family.base, group)]
    rows = _ratios(family, group, sides, "_to_target")
    changed = msgspec.structs.replace
    return [changed(row, target=str(target), split=target.split, clock=clock) for row in rows]


def _ratios(family: Family, group: Group, sides: Sequence[Side | None], name: str) -> list[Row]:
    base, first, second = family.base, sides[0], sides[1]
    if first is None or second is None:
        return []
    estimate, said = speedup.speed_up(first, second)
    if estimate.value is None:
        return []
    efficiency = speedup.scaled(estimate, base.system.workers / group.system.workers)
    notes = [*_beside(base, group, len(first.times_s)), *said, *_impossible(efficiency)]
    facts = {"base_workers": str(base.system.workers), "base_n": str(len(first.times_s))}
    rows = [
        make_row(group, measure=measure, unit=unit, estimate=value, notes=notes)
        for measure, unit, value in (
            (f"speed_up{name}", "1", estimate),
            (f"{family.kind}_efficiency{name}", "fraction", efficiency),
        )
    ]
    return [msgspec.structs.replace(row, facts=facts) for row in rows]


def _beside(base: Group, group: Group, runs: int) -> list[str]:
    """Say what the ratio is over, and what must be known of it."""
    said = run_notes(group)
    words = workers_words(base.system.workers)
    notes = [f"over {words}, n = {runs}"]
    return notes + [f"{words}: {note}" for note in run_notes(base) if note not in said]


def _impossible(efficiency: Estimate) -> list[str]:
    if efficiency.low is None or efficiency.low <= 1:
        return []
    return [
        "more than so many times as fast as so many workers: dividing work alone cannot do that; "
        "look at caches, at other load, and at the runs of the fewest workers"
    ]


# --- times as sides of a comparison --------------------------------------------------------------


def example_side(group: Group) -> Side | None:
    """Return the seconds of training for an example of each run that has them; None where none."""
    rates = [measures.examples_per_s(run) for run in group.runs]
    known = [1 / rate for rate in rates if rate]
    if group.runs[-1].plan.script or not known:
        return None
    return speedup.side(group.system.workers, known)


def target_side(
    group: Group, target: Target | None = None, clock: str = clocks.HEADLINE
) -> Side | None:
    """Return the times to a target of the runs that began; None where the clock is unknown.

    `target` of None: the highest that the group reports.
    """
    aim = target or targets_of(group)[-1]
    times = times_of(group.runs, aim, clocks.find_clock(clock))
    began = [time for time in times or () if time.seconds > 0]
    if not began:
        return None
    seconds, reached = measures.as_arrays(began)
    return Side(group.system.workers, seconds, np.asarray(reached))
