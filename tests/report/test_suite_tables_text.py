"""The tables of suites as text: golden files, and texts from outside that do no harm.

Write the golden files anew, after looking at them, with:
    python tests/report/test_suite_tables_text.py
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from example_findings import findings
from example_tables import hostile_table, step_curve, table
from rich.cells import cell_len
from rich.console import Console

from timetrial.report import figure, render_html, render_markdown, tables_csv, tables_markdown
from timetrial.report.axes import step_axis
from timetrial.report.table_terminal import print_tables
from timetrial.rows import Table
from timetrial.units import money, quantity

GOLDEN = Path(__file__).parent / "golden"


def terminal(shown: Table, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    print_tables([shown], console)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"


TEXTS: dict[str, Callable[[], str]] = {
    "suite-table.txt": lambda: terminal(table()),
    "suite-table.md": lambda: tables_markdown([table()]),
    "suite-table.csv": lambda: tables_csv([table()]),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_table_is_the_golden_one(name: str) -> None:
    assert TEXTS[name]() == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("shown", [table(), hostile_table()], ids=["full", "hostile"])
def test_no_line_of_a_table_is_wider_than_the_terminal(shown: Table, width: int) -> None:
    assert max(cell_len(line) for line in terminal(shown, width).splitlines()) <= width


def test_columns_without_room_are_printed_below_and_none_is_lost() -> None:
    names = [f"class {place}" for place in range(14)]
    columns = [msgspec.structs.replace(table().columns[5], name=n, heading=n) for n in names]
    line = table().lines[0]
    cells = {"tool": "torch", **dict.fromkeys(names, line.cells["error"])}
    many = msgspec.structs.replace(
        table(),
        columns=[table().columns[0], *columns],
        lines=[msgspec.structs.replace(line, cells=cells)],
    )
    text = terminal(many)
    assert "Part 2 of " in text
    assert text.count("2.10 %") == 14
    assert all(str(place) in text for place in range(14))


def test_a_spreadsheet_takes_no_cell_for_a_formula() -> None:
    for line in csv.reader(io.StringIO(tables_csv([hostile_table()]))):
        for cell in line:
            assert cell[:1] not in ("=", "+", "@"), cell
            if cell.startswith("-"):
                float(cell)


def test_markdown_shows_hostile_texts_letter_by_letter() -> None:
    text = tables_markdown([hostile_table()])
    assert "<script" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 3, "no text breaks out of its row"


def test_a_terminal_shows_hostile_texts_without_escape_codes() -> None:
    assert "\x1b" not in terminal(hostile_table())


def test_the_page_and_the_markdown_report_hold_the_table_first() -> None:
    full = msgspec.structs.replace(findings(), tables=[table()])
    page, text = render_html(full), render_markdown(full)
    assert page.index("mnist-cnn, tool by tool") < page.index('id="t1"')
    assert text.index("benchm-dl: mnist-cnn") < text.index("## fashion-mnist-cnn")
    assert "Test error against training steps" in page
    assert "not run" in page


def test_a_hostile_table_adds_no_tag_to_the_page() -> None:
    page = render_html(msgspec.structs.replace(findings(), tables=[hostile_table()]))
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert 'onmouseover="' not in page


def test_quality_against_steps_is_a_chart_of_its_task() -> None:
    full = findings()
    system, task = full.curves[0].system, full.curves[0].task
    curve = msgspec.structs.replace(step_curve(task, 0.1), system=system, metric="accuracy")
    page = render_html(msgspec.structs.replace(full, step_curves=[curve]))
    assert "Accuracy against training steps" in page
    assert ">training steps</text>" in page
    assert "after 3,128 steps, mean of 3 runs." in page


def test_the_figure_draws_the_pictures_of_suites_below_the_tasks() -> None:
    pytest.importorskip("matplotlib")
    drawn = figure(msgspec.structs.replace(findings(), tables=[table()]))
    last = drawn.axes[-1]
    assert last.get_xlabel() == "training steps"
    labels = [text.get_text() for text in last.get_legend().get_texts()]
    assert labels == ["ResNet-20, torch (n = 3)", "ResNet-56, torch (n = 3)"]
    for kind in ("png", "svg"):
        picture = io.BytesIO()
        drawn.savefig(picture, format=kind)
        assert picture.tell() > 0


def test_an_axis_of_steps_has_whole_steps_as_ticks() -> None:
    axis = step_axis([step_curve("a", 0.1)], 6)
    assert [tick.label for tick in axis.ticks] == ["0", "1,000", "2,000", "3,000"]
    few = msgspec.structs.replace(step_curve("a", 0.1), steps=[1.0, 2.0], mean=[0.5, 0.4])
    assert [tick.label for tick in step_axis([few], 6).ticks] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "0.00 USD"),
        (0.000_123_4, "0.000123 USD"),
        (0.0393, "0.0393 USD"),
        (0.9999, "1.00 USD"),
        (1.005, "1.00 USD"),
        (1234.5, "1,234.50 USD"),
    ],
)
def test_money_has_cents_and_never_a_prefix(amount: float, text: str) -> None:
    assert money(amount) == quantity(amount, "USD") == text


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for golden, made in TEXTS.items():
        (GOLDEN / golden).write_text(made(), encoding="utf-8")
