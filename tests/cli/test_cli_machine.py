"""`timetrial machine` through its main function, with short rounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from ceiling_records import here
from command_line import Outcome

from timetrial.ceilings import session
from timetrial.machine import kept
from timetrial.rows import Row


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The light measurement in rounds that are too short to be of use."""
    pytest.importorskip("torch")
    brief = session.LIGHT._replace(round_s=0.002, budget_s=0.0, array_bytes_max=2**20)
    monkeypatch.setattr(session, "LIGHT", brief)
    monkeypatch.setenv("TIMETRIAL_CACHE", str(tmp_path / "cache"))
    return {"TIMETRIAL_CACHE": str(tmp_path / "cache")}


def test_it_prints_rows_keeps_them_for_runs_and_in_the_store(
    call: Callable[..., Outcome], short: dict[str, str], tmp_path: Path
) -> None:
    seen = call("machine", "--light", "--json", "--store", tmp_path / "runs")

    assert (seen.code, seen.err) == (0, "")
    rows = msgspec.convert(seen.json(), list[Row])
    assert {row.measure for row in rows} == set(session.LIGHT.measures)
    for row in rows:
        assert row.n == session.LIGHT.rounds
        assert row.value is not None
        assert row.low is not None
        assert row.high is not None
    machine = here()
    found = kept.find_kept(machine, short)
    assert found is not None
    assert found.light
    [stored] = (tmp_path / "runs").iterdir()
    assert kept.read_ceilings(stored) == found


def test_a_store_that_is_a_file_is_an_error_before_anything_is_measured(
    call: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMETRIAL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "file").touch()

    seen = call("machine", "--store", tmp_path / "file")

    assert seen.code == 1
    assert seen.out == ""
    assert "--store" in seen.err
    assert not list((tmp_path / "cache" / "ceilings").iterdir())


def test_an_unknown_option_is_usage(call: Callable[..., Outcome]) -> None:
    assert call("machine", "--heavy").code == 2
