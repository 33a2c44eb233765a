"""The part of the page that shows what more workers bring."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from timetrial.report.charts import segment_chart, segment_swatch
from timetrial.report.page_tables import head, linked, scroll, text
from timetrial.report.scaling_charts import HALF, worker_chart
from timetrial.report.scaling_words import (
    PART_NAMES,
    Study,
    about,
    cell_of,
    columns_of,
    notes_of,
    pictures_of,
)
from timetrial.report.svg import NARROW, WIDE, swatch
from timetrial.report.words import ABSENT
from timetrial.rows import Scaling, SegmentBar
from timetrial.units import duration


def study_body(study: Study, identity: str) -> str:
    """Return tables, charts and notes of one study; `identity` begins every id in it."""
    parts = [
        _table(one, label, f"{identity}-m{place}")
        for place, (one, label) in enumerate(zip(study.scalings, study.labels, strict=True), 1)
    ]
    parts += [_legend(study), _charts(study, identity), _steps(study, f"{identity}-b")]
    notes = dict.fromkeys(note for one in study.scalings for note in notes_of(one))
    items = "".join(f"<li>{linked(note)}</li>" for note in notes)
    parts.append(f'<h3>Notes</h3><ul class="notes">{items}</ul>' if items else "")
    return "".join(parts)


def _table(scaling: Scaling, label: str, identity: str) -> str:
    columns = columns_of(scaling)
    cells = [("Workers", False), *((text(c.heading.replace("- ", "")), True) for c in columns)]
    body = []
    for line in scaling.lines:
        values = [cell_of(scaling, line, column.name) for column in columns]
        inside = "".join(f'<td class="number">{_cell(*words)}</td>' for words in values)
        body.append(
            f'<tr><th scope="row">{line.workers}</th>{inside}<td class="number">{line.n}</td></tr>'
        )
    heading = head([*cells, ("n", True)])
    aside = " ".join(escape(words) for words in about(scaling))
    table = f"{heading}<tbody>{''.join(body)}</tbody>"
    return scroll(identity, text(label), table, aside=aside, kind="measures")


def _cell(value: str, interval: str) -> str:
    detail = f'<span class="detail">{escape(interval)}</span>' if interval else ""
    return f'<span class="value">{escape(value)}</span>{detail}'


def _legend(study: Study) -> str:
    if len(study.scalings) < 2:
        return ""
    items = "".join(
        f"<li>{swatch(index)}<span>{text(label)}</span></li>"
        for index, label in enumerate(study.labels)
    )
    return f'<ul class="legend">{items}</ul>'


def _charts(study: Study, identity: str) -> str:
    figures = []
    for place, picture in enumerate(pictures_of(study), 1):
        drawn = "".join(
            worker_chart(study, picture, frame=frame, identity=f"{identity}-k{place}-{frame.name}")
            for frame in (HALF, NARROW)
        )
        figures.append(f"<figure><figcaption>{text(picture.title)}</figcaption>{drawn}</figure>")
    return f'<div class="pair">{"".join(figures)}</div>' if figures else ""


def _steps(study: Study, identity: str) -> str:
    """Return where the time of a step goes, a bar for each number of workers."""
    bars, labels = [], []
    for one, label in zip(study.scalings, study.labels, strict=True):
        for line in (line for line in one.lines if line.parts_s):
            who = "1 worker" if line.workers == 1 else f"{line.workers} workers"
            labels.append(f"{label}, {who}" if len(study.scalings) > 1 else who)
            bars.append(
                SegmentBar(
                    task=one.task,
                    framework=one.framework,
                    system=one.system,
                    n=line.n,
                    seconds=line.parts_s,
                )
            )
    if not bars:
        return ""
    title = "Where the time of a step goes"
    drawn = "".join(
        segment_chart(bars, labels, frame=frame, identity=f"{identity}-{frame.name}", title=title)
        for frame in (WIDE, NARROW)
    )
    aside = "Mean of the steps that were split, over all workers and runs."
    caption = f'<figcaption>{title}<span class="aside">{aside}</span></figcaption>'
    return (
        f'<figure class="segments">{caption}{drawn}{_parts_table(bars, labels, identity)}</figure>'
    )


def _parts_table(bars: Sequence[SegmentBar], labels: Sequence[str], identity: str) -> str:
    names = [name for name in PART_NAMES if any(name in bar.seconds for bar in bars)]
    rows = []
    for place, name in enumerate(names):
        chip = segment_swatch(name, names, f"{identity}-x{place}")
        cells = "".join(
            f'<td class="number">{_seconds(bar.seconds.get(name))}</td>' for bar in bars
        )
        rows.append(f'<tr><th scope="row">{chip}{PART_NAMES[name]}</th>{cells}</tr>')
    heading = head([("Part", False), *((text(label), True) for label in labels)])
    table = f"{heading}<tbody>{''.join(rows)}</tbody>"
    return scroll(f"{identity}-parts", "Mean seconds of a step", table)


def _seconds(value: float | None) -> str:
    return ABSENT if value is None else escape(duration(value))
