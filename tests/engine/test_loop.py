"""The loop in this process, asked to stop after every single step in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from timetrial.datasets.load import load_splits
from timetrial.engine import checkpoint, loop
from timetrial.engine.clock import Laps, SegmentClock
from timetrial.engine.events import WORKER_LOG, Evaluated, Measured, Segment
from timetrial.engine.team import Seat, Team
from timetrial.plan import Plan, variant_of
from timetrial.rundir import LogWriter, RunDir
from timetrial.spec import Split, SplitName, Workload
from timetrial.testing import fakes, runs

STEPS, EVERY = 33, 10


@pytest.fixture(scope="module")
def plan() -> Plan:
    settings = {"eval_every_steps": EVERY, "fence_every_steps": 7, "checkpoint_every_s": 1000}
    return msgspec.structs.replace(runs.fake_plan(settings=settings), steps_max=STEPS)


@pytest.fixture(scope="module")
def splits(plan: Plan) -> Mapping[SplitName, Split]:
    return load_splits(plan.task.dataset, plan.data_files)


class Training:
    """One run directory, trained attempt by attempt without a worker process."""

    def __init__(self, folder: Path, plan: Plan, splits: Mapping[SplitName, Split]) -> None:
        folder.mkdir()
        self.run, self.plan, self.splits = RunDir(folder), plan, splits

    def attempt(
        self,
        *,
        stop: Callable[[int], bool] = lambda step: False,
        budget_left_s: Callable[[int], float] = lambda step: float("inf"),
    ) -> loop.Outcome:
        """Train from the last checkpoint; both functions are given the steps done so far."""
        saved = next(
            iter(checkpoint.usable(self.run, WORKER_LOG.read(self.run.events(0))).values()), None
        )
        work = Workload(task=self.plan.task, seed=self.plan.seed, device="cpu", precision="float64")
        laps = Laps(lambda: None)
        made = fakes.build(work, self.splits, laps)
        if saved is not None:
            made.restore((self.run.checkpoints / saved.file).read_bytes())
        with LogWriter(self.run.events(0)) as log:
            session = loop.Session(
                plan=self.plan,
                run=self.run,
                splits=self.splits,
                log=log,
                clock=SegmentClock(log, start_ns=0, first="imports"),
                laps=laps,
                stop_asked=lambda: stop(made._step),
                budget_left_s=lambda: budget_left_s(made._step),
                team=Team(Seat()),
            )
            return loop.train(made, session, step=saved.step if saved else 0, reached=False)

    def evaluations(self) -> list[tuple[int, str, str]]:
        events = WORKER_LOG.read(self.run.events(0))
        return [(e.step, e.split, e.scores_sha256) for e in events if isinstance(e, Evaluated)]


def test_a_stop_after_any_step_loses_no_evaluation_and_repeats_none(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    whole = Training(tmp_path / "whole", plan, splits)
    assert whole.attempt().status == "reached"
    expected = whole.evaluations()
    assert [step for step, _, _ in expected] == [10, 20, 30, STEPS, STEPS]
    for last in range(1, 31):  # the three steps after 30 are one chunk
        training = Training(tmp_path / str(last), plan, splits)
        outcome = training.attempt(stop=lambda step, last=last: step >= last)
        assert outcome.status is None
        assert last <= outcome.step < STEPS
        assert training.attempt().status == "reached"
        assert training.evaluations() == expected, last


def test_a_run_stopped_at_every_look_still_comes_to_its_end(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    whole = Training(tmp_path / "whole", plan, splits)
    whole.attempt()
    training = Training(tmp_path / "stopped", plan, splits)
    for _ in range(STEPS + 1):
        if training.attempt(stop=lambda step: True).status is not None:
            break
    assert training.evaluations() == whole.evaluations()


def test_a_spent_budget_ends_in_an_evaluation_of_both_splits(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    hard = msgspec.structs.replace(plan.task.targets[-1], threshold=0.9999)
    training = Training(tmp_path / "run", msgspec.structs.replace(plan, target=hard), splits)
    outcome = training.attempt(budget_left_s=lambda step: 12.0 - step)
    assert (outcome.status, outcome.detail) == ("budget", "time budget")
    assert 12 <= outcome.step < 20
    seen = [(step, split) for step, split, _ in training.evaluations()]
    assert seen == [(10, "validation"), (outcome.step, "validation"), (outcome.step, "test")]


def test_every_segment_of_the_loop_follows_the_one_before(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    training = Training(tmp_path / "run", plan, splits)
    training.attempt()
    segments = [e for e in WORKER_LOG.read(training.run.events(0)) if isinstance(e, Segment)]
    for before, after in itertools.pairwise(segments):
        assert (before.next, before.t_ns) == (after.name, after.start_ns)
    assert [e.name for e in segments] == [
        "imports", *(["train", "eval", "log"] * 4), "eval", "checkpoint",
    ]  # fmt: skip
    assert segments[-1].next == "teardown"


def test_own_measures_are_taken_of_the_test_set_at_the_end_outside_every_evaluation(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    task = msgspec.structs.replace(
        plan.task, measures=("confusion_matrix", "accuracy_with_dropout_on")
    )
    training = Training(tmp_path / "run", msgspec.structs.replace(plan, learned=task), splits)
    training.attempt()
    events = WORKER_LOG.read(training.run.events(0))
    measured = [e for e in events if isinstance(e, Measured)]
    assert [(e.name, e.step, e.split) for e in measured] == [("confusion_matrix", STEPS, "test")]
    table = measured[0].table  # the fake network has no dropout to leave on
    counts = [int((splits["test"].labels == label).sum()) for label in range(10)]
    assert [sum(row) for row in table] == counts
    last = [e for e in events if isinstance(e, Evaluated)][-1]
    assert sum(row[label] for label, row in enumerate(table)) / sum(counts) == last.accuracy
    segments = [e for e in events if isinstance(e, Segment)]
    around = [e for e in segments if e.start_ns <= measured[0].t_ns <= e.t_ns]
    assert [e.name for e in around] == ["log"]


def test_a_run_on_training_accuracy_stops_on_it_and_still_looks_at_test(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    task = variant_of(plan.task, dataset=None, eval_split="train")
    assert task.hash() != plan.task.hash()
    assert {target.split for target in (*task.targets, task.light_target)} == {"train"}
    easy = msgspec.structs.replace(task.targets[0], threshold=0.5)
    changed = msgspec.structs.replace(plan, learned=task, target=easy)
    training = Training(tmp_path / "run", changed, splits)
    outcome = training.attempt()
    assert outcome.status == "reached"
    seen = [(step, split) for step, split, _ in training.evaluations()]
    assert seen[-1] == (outcome.step, "test")
    assert {split for _, split in seen[:-1]} == {"train"}
    examples = {
        e.split: e.examples
        for e in WORKER_LOG.read(training.run.events(0))
        if isinstance(e, Evaluated)
    }
    assert examples == {"train": len(splits["train"]), "test": len(splits["test"])}
