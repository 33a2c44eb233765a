"""What more workers bring, in every kind of report."""

from __future__ import annotations

import io
import re

import msgspec
import pytest
from example_findings import HOSTILE
from example_scaling import COUNTS, hostile_scaled, scaled, scaling
from rich.cells import cell_len
from rich.console import Console

from timetrial.report import render_html, render_markdown, render_terminal
from timetrial.report.axes import value_axis, worker_axis
from timetrial.report.scaling_words import (
    columns_of,
    pictures_of,
    scaling_sentences,
    studies,
)
from timetrial.rows import Findings, Row, Scaling


def _text(found: Findings, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    render_terminal(found, console)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("make", [scaled, hostile_scaled])
def test_no_line_is_wider_than_the_terminal(make, width: int) -> None:  # type: ignore[no-untyped-def]
    assert max(cell_len(line) for line in _text(make(), width).splitlines()) <= width


def test_80_columns_hold_all_seven_columns_and_n() -> None:
    lines = _text(scaled(), 80).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("Workers"))
    words = " ".join(lines[place - 1].split() + lines[place].split())
    for heading in ("Workers", "Speed-up", "Efficiency", "cation", "target", "Cost", " n"):
        assert heading in words
    base = next(line.split() for line in lines[place:] if line.split()[:1] == ["1"])
    assert base[:6] == ["1", "40.0", "ms", "1", "100", "%"]
    assert base[-1] == "3"
    two = next(i for i, line in enumerate(lines) if i > place and line.split()[:1] == ["2"])
    assert lines[two].split()[:3] == ["2", "24.0", "ms"]
    assert "23.3 to" in lines[two + 1]
    assert "25.0 ms" in lines[two + 2]


def test_ratios_stand_in_their_own_table_alone() -> None:
    text = _text(scaled(), 200)
    main, own = text.split("digits-cnn with 1, 2, 4 and 16 workers")
    assert "speed-up" not in main.lower()
    assert own.count("Speed-up") == 2  # a table per network


def test_the_answers_are_sentences_with_their_n() -> None:
    said = scaling_sentences([scaling("network rate=1gbit")])
    assert said == [
        "digits-cnn: 4 workers pay, by time to 97 % validation accuracy: 16 workers are slower "
        "(verdicts of 95 % intervals; n = 3, 3, 3 and 3).",
        "digits-cnn: a run costs least with 4 workers (verdicts of 95 % intervals; n = 3, 3, 3 "
        "and 3); not distinguishable from it: 2.",
        "digits-cnn: below 86.4 Mbit/s the 2nd worker stops paying (95 % interval 80.0 to 94.0 "
        "Mbit/s, latency included; n = 3 and 3): it saves 20.0 ms of computing a step for "
        "gradients of 211 KiB. Here the exchange ran at 432 Mbit/s.",
        "digits-cnn: below 86.4 Mbit/s 16 workers stop paying beside 4 (95 % interval at least "
        "80.0 Mbit/s, latency taken out; n = 3 and 3): they save 20.0 ms of computing a step for "
        "gradients of 211 KiB. Here the exchange ran at 432 Mbit/s.",
    ]


def _answer(one: Scaling, place: int, **facts: str) -> str:
    row: Row = one.answers[place]
    changed = msgspec.structs.replace(row, facts={**row.facts, **facts})
    asked = msgspec.structs.replace(one, answers=[changed])
    return " ".join(scaling_sentences([asked]))


def test_what_the_runs_do_not_show_is_not_said() -> None:
    one = scaling("network rate=1gbit")
    assert _answer(one, 2, verdict="untold") == ""
    assert "cannot be told from these runs" in _answer(one, 0, next_is="not distinguishable")
    told = _answer(one, 0, next_is="not distinguishable", more_runs="9")
    assert "About 9 more runs on each side would tell." in told
    assert "on the fastest network" in _answer(one, 2, verdict="never")
    assert "at no bandwidth" in _answer(one, 2, verdict="always")


def test_several_networks_are_told_apart_and_share_their_charts() -> None:
    [study] = studies(scaled().scalings)
    assert list(study.labels) == ["network rate=100mbit", "network rate=1gbit"]
    assert study.title == "digits-cnn with 1, 2, 4 and 16 workers"
    assert all("(network rate=" in text for text in scaling_sentences(scaled().scalings))
    titles = [picture.title for picture in pictures_of(study)]
    assert titles == [
        "Speed-up of training",
        "Speed-up to 97 % validation accuracy",
        "Efficiency of training, strong scaling",
        "Efficiency to 97 % validation accuracy, strong scaling",
        "Time to 97 % validation accuracy",
        "Accuracy after 10 s",
        "Communication, share of a step",
        "Cost of a run, billed clock",
    ]


def test_weak_scaling_shows_examples_and_its_own_efficiency() -> None:
    weak = scaling("network rate=1gbit", "weak")
    assert [column.name for column in columns_of(weak)][:3] == [
        "examples_per_s",
        "speed_up",
        "weak_efficiency",
    ]
    [study] = studies([weak])
    assert "Efficiency of training, weak scaling" in [p.title for p in pictures_of(study)]
    assert len(studies([weak, scaling("network rate=1gbit")])) == 2


def test_the_page_has_a_chart_for_each_and_a_bar_for_each_number_of_workers() -> None:
    page = render_html(scaled())
    charts = re.findall(r'<svg class="(?:wide|narrow)"[^>]*role="img"', page)
    assert len(charts) == 2 * (8 + 1)
    for words in ("ideal", "Where the time of a step goes", "waiting for the last worker"):
        assert words in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for workers in COUNTS:
        assert f'<th scope="row">{workers}</th>' in page
    description = re.search(r"<desc[^>]*>([^<]*2 workers[^<]*)</desc>", page)
    assert description is not None
    assert "to" in description[1]


def test_the_page_of_hostile_findings_holds_no_markup_of_theirs() -> None:
    page = render_html(hostile_scaled())
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert HOSTILE not in render_markdown(hostile_scaled())
    assert "\x1b[31m" not in _text(hostile_scaled(), 100)


def test_markdown_has_a_table_per_network() -> None:
    text = render_markdown(scaled())
    assert text.count("| Workers | Step time | Speed-up |") == 2
    assert "**digits-cnn (network rate=100mbit): 4 workers pay" in text


def test_the_axis_of_workers_is_logarithmic_where_they_lie_far_apart() -> None:
    near, far, one = worker_axis([1, 2, 4]), worker_axis([1, 2, 4, 16]), worker_axis([2])
    assert (near.log, far.log, one.log) == (False, True, False)
    for axis in (near, far, one):
        assert all(0 < axis.at(tick.value) < 1 for tick in axis.ticks)
    assert [tick.label for tick in far.ticks] == ["1", "2", "4", "16"]


def test_an_axis_of_values_covers_them_all() -> None:
    for unit, values in (("1", [1.0, 3.7]), ("fraction", [0.2, 1.04]), ("s", [2.0, 61.0]),
                         ("USD", [0.0004, 0.0007])):  # fmt: skip
        axis = value_axis(values, unit, 5, whole=True)
        assert axis.low == 0
        assert axis.high >= max(values)
        part = value_axis(values, unit, 5, whole=False)
        assert part.low <= min(values) <= max(values) <= part.high
