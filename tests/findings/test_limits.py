"""How close made-up runs came to made-up ceilings, and what is named as their bottleneck."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from ceiling_records import ceiling, ceilings
from team_runs import Times, plan_for, quiet_machine, write_run

from timetrial.findings import group_runs
from timetrial.findings.groups import Group
from timetrial.findings.limits import limit_of, limit_rows
from timetrial.machine.ceilings import Ceilings
from timetrial.plan import find_task
from timetrial.report.limit_words import limit_sentence
from timetrial.rundir import pretty_json
from timetrial.spec import step_work
from timetrial.store import RunRecord

# the fake task's rules with the network of document 004: operations and bytes are known by hand
TASK = msgspec.structs.replace(
    find_task("digits-cnn"), steps_max=200, eval_every_steps=20, stops_at_target=False
)
STEP_S = 0.010
WORK = step_work(TASK, "float32")
assert WORK is not None


def known(flops_per_s: float, bytes_per_s: float, call_s: float = 1e-9) -> Ceilings:
    """Ceilings of one core."""
    return ceilings(
        quiet_machine(),
        ceilings=(
            ceiling("matmul_fp32", cores=1, value=flops_per_s),
            ceiling("memory_triad", cores=1, value=bytes_per_s, unit="byte/s"),
            ceiling("op_launch", cores=1, value=call_s, unit="s"),
        ),
    )


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    """Runs steps of 10 ms on one core."""
    machine = quiet_machine()
    return write_run(tmp_path, plan_for(1, task=TASK, fence=1000), Times(STEP_S, rest=0.0),
                     hosts=[machine.hostname], peaks=[1])  # fmt: skip


def group_of(record: RunRecord, found: Ceilings | None) -> Group:
    if found is not None:
        path = record.run.ceilings(quiet_machine().hostname)
        path.write_bytes(pretty_json(found))
    [group] = group_runs([RunRecord(record.run, record.plan, record.done, record.launcher,
                                    record.worker)])  # fmt: skip
    return group


def test_shares_are_work_over_time_over_ceiling(record: RunRecord) -> None:
    assert WORK is not None
    examples = round(TASK.dataset.train_count / TASK.steps_per_epoch)
    work = step_work(TASK, "float32", examples)
    assert work is not None
    group = group_of(record, known(4 * work.flops / STEP_S, 10 * work.bytes_ / STEP_S))
    rows = {row.measure: row for row in limit_rows(group)}
    assert rows["achieved_flops"].value == pytest.approx(work.flops / STEP_S, rel=0.01)
    assert rows["achieved_bytes"].value == pytest.approx(work.bytes_ / STEP_S, rel=0.01)
    assert rows["share_of_matmul"].value == pytest.approx(0.25, rel=0.01)
    assert rows["share_of_triad"].value == pytest.approx(0.1, rel=0.01)
    limit = limit_of(group)
    assert limit is not None
    assert limit.bottleneck == "arithmetic"
    assert sum(limit.parts.values()) == pytest.approx(1.0)


def test_memory_is_named_where_it_alone_would_take_longer(record: RunRecord) -> None:
    assert WORK is not None
    limit = limit_of(group_of(record, known(1000 * WORK.flops / STEP_S, WORK.bytes_ / STEP_S)))
    assert limit is not None
    assert limit.bottleneck == "memory"
    assert "bound by memory" in limit_sentence(limit, "here")


def test_calls_of_the_framework_are_named_where_they_fill_the_step(record: RunRecord) -> None:
    assert WORK is not None
    slow = 0.8 * STEP_S / WORK.operations
    limit = limit_of(group_of(record, known(1e15, 1e15, slow)))
    assert limit is not None
    assert limit.bottleneck == "Python"
    assert limit.parts["Python"] == pytest.approx(0.8, rel=0.02)


def test_waiting_for_data_is_named_where_split_steps_show_it(
    tmp_path: Path, record: RunRecord
) -> None:
    from timetrial.engine.events import Fenced

    split = write_run(tmp_path / "split", plan_for(1, task=TASK, fence=5), Times(STEP_S, rest=0.0),
                      hosts=[quiet_machine().hostname], peaks=[1])  # fmt: skip
    waits = [
        msgspec.structs.replace(e, parts_ns={"data": 7 * e.total_ns // 10})
        if isinstance(e, Fenced)
        else e
        for e in split.worker
    ]
    split.run.ceilings(quiet_machine().hostname).write_bytes(pretty_json(known(1e15, 1e15)))
    slow = RunRecord(split.run, split.plan, split.done, split.launcher, waits)
    [group] = group_runs([slow])
    limit = limit_of(group)
    assert limit is not None
    assert limit.bottleneck == "data"
    assert limit.parts["data"] == pytest.approx(0.7, abs=0.01)


def test_without_ceilings_the_rate_is_known_and_no_share(record: RunRecord) -> None:
    group = group_of(record, None)
    assert limit_of(group) is None
    assert [row.measure for row in limit_rows(group)] == ["achieved_flops", "achieved_bytes"]


def test_ceilings_of_other_cores_are_not_taken_for_these(record: RunRecord) -> None:
    others = ceilings(
        quiet_machine(),
        ceilings=(
            ceiling("matmul_fp32", cores=4, value=1e12),
            ceiling("memory_triad", cores=4, value=1e12, unit="byte/s"),
        ),
    )
    assert limit_of(group_of(record, others)) is None


def test_a_solver_has_no_such_rows(logreg) -> None:  # type: ignore[no-untyped-def]
    from timetrial import api

    [group] = group_runs(list(api.load(logreg.store)))
    assert limit_rows(group) == []
