"""Checks of the audit that need several workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from team_runs import LINEAR, Times, plan_for, write_run

from timetrial import audit
from timetrial.engine.events import Exited, Fenced, Progress, Segment, Stopped, WorkerEvent
from timetrial.store import RunRecord

TIMES = Times(0.02, 0.004)
Change = Callable[[int, WorkerEvent], WorkerEvent]


@pytest.fixture
def two(tmp_path: Path) -> RunRecord:
    return write_run(tmp_path, plan_for(2), TIMES)


def changed(record: RunRecord, change: Change, **fields: object) -> RunRecord:
    logs = {
        rank: [change(rank, event) for event in events]
        for rank, events in record.workers_events.items()
    }
    others = {rank: events for rank, events in logs.items() if rank > 0}
    plan = msgspec.structs.replace(record.plan, **fields)
    return RunRecord(record.run, plan, record.done, record.launcher, logs[0], others=others)


def failed(record: RunRecord) -> dict[str, str]:
    checks = [check(record) for check in audit.AUDIT]
    return {check.name: check.detail for check in checks if not check.ok}


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("task", [None, LINEAR], ids=["split", "linear"])
def test_runs_of_any_number_of_workers_pass(tmp_path: Path, workers: int, task):  # type: ignore[no-untyped-def]
    plan = plan_for(workers) if task is None else plan_for(workers, task=task)
    record = write_run(tmp_path, plan, TIMES)
    assert failed(record) == {}
    [verification] = audit.verify([record.run.path])
    assert verification.ok


def silent(_rank: int, event: WorkerEvent) -> WorkerEvent:
    if isinstance(event, Fenced):
        return msgspec.structs.replace(event, parts_ns={"forward": 1, "backward": 2})
    return event


def test_one_worker_that_exchanges_is_not_possible(two: RunRecord):
    alone = RunRecord(
        two.run,
        msgspec.structs.replace(two.plan, workers=1),
        two.done,
        [e for e in two.launcher if getattr(e, "rank", 0) == 0],
        two.worker,
    )
    assert set(failed(alone)) == {"communication"}
    assert failed(changed(alone, silent)) == {}


def test_explicit_exchange_that_takes_no_time_is_not_possible(two: RunRecord):
    def one_silent(rank: int, event: WorkerEvent) -> WorkerEvent:
        return silent(rank, event) if rank == 1 else event

    assert set(failed(changed(two, one_silent))) == {"communication"}
    assert failed(changed(two, silent, algorithm="ddp")) == {}


def test_a_worker_without_a_log_is_missed(two: RunRecord):
    lonely = RunRecord(two.run, two.plan, two.done, two.launcher, two.worker)
    assert "logs missing: 1" in failed(lonely)["workers"]


def test_a_log_of_another_worker_is_found(two: RunRecord):
    copied = RunRecord(
        two.run, two.plan, two.done, two.launcher, two.worker, others={1: two.worker}
    )
    assert "of another: 1" in failed(copied)["workers"]
    third = {1: two.others[1], 2: two.others[1]}
    extra = RunRecord(two.run, two.plan, two.done, two.launcher, two.worker, others=third)
    assert "too many: 2" in failed(extra)["workers"]


def test_workers_that_did_not_do_the_same_steps_are_found(two: RunRecord):
    def fewer(rank: int, event: WorkerEvent) -> WorkerEvent:
        if rank == 1 and isinstance(event, Segment | Stopped | Progress):
            return msgspec.structs.replace(event, step=min(event.step, 40))
        return event

    assert "workers" in failed(changed(two, fewer))


def test_a_run_that_did_not_come_to_its_end_may_lack_a_worker(two: RunRecord):
    assert two.done is not None
    ended = msgspec.structs.replace(two.done, status="error")
    early = RunRecord(two.run, two.plan, ended, two.launcher, two.worker)
    assert "workers" not in failed(early)


@pytest.mark.parametrize("name", ["segments tile", "clock monotonic", "steps possible"])
def test_the_logs_of_all_workers_are_checked(two: RunRecord, name: str):
    def wrong(rank: int, event: WorkerEvent) -> WorkerEvent:
        replace = msgspec.structs.replace
        if rank == 1 and isinstance(event, Segment) and event.name == "build":
            return replace(event, start_ns=event.start_ns + 5) if name == "segments tile" else event
        if rank == 1 and isinstance(event, Stopped):
            if name == "clock monotonic":
                return replace(event, t_ns=1)
            return replace(event, step=10**6) if name == "steps possible" else event
        return event

    found = failed(changed(two, wrong))
    assert "worker 1" in found[name]


def test_no_worker_uses_more_than_its_own_cores_can_give(two: RunRecord):
    launcher = [
        msgspec.structs.replace(event, user_s=1000.0)
        if isinstance(event, Exited) and event.rank == 1
        else event
        for event in two.launcher
    ]
    busy = RunRecord(two.run, two.plan, two.done, launcher, two.worker, others=two.others)
    assert "worker 1: 1000.50 of at most" in failed(busy)["cpu possible"]


def test_runs_on_two_networks_may_share_a_seed(tmp_path: Path):
    records = [
        write_run(tmp_path, plan_for(2, launcher="shaped", network=network), TIMES)
        for network in ("rate=1gbit", "rate=10mbit")
    ]
    assert audit.repeated_seeds(records) == {}
    again = write_run(tmp_path, records[0].plan, TIMES)
    assert len(audit.repeated_seeds([*records, again])) == 2
