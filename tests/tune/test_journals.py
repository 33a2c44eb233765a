"""The journal of a search: whole after a kill at any byte, one process at a time; and its study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from timetrial.errors import RunLockedError, UnknownNameError, UsageError
from timetrial.plan import Request, find_task
from timetrial.tune.journal import Journal
from timetrial.tune.objective import parse_objective
from timetrial.tune.settings import Settings
from timetrial.tune.space import fit_space, point_of, read_space
from timetrial.tune.study import SAMPLERS, Study, check_names, open_study

DIGITS = find_task("digits-cnn")
HORIZON = 16


def settings(**changed: object) -> Settings:
    made = Settings(
        task=DIGITS.name,
        task_hash=DIGITS.hash(),
        objective=parse_objective("time-to-target"),
        target=DIGITS.targets[-1],
        space_name="lcbench-sgd",
        space=fit_space(read_space("lcbench-sgd"), DIGITS),
        request=Request(task=DIGITS.name),
        sampler="tpe",
        pruner="median",
        seed=7,
    )
    return msgspec.structs.replace(made, **changed)


def opened(journal: Journal, asked: Settings | None = None) -> Study:
    return open_study(journal, asked or settings(), horizon=HORIZON, where="here", name="digits")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store" / "tuning" / "digits.jsonl"


@pytest.fixture
def study(file: Path) -> Iterator[Study]:
    with Journal(file) as journal:
        yield opened(journal)


def test_a_journal_cut_at_any_byte_keeps_all_trials_that_were_finished(
    file: Path, tmp_path: Path
) -> None:
    with Journal(file) as journal:
        study = opened(journal)
        for score in (3.0, 5.0):
            trial = study.ask()
            study.note_run(trial.number, f"run-{trial.number}")
            study.finish(trial.number, score)
        whole = file.stat().st_size
        study.ask()
    content = file.read_bytes()
    for cut in range(whole, len(content), max(1, (len(content) - whole) // 9)):
        torn = tmp_path / f"cut {cut}.jsonl"
        torn.write_bytes(content[:cut])
        with Journal(torn) as journal:
            again = opened(journal)
            kept = [(t.number, t.told, t.run) for t in again.trials() if t.state == "finished"]
            assert kept == [(0, 3.0, "run-0"), (1, 5.0, "run-1")]
            fresh = again.ask()
            again.finish(fresh.number, 9.0)
        with Journal(torn) as journal:  # what was written after the cut can be read
            assert [t.told for t in opened(journal).trials()].count(9.0) == 1


def test_a_second_process_is_refused(file: Path, study: Study) -> None:
    with pytest.raises(RunLockedError), Journal(file):
        pass


def test_a_number_that_json_has_not_is_refused(file: Path) -> None:
    with Journal(file) as journal, pytest.raises(ValueError, match="JSON"):
        journal.append_logs([{"value": float("inf")}])
    assert file.read_bytes() == b""


def test_a_search_goes_on_only_with_the_settings_it_was_begun_with(file: Path) -> None:
    with Journal(file) as journal:
        opened(journal)
    for changed, said in (
        ({"sampler": "random"}, "sampler tpe; now it is random"),
        ({"objective": parse_objective("accuracy-after=3s")}, "objective time-to-target"),
        ({"request": Request(task=DIGITS.name, cores=1)}, "cores none; now it is 1"),
    ):
        with Journal(file) as journal, pytest.raises(UsageError, match=f"{said}.*--name"):
            opened(journal, settings(**changed))
    with Journal(file) as journal:  # another seed is no other search
        assert opened(journal, settings(seed=8)).settings.seed == 7


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_points_of_the_space_and_no_draw_twice(
    sampler: str, tmp_path: Path
) -> None:
    check_names(sampler, "none")
    asked = settings(sampler=sampler, pruner="none")
    drawn = []
    for _ in range(2):  # as two invocations
        with Journal(tmp_path / "digits.jsonl") as journal:
            study = opened(journal, asked)
            for _ in range(2):
                trial = study.ask()
                study.finish(trial.number, 1.0 + trial.number)
                drawn.append(trial.point)
    chosen = asked.space.chosen
    for point in drawn:
        assert set(point) == set(chosen)
        assert all(chosen[name].holds(value) for name, value in point.items())
        assert isinstance(point["batch_size"], int)
    assert len({tuple(point.values()) for point in drawn}) == len(drawn)


def test_the_task_s_own_point_comes_first_and_what_was_cut_off_again(study: Study) -> None:
    point, held = point_of(study.settings.space, DIGITS)
    assert held
    study.enqueue(point, reference=True)
    first = study.ask()
    assert first.reference
    assert first.point == pytest.approx(point)
    study.enqueue(first.point, again=first.number, reference=True)
    study.finish(first.number, None)
    second = study.ask()
    assert (second.again, second.reference) == (first.number, True)
    assert second.point == pytest.approx(point)
    assert [trial.state for trial in study.trials()] == ["failed", "running"]


def test_a_run_far_behind_the_others_is_hopeless_and_one_ahead_is_not(study: Study) -> None:
    for place in range(6):
        trial = study.ask()
        study.report(trial.number, {tick: 0.5 - 0.02 * tick for tick in range(1, HORIZON + 1)})
        study.finish(trial.number, 10.0 + place)
    bad, good = study.ask(), study.ask()
    study.report(bad.number, dict.fromkeys(range(1, 5), 0.9))
    study.report(good.number, dict.fromkeys(range(1, 5), 0.1))

    assert study.is_hopeless(bad.number)
    assert not study.is_hopeless(good.number)

    study.finish(bad.number, None, pruned=True)
    assert study.trials()[bad.number].state == "pruned"


def test_importances_are_shares_of_the_rules(study: Study) -> None:
    assert study.importances() == {}
    for place in range(8):
        trial = study.ask()
        study.finish(trial.number, float(place))
    shares = study.importances()
    assert set(shares) == set(study.settings.space.chosen)
    assert sum(shares.values()) == pytest.approx(1.0)


def test_names_that_are_not_offered_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="'median'"):
        check_names("tpe", "medain")
    with pytest.raises(UnknownNameError, match="cmaes"):
        check_names("annealing", "none")
