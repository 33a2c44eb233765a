"""Suites: lists of requests that answer one question, and the tables they print."""

from __future__ import annotations

from typing import Final

from timetrial._registry import Registry
from timetrial.errors import UsageError
from timetrial.plan import Request
from timetrial.spec import Record

REGISTRY: Final = Registry(
    "suite",
    group="timetrial.suites",
    built_in={
        "benchm-dl": "timetrial.suites.benchm_dl:suite",
        "cloud-check": "timetrial.suites.cloud_check:suite",
        "experiment-tools": "timetrial.suites.experiment_tools:suite",
        "ml-course": "timetrial.suites.ml_course:suite",
        "mlbench": "timetrial.suites.mlbench:suite",
        "platform-task": "timetrial.suites.platform_task:suite",
        "quick": "timetrial.suites.quick:suite",
        "quick-digits": "timetrial.suites.quick:digits_suite",
        "tabular": "timetrial.suites.tabular:suite",
    },
)


class Suite(Record, frozen=True, kw_only=True):
    """A question, and the runs that answer it."""

    name: str
    question: str
    requests: tuple[Request, ...]
    seeds: int  # runs of each, where the user does not say
    light_requests: tuple[
        Request, ...
    ] = ()  # with --light, as they are; none: `requests`, each made light
    tables: str | None = None  # "module:attribute" of a `tables.TablesOf`; None: it has none
    examined: str | None = None  # likewise of a `tables.ExaminedTablesOf`; None: one table each


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


def runs_of(suite: Suite, *, light: bool = False) -> int:
    """Return how many runs the suite makes where the user does not say how many."""
    requests = suite.light_requests if light and suite.light_requests else suite.requests
    return sum(min(one.seeds_max or suite.seeds, suite.seeds) for one in requests)
