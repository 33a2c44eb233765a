"""The part of the page that shows what trained models take to predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from timetrial.report import inference_words
from timetrial.report.arrange import Systems
from timetrial.report.inference_charts import inference_chart, is_drawn
from timetrial.report.page_tables import head, scroll, text
from timetrial.report.svg import NARROW, WIDE, swatch
from timetrial.report.words import ABSENT, interval_text, value_text
from timetrial.rows import Inference, InferenceLine, Row

Marks = Callable[[Sequence[Row]], str]  # the links to the footnotes of rows


def inference_body(
    inferences: Sequence[Inference], systems: Systems, marks: Marks, identity: str
) -> str:
    """Return one chart of all systems of a task, and a table by batch for each."""
    if not inferences:
        return ""
    labels = [systems.label(one.framework, one.system) for one in inferences]
    tables = [
        _table(one, label, marks, f"{identity}{place}")
        for place, (one, label) in enumerate(zip(inferences, labels, strict=True), 1)
    ]
    return _figure(inferences, labels, systems, identity) + "".join(tables)


def _figure(
    inferences: Sequence[Inference], labels: Sequence[str], systems: Systems, identity: str
) -> str:
    if not is_drawn(inferences):
        return ""
    indices = [systems.index(one.framework, one.system) for one in inferences]
    drawn = "".join(
        inference_chart(
            inferences, labels, indices, frame=frame, identity=f"{identity}-{frame.name}"
        )
        for frame in (WIDE, NARROW)
    )
    legend = "".join(
        f'<li>{swatch(index)}<span>{text(label)} <span class="count">n = {one.n}</span></span></li>'
        for one, label, index in zip(inferences, labels, indices, strict=True)
    )
    return (
        "<figure><figcaption>Time of a prediction against the examples in it"
        '<span class="aside">p50, and from there up to the p99.</span></figcaption>'
        f'<ul class="legend">{legend}</ul>{drawn}</figure>'
    )


def _table(inference: Inference, label: str, marks: Marks, identity: str) -> str:
    rows = "".join(_line(line, marks) for line in inference.lines)
    said = [
        escape(inference_words.ABOUT),
        escape(inference_words.dawnbench_words(inference)) + marks([inference.dawnbench]) + ".",
        *(escape(f"{words}.") for words in inference_words.left_out_words(inference)),
    ]
    headings = inference_words.COLUMNS.values()
    heading = head([(inference_words.FIRST, False), *((other, True) for other in headings)])
    return scroll(
        identity,
        f"{text(inference_words.caption(inference))}: {text(label)}",
        f"{heading}<tbody>{rows}</tbody>",
        aside=" ".join(said),
    )


def _line(line: InferenceLine, marks: Marks) -> str:
    cells = "".join(
        f'<td class="number">{_cell(line.cells.get(measure))}</td>'
        for measure in inference_words.COLUMNS
    )
    noted = marks(inference_words.rows_in(line))
    return f'<tr><th scope="row">{line.batch:,}{noted}</th>{cells}</tr>'


def _cell(row: Row | None) -> str:
    if row is None:
        return ABSENT
    details = [words for words in (interval_text(row), f"n = {row.n}") if words]
    detail = f'<span class="detail">{escape(", ".join(details))}</span>'
    return f'<span class="value">{escape(value_text(row))}</span>{detail}'
