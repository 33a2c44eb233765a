from __future__ import annotations

import base64
import hashlib
import html.parser
import re
import xml.etree.ElementTree as ElementTree

import pytest
from example_findings import DIGITS, empty, findings, hostile, row

from timetrial.report import render_html
from timetrial.rows import Findings

_VOID = {"meta", "link", "br"}


class _Outline(html.parser.HTMLParser):
    """What a page is made of; fails on tags that do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


_ALL = pytest.mark.parametrize(
    "found", [findings(), hostile(), empty()], ids=["full", "hostile", "empty"]
)


@_ALL
def test_the_page_is_well_formed_and_ids_are_unique(found: Findings) -> None:
    outline = _Outline(render_html(found))
    identities = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(set(identities)) == len(identities)
    assert [tag for tag, _ in outline.tags if tag in ("h1", "main", "header", "footer", "nav")] == [
        "header",
        "h1",
        "nav",
        "main",
        "footer",
    ]
    for link in outline.all("a"):
        if str(link["href"]).startswith("#"):
            assert str(link["href"])[1:] in identities


@_ALL
def test_the_page_asks_for_nothing_outside_itself(found: Findings) -> None:
    page = render_html(found)
    outline = _Outline(page)
    assert not any("src" in attributes for _, attributes in outline.tags)
    assert [str(a["href"])[:5] for a in outline.all("link")] == ["data:"]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


@_ALL
def test_the_policy_admits_the_page_s_own_script_and_style_alone(found: Findings) -> None:
    page = render_html(found)
    policy = next(str(a["content"]) for a in _Outline(page).all("meta") if "default-src" in str(a))
    for tag in ("script", "style"):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_hostile_text_stays_text() -> None:
    page = render_html(hostile())
    outline = _Outline(page)
    assert "<script>alert" not in page
    assert len(outline.all("script")) == 1
    assert not any(name.startswith("on") for _, a in outline.tags for name in a)
    assert not any("style" in attributes for _, attributes in outline.tags)
    assert "\x1b" not in page
    assert "\u202e" not in page


@_ALL
def test_every_chart_is_xml_with_a_name_and_a_description(found: Findings) -> None:
    page = render_html(found)
    for svg in re.findall(r"<svg .*?</svg>", page, re.DOTALL):
        root = ElementTree.fromstring(svg)
        if root.get("role") == "img":
            words = [root.findtext("title"), root.findtext("desc")]
            assert all(words)
            identities = {element.get("id") for element in root}
            assert set(str(root.get("aria-labelledby")).split()) <= identities
        else:
            assert root.get("aria-hidden") == "true"


@_ALL
def test_every_table_has_a_caption_scopes_and_a_region_of_its_own(found: Findings) -> None:
    page = render_html(found)
    outline = _Outline(page)
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all(a.get("scope") in ("row", "col", "rowgroup") for a in outline.all("th"))
    regions = [a for a in outline.all("div") if a.get("role") == "region"]
    assert len(regions) == len(outline.all("table"))
    assert all(a.get("tabindex") == "0" for a in regions)


def test_the_answer_comes_first() -> None:
    page = render_html(findings())
    words = re.sub(r"<[^>]+>", "", page.split("<h1>")[1])
    assert words.startswith(
        "Does a second core pay? Two small image tasks on one machine\n"
        "With 2 cores, fashion-mnist-cnn reaches 89 % validation accuracy 1.71 times as fast as "
        "with 1 core. 95 % interval 1.62 to 1.80; n = 5 and 5."
    )


def test_censored_unknown_published_and_predicted_rows_are_told_apart() -> None:
    page = render_html(findings())
    assert '<span class="value">&gt; 12.0 s</span>' in page
    assert "(0 of 5 reached)" in page
    assert "4 budget, 1 out of memory" in page
    assert '<span class="value">unknown</span>' in page
    assert "<b>predicted</b> one-minute probe × steps to target" in page
    assert 'tensorflow 1.11<span class="detail">published</span>' in page


def test_a_published_headline_row_links_its_evidence() -> None:
    full = findings()
    fields = {name: getattr(full, name) for name in full.__struct_fields__}
    published = [item for item in full.rows if item.origin == "published"]
    page = render_html(Findings(**{**fields, "rows": published}))
    assert '<a href="https://github.com/szilard/benchm-dl" rel="noreferrer">' in page


def test_there_are_both_sizes_of_every_chart() -> None:
    page = render_html(findings())
    assert page.count('<svg class="wide"') == page.count('<svg class="narrow"') == 4


@_ALL
def test_every_line_of_a_table_has_a_cell_under_each_heading(found: Findings) -> None:
    for table in re.findall(r"<table.*?</table>", render_html(found), re.DOTALL):
        lines = re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        counts = [len(re.findall(r"<t[hd][ >]", line)) for line in lines if "colspan" not in line]
        assert len(set(counts)) == 1


def test_systems_with_one_name_keep_a_column_each() -> None:
    twins = [
        row(DIGITS, "keras on jax", "wall", "s", (1.0, None, None), framework=f, origin="published")
        for f in ("keras", "jax")
    ]
    fields = {name: getattr(empty(), name) for name in Findings.__struct_fields__}
    page = render_html(Findings(**{**fields, "rows": twins}))
    assert page.count('keras on jax<span class="detail">published</span></th>') == 2


def test_a_confusion_matrix_shows_shares_of_the_true_class_and_frames_the_right_ones() -> None:
    page = render_html(findings())
    [table] = re.findall(r'<table class="confusion">.*?</table>', page, re.DOTALL)
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', table)
    assert [name for name, _ in rows] == ["T-shirt", "trouser", "pullover", "&lt;b&gt;coat"]
    cells = [re.findall(r'<td class="number (.*?)">(.*?)</td>', row) for _, row in rows]
    assert cells[0] == [("q8 right", "80"), ("q0", "&lt; 1"), ("q2", "20"), ("q0", "")]
    assert cells[1] == [("q0", ""), ("q10 right", "100"), ("q0", ""), ("q0", "")]
    assert cells[3][2:] == [("q5", "50"), ("q5 right", "50")]
    assert "over n = 5 runs" in table
