"""Findings as Markdown: tables that GitHub, GitLab and pandoc all set."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from timetrial.report import exchange_words, inference_words
from timetrial.report.arrange import (
    Line,
    Section,
    SystemKey,
    Systems,
    answers,
    facts_line,
    name_systems,
    row_key,
    sections,
)
from timetrial.report.scaling_words import (
    Study,
    about,
    cell_of,
    columns_of,
    notes_of,
    studies,
)
from timetrial.report.table_words import (
    CellWords,
    about_columns,
    cell_words,
    footnotes_of,
    line_origin,
    marks_of,
    values_of,
)
from timetrial.report.words import (
    ABSENT,
    clock_rule,
    estimate_text,
    interval_text,
    method_sentences,
    optional,
    origin_text,
    plain,
    quality_text,
    sentence,
    status_text,
    target_label,
    unique,
    value_text,
)
from timetrial.rows import ExchangeCurve, Findings, Inference, Row, RunLine, SegmentBar, Table
from timetrial.units import duration


def render_markdown(findings: Findings) -> str:
    """Return the whole report; all text from outside is escaped."""
    systems = name_systems(findings)
    parts = [f"# {escaped(findings.title)}"]
    parts += [f"**{escaped(text)}**" for text in answers(findings, systems)]
    if systems.shared:
        parts.append(f"On every measured system: {escaped(systems.shared)}.")
    found = sections(findings)
    parts += [part for shown in findings.tables for part in _suite(shown)]
    parts += [part for study in studies(findings.scalings) for part in _scaling(study)]
    for section in found:
        parts += _section(section, systems)
    parts += _runs(findings.runs, systems)
    for machine in findings.machines:
        parts.append(f"## Machine: {escaped(machine.system)}")
        parts.append(table(["Fact", "Value"], [list(fact) for fact in machine.facts.items()]))
    parts += ["## Method", escaped(" ".join(method_sentences(_clocks(found))))]
    parts += [escaped(note) for note in findings.notes]
    parts += ["## To repeat this", fenced(findings.command)]
    parts.append(f"Made {escaped(findings.made_utc)} by timetrial {escaped(findings.version)}.")
    return "\n\n".join(parts) + "\n"


# --- Markdown -------------------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Return `text` so that Markdown shows it letter by letter, on one line."""
    safe = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(plain(text), quote=False))
    return re.sub(r"^([-+]|\d+[.)])(?=\s|$)", r"\\\1", safe)


def table(headings: Sequence[str], lines: Sequence[Sequence[str]], *, numeric: int = 0) -> str:
    """Return a table of unescaped texts; the last `numeric` columns stand to the right."""
    left = len(headings) - numeric
    rules = ["---" if place < left else "---:" for place in range(len(headings))]
    texts = [[escaped(text) for text in line] for line in [headings, *lines]]
    head, *body = [f"| {' | '.join(line)} |" for line in texts]
    return "\n".join([head, f"| {' | '.join(rules)} |", *body])


def fenced(text: str) -> str:
    """Return `text` as a code block that nothing inside can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{plain(text)}\n{fence}"


# --- parts of the report --------------------------------------------------------------------------


def _clocks(found: Sequence[Section]) -> list[str]:
    return unique(section.clock for section in found if section.clock)


def _section(section: Section, systems: Systems) -> list[str]:
    parts = [f"## {escaped(section.task)}", f"{escaped(sentence(facts_line(section)))}."]
    if section.headline:
        parts += [f"### Time to target, {escaped(section.clock or 'unnamed')} clock"]
        parts.append(_headline(section, systems))
    if section.measures:
        parts += ["### Other measures", _matrix(section, systems, section.measures, "Measure")]
    if section.clocks:
        parts += ["### Time to target by other clocks"]
        parts.append(_matrix(section, systems, section.clocks, "Clock"))
    for curve in section.exchanges:
        parts += _exchange(curve, systems)
    for inference in section.inferences:
        parts += _inference(inference, section, systems)
    if section.bars:
        parts += ["### Where the wall time went", _segments(section.bars, systems)]
    notes = [f"- {escaped(note)}" for note in section.notes]
    notes += [f"{n}. {escaped(note)}" for n, note in enumerate(section.footnotes, 1)]
    if notes:
        parts += ["Notes:", "\n".join(notes)]
    return parts


def _exchange(curve: ExchangeCurve, systems: Systems) -> list[str]:
    """Return the time of an all-reduce by size."""
    label = systems.label(curve.framework, curve.system)
    said = [exchange_words.line_words(curve), *exchange_words.left_out_words(curve)]
    return [
        f"### {escaped(f'{exchange_words.caption(curve)}: {label}')}",
        table(exchange_words.HEADINGS, exchange_words.cells(curve), numeric=5),
        "\n".join(f"- {escaped(words)}" for words in said),
    ]


def _inference(inference: Inference, section: Section, systems: Systems) -> list[str]:
    """Return what predicting takes by batch."""
    label = systems.label(inference.framework, inference.system)
    headings = [inference_words.FIRST, *inference_words.COLUMNS.values()]
    body = [
        [
            f"{line.batch:,}",
            *(
                _cell(section, [line.cells[measure]] if measure in line.cells else [])
                for measure in inference_words.COLUMNS
            ),
        ]
        for line in inference.lines
    ]
    noted = _marks(section, [inference.dawnbench])
    said = [
        inference_words.ABOUT,
        f"{inference_words.dawnbench_words(inference, noted)}.",
        *(f"{words}." for words in inference_words.left_out_words(inference)),
    ]
    return [
        f"### {escaped(f'{inference_words.caption(inference)}: {label}')}",
        table(headings, body, numeric=len(headings)),
        "\n".join(f"- {escaped(words)}" for words in said),
    ]


# --- tables of suites -----------------------------------------------------------------------------


def tables_markdown(tables: Sequence[Table]) -> str:
    """Return the tables of suites alone; all text from outside is escaped."""
    return "\n\n".join(part for shown in tables for part in _suite(shown)) + "\n"


def _suite(shown: Table) -> list[str]:
    footnotes = footnotes_of(shown)
    names = [column for column in shown.columns if column.text]
    values = values_of(shown)
    headings = [*(column.heading for column in names), "Origin", "Table"]
    headings += [*(column.heading for column in values), "n"]
    body = []
    for line in shown.lines:
        marks = "".join(f" [{number}]" for number in marks_of(line, footnotes))
        cells = [cell_words(line, column).value for column in names]
        cells += [f"{line_origin(line)}{marks}", line.group]
        cells += [_words(cell_words(line, column)) for column in values]
        body.append([*cells, ABSENT if line.n is None else str(line.n)])
    parts = [f"## {escaped(shown.suite)}: {escaped(shown.title)}"]
    parts.append(table(headings, body, numeric=len(values) + 1))
    parts += ["\n".join(f"- {escaped(text)}" for text in about_columns(shown))]
    if shown.notes:
        notes = "\n".join(f"- {escaped(note)}" for note in shown.notes)
        parts += ["Not comparable, and why:", notes]
    parts += ["\n".join(f"{n}. {escaped(note)}" for n, note in enumerate(footnotes, 1))]
    files = (f"- {escaped(one.title)}: {escaped(one.path)}" for one in shown.pictures)
    parts += ["\n".join(files)]
    return [part for part in parts if part]


def _scaling(study: Study) -> list[str]:
    parts = [f"## {escaped(study.title)}"]
    for scaling, label in zip(study.scalings, study.labels, strict=True):
        columns = columns_of(scaling)
        headings = ["Workers", *(c.heading.replace("- ", "") for c in columns), "n"]
        lines = [
            [
                str(line.workers),
                *(_words(cell_of(scaling, line, column.name)) for column in columns),
                str(line.n),
            ]
            for line in scaling.lines
        ]
        parts += [escaped(label) + ":", table(headings, lines, numeric=len(columns) + 1)]
        parts.append("\n".join(f"- {escaped(t)}" for t in [*about(scaling), *notes_of(scaling)]))
    return [part for part in parts if part]


def _words(words: CellWords) -> str:
    return f"{words.value} ({words.interval})" if words.interval else words.value


# --- parts of a section ---------------------------------------------------------------------------


def _headline(section: Section, systems: Systems) -> str:
    headings = ["System", "Target", "Origin", "Runs", "Time to target", "95 % interval", "n"]
    lines = [
        [
            systems.labels[row_key(row)] + _marks(section, [row]),
            target_label(row.target) if row.target else ABSENT,
            origin_text(row),
            status_text(row.status_counts) or ABSENT,
            value_text(row),
            interval_text(row) or ABSENT,
            str(row.n),
        ]
        for row in section.headline
    ]
    return table(headings, lines, numeric=3)


def _matrix(section: Section, systems: Systems, lines: Sequence[Line], first: str) -> str:
    keys = [key for key in section.systems if any(key in line.cells for line in lines)]
    headings = [first, *(_heading(key, systems) for key in keys)]
    body = []
    for line in lines:
        label = sentence(line.label)
        if first == "Clock" and (rule := clock_rule(line.label)):
            label = f"{line.label}: {rule}"
        body.append([label, *(_cell(section, line.cells.get(key, ())) for key in keys)])
    return table(headings, body, numeric=len(keys))


def _heading(key: SystemKey, systems: Systems) -> str:
    label = systems.labels[key]
    return label if key.origin == "measured" else f"{label} ({key.origin})"


def _cell(section: Section, rows: Sequence[Row]) -> str:
    texts = [f"{estimate_text(row)}, n = {row.n}{_marks(section, [row])}" for row in rows]
    return "; ".join(texts) or ABSENT


def _marks(section: Section, rows: Sequence[Row]) -> str:
    return "".join(f" [{number}]" for number in section.marks(rows))


def _segments(bars: Sequence[SegmentBar], systems: Systems) -> str:
    names = unique(name for bar in bars for name in bar.seconds)
    headings = ["Segment"]
    headings += [f"{systems.label(bar.framework, bar.system)}, n = {bar.n}" for bar in bars]
    lines = [
        [name, *(duration(bar.seconds[name]) if name in bar.seconds else ABSENT for bar in bars)]
        for name in names
    ]
    return table(headings, lines, numeric=len(bars))


def _runs(runs: Sequence[RunLine], systems: Systems) -> list[str]:
    if not runs:
        return []
    headings = ["Run", "Task", "System", "Seed", "Status", "Directory"]
    headings += ["Wall", "Time to target", "Quality"]
    lines = [
        [
            run.run,
            run.task,
            systems.label(run.framework, run.system),
            str(run.seed),
            run.status.replace("_", " "),
            run.directory,
            optional(run.wall_s, "s"),
            optional(run.time_to_target_s, "s"),
            quality_text(run),
        ]
        for run in runs
    ]
    return ["## Runs", table(headings, lines, numeric=3)]
