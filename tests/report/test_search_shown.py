"""The trials of a search as a picture: every trial once in every panel, read aloud in words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import msgspec
import pytest
from example_findings import HOSTILE, findings

from timetrial.report import render_html
from timetrial.report.search_chart import search_chart
from timetrial.report.svg import NARROW, WIDE
from timetrial.report.words import verdict_text
from timetrial.rows import Search, SearchAxis, SearchPoint, Verdict

AXES = (
    SearchAxis(name="batch_size", scale="log", low=16, high=512, importance=0.25),
    SearchAxis(name="optimizer.momentum", scale="log-one-minus", low=0.7, high=0.995),
    SearchAxis(name="optimizer.nesterov", scale="linear", low=0, high=1, choices=("True", "False")),
    SearchAxis(name="optimizer.weight_decay", scale="linear", low=0.0, high=0.1),
)
POINTS = (
    SearchPoint(trial=0, at=(128, 0.9, 1, 0.0), value=45.0, part="reference", words=""),
    SearchPoint(trial=1, at=(64, 0.95, 0, 0.01), value=30.0, part="winner", words=""),
    SearchPoint(trial=2, at=(16, 0.7, 0, 0.1), value=None, part="trial", words="missed in 110 s"),
    SearchPoint(trial=3, at=(512, 0.995, 1, 0.05), value=33.0, part="leader", words=""),
)
SEARCH = Search(
    title="mnist-cnn", task="mnist-cnn", measure="time_to_target", unit="s", axes=AXES,
    points=POINTS,
)  # fmt: skip


@pytest.mark.parametrize("frame", [WIDE, NARROW])
def test_every_trial_is_in_every_panel_and_inside_the_frame(frame) -> None:  # type: ignore[no-untyped-def]
    drawn = search_chart(SEARCH, frame=frame, identity="x1")
    root = ElementTree.fromstring(drawn)

    assert drawn.count('class="mark') == len(POINTS) * len(AXES)
    assert drawn.count("hollow") == len(AXES)  # the one without a value
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for x, y in re.findall(r'<circle cx="([\d.-]+)" cy="([\d.-]+)"', drawn):
        assert 0 <= float(x) <= width
        assert 0 <= float(y) <= height
    assert "trial 2: missed in 110 s." in drawn
    assert "trial 1: 30.0 s." in drawn


def test_better_values_of_momentum_lie_to_the_right() -> None:
    """1 - momentum is logarithmic, and momentum still grows from left to right."""
    lone = msgspec.structs.replace(SEARCH, axes=AXES[1:2], points=[
        msgspec.structs.replace(point, at=(point.at[1],), part="trial", value=1.0)
        for point in POINTS
    ])  # fmt: skip
    drawn = search_chart(lone, frame=WIDE, identity="x1")
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    by_momentum = dict(zip([0.9, 0.95, 0.7, 0.995], places, strict=True))
    assert sorted(by_momentum, key=by_momentum.__getitem__) == [0.7, 0.9, 0.95, 0.995]
    assert "0.7" in drawn


def test_the_page_shows_it_and_escapes_what_came_from_a_file() -> None:
    hostile = msgspec.structs.replace(
        SEARCH, title=HOSTILE, axes=[msgspec.structs.replace(AXES[0], name=HOSTILE), *AXES[1:]]
    )
    page = render_html(msgspec.structs.replace(findings(), searches=[SEARCH, hostile]))

    assert "Search: mnist-cnn" in page
    assert "missed the target, given up or failed" in page
    assert "batch_size (25 %)" in page
    assert "<script>alert" not in page
    assert page.count('id="x1-wide-t"') == page.count('id="x2-narrow-t"') == 1


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("A faster", "With tuned, t has 1.02 times the accuracy after 30 s that it has with own"),
        ("B faster", "With own, t has 1.02 times the accuracy after 30 s that it has with tuned"),
    ],
)
def test_more_accuracy_is_better(verdict: str, said: str) -> None:
    ends = (1.02, 1.01, 1.03) if verdict == "A faster" else (1 / 1.02, 1 / 1.03, 1 / 1.01)
    found = Verdict(
        task="t", measure="accuracy_after_30s", a="tuned", b="own", n_a=9, n_b=9, ratio=ends[0],
        low=ends[1], high=ends[2], verdict=verdict, more_runs=None, notes=(),
    )  # type: ignore[arg-type]  # fmt: skip
    text = verdict_text(found, ("tuned", "own"), None)
    assert text == f"{said} (95 % interval 1.01 to 1.03; n = 9 and 9)."
