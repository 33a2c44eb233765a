"""Suites: lists of requests that answer one question, and the tables they print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, cast

from timetrial._registry import Registry, load_object
from timetrial.errors import UnknownNameError, UsageError
from timetrial.findings import Group, group_runs
from timetrial.plan import Request
from timetrial.rows import Table
from timetrial.spec import Record
from timetrial.store import RunRecord

REGISTRY: Final = Registry(
    "suite",
    group="timetrial.suites",
    built_in={
        "benchm-dl": "timetrial.suites.benchm_dl:suite",
        "cloud-check": "timetrial.suites.cloud_check:suite",
        "mlbench": "timetrial.suites.mlbench:suite",
        "platform-task": "timetrial.suites.platform_task:suite",
        "quick": "timetrial.suites.quick:suite",
        "quick-digits": "timetrial.suites.quick:digits_suite",
    },
)


class Suite(Record, frozen=True, kw_only=True):
    """A question, and the runs that answer it."""

    name: str
    question: str
    requests: tuple[Request, ...]
    seeds: int  # runs of each, where the user does not say
    light_requests: tuple[Request, ...] = ()  # with --light; none: `requests`, each made light
    tables: str | None = None  # "module:attribute" of a TablesOf; None: it has none of its own


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


def find_suite(name: str) -> Suite:
    """Return the suite called `name`, as it is on this machine.

    Raises:
        UnknownNameError: No such suite.
    """
    make = REGISTRY.get(name)
    suite = make() if callable(make) else None
    if not isinstance(suite, Suite):
        raise UsageError(
            f"Suite {name!r} is not a function that returns a timetrial.suites.Suite. "
            "Mend its package."
        )
    return suite
