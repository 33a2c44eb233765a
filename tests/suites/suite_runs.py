"""Real runs of a fast stand-in under the tasks' names: tables are made from what runs leave."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from timetrial import store
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.plan import Request
from timetrial.rows import Row, Table, TableLine
from timetrial.spec import Target
from timetrial.store import RunRecord
from timetrial.testing import fakes, runs

TEST_TARGET = Target(metric="accuracy", threshold=0.8, direction="at_least", split="test")


def run_as(
    folder: Path,
    request: Request,
    *,
    seed: int,
    measures: tuple[str, ...] = (),
    light: bool = False,
) -> RunRecord:
    """Run the fake under the name of `request.task`; evaluated on test, as the documents do."""
    plan = runs.fake_plan(seed, settings={"eval_every_steps": 40, "fence_every_steps": 7})
    task = msgspec.structs.replace(
        plan.task,
        name=request.task,
        eval_split="test",
        targets=(TEST_TARGET,),
        light_target=msgspec.structs.replace(TEST_TARGET, threshold=0.7),
        stops_at_target=False,
        measures=measures,
    )
    named = msgspec.structs.replace(
        plan,
        learned=task,
        task_hash=task.hash(),
        suite=request.suite,
        light=light,
        steps_max=80 if light else plan.steps_max,
        price_usd_per_h=request.price_usd_per_h,
        provider=request.provider,
        region=request.region,
        image=request.image,
    )
    directory, placed = runs.place(folder, named)
    supervise(directory, placed, LocalLauncher(), lambda events: None)
    return store.read_run(directory.path)


def ours(table: Table) -> list[TableLine]:
    """Return the measured lines."""
    return [line for line in table.lines if line.origin == "measured"]


def row_in(line: TableLine, name: str) -> Row:
    """Return the estimate in a cell."""
    cell = line.cells[name]
    assert isinstance(cell, Row)
    return cell


def with_plugin(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let workers find the fake framework."""
    fakes.write_plugin(folder)
    patch.setenv("PYTHONPATH", str(folder))
