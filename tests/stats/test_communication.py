"""Communication, exchange and waiting of known split steps."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from team_runs import Times, plan_for, write_run

from timetrial.engine.events import Fenced
from timetrial.stats import communication, measures
from timetrial.store import RunRecord

LATE = Times(0.020, 0.004, late=(0.0, 0.003), rest=0.001)  # worker 1 computes 3 ms longer


def test_the_share_is_the_mean_over_the_workers(tmp_path: Path):
    record = write_run(tmp_path, plan_for(2), LATE)
    whole = 0.020 + 0.003 + 0.004 + 0.001
    shares = [(0.004 + 0.003) / whole, 0.004 / whole]  # worker 0 waits for worker 1
    assert communication.communication_share(record) == pytest.approx(sum(shares) / 2)
    assert communication.waiting_share(record) == pytest.approx(0.003 / 2 / whole)
    assert communication.communication_s(record) == pytest.approx(0.004 + 0.003 / 2)


def test_the_exchange_is_what_the_worker_that_came_last_spent(tmp_path: Path):
    step = communication.split_step(write_run(tmp_path, plan_for(2), LATE))
    assert step is not None
    assert step.exchange == pytest.approx(0.004)
    assert step.waiting == pytest.approx(0.0015)
    assert step.computing == pytest.approx(0.0215)
    assert step.rest == pytest.approx(0.001)
    assert step.total == pytest.approx(0.028)


def test_computing_is_the_step_of_the_whole_training_without_the_exchange(tmp_path: Path):
    record = write_run(tmp_path, plan_for(2), LATE)
    assert measures.seconds_per_step(record) == pytest.approx(0.028)
    assert communication.computing_s(record) == pytest.approx(0.024)


def test_one_worker_exchanges_nothing(tmp_path: Path):
    alone = write_run(tmp_path, plan_for(1), Times(0.04))
    unsplit = write_run(tmp_path, plan_for(1, fence=1000), Times(0.04))
    for record in (alone, unsplit):
        assert communication.communication_share(record) == 0.0
        assert communication.waiting_share(record) == 0.0
        assert communication.communication_s(record) == 0.0
        assert communication.computing_s(record) == pytest.approx(0.0405)


def with_logs(record: RunRecord, change) -> RunRecord:  # type: ignore[no-untyped-def]
    logs = {
        rank: [change(rank, e) if isinstance(e, Fenced) else e for e in events]
        for rank, events in record.workers_events.items()
    }
    others = {rank: events for rank, events in logs.items() if rank > 0}
    return RunRecord(record.run, record.plan, record.done, record.launcher, logs[0], others=others)


def test_an_exchange_inside_the_backward_pass_is_unknown_and_not_zero(tmp_path: Path):
    record = write_run(tmp_path, plan_for(2, algorithm="ddp"), LATE)

    def fused(_rank: int, event: Fenced) -> Fenced:
        return msgspec.structs.replace(event, parts_ns={"forward": 8, "fused": 12})

    overlapped = with_logs(record, fused)
    assert communication.communication_share(overlapped) is None
    assert communication.computing_s(overlapped) is None
    assert communication.gradient_bytes(overlapped) is None


def test_steps_that_one_worker_did_not_split_say_nothing(tmp_path: Path):
    record = write_run(tmp_path, plan_for(2), LATE)
    lonely = RunRecord(record.run, record.plan, record.done, record.launcher, record.worker)
    assert communication.communication_share(lonely) is None
    assert communication.communication_share(write_run(tmp_path, plan_for(2, fence=99), LATE)) is (
        None
    )


def test_the_first_split_step_is_left_out(tmp_path: Path):
    record = write_run(tmp_path, plan_for(2), LATE)
    first = min(e.step for e in record.fenced)

    def slow_first(_rank: int, event: Fenced) -> Fenced:
        parts = {"communication": 10**9} if event.step == first else event.parts_ns
        return msgspec.structs.replace(event, parts_ns=parts)

    assert communication.split_step(with_logs(record, slow_first)) == pytest.approx(
        (
            *communication.split_step(record)._replace(steps=0)[:4],  # type: ignore[union-attr]
            communication.split_step(record).steps,  # type: ignore[union-attr]
        )
    )


def test_the_bytes_of_gradients_are_a_number_per_parameter(tmp_path: Path):
    from timetrial.spec import parameter_count

    for precision, size in (("float32", 4), ("bfloat16", 4), ("float64", 8)):
        record = write_run(tmp_path, plan_for(2, precision=precision), LATE)
        count = parameter_count(record.plan.task)
        assert communication.gradient_bytes(record) == count * size
    squeezed = write_run(tmp_path, plan_for(2, algorithm="topk:share=0.01"), LATE)
    assert communication.gradient_bytes(squeezed) is None


def test_the_parts_of_a_step_tile_it(tmp_path: Path):
    records = [write_run(tmp_path, plan_for(2, seed=seed), LATE) for seed in (1, 2)]
    parts = communication.mean_parts(records)
    assert list(parts) == ["computing", "exchange", "waiting", "rest"]
    assert sum(parts.values()) == pytest.approx(LATE.step())
    assert communication.mean_parts([]) == {}
