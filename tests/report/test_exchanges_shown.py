"""Time of an all-reduce by size: words, chart, table on the page."""

from __future__ import annotations

import re

import msgspec
import pytest
from example_findings import HOSTILE
from example_findings import findings as full

from timetrial import report
from timetrial.report import exchange_words
from timetrial.report.exchange_charts import exchange_chart
from timetrial.report.svg import WIDE
from timetrial.rows import ExchangeCurve, ExchangePoint, Findings


def curve(**changes: object) -> ExchangeCurve:
    points = [
        ExchangePoint(bytes=size, median_s=s, p5_s=0.9 * s, p95_s=1.2 * s, n=50)
        for size, s in ((4, 0.0105), (65536, 0.026), (4194304, 0.37))
    ]
    slow = ExchangePoint(
        bytes=67108864, median_s=None, p5_s=None, p95_s=None, n=0, left_out="it would take 99 s"
    )
    made = ExchangeCurve(
        task="allreduce",
        framework="torch",
        system="a machine, 2 workers",
        dtype="float32",
        workers=2,
        n=3,
        points=[*points, slow],
        latency_s=0.021,
        s_per_byte=8.3e-8,
        error=0.031,
    )
    return msgspec.structs.replace(made, **changes)


def shown(*curves: ExchangeCurve) -> Findings:
    base = full()
    bar = msgspec.structs.replace(
        base.bars[0], task="allreduce", framework="torch", system=curves[0].system
    )
    return msgspec.structs.replace(
        base, rows=[], curves=[], step_curves=[], confusions=[], verdicts=[], runs=[], tables=[],
        scalings=[], bars=[bar], exchanges=curves,
    )  # fmt: skip


def test_the_table_has_a_line_for_each_size_and_says_what_was_left_out():
    lines = exchange_words.cells(curve())
    assert [line[0] for line in lines] == ["4 B", "64 KiB", "4 MiB", "64 MiB"]
    assert lines[0] == ["4 B", "10.5 ms", "9.45 to 12.6 ms", "50", "21.0 ms"]
    assert lines[3] == ["64 MiB", "left out", "–", "0", "5.59 s"]
    assert exchange_words.left_out_words(curve()) == ["64 MiB left out: it would take 99 s"]
    assert exchange_words.line_words(curve()) == (
        "Line: 21.0 ms and 87.0 ms for each MiB; half of the medians lie within 3.1 % of it."
    )


def test_without_a_line_the_times_are_shown_and_the_lack_is_said():
    bare = curve(latency_s=None, s_per_byte=None, error=None)
    assert exchange_words.cells(bare)[0][-1] == "–"
    assert "no line" in exchange_words.line_words(bare)
    assert "<svg" in report.render_html(shown(bare))


def test_the_chart_has_a_marker_and_a_spread_for_each_measured_size():
    drawn = exchange_chart([curve()], ["here"], [0], frame=WIDE, identity="x")
    assert drawn.count('class="mark"') == 3
    assert drawn.count('class="whisker"') == 3
    assert drawn.count('class="curve"') == 1
    assert "here: 4 B in 10.5 ms, 4 MiB in 370 ms." in drawn
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert places == sorted(places)


def test_a_larger_time_stands_higher():
    drawn = exchange_chart([curve()], ["here"], [0], frame=WIDE, identity="x")
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawn)]
    assert heights == sorted(heights, reverse=True)


def test_nothing_measured_draws_an_empty_chart():
    points = [msgspec.structs.replace(curve().points[3])]
    bare = curve(points=points, latency_s=None, s_per_byte=None, error=None)
    drawn = exchange_chart([bare], ["here"], [0], frame=WIDE, identity="x")
    assert drawn.endswith("</desc></svg>")


@pytest.mark.parametrize("render", [report.render_html, report.render_markdown])
def test_text_from_outside_stays_text(render):
    hostile = curve(dtype=HOSTILE, system=HOSTILE)
    page = render(shown(hostile))
    assert "<script>alert" not in page
