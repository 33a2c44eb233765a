"""The order of a report: findings grouped by task, systems given short names.

What stands first, what stands together, and which footnote a row carries is decided here once;
the renderers only set it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from timetrial.report import exchange_words, inference_words
from timetrial.report.front_words import front_sentence
from timetrial.report.scaling_words import scaling_sentences
from timetrial.report.words import (
    HEADLINE_MEASURE,
    measure_group,
    measure_label,
    plain,
    row_sentence,
    unique,
    verdict_text,
)
from timetrial.rows import (
    Confusion,
    Curve,
    ExchangeCurve,
    Findings,
    Inference,
    Limit,
    Origin,
    Row,
    SegmentBar,
    StepCurve,
    Verdict,
)
from timetrial.stats.clocks import HEADLINE

_FIRST: Final = (
    "final_test_accuracy",
    "peak_memory",
    "train_time_after_10_epochs",
    "error_rate_after_10_epochs",
    "wall",
    "seconds_per_step",
    "examples_per_s",
    "steps_to_target",
    "cores_used",
    "cpu",
    "train_only",
    "validation_test_gap",
    "final_test_error_rate",
)
_ALWAYS_SAID: Final = ("light",)  # in every label, even where all systems share it
_TEAM: Final = re.compile(r"(^|, )\d+ workers( on \d+ machines)?(,|$)")
_GROUP_ORDER: Final = ("Quality", "Speed", "Resources", "Other")


class SystemKey(NamedTuple):
    """What a row, curve or bar was had on, and how."""

    framework: str
    system: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Systems:
    """All systems of a report in order of appearance, with the names tables give them."""

    labels: Mapping[SystemKey, str]
    shared: str  # what all measured systems have in common, left out of their labels

    def label(self, framework: str, system: str, origin: Origin = "measured") -> str:
        """Return the short name of a system of this report."""
        return self.labels[SystemKey(framework, system, origin)]

    def index(self, framework: str, system: str) -> int:
        """Return the place of a measured system: its colour, dash and marker everywhere."""
        return list(self.labels).index(SystemKey(framework, system, "measured"))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table of measures: a measure, and its rows per system."""

    label: str
    group: str
    measure: str
    cells: Mapping[SystemKey, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Section:
    """All that a report shows of one task."""

    task: str
    facts: Mapping[str, str]  # what all rows have in common, for people
    clock: str | None  # of the headline rows
    targets: Sequence[str]
    systems: Sequence[SystemKey]
    headline: Sequence[Row]
    measures: Sequence[Line]
    clocks: Sequence[Line]
    curves: Sequence[Sequence[Curve]]  # one chart each
    step_curves: Sequence[Sequence[StepCurve]]  # one chart each
    confusions: Sequence[Confusion]
    exchanges: Sequence[ExchangeCurve]
    inferences: Sequence[Inference]
    bars: Sequence[SegmentBar]
    limits: Sequence[Limit]
    notes: Sequence[str]  # said of every row
    footnotes: Sequence[str]  # said of some rows, in the order of their numbers

    def marks(self, rows: Iterable[Row]) -> list[int]:
        """Return the numbers of the footnotes that these rows carry, sorted."""
        texts = {plain(note) for row in rows for note in row.notes}
        return [number for number, note in enumerate(self.footnotes, 1) if note in texts]


def row_key(row: Row) -> SystemKey:
    """Return the system a row is about."""
    return SystemKey(row.framework, row.system, row.origin)


# --- systems --------------------------------------------------------------------------------------


def name_systems(findings: Findings) -> Systems:
    """Return all systems with labels that leave out what the measured ones have in common."""
    keys = [SystemKey(c.framework, c.system, "measured") for c in findings.curves]
    keys += [SystemKey(c.framework, c.system, "measured") for c in findings.step_curves]
    keys += [SystemKey(b.framework, b.system, "measured") for b in findings.bars]
    keys += [SystemKey(r.framework, r.system, "measured") for r in findings.runs]
    measured = [row_key(row) for row in findings.rows if row.origin == "measured"]
    others = [row_key(row) for row in findings.rows if row.origin != "measured"]
    ours = list(dict.fromkeys(measured + keys))
    shared = _shared_parts([key.system for key in ours])
    several = len({key.framework for key in ours}) > 1
    teams = any(_TEAM.search(plain(key.system)) for key in ours)
    labels = {key: _short(key, shared, name_framework=several, teams=teams) for key in ours}
    if len(set(labels.values())) < len(labels):
        labels = {key: _full(key) for key in ours}
        shared = []
    for key in dict.fromkeys(others):
        same = SystemKey(key.framework, key.system, "measured")
        labels[key] = labels.get(same, _full(key))
    return Systems(labels=labels, shared=", ".join(shared))


def _shared_parts(systems: Sequence[str]) -> list[str]:
    if len(systems) < 2:
        return []
    parts = [plain(system).split(", ") for system in systems]
    return [
        part
        for part in parts[0]
        if part not in _ALWAYS_SAID and all(part in other for other in parts)
    ]


def _short(
    key: SystemKey, shared: Sequence[str], *, name_framework: bool, teams: bool = False
) -> str:
    """Return the parts that are not shared; with `teams`, one worker is called so."""
    parts = [part for part in plain(key.system).split(", ") if part not in shared]
    if teams and not _TEAM.search(plain(key.system)):
        parts.insert(0, "1 worker")
    text = ", ".join(parts)
    framework = plain(key.framework)
    if name_framework and framework.lower() not in text.lower():
        text = f"{framework}, {text}" if text else framework
    return text or _full(key)


def _full(key: SystemKey) -> str:
    system, framework = plain(key.system), plain(key.framework)
    if framework.lower() in system.lower():
        return system
    return f"{system}, {framework}" if system else framework


# --- sections -------------------------------------------------------------------------------------


def sections(findings: Findings) -> list[Section]:
    """Return one section per task, in order of appearance; examinations stand in tables."""
    holders: list[Row | Curve | SegmentBar] = [*findings.rows, *findings.curves, *findings.bars]
    tasks = unique(holder.task for holder in holders if holder.task not in findings.examined)
    return [_section(findings, task) for task in tasks]


def _section(findings: Findings, task: str) -> Section:
    rows = [row for row in findings.rows if row.task == task]
    timed = [row for row in rows if row.measure == HEADLINE_MEASURE]
    clock = _headline_clock(timed)
    headline = [row for row in timed if row.clock in (clock, None)]
    inferences = [seen for seen in findings.inferences if seen.task == task]
    apart = (HEADLINE_MEASURE, *(inference_words.MEASURES if inferences else ()))
    others = [row for row in rows if row.measure not in apart]
    notes, footnotes = _split_notes(rows)
    return Section(
        task=task,
        facts=_facts(rows),
        clock=clock,
        targets=unique(row.target for row in headline if row.target),
        systems=list(dict.fromkeys(row_key(row) for row in rows)),
        headline=headline,
        measures=_measure_lines(others, clock),
        clocks=_clock_lines([row for row in timed if row.clock not in (clock, None)]),
        curves=_charts([curve for curve in findings.curves if curve.task == task]),
        step_curves=_step_charts([c for c in findings.step_curves if c.task == task]),
        confusions=[seen for seen in findings.confusions if seen.task == task],
        exchanges=[seen for seen in findings.exchanges if seen.task == task],
        inferences=inferences,
        bars=[bar for bar in findings.bars if bar.task == task],
        limits=[limit for limit in findings.limits if limit.task == task],
        notes=notes,
        footnotes=footnotes,
    )


def _headline_clock(timed: Sequence[Row]) -> str | None:
    clocks = unique(row.clock for row in timed if row.clock)
    return HEADLINE if HEADLINE in clocks else next(iter(clocks), None)


def _facts(rows: Sequence[Row]) -> dict[str, str]:
    ours = [row for row in rows if row.origin == "measured"] or list(rows)
    workers = unique(str(row.workers) for row in ours)
    texts = {
        "data set": unique(row.dataset for row in ours),
        "division": unique(row.division for row in ours),
        "precision": unique(row.precision for row in ours),
        "device": unique(row.device for row in ours),
        "workers": workers,
        "launcher": unique(row.launcher for row in ours),
        "network": unique(row.network for row in ours if row.network),
    }
    return {name: plain(" / ".join(values)) for name, values in texts.items() if values}


def _split_notes(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    texts = [[plain(note) for note in row.notes] for row in rows]
    every = unique(note for notes in texts for note in notes)
    general = [note for note in every if len(rows) > 1 and all(note in notes for notes in texts)]
    return general, [note for note in every if note not in general]


def _measure_lines(rows: Sequence[Row], clock: str | None) -> list[Line]:
    keys = list(dict.fromkeys((row.measure, row.clock) for row in rows))
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    lines = []
    for measure, its_clock in keys:
        label = measure_label(measure)
        if its_clock is not None and its_clock not in (clock, measure.replace("_", "-")):
            label += f" ({plain(its_clock)} clock)"
        chosen = [row for row in rows if (row.measure, row.clock) == (measure, its_clock)]
        group = measure_group(measure)
        lines.append(Line(label=label, group=group, measure=measure, cells=_cells(chosen)))
    return sorted(
        lines,
        key=lambda line: (_GROUP_ORDER.index(line.group), ranks.get(line.measure, len(ranks))),
    )


def by_importance(lines: Sequence[Line]) -> list[Line]:
    """Return the lines with those first that a narrow table shows before others."""
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    return sorted(lines, key=lambda line: ranks.get(line.measure, len(ranks)))


def _clock_lines(rows: Sequence[Row]) -> list[Line]:
    return [
        Line(
            label=plain(clock),
            group="",
            measure=HEADLINE_MEASURE,
            cells=_cells([row for row in rows if row.clock == clock]),
        )
        for clock in unique(row.clock for row in rows if row.clock)
    ]


def _cells(rows: Sequence[Row]) -> dict[SystemKey, list[Row]]:
    cells: dict[SystemKey, list[Row]] = {}
    for row in rows:
        cells.setdefault(row_key(row), []).append(row)
    return cells


def _charts(curves: Sequence[Curve]) -> list[list[Curve]]:
    charts: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in curves:
        charts.setdefault((curve.metric, curve.split, curve.clock), []).append(curve)
    return list(charts.values())


def _step_charts(curves: Sequence[StepCurve]) -> list[list[StepCurve]]:
    charts: dict[tuple[str, str], list[StepCurve]] = {}
    for curve in curves:
        charts.setdefault((curve.metric, curve.split), []).append(curve)
    return list(charts.values())


# --- answers --------------------------------------------------------------------------------------


def answers(findings: Findings, systems: Systems) -> list[str]:
    """Return the verdicts as sentences, the first answer first; what was measured where none is.

    Then what the numbers of workers come to, which system is on the front, and the answers of
    tables; they stand in the place of what was measured too. Then what the networks are, and what
    predicting takes.
    """
    rows = [row for row in findings.rows if row.origin == "measured"]
    beside = exchange_words.answer_sentences(rows, [systems.labels[row_key(row)] for row in rows])
    named = [systems.label(one.framework, one.system) for one in findings.inferences]
    beside += inference_words.answer_sentences(findings.inferences, named)
    told = [verdict_sentence(verdict, findings, systems) for verdict in findings.verdicts]
    told += scaling_sentences(findings.scalings)
    told += [front_sentence(front) for front in findings.fronts]
    told += [plain(table.answer) for table in findings.tables if table.answer]
    if told:
        return [*told, *beside]
    headlines = [row for section in sections(findings) for row in section.headline]
    ours = [row for row in headlines if row.origin == "measured"] or headlines
    said = [row_sentence(row, systems.labels[row_key(row)]) for row in ours]
    return [*said, *beside] or ["No run has given an estimate of time to target yet."]


def verdict_sentence(verdict: Verdict, findings: Findings, systems: Systems) -> str:
    """Return one verdict as a sentence with short names and its target, then its notes."""
    rows = [row for row in findings.rows if row.task == verdict.task]
    targets = unique(row.target for row in rows if row.measure == verdict.measure and row.target)
    target = verdict.target or (targets[0] if len(targets) == 1 else None)
    text = verdict_text(verdict, _sides(verdict, systems), target)
    return " ".join([text, *(plain(note) for note in verdict.notes)])


def _sides(verdict: Verdict, systems: Systems) -> tuple[str, str]:
    by_system = {key.system: label for key, label in reversed(list(systems.labels.items()))}
    if verdict.a in by_system and verdict.b in by_system and verdict.a != verdict.b:
        return by_system[verdict.a], by_system[verdict.b]
    a, b = plain(verdict.a).split(", "), plain(verdict.b).split(", ")
    short_a = ", ".join(part for part in a if part not in b)
    short_b = ", ".join(part for part in b if part not in a)
    if short_a and short_b:
        return short_a, short_b
    return plain(verdict.a), plain(verdict.b)


def facts_line(section: Section) -> str:
    """Return the common facts of a section in one line."""
    return " · ".join(f"{name} {text}" for name, text in section.facts.items())
