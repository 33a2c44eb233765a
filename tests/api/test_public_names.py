"""The public surface: a name that comes or goes is a decision, not an accident."""

from __future__ import annotations

import inspect

import pytest

import timetrial as tt


def test_the_public_names_are_these() -> None:
    # fmt: off
    assert tt.__all__ == [
        "Row", "Rows", "Runs", "Verdict", "compare", "export", "find_store", "load",
        "plans", "price", "prove", "record", "resume", "run",
    ]
    # fmt: on
    assert set(dir(tt)) == {*tt.__all__, "__version__"}


@pytest.mark.parametrize("name", tt.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(tt, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        tt.rnu  # noqa: B018
