"""A run carries the ceilings of its machine, where there are any that fit."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from ceiling_records import ceilings, here

from timetrial import api
from timetrial.machine import kept
from timetrial.rundir import unseal


def test_a_run_takes_along_the_kept_ceilings_and_its_seal_covers_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMETRIAL_CACHE", str(tmp_path / "cache"))
    known = ceilings(here())
    kept.keep(known, os.environ)

    [run] = api.run("breast-cancer-logreg", seeds=1, store_dir=tmp_path / "runs")

    assert run.ceilings == known
    assert run.machine is not None, "the file of the ceilings is not taken for the machine's"
    file = run.run.ceilings(known.hostname)
    done = unseal(run.run.done.read_bytes(), "done.json")
    assert file.name in done.sha256

    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(known, hostname="elsewhere")))
    [of_another] = api.load(run.run.path)
    assert of_another.ceilings is None
    file.unlink()
    [without] = api.load(run.run.path)
    assert without.ceilings is None
