"""What is said of real runs: failed ones count, unfinished ones are named."""

from __future__ import annotations

import os

import msgspec
import pytest

from timetrial import findings, store
from timetrial.engine.events import Exited
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.rows import Findings, Row
from timetrial.spec import Target
from timetrial.stats import clocks, measures
from timetrial.store import RunRecord
from timetrial.testing import fakes, runs

TARGET = fakes.TASK.targets[-1]
MISSED = Target(metric="accuracy", threshold=0.9999, direction="at_least", split="validation")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """Three runs of one system: two reach the target, one fails before its first evaluation."""
    folder = tmp_path_factory.mktemp("found")
    fakes.write_plugin(folder / "plugin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "plugin"), prepend=os.pathsep)
        made = []
        for seed, build in ((1, "build"), (2, "build"), (3, "build_failing")):
            plan = runs.fake_plan(seed, implementation=f"timetrial.testing.fakes:{build}")
            run, named = runs.place(folder, msgspec.structs.replace(plan, target=TARGET))
            supervise(run, named, LocalLauncher(), lambda events: None)
            made.append(store.read_run(run.path))
    return made


def with_plan(record: RunRecord, **fields: object) -> RunRecord:
    plan = msgspec.structs.replace(record.plan, **fields)
    return RunRecord(record.run, plan, record.done, record.launcher, record.worker)


def assembled(records: list[RunRecord]) -> Findings:
    return findings.assemble(records, title="t", command="c")


def row_of(rows: list[Row], measure: str, clock: str | None = None) -> Row:
    [row] = [r for r in rows if r.measure == measure and clock in (None, r.clock)]
    return row


def test_a_failed_run_is_data_and_counts_as_censored(records: list[RunRecord]):
    found = assembled(records)
    row = row_of(list(found.rows), "time_to_target", "mlperf")
    assert row.n == 3
    assert row.status_counts == {"error": 1, "reached": 2}
    assert any("1 of 3 runs missed the target" in note for note in row.notes)
    assert sorted(row.evidence) == sorted(record.run.path.name for record in records)
    [bar] = found.bars
    assert bar.n == 3
    walls = [clocks.elapsed_s(record.stretches, clocks.CLOCKS["wall"]) or 0 for record in records]
    assert sum(bar.seconds.values()) == pytest.approx(sum(walls) / 3)


def test_a_time_to_target_lies_within_the_run_and_before_its_other_clocks(
    records: list[RunRecord],
):
    for record in records[:2]:
        times = {
            name: measures.time_to_target(record, TARGET, clock)
            for name, clock in clocks.CLOCKS.items()
        }
        known = {name: time.seconds for name, time in times.items() if time is not None}
        assert all(time.reached for time in times.values() if time is not None)
        assert 0 < known["train-only"] <= known["mlperf"] < known["wall"]
        assert known["billed"] == known["wall"]  # never resumed
        assert "mlbench-2020" not in known or known["mlbench-2020"] <= known["train-only"]


def test_runs_that_all_missed_give_a_lower_bound_and_no_value(records: list[RunRecord]):
    missed = [with_plan(record, target=MISSED) for record in records[:2]]
    row = row_of(list(assembled(missed).rows), "time_to_target", "mlperf")
    assert row.value is None
    assert row.low is not None
    assert row.low > 0
    assert row.high is None


def test_an_unfinished_run_is_left_out_and_named(records: list[RunRecord]):
    first = records[0]
    open_run = RunRecord(first.run, first.plan, None, first.launcher, first.worker)
    found = assembled([open_run, records[1]])
    assert any("1 of 2 runs are not finished" in note for note in found.notes)
    assert row_of(list(found.rows), "time_to_target", "mlperf").n == 1
    assert [line.status for line in found.runs] == ["unfinished", "reached"]


def test_a_killed_run_is_counted_as_it_stands(records: list[RunRecord]):
    first = records[0]
    launcher = [
        msgspec.structs.replace(e, code=-9) if isinstance(e, Exited) else e for e in first.launcher
    ]
    killed = RunRecord(first.run, first.plan, None, launcher, first.worker)
    row = row_of(list(assembled([killed]).rows), "time_to_target", "mlperf")
    assert row.status_counts == {"killed": 1}


@pytest.mark.parametrize(
    "field",
    [
        {"cores": 1},
        {"memory_bytes": 2**30},
        {"precision": "float64"},
        {"budget_s": 5.0},
        {"target": MISSED},
        {"task_hash": "another"},
        {"division": "open"},
    ],
    ids=lambda field: next(iter(field)),
)
def test_runs_that_differ_in_what_matters_are_never_averaged(
    records: list[RunRecord], field: dict[str, object]
):
    groups = findings.group_runs([records[0], with_plan(records[1], **field)])
    assert len(groups) == 2
    assert len(findings.group_runs(records[:2])) == 1


def test_calibration_pairs_are_noise_and_no_system(records: list[RunRecord]):
    pair = [with_plan(record, calibration="pair") for record in records[:2]]
    found = assembled(pair)
    assert not found.bars
    assert any("A/A calibration" in note for note in found.notes)


def test_no_runs_give_no_rows():
    found = assembled([])
    assert (list(found.rows), list(found.curves), list(found.runs)) == ([], [], [])
