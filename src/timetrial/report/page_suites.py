"""The tables and pictures of suites on the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from timetrial.report.charts import step_chart
from timetrial.report.page_tables import head, linked, scroll, text
from timetrial.report.svg import NARROW, WIDE, swatch
from timetrial.report.table_words import (
    about_columns,
    cell_words,
    footnotes_of,
    groups_of,
    line_origin,
    marks_of,
    values_of,
)
from timetrial.report.words import ABSENT
from timetrial.rows import (
    Curve,
    Exhibit,
    StepChart,
    StepCurve,
    Table,
    TableColumn,
    TableLine,
)


def curve_figure(
    caption: str,
    curves: Sequence[Curve | StepCurve],
    labels: Sequence[str],
    indices: Sequence[int],
    drawn: str,
) -> str:
    """Return a figure of curves: caption, legend with n, and the chart already drawn."""
    legend = "".join(
        f'<li>{swatch(index)}<span>{text(label)} <span class="count">n = {curve.n}</span>'
        "</span></li>"
        for curve, label, index in zip(curves, labels, indices, strict=True)
    )
    return (
        f'<figure><figcaption>{text(caption)}<span class="aside">Mean of n runs; the shaded '
        f'band is its 95 % interval.</span></figcaption><ul class="legend">{legend}</ul>'
        f"{drawn}</figure>"
    )


def suite_body(table: Table, identity: str) -> str:
    """Return a suite's table, its pictures, and what is not comparable in it."""
    parts = [_table(table, identity)]
    parts += [_chart(chart, f"{identity}-k{n}") for n, chart in enumerate(table.charts, 1)]
    parts += [_picture(shown) for shown in table.pictures]
    parts.append(_notes(table, identity))
    return "".join(parts)


def _table(table: Table, identity: str) -> str:
    names = [column for column in table.columns if column.text]
    values = values_of(table)
    cells = [*((text(column.heading), False) for column in names), ("Origin", False)]
    cells += [*((text(column.heading), True) for column in values), ("n", True)]
    footnotes = footnotes_of(table)
    bodies = []
    for group, lines in groups_of(table).items():
        heading = f'<th class="group" scope="rowgroup" colspan="{len(cells)}">{text(group)}</th>'
        rows = "".join(_line(line, names, values, footnotes, identity) for line in lines)
        bodies.append(f'<tbody class="grouped"><tr>{heading}</tr>{rows}</tbody>')
    published = any(line.origin == "published" for line in table.lines)
    caption = text("This machine beside what was published" if published else table.title)
    beside = any(line.origin not in (None, "measured") for line in table.lines)
    caption = "This machine beside what was published" if beside else "Measured on this machine"
    return scroll(f"{identity}-table", caption, head(cells) + "".join(bodies), kind="measures")


def _line(
    line: TableLine,
    names: Sequence[TableColumn],
    values: Sequence[TableColumn],
    footnotes: Sequence[str],
    identity: str,
) -> str:
    first, *others = [escape(cell_words(line, column).value) for column in names]
    marks = " ".join(
        f'<a href="#{identity}-n{number}" aria-label="note {number}">{number}</a>'
        for number in marks_of(line, footnotes)
    )
    marked = f"{first}<sup>{marks}</sup>" if marks else first
    where = "".join(f"<td>{name}</td>" for name in others)
    details = [linked(line.source)] if line.source else []
    details += [linked(item) for item in line.evidence if item.startswith("https://")]
    detail = f'<span class="detail">{", ".join(details)}</span>' if details else ""
    cells = "".join(f'<td class="number">{_cell(line, column)}</td>' for column in values)
    count = ABSENT if line.n is None else str(line.n)
    return (
        f'<tr><th scope="row">{marked}</th>{where}'
        f'<td class="origin"><b>{text(line_origin(line))}</b>{detail}</td>{cells}'
        f'<td class="number">{count}</td></tr>'
    )


def _cell(line: TableLine, column: TableColumn) -> str:
    value, interval = cell_words(line, column)
    detail = f'<span class="detail">{escape(interval)}</span>' if interval else ""
    return f'<span class="value">{escape(value)}</span>{detail}'


def _chart(chart: StepChart, identity: str) -> str:
    indices = range(len(chart.curves))
    drawn = "".join(
        step_chart(
            chart.curves, chart.labels, indices, frame=frame, identity=f"{identity}-{frame.name}"
        )
        for frame in (WIDE, NARROW)
    )
    return curve_figure(chart.title, chart.curves, chart.labels, indices, drawn)


def _picture(shown: Exhibit) -> str:
    """Return a picture that is part of the page; of any other file, where it lies."""
    if not shown.content:
        return f'<p class="facts">{text(shown.title)}: {text(shown.path)}</p>'
    data = base64.b64encode(shown.content).decode()
    return (
        f"<figure><figcaption>{text(shown.title)}"
        f'<span class="aside">{text(shown.about)}</span></figcaption>'
        f'<img src="data:image/png;base64,{data}" alt="{text(shown.about)}"></figure>'
    )


def _notes(table: Table, identity: str) -> str:
    general = [*about_columns(table), *table.notes]
    items = "".join(f"<li>{linked(note)}</li>" for note in general)
    numbered = "".join(
        f'<li id="{identity}-n{number}">{linked(note)}</li>'
        for number, note in enumerate(footnotes_of(table), 1)
    )
    beside = any(line.origin not in (None, "measured") for line in table.lines)
    heading = "What is not comparable, and why" if beside else "Notes"
    if not items and not numbered:
        return ""
    published = any(line.origin == "published" for line in table.lines)
    heading = "What is not comparable, and why" if published else "Notes"
    return (
        f"<h3>{heading}</h3>"
        + (f'<ul class="notes">{items}</ul>' if items else "")
        + (f'<ol class="notes">{numbered}</ol>' if numbered else "")
    )
