"""Processes that learn together, started once for all tests of this folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from timetrial.testing.gang import Gang


@pytest.fixture(scope="session")
def gangs() -> Iterator[Callable[[int], Gang]]:
    """So many processes; those that are there already serve again."""
    with contextlib.ExitStack() as stack:
        started: dict[int, Gang] = {}

        def gang_of(size: int) -> Gang:
            if size not in started:
                gang = Gang(size, folder=Path(__file__).parent)
                started[size] = stack.enter_context(gang)
            return started[size]

        yield gang_of
