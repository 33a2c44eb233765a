"""The part of the page that shows what was measured between workers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from timetrial.report import exchange_words
from timetrial.report.arrange import Systems
from timetrial.report.exchange_charts import exchange_chart
from timetrial.report.page_tables import head, scroll, text
from timetrial.report.svg import NARROW, WIDE, swatch
from timetrial.rows import ExchangeCurve


def exchange_body(curves: Sequence[ExchangeCurve], systems: Systems, identity: str) -> str:
    """Return one chart of all systems of a task, and a table by size for each."""
    if not curves:
        return ""
    labels = [systems.label(curve.framework, curve.system) for curve in curves]
    tables = [
        _table(curve, label, f"{identity}{place}")
        for place, (curve, label) in enumerate(zip(curves, labels, strict=True), 1)
    ]
    return _figure(curves, labels, systems, identity) + "".join(tables)


def _figure(
    curves: Sequence[ExchangeCurve], labels: Sequence[str], systems: Systems, identity: str
) -> str:
    indices = [systems.index(curve.framework, curve.system) for curve in curves]
    drawn = "".join(
        exchange_chart(curves, labels, indices, frame=frame, identity=f"{identity}-{frame.name}")
        for frame in (WIDE, NARROW)
    )
    legend = "".join(
        f'<li>{swatch(index)}<span>{text(label)} <span class="count">n = {curve.n}</span></span>'
        "</li>"
        for curve, label, index in zip(curves, labels, indices, strict=True)
    )
    return (
        "<figure><figcaption>Time of an all-reduce against the size of the array"
        '<span class="aside">Medians of all repetitions, from the 5th to the 95th percentile, and '
        f'the line fitted to them.</span></figcaption><ul class="legend">{legend}</ul>'
        f"{drawn}</figure>"
    )


def _table(curve: ExchangeCurve, label: str, identity: str) -> str:
    first, *others = exchange_words.HEADINGS
    rows = []
    for size, *values in exchange_words.cells(curve):
        inside = "".join(f'<td class="number">{escape(value)}</td>' for value in values)
        rows.append(f'<tr><th scope="row">{escape(size)}</th>{inside}</tr>')
    said = [exchange_words.line_words(curve), *exchange_words.left_out_words(curve)]
    heading = head([(first, False), *((other, True) for other in others)])
    return scroll(
        identity,
        f"{text(exchange_words.caption(curve))}: {text(label)}",
        f"{heading}<tbody>{''.join(rows)}</tbody>",
        aside=" ".join(escape(words) for words in said),
    )
