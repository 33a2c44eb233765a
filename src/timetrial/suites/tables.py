"""The tables of the suites that runs belong to, and those of examinations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from timetrial._registry import load_object
from timetrial.errors import UnknownNameError
from timetrial.findings import (
    ExaminationGroup,
    Group,
    examination_groups,
    examination_tables,
    group_runs,
)
from timetrial.rows import Table
from timetrial.store import RunRecord
from timetrial.suites import Suite, find_suite

TablesOf: TypeAlias = Callable[[Sequence[Group]], Sequence[Table]]
"""Makes a suite's tables from its runs, grouped into systems; published lines come with them."""

ExaminedTablesOf: TypeAlias = Callable[[Sequence[ExaminationGroup]], Sequence[Table]]
"""The same from a suite's examinations."""


def tables_of(records: Sequence[RunRecord]) -> tuple[list[Table], list[str]]:
    """Return the tables of the suites that these runs belong to, and what kept others away.

    Each table is made of the runs of its own suite alone. Examinations that no suite has a table
    for have one each.
    """
    tables: list[Table] = []
    notes: list[str] = []
    for name in dict.fromkeys(record.plan.suite for record in records):
        own = [record for record in records if record.plan.suite == name]
        suite: Suite | None = None
        if name is not None:
            try:
                suite = find_suite(name)
            except UnknownNameError:
                notes.append(f"Suite {name} is not installed here: its tables are left out.")
        tables += _tables(suite, own)
    return tables, notes


def _tables(suite: Suite | None, records: Sequence[RunRecord]) -> list[Table]:
    tables: list[Table] = []
    examined = examination_groups(records)
    if suite is not None and suite.examined is not None:
        tables += cast(ExaminedTablesOf, load_object(suite.examined))(examined)
    else:
        tables += examination_tables(examined)
    if suite is not None and suite.tables is not None:
        tables += cast(TablesOf, load_object(suite.tables))(group_runs(records))
    return tables
