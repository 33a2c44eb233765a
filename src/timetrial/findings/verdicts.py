"""Verdicts: which of two systems reaches the target sooner, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from timetrial.errors import UsageError
from timetrial.findings.estimates import run_notes, times_of
from timetrial.findings.groups import (
    OWN_PRECISION,
    Group,
    System,
    cores_words,
    targets_of,
    workers_words,
)
from timetrial.rows import Verdict
from timetrial.spec import Target, goal_differences
from timetrial.stats import clocks, compare, measures, noise
from timetrial.store import RunRecord


def verdict_between(a: Group, b: Group, target: Target, *, clock: str = clocks.HEADLINE) -> Verdict:
    """Return the comparison of two systems' time to target.

    Raises:
        UsageError: They are not the same work.
    """
    if a.system.task_hash != b.system.task_hash:
        _check_goal(a, b)
    rule = clocks.find_clock(clock)
    sides, failed = [], 0
    for group in (a, b):
        times = times_of(group.runs, target, rule)
        if times is None:
            raise UsageError(f"Clock {clock} is unknown for these runs. Choose another --clock.")
        began = [time for time in times if time.seconds > 0]
        failed += len(times) - len(began)
        sides.append(measures.as_arrays(began))
    found = compare.compare_times(*sides[0], *sides[1])
    labels = differences(a.system, b.system)
    notes = [f"{failed} runs failed before this clock began"] if failed else []
    notes += work_notes(a, b)
    notes += [*found.notes, *(f"A: {n}" for n in run_notes(a)), *(f"B: {n}" for n in run_notes(b))]
    return Verdict(
        task=a.system.task,
        measure="time_to_target",
        target=str(target),
        clock=clock,
        a=labels[0],
        b=labels[1],
        n_a=found.n_a,
        n_b=found.n_b,
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        verdict=found.verdict,
        more_runs=found.more_runs,
        notes=notes,
    )


def _check_goal(a: Group, b: Group) -> None:
    """Refuse two sets of rules that do not lead to one goal; the open division may have its own.

    Raises:
        UsageError: They are not the same work.
    """
    names = " and ".join(f"{side.system.task} ({side.system.task_hash[:8]})" for side in (a, b))
    if {a.system.division, b.system.division} == {"closed"}:
        raise UsageError(
            f"These are not the same work: {names} have different rules. "
            "Compare runs of one task and version."
        )
    apart = goal_differences(a.task, b.task)
    if apart:
        raise UsageError(
            f"These are not the same work: {names} differ in their {' and '.join(apart)}. In the "
            "open division other rules may differ, these may not: a time to a target is that of "
            "the same data, looked at as often."
        )


def work_notes(a: Group, b: Group) -> list[str]:
    """Say that a side of the open division did not do the task's own work."""
    scripts = [bool(group.runs[-1].plan.script) for group in (a, b)]
    if a.system.division != b.system.division:
        closed, open_ = ("A", "B") if b.system.division == "open" else ("B", "A")
        return [
            f"not the same work: {closed} follows the task to the letter (closed), {open_} has "
            "rules of its own (open)",
            *([f"{open_}'s clock holds its imports, {closed}'s does not"] if any(scripts) else []),
        ]
    if any(scripts) and (a.system.version, a.system.framework) != (
        b.system.version,
        b.system.framework,
    ):
        return ["not the same work: scripts of the open division choose their own"]
    if a.system.task_hash != b.system.task_hash:
        return ["not the same work: both sides have rules of their own (open)"]
    return []


def differences(a: System, b: System) -> tuple[str, str]:
    """Return what tells two systems apart, in words, for each."""
    words: list[tuple[str, str]] = []
    for field in _TOLD_APART:
        left, right = getattr(a, field), getattr(b, field)
        if left != right and OWN_PRECISION not in (left, right):
            words.append((_word(field, left), _word(field, right)))
    if not words and a.name != b.name:
        words.append((a.name, b.name))
    if not words:
        return "A", "B"
    return ", ".join(pair[0] for pair in words), ", ".join(pair[1] for pair in words)


_TOLD_APART: Final = (
    "division",
    "framework",
    "version",
    "device",
    "cores",
    "memory_bytes",
    "precision",
    "light",
    "provider",
    "region",
    "image",
    "workers",
    "hosts",
    "algorithm",
    "partition",
    "launcher",
    "network",
    "cluster",
)


def _word(field: str, value: object) -> str:
    if field == "division":
        return f"{value} division"
    if field == "light":
        return "light" if value else "not light"
    if field in ("provider", "region", "image"):
        return f"unknown {field}" if value is None else str(value)
    if field == "cores":
        return cores_words(int(str(value)))
    if field == "workers":
        return workers_words(int(str(value)))
    if field == "hosts":
        return "1 machine" if value == 1 else f"{value} machines"
    if field in ("partition", "launcher", "network", "cluster"):
        return f"no {field}" if value is None else f"{field} {value}"
    if field == "memory_bytes":
        return "no memory limit" if value is None else f"{int(str(value)) / 2**30:.3g} GiB"
    return str(value)


def verdicts_of(groups: Sequence[Group]) -> list[Verdict]:
    """Return a verdict for each task that exactly two systems learned with the same rules."""
    by_task: dict[tuple[str, str | None, bool], list[Group]] = {}
    for group in groups:
        key = (group.system.task_hash, group.system.stops_at, group.system.light)
        by_task.setdefault(key, []).append(group)
    return [
        verdict_between(pair[0], pair[1], targets_of(pair[0])[-1])
        for pair in by_task.values()
        if len(pair) == 2
    ]


def noise_of(records: Sequence[RunRecord]) -> noise.Noise | None:
    """Return the machine's noise from the pairs of an A/A calibration, None without pairs."""
    pairs: dict[str, list[float]] = {}
    for record in records:
        whole = record.status in ("reached", "budget")  # one that failed is not the same work
        if record.plan.calibration is not None and whole:
            seconds = measures.segment_seconds(record).get("train")
            if seconds:
                pairs.setdefault(record.plan.calibration, []).append(seconds)
    both = [pair for pair in pairs.values() if len(pair) == 2]
    return noise.machine_noise(np.array(both)) if both else None


def noise_note(found: noise.Noise) -> str:
    """Return the calibration in words."""
    if found.relative_sd is None:
        return "A/A calibration: one pair, too few to tell the machine's noise"
    return (
        f"A/A calibration: two runs of the very same work differ by "
        f"{100 * found.relative_sd:.2g} % (standard deviation of one run's training time, "
        f"n = {found.n} pairs, 95 % interval {100 * (found.relative_sd_low or 0):.2g} to "
        f"{100 * (found.relative_sd_high or 0):.2g} %)"
    )
