"""What it took to set timetrial up on a machine: the log of scripts/first-run.sh becomes rows.

The log has a line per fact, its words separated by tabs; times are seconds since 1970:

    invoked <time>                           the script was begun
    asked <line>                             it ended, asking a person to type this line
    manual <what>                            a person did this by hand
    phase <name> <begin> <end> done|reused   a part of the set-up; reused: it was there already
    finished <time>                          a run was made
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from timetrial.engine.events import Allocated
from timetrial.errors import FormatError, StoreError
from timetrial.findings import Group, group_runs, run_time_row
from timetrial.findings.estimates import make_row
from timetrial.rows import Row
from timetrial.stats.intervals import Estimate
from timetrial.store import RunRecord

COPYING: Final = 1  # the command that brings the script to the machine
RUN_CLOCK: Final = "cloud-check"
_NAME: Final = re.compile(r"[a-z]+")


class Phase(NamedTuple):
    """One passage through a part of the set-up; times are seconds since 1970."""

    name: str
    begin_s: float
    end_s: float
    reused: bool


class Part(NamedTuple):
    """A part of the set-up, its passages added up; reused only if it was in all of them."""

    name: str
    seconds: float
    reused: bool


class SetUp(NamedTuple):
    """What the script's log says."""

    began_s: float  # since 1970: the script's first line, when it was begun the first time
    commands: int  # that a person typed: copying, each beginning, each line asked for
    manual_steps: tuple[str, ...]
    phases: tuple[Phase, ...]  # as they were passed through


def read_log(path: Path) -> SetUp:
    """Return what the log says.

    Raises:
        StoreError: It cannot be read.
        FormatError: A line is not one of those above, or the script was never begun.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path} cannot be read: {error}. Name the set-up.tsv that scripts/first-run.sh made."
        ) from error
    begun: list[float] = []
    asked = 0
    manual: list[str] = []
    phases: list[Phase] = []
    for number, line in enumerate(lines, start=1):
        match line.split("\t"):
            case ["invoked", instant]:
                begun.append(_seconds(instant, path, number))
            case ["asked", _]:
                asked += 1
            case ["manual", step]:
                manual.append(step)
            case ["phase", name, begin, end, ("done" | "reused") as how] if _NAME.fullmatch(name):
                start, stop = (_seconds(text, path, number) for text in (begin, end))
                phases.append(Phase(name, start, max(stop, start), how == "reused"))
            case ["finished", instant]:
                _seconds(instant, path, number)
            case _:
                raise _malformed(path, number, line)
    if not begun:
        raise FormatError(f"{path} has no line that begins with invoked. Run the script again.")
    return SetUp(
        began_s=min(begun),
        commands=COPYING + len(begun) + asked,
        manual_steps=tuple(dict.fromkeys(manual)),
        phases=tuple(phases),
    )


def parts_of(phases: Sequence[Phase]) -> list[Part]:
    """Return the parts in order of their first begin."""
    parts: dict[str, Part] = {}
    for phase in phases:
        before = parts.get(phase.name, Part(phase.name, 0.0, True))
        spent = before.seconds + phase.end_s - phase.begin_s
        parts[phase.name] = Part(phase.name, spent, before.reused and phase.reused)
    return list(parts.values())


def first_step_s(record: RunRecord) -> float | None:
    """Return when the run's first training step began, in seconds since 1970; None: never."""
    begun = [event.utc_ns for event in record.launcher if isinstance(event, Allocated)]
    steps = [stretch.start_s for stretch in record.stretches if stretch.name == "train"]
    return begun[0] / 1e9 + steps[0] if begun and steps else None


def rows_of(set_up: SetUp, records: Sequence[RunRecord]) -> list[Row]:
    """Return the rows of the system whose first training step came first after the set-up began.

    Runs from before the set-up are left out. Set-up happens once: its rows have n = 1 and no
    interval, and hold what was passed through before that step; when a run fails, the script is
    begun again. The run time is the mean over the system's runs that did their work.

    Raises:
        StoreError: No run began a step after the set-up did.
    """
    later = [
        record
        for record in records
        if (instant := first_step_s(record)) is not None and instant >= set_up.began_s
    ]
    groups = group_runs(later)
    if not groups:
        raise StoreError(
            f"None of {len(records)} runs began a training step after the set-up did. Name the "
            "store that scripts/first-run.sh filled."
        )
    first_s, group = min(
        ((_first_of(group), group) for group in groups), key=lambda found: found[0]
    )
    phases = [phase for phase in set_up.phases if phase.begin_s < first_s]
    ended_s = max([set_up.began_s, *(phase.end_s for phase in phases)])
    parts = parts_of(phases)
    reused = [part.name for part in parts if part.reused]
    since = [f"not from a bare machine: {', '.join(reused)} were there"] if reused else []
    rows = [
        run_time_row(group, RUN_CLOCK),
        _fact(group, "setup_commands", "1", set_up.commands),
        _fact(group, "setup_manual_steps", "1", len(set_up.manual_steps), set_up.manual_steps),
        _fact(group, "time_to_first_step", "s", first_s - set_up.began_s, since),
    ]
    rows += [
        _fact(group, f"setup_{part.name}", "s", part.seconds, ["reused"] if part.reused else [])
        for part in parts
    ]
    return [*rows, _fact(group, "setup_start_of_run", "s", first_s - ended_s)]


def _first_of(group: Group) -> float:
    return min(at for run in group.runs if (at := first_step_s(run)) is not None)


def _fact(group: Group, measure: str, unit: str, value: float, notes: Sequence[str] = ()) -> Row:
    once = Estimate(value=float(value), low=None, high=None, n=1, method="one set-up")
    return make_row(group, measure=measure, unit=unit, estimate=once, notes=notes)


def _seconds(text: str, path: Path, number: int) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise _malformed(path, number, text)
    return seconds


def _malformed(path: Path, number: int, seen: str) -> FormatError:
    return FormatError(
        f"{path}, line {number} is not of a set-up log: {seen[:80]!r}. It was changed or damaged: "
        "remove it and run scripts/first-run.sh again."
    )
