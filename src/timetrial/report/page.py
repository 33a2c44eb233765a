"""Findings as one offline HTML page: a single file that loads nothing.

The page is built of text alone. Everything that comes from findings is escaped, and a policy in the
page itself (hashes of its own style and script, nothing else) keeps a browser from running or
fetching what an escape might ever miss.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from timetrial.report.arrange import (
    Section,
    Systems,
    answers,
    facts_line,
    name_systems,
    sections,
)
from timetrial.report.charts import curve_chart, segment_chart, step_chart
from timetrial.report.page_confusion import confusion_body
from timetrial.report.page_exchanges import exchange_body
from timetrial.report.page_front import front_body
from timetrial.report.page_inference import inference_body
from timetrial.report.page_limits import limit_body
from timetrial.report.page_scaling import study_body
from timetrial.report.page_search import search_body
from timetrial.report.page_suites import curve_figure, suite_body
from timetrial.report.page_tables import SectionTables, linked, runs_table, text
from timetrial.report.scaling_words import studies
from timetrial.report.svg import NARROW, WIDE
from timetrial.report.table_csv import render_csv
from timetrial.report.words import method_sentences, sentence, unique
from timetrial.rows import Curve, Findings, MachineFacts, StepCurve

_ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" '
    'rx="3" fill="#0072b2"/><path d="M3 12C5 6 8 4.5 13 4" fill="none" stroke="#fff" '
    'stroke-width="2" stroke-linecap="round"/></svg>'
)


def render_html(findings: Findings) -> str:
    """Return the page: answer, charts, tables, runs, machines, method, command."""
    systems = name_systems(findings)
    found = sections(findings)
    style, script = _asset("page.css"), _asset("page.js")
    return Template(_asset("page.html")).substitute(
        style=style,
        script=script,
        style_hash=_policy_hash(style),
        script_hash=_policy_hash(script),
        icon=_data_url("image/svg+xml", _ICON),
        title=text(findings.title),
        version=text(findings.version),
        made_utc=text(findings.made_utc),
        answers=_answers(answers(findings, systems)),
        nav=_navigation(findings, found),
        main="\n".join(_main(findings, found, systems)),
    )


def _asset(name: str) -> str:
    return files("timetrial.report").joinpath(name).read_text(encoding="utf-8")


def _policy_hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _data_url(kind: str, content: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content.encode()).decode()}"


# --- head of the page -----------------------------------------------------------------------------


def _answers(texts: Sequence[str]) -> str:
    first, *rest = [_answer(answer) for answer in texts]
    items = "".join(f"<li>{answer}</li>" for answer in rest)
    return f'<p class="answer">{first}</p>' + (f'<ul class="answers">{items}</ul>' if items else "")


def _answer(answer: str) -> str:
    match = re.fullmatch(r"(.*?) \(([^()]*n = [^()]*)\)\.( .*)?", answer)
    if match is None:
        return escape(answer)
    main, evidence, after = match.groups()
    return (
        f'{escape(main)}. <span class="evidence">{escape(sentence(evidence))}.'
        f"{escape(after or '')}</span>"
    )


def _navigation(findings: Findings, found: Sequence[Section]) -> str:
    links = [(f"v{n}", "Time and cost") for n, _ in enumerate(findings.fronts, 1)]
    suites = [table.suite for table in findings.tables]
    links += [
        (f"u{n}", text(table.suite if suites.count(table.suite) == 1 else table.title))
        for n, table in enumerate(findings.tables, 1)
    ]
    links += [
        (f"w{n}", text(f"{study.task}, workers"))
        for n, study in enumerate(studies(findings.scalings), 1)
    ]
    links += [(f"x{n}", "Search") for n, _ in enumerate(findings.searches, 1)]
    links += [(f"t{place}", text(section.task)) for place, section in enumerate(found, 1)]
    links += [("runs", "Runs")] if findings.runs else []
    links += [("machines", "Machines")] if findings.machines else []
    links += [("method", "Method"), ("repeat", "Repeat")]
    items = "".join(f'<li><a href="#{anchor}">{words}</a></li>' for anchor, words in links)
    return f'<nav aria-label="On this page"><ul>{items}</ul></nav>'


# --- sections -------------------------------------------------------------------------------------


def _main(findings: Findings, found: Sequence[Section], systems: Systems) -> list[str]:
    parts = [
        _block(f"v{n}", text(f"Time and cost: {front.title}"), front_body(front, f"v{n}"))
        for n, front in enumerate(findings.fronts, 1)
    ]
    parts += [
        _block(f"u{n}", text(f"{table.suite}: {table.title}"), suite_body(table, f"u{n}"))
        for n, table in enumerate(findings.tables, 1)
    ]
    parts += [
        _block(f"w{n}", text(study.title), study_body(study, f"w{n}"))
        for n, study in enumerate(studies(findings.scalings), 1)
    ]
    parts += [
        _block(f"x{n}", text(f"Search: {search.title}"), search_body(search, f"x{n}"))
        for n, search in enumerate(findings.searches, 1)
    ]
    parts += [_section(section, systems, f"t{place}") for place, section in enumerate(found, 1)]
    if findings.runs:
        parts.append(_block("runs", "Runs", runs_table(findings.runs, systems)))
    if findings.machines:
        machines = "".join(_machine(machine) for machine in findings.machines)
        parts.append(_block("machines", "Machines", machines))
    parts.append(_block("method", "Method", _method(findings, found)))
    parts.append(_block("repeat", "Repeat this", _repeat(findings)))
    return parts


def _block(identity: str, heading: str, body: str) -> str:
    return (
        f'<section id="{identity}" aria-labelledby="{identity}-h">'
        f'<h2 id="{identity}-h">{heading}</h2>{body}</section>'
    )


def _section(section: Section, systems: Systems, identity: str) -> str:
    tables = SectionTables(section, systems, identity)
    facts = sentence(facts_line(section))
    parts = [f'<p class="facts">{escape(facts)}</p>' if facts else ""]
    parts += [
        _curves(curves, systems, f"{identity}-k{place}")
        for place, curves in enumerate(section.curves, 1)
    ]
    parts += [
        _step_curves(curves, systems, f"{identity}-q{place}")
        for place, curves in enumerate(section.step_curves, 1)
    ]
    parts += [tables.headline(), tables.measures(), tables.clocks()]
    parts.append(exchange_body(section.exchanges, systems, f"{identity}-e"))
    parts.append(inference_body(section.inferences, systems, tables.marks, f"{identity}-i"))
    parts += [
        confusion_body(seen, systems.label(seen.framework, seen.system), f"{identity}-c{place}")
        for place, seen in enumerate(section.confusions, 1)
    ]
    if section.bars:
        parts.append(_segments(section, systems, tables, f"{identity}-b"))
    parts.append(limit_body(section.limits, systems, f"{identity}-l"))
    parts.append(_notes(section, identity))
    return _block(identity, text(section.task), "".join(parts))


def _curves(curves: Sequence[Curve], systems: Systems, identity: str) -> str:
    labels = [systems.label(curve.framework, curve.system) for curve in curves]
    indices = [systems.index(curve.framework, curve.system) for curve in curves]
    drawn = "".join(
        curve_chart(curves, labels, indices, frame=frame, identity=f"{identity}-{frame.name}")
        for frame in (WIDE, NARROW)
    )
    metric = sentence(curves[0].metric.replace("_", " "))
    return curve_figure(f"{metric} against time", curves, labels, indices, drawn)


def _step_curves(curves: Sequence[StepCurve], systems: Systems, identity: str) -> str:
    labels = [systems.label(curve.framework, curve.system) for curve in curves]
    indices = [systems.index(curve.framework, curve.system) for curve in curves]
    drawn = "".join(
        step_chart(curves, labels, indices, frame=frame, identity=f"{identity}-{frame.name}")
        for frame in (WIDE, NARROW)
    )
    metric = sentence(curves[0].metric.replace("_", " "))
    return curve_figure(f"{metric} against training steps", curves, labels, indices, drawn)


def _segments(section: Section, systems: Systems, tables: SectionTables, identity: str) -> str:
    labels = [systems.label(bar.framework, bar.system) for bar in section.bars]
    drawn = "".join(
        segment_chart(section.bars, labels, frame=frame, identity=f"{identity}-{frame.name}")
        for frame in (WIDE, NARROW)
    )
    return (
        '<figure class="segments"><figcaption>Where the wall time went</figcaption>'
        f"{drawn}{tables.segments(section.bars, labels)}</figure>"
    )


def _notes(section: Section, identity: str) -> str:
    general = "".join(f"<li>{linked(note)}</li>" for note in section.notes)
    numbered = "".join(
        f'<li id="{identity}-n{number}">{linked(note)}</li>'
        for number, note in enumerate(section.footnotes, 1)
    )
    if not general and not numbered:
        return ""
    return (
        "<h3>Notes</h3>"
        + (f'<ul class="notes">{general}</ul>' if general else "")
        + (f'<ol class="notes">{numbered}</ol>' if numbered else "")
    )


# --- end of the page ------------------------------------------------------------------------------


def _machine(machine: MachineFacts) -> str:
    facts = "".join(
        f"<dt>{text(sentence(name))}</dt><dd>{text(value)}</dd>"
        for name, value in machine.facts.items()
    )
    return f"<h3>{text(machine.system)}</h3>" + (f"<dl>{facts}</dl>" if facts else "")


def _method(findings: Findings, found: Sequence[Section]) -> str:
    clocks = unique(section.clock for section in found if section.clock)
    method = " ".join(method_sentences(clocks))
    notes = "".join(f"<li>{linked(note)}</li>" for note in findings.notes)
    return f"<p>{escape(method)}</p>" + (f'<ul class="notes">{notes}</ul>' if notes else "")


def _repeat(findings: Findings) -> str:
    csv = _data_url("text/csv;charset=utf-8", render_csv(findings.rows))
    return (
        f'<div class="repeat"><pre><code id="command">{text(findings.command)}</code></pre>'
        '<button type="button" class="copy" data-copies="command" hidden>Copy the command</button>'
        f'<a class="download" download="timetrial-rows.csv" href="{csv}">All rows as CSV</a>'
        '<span role="status"></span></div>'
    )
