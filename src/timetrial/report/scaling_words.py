"""The words of scaling: which tables and charts there are, what they are called, the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timetrial.report.table_words import CellWords
from timetrial.report.words import (
    ABSENT,
    interval_text,
    known,
    measure_label,
    optional,
    plain,
    sentence,
    target_label,
    unique,
    value_text,
)
from timetrial.rows import Row, Scaling, ScalingLine

_EXACT: Final = {"speed_up": "1", "efficiency": "100 %"}  # of the fewest workers, by definition
PART_NAMES: Final = {
    "computing": "computing",
    "exchange": "exchange of gradients",
    "waiting": "waiting for the last worker",
    "rest": "rest",
}


class Column(NamedTuple):
    """A column of the table of a scaling, and the cells that may fill it."""

    heading: str
    name: str


class Picture(NamedTuple):
    """One chart: a quantity against the number of workers; `cell` is the name of its cells."""

    title: str
    cell: str
    ideal: bool = False  # with the line of a speed-up that loses nothing
    whole: bool = True  # its axis begins at 0


class Study(NamedTuple):
    """Scalings of one task and kind, to be shown together; `labels` tell them apart."""

    task: str
    kind: str
    scalings: Sequence[Scaling]
    labels: Sequence[str]

    @property
    def title(self) -> str:
        """Its heading, such as "digits-cnn with 1, 2 and 4 workers"."""
        counts = sorted({line.workers for one in self.scalings for line in one.lines})
        words = [str(count) for count in counts]
        return f"{plain(self.task)} with {', '.join(words[:-1])} and {words[-1]} workers"


_OF_WORKERS: Final = ("break_even_workers", "cheapest_workers", "least_bandwidth")


def follows_from_workers(row: Row) -> bool:
    """Return whether a row stands in the table or the answers of a scaling."""
    ratio = row.measure.startswith("speed_up") or "_efficiency" in row.measure
    return ratio or row.measure in (*_OF_WORKERS, "communication_share")


def studies(scalings: Sequence[Scaling]) -> list[Study]:
    """Return the scalings by task and kind, in order of appearance."""
    keys = list(dict.fromkeys((one.task, one.kind) for one in scalings))
    found = []
    for task, kind in keys:
        own = [one for one in scalings if (one.task, one.kind) == (task, kind)]
        found.append(Study(task, kind, own, _labels(own)))
    return found


def _labels(scalings: Sequence[Scaling]) -> list[str]:
    """Return what tells the scalings apart; the whole name of one that stands alone."""
    parts = [plain(one.system).split(", ") for one in scalings]
    shared = set(parts[0]).intersection(*parts[1:]) if len(parts) > 1 else set()
    several = len({one.framework for one in scalings}) > 1
    labels = []
    for one, words in zip(scalings, parts, strict=True):
        text = ", ".join(word for word in words if word not in shared)
        named = several and plain(one.framework).lower() not in text.lower()
        lead = [plain(one.framework)] if named else []
        labels.append(", ".join([*lead, *([text] if text else [])]) or plain(one.system))
    return labels if len(set(labels)) == len(labels) else [plain(one.system) for one in scalings]


# --- tables ---------------------------------------------------------------------------------------


def columns_of(scaling: Scaling) -> list[Column]:
    """Return the columns that a line has something for, besides the number of workers."""
    columns = [
        Column("Step time", "seconds_per_step"),
        Column("Speed-up", "speed_up"),
        Column("Efficiency", f"{scaling.kind}_efficiency"),
        Column("Communi- cation", "communication_share"),
        Column("To target", "time_to_target"),
        Column("Cost", "cost_per_run"),
    ]
    if scaling.kind == "weak":
        columns[0] = Column("Examples per s", "examples_per_s")
    if not any("speed_up" in line.cells for line in scaling.lines):  # of scripts
        columns[1:3] = [
            Column("Speed-up to target", "speed_up_to_target"),
            Column("Efficiency to target", f"{scaling.kind}_efficiency_to_target"),
        ]
    return [c for c in columns if any(c.name in line.cells for line in scaling.lines)]


def cell_of(scaling: Scaling, line: ScalingLine, name: str) -> CellWords:
    """Return the words of one cell."""
    row = line.cells.get(name)
    if row is not None:
        return CellWords(value_text(row), interval_text(row))
    first = line is scaling.lines[0]
    for stem, exact in _EXACT.items():
        if first and stem in name:
            return CellWords(exact, "")
    return CellWords(ABSENT, "")


def about(scaling: Scaling) -> list[str]:
    """Return what the table holds, where its headings do not say it."""
    names = {column.name for column in columns_of(scaling)}
    said = []
    if "time_to_target" in names:
        clock = next(
            (plain(r.clock) for ln in scaling.lines if (r := ln.cells.get("time_to_target"))
             and r.clock), "",
        )  # fmt: skip
        said.append(f"To target: time to {target_label(scaling.target)}, {clock} clock.")
    if "communication_share" in names:
        said.append("Communication: its share of the steps that were split, waiting included.")
    if "cost_per_run" in names:
        said.append("Cost: of a run, billed clock.")
    return said


def notes_of(scaling: Scaling) -> list[str]:
    """Return the notes of the whole, then those of its ratios and costs, once each.

    What is said of the runs themselves stands with their systems.
    """
    of_runs = _notes_in(scaling, "examples_per_s") + _notes_in(scaling, "time_to_target")
    own = [
        note
        for name in ("speed_up", "speed_up_to_target", "cost_per_run", "communication_share")
        for note in _notes_in(scaling, name)
        if not any(note == said or note.endswith(f": {said}") for said in of_runs)
    ]
    return unique(plain(note) for note in [*scaling.notes, *own])


def _notes_in(scaling: Scaling, name: str) -> list[str]:
    rows = (line.cells.get(name) for line in scaling.lines)
    return [note for row in rows if row is not None for note in row.notes]


# --- charts ---------------------------------------------------------------------------------------


def pictures_of(study: Study) -> list[Picture]:
    """Return the charts that some line has a value for."""
    kind = plain(study.kind)
    first = study.scalings[0]
    goal = target_label(first.target)
    pictures = [
        Picture("Speed-up of training", "speed_up", ideal=True),
        Picture(f"Speed-up to {goal}", "speed_up_to_target", ideal=True),
        Picture(f"Efficiency of training, {kind} scaling", f"{kind}_efficiency"),
        Picture(f"Efficiency to {goal}, {kind} scaling", f"{kind}_efficiency_to_target"),
        Picture(f"Time to {goal}", "time_to_target"),
        *(
            Picture(sentence(measure_label(name)), name, whole=False)
            for name in unique(name for one in study.scalings for name in one.after)
        ),
        Picture("Communication, share of a step", "communication_share"),
        Picture("Cost of a run, billed clock", "cost_per_run"),
    ]
    lines = [line for one in study.scalings for line in one.lines]

    def drawable(picture: Picture) -> bool:
        rows = [line.cells.get(picture.cell) for line in lines]
        return any(row is not None and known(row.value) for row in rows)

    return [picture for picture in pictures if drawable(picture)]


# --- answers --------------------------------------------------------------------------------------


def scaling_sentences(scalings: Sequence[Scaling]) -> list[str]:
    """Return the answers of all scalings as sentences; where several share a task, each named."""
    found = []
    for study in studies(scalings):
        several = len(study.scalings) > 1
        for scaling, label in zip(study.scalings, study.labels, strict=True):
            subject = f"{plain(study.task)} ({label})" if several else plain(study.task)
            found += [plain(answer_sentence(row, subject)) for row in scaling.answers]
    return [text for text in found if text]


def answer_sentence(row: Row, subject: str) -> str:
    """Return one answer as a sentence; "" where the runs do not show one."""
    if row.measure == "break_even_workers":
        return _break_even(row, subject)
    if row.measure == "cheapest_workers":
        return _cheapest(row, subject)
    if row.measure == "least_bandwidth":
        return _bandwidth(row, subject)
    return ""


def _workers(count: str) -> str:
    return "1 worker" if count == "1" else f"{count} workers"


def _runs(row: Row) -> str:
    """Return what a count follows from: "verdicts of 95 % intervals; n = 3 and 3"."""
    counts = [pair.rpartition(": ")[2] for pair in row.facts.get("counts", "").split(", ")]
    runs = " and ".join([", ".join(counts[:-1]), counts[-1]] if counts[1:] else counts)
    return f"verdicts of 95 % intervals; n = {runs}"


def _break_even(row: Row, subject: str) -> str:
    best = f"{row.value:.0f}" if row.value is not None else ABSENT
    by = f"time to {target_label(row.target)}" if row.target else "examples per second"
    following, how = row.facts.get("next"), row.facts.get("next_is")
    if following is None:
        return (
            f"{subject}: up to {_workers(best)} pay, by {by}: no more were measured ({_runs(row)})."
        )
    lead = f"{subject}: {_workers(best)} {'pays' if best == '1' else 'pay'}, by {by}"
    if how == "slower":
        return f"{lead}: {_workers(following)} are slower ({_runs(row)})."
    more = row.facts.get("more_runs")
    tell = f" About {more} more runs on each side would tell." if more else ""
    return (
        f"{lead}; whether {_workers(following)} do cannot be told from these runs "
        f"({_runs(row)}).{tell}"
    )


def _cheapest(row: Row, subject: str) -> str:
    best = f"{row.value:.0f}" if row.value is not None else ABSENT
    ties = row.facts.get("ties", "")
    text = f"{subject}: a run costs least with {_workers(best)} ({_runs(row)})"
    return f"{text}; not distinguishable from it: {ties}." if ties else f"{text}."


def _bandwidth(row: Row, subject: str) -> str:
    facts = row.facts
    fewer, more, verdict = (facts.get(name, "") for name in ("fewer", "more", "verdict"))
    if verdict == "untold" or not (fewer.isdecimal() and more.isdecimal()):
        return ""
    one = int(more) == int(fewer) + 1
    who = f"{more} workers stop paying beside {fewer}"
    if one:
        who = f"the {_ordinal(int(more))} worker stops paying"
    runs = f"n = {facts.get('n', '')}"
    if verdict == "always":
        return f"{subject}: at no bandwidth {who} ({runs})."
    if verdict == "never":
        return (
            f"{subject}: on the fastest network {who}: computing alone is no faster with "
            f"{'it' if one else 'them'} ({runs})."
        )
    size = optional(_number(facts.get("parameters_bytes")), "byte")
    saved = optional(_number(facts.get("saved_s_per_step")), "s")
    apart = facts.get("latency") == "apart"
    latency = "latency taken out" if apart else "latency included"
    interval = interval_text(row)
    ends = f"95 % interval {interval}" if interval != "no interval" else interval
    ran = _number(facts.get("ran_at_bit_per_s"))
    here = f" Here the exchange ran at {optional(ran, 'bit/s')}." if ran is not None else ""
    return (
        f"{subject}: below {value_text(row)} {who} ({ends}, {latency}; {runs}): "
        f"{'it saves' if one else 'they save'} {saved} of computing a step for gradients of "
        f"{size}.{here}"
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _ordinal(count: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{'th' if 10 < count % 100 < 20 else ending}"
