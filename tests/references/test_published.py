"""Published results are rows like measured ones, each with its source, date and flaws."""

from __future__ import annotations

import datetime
import tomllib

import pytest
from command_line import ROOT, Ran

from timetrial import references, units
from timetrial.findings.ceilings import SUBJECT
from timetrial.plan import EXAMINATIONS, TASKS
from timetrial.report.words import MEASURE_LABELS
from timetrial.stats.clocks import CLOCKS

ROWS = references.published()


def test_there_are_rows_and_each_names_its_source_and_its_date() -> None:
    assert len(ROWS) >= 9
    for row in ROWS:
        assert row.origin == "published"
        assert row.source
        assert row.date
        assert row.evidence or row.notes
        assert row.notes, "what is not comparable is said"


@pytest.mark.parametrize("name", references.FILES)
def test_every_file_says_when_it_was_read(name: str) -> None:
    content = tomllib.loads((ROOT / "src/timetrial/references" / name).read_text(encoding="utf-8"))

    assert datetime.date.fromisoformat(content["read_on"]) <= datetime.date.today()


def test_rows_are_of_tasks_clocks_and_units_that_exist() -> None:
    for row in ROWS:
        assert row.task in (*TASKS.names(), *EXAMINATIONS.names(), SUBJECT)
        assert row.clock is None or row.clock in CLOCKS
        assert row.value is not None
        assert "nan" not in units.quantity(row.value, row.unit)


def test_values_are_possible() -> None:
    for row in ROWS:
        assert row.value is not None
        assert row.n >= 1
        assert row.value > 0
        if row.unit == "fraction":
            assert row.value <= 1
        assert (row.low, row.high) == (None, None), "no interval was published"


def test_rows_of_one_task_are_those_of_all() -> None:
    assert [row for row in ROWS if row.task == "mnist-cnn"] == references.published("mnist-cnn")
    assert references.published("digits-cnn") == []


def test_a_published_row_stands_beside_a_measured_one_of_the_same_measure(logreg: Ran) -> None:
    rows = logreg.outcome.json()

    published = [row for row in rows if row["origin"] == "published"]
    measured = {row["measure"] for row in rows if row["origin"] == "measured"}
    assert published
    assert {row["measure"] for row in published} <= measured
    assert {row["measure"] for row in published} <= set(MEASURE_LABELS)
