"""A suite end to end through the command line: light, with a price, tables printed and saved."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ONE_CORE, Outcome, run_timetrial

PLUGIN = """
from timetrial.plan import Request
from timetrial.suites import Suite


def suite():
    return Suite(
        name="digits-priced",
        question="What does digits-cnn cost here?",
        requests=(Request(task="digits-cnn"),),
        seeds=2,
        tables="priced_suite_tables:tables",
    )
"""
TABLES = """
from timetrial import findings
from timetrial.rows import Table, TableColumn
from timetrial.suites.lines import measured_line, software_of

COLUMNS = (
    TableColumn(name="tool", heading="Tool", text=True),
    TableColumn(name="time", heading="Time"),
    TableColumn(name="cost", heading="Cost"),
)


def tables(groups):
    lines = [
        measured_line(
            group,
            {
                "tool": software_of(group),
                "time": findings.run_time_row(group, "benchm-dl"),
                "cost": findings.cost_row(group, "benchm-dl"),
            },
        )
        for group in groups
    ]
    title = "what it costs"
    return [Table(suite="digits-priced", title=title, columns=COLUMNS, lines=lines, notes=[])]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of another package, run light with a price."""
    folder = tmp_path_factory.mktemp("priced")
    info = folder / "plugin" / "priced_suite-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: priced-suite\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "[timetrial.suites]\ndigits-priced = priced_suite:suite\n"
    )
    (info.parent / "priced_suite.py").write_text(PLUGIN)
    (info.parent / "priced_suite_tables.py").write_text(TABLES)
    return folder


@pytest.fixture(scope="module")
def ran(store: Path) -> Outcome:
    return run_timetrial(
        "run", "digits-priced", "--light", "--price-per-hour=0.5", "--provider=our cellar",
        *ONE_CORE, "--store", store / "runs", env=_environment(store),
    )  # fmt: skip


def _environment(folder: Path) -> dict[str, str]:
    paths = [str(folder / "plugin"), *filter(None, sys.path)]
    return {"PYTHONPATH": ":".join(paths)}


def test_the_table_is_printed_and_saved_beside_the_report(ran: Outcome, store: Path) -> None:
    assert ran.code == 0, ran.err
    assert "digits-priced: what it costs" in ran.out
    assert "light: not the full task" in ran.out
    assert "USD" in ran.out
    runs = store / "runs"
    for name in ("digits-priced.md", "digits-priced.csv", "report.html"):
        assert str(runs / name) in "".join(ran.out.split("\n"))
        assert "light" in (runs / name).read_text(encoding="utf-8")


def test_light_is_said_in_the_names_and_plans_of_runs_and_while_they_run(
    ran: Outcome, store: Path, call: Callable[..., Outcome]
) -> None:
    assert ran.err.count(", light: ") == 2
    for path in (store / "runs").glob("*/plan.json"):
        assert path.parent.name.startswith("digits-cnn-light-")
        plan = json.loads(path.read_text(encoding="utf-8"))
        assert (plan["light"], plan["price_usd_per_h"], plan["suite"]) == (
            True,
            0.5,
            "digits-priced",
        )
    listed = call("list", "runs", "--store", store / "runs")
    assert listed.out.count("-light-") == 2


def test_json_has_the_cost_and_says_light_in_every_measured_row(ran: Outcome, store: Path) -> None:
    assert ran.code == 0
    seen = run_timetrial("report", store / "runs", "--json", env=_environment(store))
    rows = [row for row in seen.json() if row["origin"] == "measured"]
    costs = {row["clock"]: row for row in rows if row["measure"] == "cost_per_run"}
    assert set(costs) == {"billed", "mlperf", "benchm-dl"}
    assert all(row["unit"] == "USD" and row["value"] > 0 for row in costs.values())
    assert all(any(note.startswith("light: ") for note in row["notes"]) for row in rows)
    assert all("our cellar" in row["system"] for row in rows)


def test_without_the_suites_package_the_report_says_what_is_left_out(
    ran: Outcome, store: Path, call: Callable[..., Outcome]
) -> None:
    assert ran.code == 0
    seen = call("report", store / "runs")
    assert "Suite digits-priced is not installed here" in " ".join(seen.out.split())


def test_a_price_of_nothing_is_refused_in_one_line(call: Callable[..., Outcome]) -> None:
    seen = call("run", "digits-cnn", "--price-per-hour=0", "--dry-run")
    assert seen.code == 1
    assert "--price-per-hour 0 is not possible" in seen.err
