"""The part of the page that shows the trials of a search."""

from __future__ import annotations

from typing import Final

from timetrial.report.page_tables import text
from timetrial.report.search_chart import NO_VALUE, PARTS, lone_marker, search_chart
from timetrial.report.svg import NARROW, WIDE
from timetrial.report.words import measure_label, sentence
from timetrial.rows import Search

_NAMES: Final = {
    "winner": "winner",
    "leader": "other leaders, run again",
    "reference": "the task's own settings",
    "trial": "other trials",
}


def search_body(search: Search, identity: str) -> str:
    """Return the picture with a legend of what each marker is."""
    drawn = "".join(
        search_chart(search, frame=frame, identity=f"{identity}-{frame.name}")
        for frame in (WIDE, NARROW)
    )
    shown = {point.part for point in search.points if point.value is not None}
    legend = [(PARTS[part], name) for part, name in _NAMES.items() if part in shown]
    if any(point.value is None for point in search.points):
        legend.append((NO_VALUE, "missed the target, given up or failed"))
    items = "".join(
        f"<li>{lone_marker(index)}<span>{text(name)}</span></li>" for index, name in legend
    )
    return (
        f"<figure><figcaption>{text(sentence(measure_label(search.measure)))} by rule"
        '<span class="aside">One run of each trial, by which nothing is claimed: settings were '
        "chosen for it. In brackets how much of what varies a rule decides (PED-ANOVA)."
        f'</span></figcaption><ul class="legend">{items}</ul>{drawn}</figure>'
    )
