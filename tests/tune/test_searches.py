"""A search, killed by a signal and gone on with; its verdict on fresh seeds; real digits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import (
    ONE_CORE,
    Outcome,
    Ran,
    environment,
    python_path,
    run_timetrial,
    timetrial_command,
)

from timetrial import api, store
from timetrial.errors import UsageError
from timetrial.plan import find_task
from timetrial.spec import goal_differences
from timetrial.stats import measures
from timetrial.testing import fakes
from timetrial.tune.asked import Amounts
from timetrial.tune.found import Line, leaders_of, winner_of
from timetrial.tune.journal import Journal, journal_of
from timetrial.tune.objective import Outcome as Score
from timetrial.tune.objective import reached_after_s
from timetrial.tune.session import search
from timetrial.tune.study import Trial

PATIENCE_S = 120
TRIALS = 3
TASK = fakes.SLOW_TASK.name
NAME = f"{TASK}-time-to-target"
SPACE = """title = "Mini-batches of the fake"
source = "made up for a test"
[parameters]
batch_size = { choices = [4, 8, 16] }
"optimizer.learning_rate" = { low = 0.02, high = 0.2, scale = "log" }
"""


class Searched:
    """A search killed in its second trial and gone on with, and what had been told by then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "runs"
        self._plugin = folder / "plugin"
        fakes.write_plugin(self._plugin)
        (folder / "space.toml").write_text(SPACE)
        command = timetrial_command(*self.words())
        with subprocess.Popen(
            command,
            env=environment(PYTHONPATH=python_path(self._plugin)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            deadline = time.monotonic() + PATIENCE_S
            while not (self.told() and self._started() > len(self.told())):
                assert time.monotonic() < deadline, "it never began a second trial"
                assert process.poll() is None, "it ended by itself"
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
        self.before = self.told()
        self.ran = Ran(self.place, self.run(*self.words()))

    def words(self, *more: str) -> list[str]:
        return [
            "tune", TASK, f"--trials={TRIALS}", "--target=0.8", "--leaders=1", "--repeat=1",
            "--fresh=2", "--sampler=random", f"--space={self.folder / 'space.toml'}",
            "--set", "sample_every_s=0", *ONE_CORE, f"--store={self.place}", "--json", *more,
        ]  # fmt: skip

    def run(self, *arguments: str | Path) -> Outcome:
        return run_timetrial(*arguments, env={"PYTHONPATH": python_path(self._plugin)})

    def told(self) -> list[tuple[int, float]]:
        """Return trial and score of each trial that was finished, by the journal."""
        file = journal_of(self.place, NAME)
        lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
        entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [
            (entry["trial_id"], entry["values"][0])
            for entry in entries
            if entry.get("state") == 1 and entry.get("values")
        ]

    def _started(self) -> int:
        logs = self.place.glob("*/events.0.jsonl")
        return sum(b'"started"' in log.read_bytes() for log in logs)

    def records(self) -> list[store.RunRecord]:
        return store.read_runs([self.place])


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return Searched(tmp_path_factory.mktemp("searched"))


def test_what_was_finished_before_the_kill_is_kept(searched: Searched) -> None:
    assert searched.ran.outcome.code == 0, searched.ran.outcome.err
    assert searched.before
    assert searched.told()[: len(searched.before)] == searched.before  # not told again
    trials = [r for r in searched.records() if r.plan.search and "again" not in r.plan.search]
    assert len([record for record in trials if record.done is not None]) == TRIALS
    assert len([record for record in trials if record.done is None]) == 1  # the one cut off


def test_three_sets_of_runs_share_no_seed_and_the_fresh_ones_alone_count(
    searched: Searched,
) -> None:
    records = [record for record in searched.records() if record.done is not None]
    assert len({record.plan.seed for record in records}) == len(records)
    fresh = [record for record in records if record.plan.search is None]
    assert sorted(record.plan.division for record in fresh) == ["closed"] * 2 + ["open"] * 2
    assert len(records) == TRIALS + 1 + 4
    rows = api.load(searched.place).estimates()
    timed = [r for r in rows if (r.measure, r.clock) == ("time_to_target", "mlperf")]
    assert [row.n for row in timed] == [2, 2]


def test_every_run_keeps_target_data_and_rhythm(searched: Searched) -> None:
    sizes = set()
    for record in searched.records():
        plan = record.plan
        assert plan.target is not None
        assert plan.target.threshold == 0.8
        assert goal_differences(plan.task, fakes.SLOW_TASK) == []
        assert plan.rhythm.eval_every_steps == plan.task.eval_every_steps
        sizes.add(plan.task.batch_size)
    assert sizes <= {4, 8, 16}
    assert 8 in sizes


def test_the_verdict_is_that_of_compare(searched: Searched, call: Callable[..., Outcome]) -> None:
    [row] = [r for r in searched.ran.outcome.json() if r["facts"].get("part") == "verdict"]
    assert row["measure"] == "tuned_over_reference"
    assert row["n"] == 2
    [verdict] = call("compare", "division=open", "division=closed", "--store", searched.place,
                     "--json").json()  # fmt: skip
    ends = (verdict["ratio"], verdict["low"], verdict["high"])
    assert (row["value"], row["low"], row["high"]) == ends
    assert any("not the same work" in note for note in verdict["notes"])


def test_done_again_it_runs_nothing_and_shows_all_of_it(searched: Searched, tmp_path: Path) -> None:
    count = len(list(searched.place.iterdir()))
    page = tmp_path / "page.html"
    asked = [word for word in searched.words(f"--html={page}") if word != "--json"]

    seen = searched.run(*asked)

    assert seen.code == 0, seen.err
    assert len(list(searched.place.iterdir())) == count
    flat = " ".join(seen.out.split())
    assert "the task's own settings" in flat
    assert "tried again from the start" in flat
    assert f"timetrial run {TASK} --division open" in flat
    assert "--target 0.8" in flat
    assert "--set batch_size=" in flat
    table = seen.out.partition("The winner's settings")[0]
    assert max(map(len, table.splitlines())) <= 80
    text = page.read_text()
    assert f"Search: {TASK}" in text
    assert text.count('class="mark') >= 2 * 2 * TRIALS  # two rules, two widths of screen


def test_other_settings_and_a_second_process_are_refused(searched: Searched) -> None:
    other = searched.run(*searched.words("--target=0.7"))
    with Journal(journal_of(searched.place, NAME)):
        beside = searched.run(*searched.words())

    for seen, said in (
        (other, "was begun with target accuracy >= 0.8"),
        (beside, f"Another process works on the search {NAME}"),
    ):
        assert (seen.code, seen.out) == (1, "")
        assert said in seen.err
        assert "--name NAME" in seen.err
        assert seen.err.count("\n") == 1


def test_a_real_network_is_searched_with_other_mini_batches(tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text(SPACE.replace("[4, 8, 16]", "[32]") + '"optimizer.nesterov" = '
                     "{ choices = [false] }\n")  # fmt: skip
    found = search(
        "digits-cnn",
        amounts=Amounts(trials=2, leaders=1, repeat=0, fresh=0),
        space=space,
        sampler="qmc",
        store_dir=tmp_path / "runs",
        target=0.6,
        settings={"sample_every_s": "0"},
        **({"cores": 1} if ONE_CORE else {}),
    )
    assert found.verdict() is None
    assert found.winner == found.leaders[0]
    for line in found.lines:
        assert line.record is not None
        assert line.record.status == "reached"
        task = line.record.plan.task
        rate = line.settings["optimizer.learning_rate"]
        assert (task.batch_size, task.optimizer.learning_rate) == (32, rate)  # type: ignore[union-attr]
        assert task.optimizer.nesterov is False  # type: ignore[union-attr]
        assert goal_differences(task, find_task("digits-cnn")) == []
        assert {seen.step % 34 for seen in line.record.evaluations} == {0}


def test_a_run_that_cannot_be_a_leader_any_more_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(
        'title = "t"\nsource = "made up for a test"\n[parameters]\n'
        '"optimizer.learning_rate" = { choices = [0.2, 0.00001] }\n'
    )

    found = search(
        "digits-cnn",
        amounts=Amounts(trials=2, leaders=1, repeat=0, fresh=0),
        space=tmp_path / "space.toml",
        store_dir=tmp_path / "runs",
        cores=1,
        settings={"sample_every_s": 0},
    )

    assert found.settings.pruner == "capping"
    first, second = (one.record for one in found.lines)
    assert first is not None
    assert second is not None
    assert [first.status, second.status] == ["reached", "pruned"]
    cap_s = 1.25 * reached_after_s(first, found.settings.target)
    times = [
        point.time_s for point in measures.curve(second, metric="accuracy", split="validation")
    ]
    assert sum(at_s > cap_s for at_s in times) >= 1
    assert len(times) < 40, "it did not go on to its end"
    with pytest.raises(UsageError, match="end at the same time"):
        search("digits-cnn", objective="accuracy-after=1s", pruner="capping", store_dir=tmp_path)


def line(number: int, value: float | None, state: str = "finished", **more: object) -> Line:
    trial = Trial(number, {}, state, None, None, False, value)._replace(**more)  # type: ignore[arg-type]
    outcome = Score(value, value or 9.0, 0.0 if value else 0.2, True)
    return Line(trial, {"batch_size": number}, None, outcome)


def test_leaders_are_the_best_that_reached_without_the_task_s_own_settings() -> None:
    lines = [
        line(0, 1.0, reference=True),
        line(1, None),
        line(2, 5.0),
        line(3, 3.0),
        line(4, 2.0, "pruned"),
        line(5, 3.0)._replace(settings={"batch_size": 3}),
    ]
    assert [one.number for one in leaders_of(lines, 9, larger_is_better=False)] == [3, 2]
    assert [one.number for one in leaders_of(lines, 1, larger_is_better=True)] == [2]


def test_the_winner_is_chosen_by_further_runs_and_not_by_the_run_it_led_by() -> None:
    lucky, steady = line(1, 2.0), line(2, 4.0)
    again = {
        1: [Score(9.0, 9.0, 0.0, True), Score(None, 9.0, 0.1, True)],
        2: [Score(5.0, 5.0, 0.0, True), Score(6.0, 6.0, 0.0, True)],
    }
    assert winner_of([lucky, steady], again, larger_is_better=False) is steady
    assert winner_of([lucky, steady], {}, larger_is_better=False) is lucky


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["digits-cnn", "--objective=speed"], "accuracy-after=TIME"),
        (["digits-cnn", "--objective=cost-to-target"], "--price-per-hour"),
        (["digits-cnn", "--objective=accuracy-after=3s", "--target=0.9"], "Leave out --target"),
        (["digits-cnn", "--sampler=annealing"], "tpe"),
        (["digits-cnn", "--set", "batch_size=3"], "is a rule of the task"),
        (["digits-cnn", "--fresh=1"], "2 and more"),
        (["digits-cnn", "--name=../x"], "--name ../x"),
        (["digits-cnn", "--space=nowhere.toml"], "Cannot read nowhere.toml"),
        (["breast-cancer-logreg"], "--space FILE"),
        (["allreduce"], "nothing to tune"),
        (["quick"], "one system"),
    ],
)
def test_what_cannot_be_searched_says_what_to_do(
    asked: list[str], said: str, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    place = tmp_path / "runs"
    seen = call("tune", *asked, "--store", place)
    assert seen.code == 1
    assert said in " ".join(seen.err.split())
    assert not place.exists()
