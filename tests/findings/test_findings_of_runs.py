"""What is said of real runs: failed ones count, unfinished ones are named."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from timetrial import findings, store
from timetrial.engine.events import Exited
from timetrial.errors import UsageError
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.machine import gather
from timetrial.plan import find_task
from timetrial.rows import Findings, Row
from timetrial.spec import Target, with_rules
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


def test_epochs_to_target_are_steps_over_the_steps_of_an_epoch(records: list[RunRecord]):
    [group] = findings.group_runs(records[:2])
    row = findings.epochs_row(group, TARGET)
    pairs = [measures.steps_to_target(record, TARGET) for record in records[:2]]
    steps = [pair[0] for pair in pairs if pair is not None]
    per_epoch = -(-group.task.dataset.train_count // 8)  # batches of 8, the last one kept
    assert row.value == pytest.approx(sum(steps) / 2 / per_epoch)
    assert (row.measure, row.unit) == ("epochs_to_target", "1")


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
        {"cores": 7},
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


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"precision": "bfloat16"}, "bfloat16"),
        ({"budget_s": 5.0}, "budget 5.00 s"),
        ({"target": MISSED}, "stops at accuracy >= 0.9999 on validation"),
    ],
    ids=["precision", "budget", "target"],
)
def test_systems_that_are_not_averaged_do_not_share_a_name(
    records: list[RunRecord], field: dict[str, object], said: str
):
    """Tables, curves and colours go by the name: precisions of one machine would be one line."""
    first, second = findings.group_runs([records[0], with_plan(records[1], **field)])
    assert said not in first.system.name
    assert said in second.system.name.split(", ")
    assert len(assembled([records[0], with_plan(records[1], **field)]).bars) == 2


def test_another_data_set_and_another_evaluated_split_are_in_the_name(records: list[RunRecord]):
    task = records[0].plan.task
    task = msgspec.structs.replace(
        task, datasets=(task.dataset.name,), eval_splits=(task.eval_split,)
    )
    [group] = findings.group_runs([with_plan(records[0], learned=task)])
    assert {"data set digits", "evaluated on validation"} <= set(group.system.name.split(", "))


def test_runs_of_two_hosts_are_said_to_be_averaged(records: list[RunRecord], tmp_path: Path):
    here = gather(["test"], tmp_path, cloud_timeout_s=0)

    def note_of(hosts: tuple[str, str]) -> list[str]:
        moved = []
        for record, host in zip(records[:2], hosts, strict=True):
            copy = with_plan(record)
            copy.machine = msgspec.structs.replace(here, hostname=host)
            moved.append(copy)
        return [note for note in assembled(moved).rows[0].notes if "hosts" in note]

    assert note_of(("one", "one")) == []
    assert note_of(("two", "one")) == ["runs of 2 hosts are averaged as one system: one, two"]


def test_a_run_cut_short_is_in_no_time_of_a_whole_run(records: list[RunRecord]):
    """The budget ended it, or --target did, in a task that stops on nothing."""
    task = msgspec.structs.replace(records[0].plan.task, stops_at_target=False)
    [reached] = findings.group_runs([with_plan(record, learned=task) for record in records[:2]])
    assert all(run.steps < run.plan.steps_max for run in reached.runs)
    row = findings.run_time_row(reached, "mlperf")
    assert (row.value, row.n) == (None, 0)
    assert "2 of 2 runs did not do all of the work: not in its figures" in row.notes
    whole = [with_plan(run, learned=task, steps_max=run.steps) for run in reached.runs]
    [group] = findings.group_runs([*whole[:1], reached.runs[1]])
    row = findings.run_time_row(group, "mlperf")
    assert row.n == 1
    assert row.value == clocks.elapsed_s(whole[0].stretches, clocks.CLOCKS["mlperf"])


def test_a_time_budget_is_no_answer_to_what_comes_after_it(records: list[RunRecord]):
    [first, *_] = records
    late = 10 + max(seen.at_s for seen in first.evaluations)

    def after(**fields: object) -> float | None:
        plan = msgspec.structs.replace(first.plan, **fields)
        assert first.done is not None
        done = msgspec.structs.replace(first.done, status="budget")
        run = RunRecord(first.run, plan, done, first.launcher, first.worker)
        return measures.value_after(run, late, metric="accuracy", split="validation")

    assert after(budget_s=5.0) is None
    assert after(budget_s=5.0, steps_max=first.steps) is not None  # it came to its last step


def test_calibration_pairs_are_noise_and_no_system(records: list[RunRecord]):
    pair = [with_plan(record, calibration="pair") for record in records[:2]]
    found = assembled(pair)
    assert not found.bars
    assert any("A/A calibration" in note for note in found.notes)
    failed = [with_plan(record, calibration="pair") for record in records[1:]]
    assert not any("A/A calibration" in note for note in assembled(failed).notes)


def test_no_runs_give_no_rows():
    found = assembled([])
    assert (list(found.rows), list(found.curves), list(found.runs)) == ([], [], [])


def test_runs_of_a_search_are_in_no_estimate(records: list[RunRecord]):
    chosen = with_plan(records[0], search="a search: trial 3")
    found = assembled([chosen, records[1]])
    assert row_of(list(found.rows), "time_to_target", "mlperf").n == 1
    assert any("1 of 2 runs belong to a search" in note for note in found.notes)


def test_open_runs_of_other_rules_are_compared_where_they_share_the_goal(
    records: list[RunRecord],
):
    digits = find_task("digits-cnn")

    def side(division: str, **rules: object) -> findings.Group:
        task = with_rules(digits, rules)
        own = [
            with_plan(record, learned=task, task_hash=task.hash(), division=division)
            for record in records[:2]
        ]
        [group] = findings.group_runs(own)
        return group

    closed = side("closed")
    tuned = side("open", **{"batch_size": 32, "eval_every_steps": 34})
    assert "batch_size 32, eval_every_steps 34" in tuned.system.name
    assert "batch_size" not in closed.system.name
    verdict = findings.verdict_between(tuned, closed, TARGET)
    assert verdict.ratio == 1.0
    assert any("A has rules of its own" in note for note in verdict.notes)
    with pytest.raises(UsageError, match="examples between two evaluations"):
        findings.verdict_between(side("open", eval_every_steps=34), closed, TARGET)
    with pytest.raises(UsageError, match="different rules"):
        findings.verdict_between(side("closed", batch_size=32, eval_every_steps=34), closed, TARGET)
