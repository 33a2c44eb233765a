"""The part of the page that shows systems by time and cost."""

from __future__ import annotations

from timetrial.report.front_chart import front_chart
from timetrial.report.front_words import point_words
from timetrial.report.page_tables import text
from timetrial.report.svg import NARROW, WIDE, swatch
from timetrial.rows import Front


def front_body(front: Front, identity: str) -> str:
    """Return the picture with a legend that says in words what each marker says."""
    drawn = "".join(
        front_chart(front, frame=frame, identity=f"{identity}-{frame.name}")
        for frame in (WIDE, NARROW)
    )
    legend = "".join(
        f"<li>{swatch(index)}<span>{text(point.system)} "
        f'<span class="count">{text(point_words(point, front.currency))}</span></span></li>'
        for index, point in enumerate(front.points)
    )
    return (
        "<figure><figcaption>Cost against time of the next run"
        '<span class="aside">Medians with 95 % intervals of the next run; the stepped line is the '
        "front: no system here is both quicker and cheaper than one on it.</span></figcaption>"
        f'<ul class="legend">{legend}</ul>{drawn}</figure>'
    )
