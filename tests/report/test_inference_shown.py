"""What predicting takes: words, table, chart."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree

import msgspec
import pytest
from example_findings import DIGITS, HOSTILE, ONE, TWO, row
from example_findings import findings as full
from rich.cells import cell_len
from rich.console import Console

from timetrial import report
from timetrial.report import inference_words
from timetrial.report.arrange import sections
from timetrial.report.inference_charts import inference_chart
from timetrial.report.svg import WIDE
from timetrial.rows import Findings, Inference, InferenceLine

NOTE = "one run: the interval is that of its calls"


def made(system: str = ONE, **changes: object) -> Inference:
    def line(batch: int, seconds: float) -> InferenceLine:
        times = {"p50": 1.0, "p90": 1.3, "p99": 2.0}
        cells = {
            f"inference_latency_{name}": row(
                DIGITS, system, f"inference_latency_{name}", "s",
                (factor * seconds, 0.98 * factor * seconds, 1.02 * factor * seconds),
                split="test", clock=None, target=None, facts={"batch": str(batch)},
            )
            for name, factor in times.items()
        }  # fmt: skip
        rate = batch / seconds
        cells["inference_throughput"] = row(
            DIGITS, system, "inference_throughput", "1/s", (rate, 0.97 * rate, 1.03 * rate),
            split="test", clock=None, target=None, facts={"batch": str(batch)}, notes=[NOTE],
        )  # fmt: skip
        return InferenceLine(batch=batch, cells=cells)

    seen = Inference(
        task=DIGITS,
        framework="torch",
        system=system,
        split="test",
        n=3,
        lines=[
            line(1, 2.13e-4),
            line(8, 3.1e-4),
            line(64, 9e-4),
            InferenceLine(batch=250, cells={}, left_out="3 calls would take about 9 s"),
        ],
        dawnbench=row(
            DIGITS,
            system,
            "inference_latency_dawnbench",
            "s",
            (2.3e-4, 2.2e-4, 2.4e-4),
            split="test",
            clock=None,
            n=3,
        ),
    )
    return msgspec.structs.replace(seen, **changes)


def shown(*inferences: Inference) -> Findings:
    rows = [r for one in inferences for line in one.lines for r in line.cells.values()]
    rows += [one.dawnbench for one in inferences]
    base = full()
    return msgspec.structs.replace(base, rows=[*base.rows, *rows], inferences=inferences)


def printed(found: Findings, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    report.render_terminal(found, console)
    return console.export_text()


def test_its_rows_stand_in_its_own_table_and_not_among_other_measures():
    section = sections(shown(made()))[-1]
    assert section.task == DIGITS
    assert [one.system for one in section.inferences] == [ONE]
    assert not any(line.measure.startswith("inference") for line in section.measures)
    bare = msgspec.structs.replace(shown(made()), inferences=())
    assert any(line.measure.startswith("inference") for line in sections(bare)[-1].measures)


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_leaves_out_the_least_and_says_so(width: int):
    text = printed(shown(made(), made(TWO)), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    table = text.split("with the trained model, 3 runs: 1 core")[1]
    assert ("Too wide to show here: p90." in table) == (width == 80)
    assert ("0.277 ms" in table) == (width == 100)
    assert all(part in table for part in ("0.213 ms", "0.426 ms", "71,100 /s"))
    assert "250 at a time left out: 3 calls would take about 9 s." in table
    assert "Latency by DAWNBench's rule: 0.230 ms (0.220 to 0.240 ms), n = 3" in table


def test_a_latency_that_dawnbenchs_rule_does_not_give_is_unknown_with_its_footnote():
    nothing = msgspec.structs.replace(
        made().dawnbench, value=None, low=None, high=None, n=0, notes=["its model missed it"]
    )
    text = printed(shown(made(dawnbench=nothing)), 100)
    [mark] = re.findall(r"Latency by DAWNBench's rule: unknown \[(\d+)\]\.", text)
    assert f"[{mark}] its model missed it" in text


def test_the_answer_names_latency_tail_and_rate_with_their_intervals():
    [answer] = inference_words.answer_sentences([made()], ["here"])
    assert answer == (
        "digits-cnn, here: one prediction takes 0.213 ms, 99 of 100 up to 0.426 ms; 64 at a time, "
        "71,100 /s (95 % intervals 0.209 to 0.217 ms and 0.417 to 0.435 ms and 69,000 to 73,200 "
        "/s; n = 3)."
    )
    assert inference_words.answer_sentences([made(lines=[])], ["here"]) == []


def test_markdown_has_a_line_for_each_number_of_examples():
    text = report.render_markdown(shown(made()))
    table = text.split("with the trained model, 3 runs")[1].split("\n\n")[1].splitlines()
    assert table[0] == "| At a time | p50 | p90 | p99 | Examples per second |"
    assert [line.split("|")[1].strip() for line in table[2:]] == ["1", "8", "64", "250"]
    assert set(table[5].split("|")[2:-1]) == {" – "}


def test_the_chart_has_a_marker_and_a_tail_for_each_number_of_examples():
    drawn = inference_chart([made()], ["here"], [0], frame=WIDE, identity="x")
    assert ElementTree.fromstring(drawn).get("role") == "img"
    assert drawn.count('class="mark"') == 3
    assert drawn.count('class="whisker"') == 3
    assert drawn.count('class="curve"') == 1
    assert "here: 1 in 0.213 ms, 8 in 0.310 ms, 64 in 0.900 ms" in drawn
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawn)]
    assert places == sorted(places)
    assert heights == sorted(heights, reverse=True)  # a longer time stands higher


def test_every_identity_on_the_page_is_its_own():
    page = report.render_html(shown(made(), made(TWO)))
    identities = re.findall(r' id="([^"]+)"', page)
    assert len(set(identities)) == len(identities)
    assert {"t2-i1-c", "t2-i2-c", "t2-i-wide-t"} <= set(identities)


def test_one_number_of_examples_is_no_chart_and_nothing_timed_no_line():
    alone = report.render_html(shown(made(lines=made().lines[:1])))
    assert "against the examples in it" not in alone
    assert "with the trained model" in alone
    assert "with the trained model" in report.render_html(shown(made(lines=[])))


def test_text_from_outside_stays_text():
    hostile = made(HOSTILE)
    left_out = msgspec.structs.replace(hostile.lines[3], left_out=HOSTILE)
    hostile = msgspec.structs.replace(hostile, lines=[*hostile.lines[:3], left_out])
    assert "<script>alert" not in report.render_html(shown(hostile))
    assert "\x1b" not in printed(shown(hostile), 80)
