"""Inference in this process: the fake's predictions, timed after its training."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from timetrial.datasets.load import load_splits
from timetrial.engine import inference, loop
from timetrial.engine.clock import Laps, SegmentClock
from timetrial.engine.events import WORKER_LOG, Evaluated, Inferred, Rescored, Segment
from timetrial.engine.team import Seat, Team
from timetrial.errors import AuditError
from timetrial.plan import Plan
from timetrial.rundir import LogWriter, RunDir
from timetrial.spec import Split, SplitName, Workload
from timetrial.testing import fakes, runs

Scores = Callable[[np.ndarray], np.ndarray]  # of examples, from the fake's own scores of them


@pytest.fixture(scope="module")
def plan() -> Plan:
    planned = runs.fake_plan(settings={"eval_every_steps": 10, "checkpoint_every_s": 1000})
    return msgspec.structs.replace(planned, steps_max=20, inference_s=0.2)


@pytest.fixture(scope="module")
def splits(plan: Plan) -> Mapping[SplitName, Split]:
    return load_splits(plan.task.dataset, plan.data_files)


class Model(fakes.FakeImplementation):
    """The fake, which notes what it is asked for and may answer otherwise."""

    asked: list[np.ndarray | str]
    change: Scores

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        if isinstance(inputs, Split):
            return super().predict(inputs)
        self.asked.append(inputs)
        return self.change(super().predict(inputs))


class InParts(Model):
    """One that computes no more than 50 examples at once."""

    predict_batch = 50


class Training:
    """One run directory, trained and inferred without a worker process."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        splits: Mapping[SplitName, Split],
        *,
        change: Scores = lambda scores: scores,
        kind: type[Model] = Model,
        stop: Callable[[Model], bool] = lambda made: False,
    ) -> None:
        self.run, self.splits = RunDir(folder), splits
        work = Workload(task=plan.task, seed=plan.seed, device="cpu", precision="float64")
        laps = Laps(lambda: made.asked.append("wait"))
        made = kind(work, splits, laps)
        made.asked, made.change = [], change
        self.model = made
        with LogWriter(self.run.events(0)) as log:
            session = loop.Session(
                plan=plan,
                run=self.run,
                splits=splits,
                log=log,
                clock=SegmentClock(log, start_ns=0, first="imports"),
                laps=laps,
                stop_asked=lambda: stop(made),
                budget_left_s=lambda: float("inf"),
                team=Team(Seat()),
            )
            self.outcome = loop.train(made, session, step=0, reached=False)
        self.events = WORKER_LOG.read(self.run.events(0))

    @property
    def inferred(self) -> list[Inferred]:
        return [event for event in self.events if isinstance(event, Inferred)]

    def rows_asked_for(self) -> list[tuple[int, int]]:
        """First example and number of examples of each call, by where they lie in memory."""
        whole = self.splits["test"].inputs
        return [
            ((call.ctypes.data - whole.ctypes.data) // whole.strides[0], len(call))
            for call in self.model.asked
            if isinstance(call, np.ndarray)
        ]


@pytest.fixture(scope="module")
def usual(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path_factory: pytest.TempPathFactory
) -> Training:
    """A run that nothing disturbed."""
    return Training(tmp_path_factory.mktemp("usual"), plan, splits)


def test_examples_are_predicted_alone_and_in_batches_in_the_order_of_the_split(
    usual: Training,
    splits: Mapping[SplitName, Split],
):
    assert usual.outcome.status == "reached"
    count = len(splits["test"])
    assert list(dict.fromkeys(e.batch for e in usual.inferred)) == [1, 8, 64, count]
    expected: list[tuple[int, int]] = []
    for (batch, _), group in itertools.groupby(
        usual.inferred, key=lambda event: (event.batch, event.warm_up)
    ):
        calls = 0
        for event in group:
            assert event.first == calls
            assert len(event.ns) > 0
            assert min(event.ns) > 0
            calls += len(event.ns)
        assert calls >= inference.CALLS_MIN
        expected += [(call % (count // batch) * batch, batch) for call in range(calls)]
    assert usual.rows_asked_for() == expected
    alone = [e for e in usual.inferred if e.batch == 1 and not e.warm_up]
    assert sum(len(event.ns) for event in alone) >= count
    spent_s = sum(sum(event.ns) for event in usual.inferred if not event.warm_up) / 1e9
    assert spent_s >= 0.75 * 0.2  # the time asked for; the most calls are far away


def test_every_call_begins_on_an_idle_device(usual: Training):
    for before, call in itertools.pairwise(usual.model.asked):
        assert isinstance(call, str) or before == "wait"


def test_inference_has_a_segment_of_its_own_after_the_last_checkpoint(usual: Training):
    events = usual.events
    segments = [event for event in events if isinstance(event, Segment)]
    assert [event.name for event in segments[-2:]] == ["checkpoint", "infer"]
    assert segments[-1].next == "teardown"
    inside = [event for event in events if isinstance(event, Inferred | Rescored)]
    assert all(segments[-1].start_ns <= event.t_ns <= segments[-1].t_ns for event in inside)
    spent_ns = sum(sum(e.ns) if isinstance(e, Inferred) else e.ns for e in inside)
    assert 0 < spent_ns <= segments[-1].t_ns - segments[-1].start_ns


def test_what_is_timed_is_the_model_that_was_evaluated(usual: Training):
    [begun] = [event for event in usual.events if isinstance(event, Rescored)]
    last = [event for event in usual.events if isinstance(event, Evaluated)][-1]
    assert (begun.split, begun.step) == (last.split, last.step) == ("test", 20)
    assert (begun.scores_sha256, begun.accuracy) == (last.scores_sha256, last.accuracy)
    assert all(event.furthest < 1e-12 for event in usual.inferred)  # of float64
    assert not any(event.changed for event in usual.inferred)


def test_other_scores_than_those_of_the_evaluation_are_counted(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    training = Training(tmp_path, plan, splits, change=lambda scores: np.roll(scores, 1, axis=1))
    for event in training.inferred:
        assert event.furthest > 0.01
        assert event.changed == event.batch * len(event.ns)


def test_a_score_that_is_no_number_is_not_lost_among_others(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    def one_bad(scores: np.ndarray) -> np.ndarray:
        scores = scores.copy()
        scores[-1, 0] = np.nan
        return scores

    training = Training(tmp_path, plan, splits, change=one_bad)
    assert {event.furthest for event in training.inferred} == {None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scores: scores.tolist(), "returned a list and not an array"),
        (lambda scores: scores[:, :3], r"returned scores of shape \(1, 3\)"),
    ],
)
def test_what_is_no_row_of_scores_for_each_example_is_refused(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path, change: Scores, words: str
):
    with pytest.raises(AuditError, match=words):
        Training(tmp_path, plan, splits, change=change)


def test_a_run_asked_to_stop_meanwhile_ends_without_a_status(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    training = Training(tmp_path, plan, splits, stop=lambda made: len(made.asked) > 500)
    assert training.outcome == loop.Outcome(None, 20, "asked to stop")
    assert {event.batch for event in training.inferred} == {1}
    last = [event for event in training.events if isinstance(event, Segment)][-1]
    assert (last.name, last.next) == ("infer", "teardown")


def test_batches_that_would_take_longer_than_the_time_left_are_left_out(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    def slow(scores: np.ndarray) -> np.ndarray:
        time.sleep(0.001 * len(scores))
        return scores

    training = Training(tmp_path, plan, splits, change=slow)
    left_out = {event.batch: event for event in training.inferred if event.left_out}
    assert list(left_out) == [64, len(splits["test"])]
    assert all(event.ns == () and event.furthest is None for event in left_out.values())
    assert "3 calls would take about" in str(left_out[64].left_out)


def test_a_model_that_computes_in_parts_is_given_no_more_at_a_time(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    training = Training(tmp_path, plan, splits, kind=InParts)
    assert {event.batch for event in training.inferred} == {1, 8, 50}


def test_a_line_of_the_log_holds_so_many_calls_and_no_more(
    plan: Plan,
    splits: Mapping[SplitName, Split],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(inference, "STRETCH_CALLS", 7)
    monkeypatch.setattr(inference, "CALLS_MAX", 100)
    inferred = Training(tmp_path, plan, splits).inferred
    assert max(len(event.ns) for event in inferred) == 7
    counted = [e for e in inferred if e.batch == 8 and not e.warm_up]
    assert sum(len(event.ns) for event in counted) == 100
    alone = [e for e in inferred if e.batch == 1 and not e.warm_up]
    assert sum(len(event.ns) for event in alone) == len(splits["test"])  # once through it


def test_nobody_who_did_not_ask_waits_for_it(
    plan: Plan, splits: Mapping[SplitName, Split], tmp_path: Path
):
    training = Training(tmp_path, msgspec.structs.replace(plan, inference_s=None), splits)
    assert training.outcome.status == "reached"
    assert training.inferred == []
    assert "infer" not in {e.name for e in training.events if isinstance(e, Segment)}


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (1, [1]),
        (2, [1, 2]),
        (15, [1, 15]),
        (16, [1, 8, 16]),
        (250, [1, 8, 64, 250]),
        (10_000, [1, 8, 64, 512, 4096, 10_000]),
    ],
)
def test_batches_grow_up_to_what_is_computed_at_once(most: int, sizes: list[int]):
    assert inference.batch_sizes(most) == sizes
