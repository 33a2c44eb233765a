"""Rows of ceilings, and this machine beside document 002's table."""

from __future__ import annotations

import io

import pytest
from ceiling_records import ceiling, ceilings, here
from rich.console import Console

from timetrial.findings.ceilings import ceiling_rows, hardware_table
from timetrial.machine import Ceilings
from timetrial.report import render_machine
from timetrial.rows import Row


@pytest.fixture(scope="module")
def found() -> Ceilings:
    return ceilings(here())


def test_each_ceiling_is_a_row_with_n_and_interval(found: Ceilings) -> None:
    rows = ceiling_rows(found)
    first = rows[0]

    assert (first.task, first.measure, first.unit) == ("machine", "matmul_fp32", "FLOP/s")
    assert (first.value, first.low, first.high, first.n) == (100e9, 100e9, 110e9, 8)
    assert (first.cores, first.precision, first.framework) == (1, "float32", "torch")
    assert first.origin == "measured"
    assert first.date == "2026-11-23"
    assert float(first.facts["share"]) == 100 / 128
    assert float(first.facts["theoretical"]) == 128e9
    assert float(first.facts["median"]) == 80e9


def test_a_missing_ceiling_is_a_row_without_a_value_never_0(found: Ceilings) -> None:
    last = ceiling_rows(found)[-1]

    assert (last.measure, last.value, last.n) == ("matmul_tf32", None, 0)
    assert last.notes == ["not measured: only on GPUs"]


def test_more_than_the_theoretical_figure_is_explained() -> None:
    one = ceilings(here(), ceilings=(ceiling(value=200e9),))

    [row] = [row for row in ceiling_rows(one) if row.value]

    assert "more than the theoretical figure" in row.notes[0]


def test_a_busy_machine_and_a_light_measurement_are_noted() -> None:
    rows = ceiling_rows(ceilings(here(), light=True, busy="the load was 3.0 per core"))

    assert all("busy machine: the load was 3.0 per core" in row.notes for row in rows)
    assert all(any(note.startswith("light") for note in row.notes) for row in rows)


def test_the_table_has_this_machine_above_the_published_lines(found: Ceilings) -> None:
    table = hardware_table(found)
    own = [line for line in table.lines if line.origin == "measured"]
    published = [line for line in table.lines if line.origin == "published"]

    assert [line.cells["precision"] for line in own] == ["fp32", "bf16"]
    for line in own:
        assert isinstance(line.cells["bandwidth"], Row)
        assert line.cells["bandwidth"].measure == "memory_triad"
    assert [line.cells["platform"] for line in published] == [
        "CPU", "GPU (DGX-1)", "TPU", "TPUv3", "TPU v2 pod", "TPU v3 pod",
    ]  # fmt: skip
    peaks = [cell.value for line in published if isinstance(cell := line.cells["peak"], Row)]
    assert peaks == [2e12, 125e12, 180e12, 420e12, 11.5e15, 100e15]
    assert [line.cells["memory"] for line in published][:4] == ["120 GB", "16 GB", "8 GB", "16 GB"]
    assert all(line.date == "2019" and line.notes for line in published)
    assert table.notes


def test_the_page_fits_80_columns_and_says_all(found: Ceilings) -> None:
    out = io.StringIO()

    render_machine(
        ceiling_rows(found), hardware_table(found), Console(file=out, width=80, color_system=None)
    )

    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "Matrix product, bf16", "1.00 TFLOP/s", "at least 20.0 GB/s", "125 TFLOP/s", "16.6 GB/s",
        "11.5 PFLOP/s", "measured 2026-11-23", "published 2019", "2.048 TFLOP/s", "no figure",
        "only on GPUs", "78 %", "median 80.0 GFLOP/s",
    ):  # fmt: skip
        assert words in text, words
