"""The tables of the suites that runs belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from timetrial._registry import load_object
from timetrial.errors import UnknownNameError
from timetrial.findings import Group, group_runs
from timetrial.rows import Table
from timetrial.store import RunRecord
from timetrial.suites import find_suite

TablesOf: TypeAlias = Callable[[Sequence[Group]], Sequence[Table]]
"""Makes a suite's tables from its runs, grouped into systems; published lines come with them."""


def tables_of(records: Sequence[RunRecord]) -> tuple[list[Table], list[str]]:
    """Return the tables of the suites that these runs belong to, and what kept others away.

    Each table is made of the runs of its own suite alone.
    """
    tables: list[Table] = []
    notes: list[str] = []
    for name in dict.fromkeys(record.plan.suite for record in records):
        if name is None:
            continue
        try:
            place = find_suite(name).tables
        except UnknownNameError:
            notes.append(f"Suite {name} is not installed here: its tables are left out.")
            continue
        if place is not None:
            make = cast(TablesOf, load_object(place))
            tables += make(group_runs([r for r in records if r.plan.suite == name]))
    return tables, notes
