"""A run that a search gives up: it saves and ends for good, and its directory holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from timetrial import api, audit, findings, store
from timetrial.engine.events import Evaluated, Stopped, WorkerEvent
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.stats import clocks
from timetrial.testing import fakes, runs


def test_it_ends_as_pruned_is_whole_and_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.write_plugin(tmp_path / "plugin")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=os.pathsep)
    plan = runs.fake_plan(implementation="timetrial.testing.fakes:build_slow")
    run, named = runs.place(tmp_path / "store", plan)
    seen: list[WorkerEvent] = []

    def give_up_at_the_second_look(events: Sequence[WorkerEvent]) -> bool:
        seen.extend(events)
        return sum(isinstance(event, Evaluated) for event in seen) >= 2

    result = supervise(run, named, LocalLauncher(), give_up_at_the_second_look)
    record = store.read_run(run.path)

    assert (result.status, record.status) == ("pruned", "pruned")
    assert 0 < record.steps < plan.steps_max
    assert [event.status for event in record.worker if isinstance(event, Stopped)] == [None]
    assert any(run.checkpoints.iterdir())
    [verification] = audit.verify([run.path])
    assert verification.ok, verification
    [again] = api.resume([run.path])
    assert again.attempts == 1
    [group] = findings.group_runs([record])
    missed = msgspec.structs.replace(group.task.targets[-1], threshold=0.9999)
    times = findings.times_of(group.runs, missed, clocks.CLOCKS["mlperf"])
    assert times is not None
    assert [time.reached for time in times] == [False]
