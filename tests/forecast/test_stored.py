"""Predictions on disk, and which runs score them."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from predictions import prediction
from team_runs import Times, plan_for, quiet_machine, write_run

from timetrial.errors import FormatError
from timetrial.findings import framework_version, machine_name
from timetrial.forecast import stored
from timetrial.forecast.predict import Prediction
from timetrial.stats import measures
from timetrial.store import RunRecord


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    """A run of 60 steps of 40 ms that began long after the prediction."""
    return write_run(
        tmp_path, plan_for(1, seed=99), Times(0.04), hosts=[quiet_machine().hostname], peaks=[1]
    )


def of(record: RunRecord, seconds: float = 3.0, **fields: object) -> Prediction:
    """A prediction of that very run, made before it."""
    made = prediction(seconds)
    plan = record.plan
    system = msgspec.structs.replace(
        made.system,
        task_hash=plan.task_hash,
        framework=plan.framework,
        version=framework_version(record),
        machine=machine_name(record),
    )
    own = {"task_hash": plan.task_hash, "target": str(plan.target), "system": system,
           "made_utc": "1970-01-01T00:00:00+00:00"}  # fmt: skip
    return msgspec.structs.replace(made, **{**own, **fields})


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    made = prediction(12.0)
    stored.keep(made, tmp_path)
    assert stored.read_predictions(tmp_path) == [made]
    assert stored.read_predictions(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"format": 1, "more": 2}'])
def test_a_file_that_is_no_prediction_is_named(tmp_path: Path, content: bytes) -> None:
    path = stored.keep(prediction(1.0), tmp_path)
    path.write_bytes(content)
    with pytest.raises(FormatError, match=re.escape(path.name)):
        stored.read_predictions(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    stored.keep(msgspec.structs.replace(prediction(1.0), format=9), tmp_path)
    with pytest.raises(FormatError, match="format 9"):
        stored.read_predictions(tmp_path)


def test_a_run_scores_the_prediction_made_of_it(record: RunRecord) -> None:
    assert record.plan.target is not None
    time = measures.time_to_target(record, record.plan.target)
    assert time is not None
    found, waiting = stored.scored([of(record, 1.2 * time.seconds)], [record])
    assert waiting == []
    [one] = found
    assert one.measured_s == pytest.approx(time.seconds)
    assert one.error == pytest.approx(0.2)
    assert not one.inside
    assert one.seed == 99


def test_of_several_predictions_the_newest_before_the_run_counts(record: RunRecord) -> None:
    old = of(record, 1.0)
    new = of(record, 2.0, made_utc="1970-01-01T00:00:00.000001+00:00", id="new")
    found, waiting = stored.scored([old, new], [record])
    assert [one.prediction.id for one in found] == ["new"]
    assert waiting == [old]


@pytest.mark.parametrize(
    "change",
    [
        {"made_utc": "2999-01-01T00:00:00+00:00"},  # after the run
        {"task_hash": "1" * 64},
        {"target": "accuracy >= 0.5 on validation"},
        {"steps_seeds": (99,)},  # the library knew this run
        {"workers": 2},
    ],
)
def test_a_run_of_other_work_or_known_before_scores_nothing(
    record: RunRecord, change: dict[str, object]
) -> None:
    made = of(record, 1.0, **change)
    assert stored.scored([made], [record]) == ([], [made])


def test_a_run_on_another_system_scores_nothing(record: RunRecord) -> None:
    made = of(record, 1.0)
    other = msgspec.structs.replace(made.system, precision="bfloat16")
    made = msgspec.structs.replace(made, system=other)
    assert stored.scored([made], [record])[0] == []


def test_a_run_that_missed_the_target_is_no_measurement(tmp_path: Path) -> None:
    missed = write_run(
        tmp_path, plan_for(1, seed=99), Times(0.04), accuracies=(0.5, 0.6), status="budget",
        hosts=[quiet_machine().hostname], peaks=[1],
    )  # fmt: skip
    assert stored.scored([of(missed)], [missed])[0] == []


def test_a_whole_run_is_scored_by_its_whole_time(record: RunRecord) -> None:
    own = {"target": None, "rhythm": record.plan.rhythm}
    for status in ("reached", "budget"):  # a target may be read off on the way
        plan = msgspec.structs.replace(record.plan, steps_max=record.steps, **own)
        assert record.done is not None
        done = msgspec.structs.replace(record.done, status=status)
        whole = RunRecord(record.run, plan, done, record.launcher, record.worker)
        made = of(whole, 3.0, measure="run_time", target=None)
        [one] = stored.scored([made], [whole])[0]
        assert one.measured_s == pytest.approx(one.run_s)
        cut = msgspec.structs.replace(plan, steps_max=record.steps + 1)
        short = RunRecord(record.run, cut, done, record.launcher, record.worker)
        assert stored.scored([made], [short])[0] == []


def test_the_card_sums_up_errors_widths_and_coverage(record: RunRecord) -> None:
    assert record.plan.target is not None
    time = measures.time_to_target(record, record.plan.target)
    assert time is not None
    seconds = time.seconds
    found = [
        stored.Scored(of(record, factor * seconds), record.plan.run, 99, seconds, seconds)
        for factor in (1.0, 1.05, 1.2)
    ]
    for one, factor in zip(found, (1.0, 1.05, 1.2), strict=True):
        assert one.error == pytest.approx(factor - 1)
    widened = [
        one._replace(
            prediction=msgspec.structs.replace(
                one.prediction,
                low_s=0.9 * (one.prediction.seconds or 0),
                high_s=1.1 * (one.prediction.seconds or 0),
            )
        )
        for one in found
    ]
    card = stored.score_of(widened)
    assert card is not None
    assert card.n == 3
    assert card.median_error.value == pytest.approx(0.05)
    assert card.median_half_width == pytest.approx(0.1)
    assert card.coverage.value == pytest.approx(2 / 3)
    assert stored.score_of([]) is None
