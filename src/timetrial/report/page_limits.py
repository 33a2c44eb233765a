"""The part of the page that shows what a step was spent on, beside the machine's ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from timetrial.report.arrange import Systems
from timetrial.report.charts import segment_chart, segment_swatch
from timetrial.report.limit_words import NAMES, limit_sentence
from timetrial.report.page_tables import head, scroll, text
from timetrial.report.svg import NARROW, WIDE
from timetrial.rows import Limit, SegmentBar
from timetrial.units import percent


def limit_body(limits: Sequence[Limit], systems: Systems, identity: str) -> str:
    """Return a stacked bar per system with its parts as a table, and the bottleneck in words."""
    if not limits:
        return ""
    labels = [systems.label(limit.framework, limit.system) for limit in limits]
    bars = [
        SegmentBar(
            task=limit.task,
            framework=limit.framework,
            system=limit.system,
            n=limit.n,
            seconds={name: share * limit.step_s for name, share in limit.parts.items()},
        )
        for limit in limits
    ]
    title = "What a step was spent on"
    drawn = "".join(
        segment_chart(bars, labels, frame=frame, identity=f"{identity}-{frame.name}", title=title)
        for frame in (WIDE, NARROW)
    )
    said = "".join(
        f"<li>{escape(limit_sentence(limit, label))}</li>"
        for limit, label in zip(limits, labels, strict=True)
    )
    return (
        f'<figure class="segments"><figcaption>{title}<span class="aside">Shares of training '
        "steps; computing is bound by arithmetic or by memory, whichever alone would take longer "
        f"at this machine's ceiling.</span></figcaption>{drawn}{_table(limits, labels, identity)}"
        f'</figure><ul class="notes">{said}</ul>'
    )


def _table(limits: Sequence[Limit], labels: Sequence[str], identity: str) -> str:
    names = list(dict.fromkeys(name for limit in limits for name in limit.parts))
    rows = []
    for name in names:
        cells = "".join(
            f'<td class="number">{escape(percent(limit.parts.get(name, 0.0), 1))}</td>'
            for limit in limits
        )
        swatch = segment_swatch(name, names, f"{identity}-{names.index(name)}")
        rows.append(f'<tr><th scope="row">{swatch} {escape(NAMES[name])}</th>{cells}</tr>')
    for words, shares in (
        ("share of the matrix product", [limit.share_of_matmul for limit in limits]),
        ("share of the memory bandwidth", [limit.share_of_triad for limit in limits]),
    ):
        cells = "".join(f'<td class="number">{escape(percent(s, 1))}</td>' for s in shares)
        rows.append(f'<tr><th scope="row">{words}</th>{cells}</tr>')
    heading = head([("Part of a step", False), *((text(label), True) for label in labels)])
    return scroll(f"{identity}-parts", "Shares of a step, and of the ceilings",
                  f"{heading}<tbody>{''.join(rows)}</tbody>")  # fmt: skip
