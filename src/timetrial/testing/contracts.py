"""What every part of a family must do, as test classes for pytest.

A subclass gives the part by a fixture: `case`, `framework`, `launcher`, `task` or `examination`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import psutil
import pytest

from timetrial import datasets
from timetrial.engine.events import (
    PARTS,
    WORKER_LOG,
    Checkpointed,
    Evaluated,
    Exchanged,
    Started,
    Stopped,
)
from timetrial.engine.metrics import digest
from timetrial.errors import FormatError, UsageError
from timetrial.frameworks import Framework
from timetrial.launch import Elsewhere, Exit, Job, Launcher
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.spec import (
    Build,
    Examination,
    Implementation,
    Lap,
    Point,
    Split,
    SplitName,
    Task,
    Workload,
)
from timetrial.stats.inference import TOLERANCE
from timetrial.store import RunRecord, read_run
from timetrial.testing import fakes, runs

WAIT_S: Final = 60.0  # how long a worker may take before a test gives up on it


def no_lap(part: str) -> None:
    """Do nothing at the end of a part."""


class ImplementationCase(NamedTuple):
    """One implementation with the work and the data that it is built for."""

    build: Build
    work: Workload
    splits: Mapping[SplitName, Split]

    def made(self, lap: Lap = no_lap, *, seed: int | None = None) -> Implementation:
        """Build it anew, by default with the work's own seed."""
        chosen = self.work.seed if seed is None else seed
        return self.build(msgspec.structs.replace(self.work, seed=chosen), self.splits, lap)

    def scores(self, implementation: Implementation) -> str:
        """Return the hash of its scores on test: equal only bit for bit."""
        return digest(implementation.predict(self.splits["test"]))


class ImplementationContract:
    """One task in one framework, given by the fixture `case`."""

    def test_predict_gives_a_row_per_example_and_a_column_per_class(
        self, case: ImplementationCase
    ) -> None:
        made = case.made()
        made.advance(1)
        test = case.splits["test"]
        scores = made.predict(test)
        assert scores.shape == (len(test), case.work.task.dataset.classes)
        assert np.isfinite(scores).all()
        assert np.array_equal(made.predict(test.inputs), scores)

    def test_scores_are_the_same_however_many_examples_are_asked_for_at_once(
        self, case: ImplementationCase
    ) -> None:
        made = case.made()
        made.advance(1)
        test = case.splits["test"]
        whole = made.predict(test)
        allowed = TOLERANCE[case.work.precision] * np.abs(whole).max()
        for rows in (slice(0, 1), slice(1, 2), slice(2, 7)):
            scores = made.predict(test.inputs[rows])
            assert isinstance(scores, np.ndarray)
            assert np.abs(scores - whole[rows]).max() <= allowed

    def test_the_same_seed_gives_the_same_bits(self, case: ImplementationCase) -> None:
        pair = [case.made(), case.made()]
        for made in pair:
            made.advance(3)
        assert case.scores(pair[0]) == case.scores(pair[1])

    def test_mini_batches_depend_on_the_seed(self, case: ImplementationCase) -> None:
        if case.work.task.step != "mini-batch":
            pytest.skip("a whole fit may be deterministic")
        pair = [case.made(), case.made(seed=case.work.seed + 1)]
        for made in pair:
            made.advance(1)
        assert case.scores(pair[0]) != case.scores(pair[1])

    def test_training_changes_the_scores(self, case: ImplementationCase) -> None:
        made = case.made()
        before = case.scores(made)
        made.advance(1)
        assert case.scores(made) != before

    def test_predict_leaves_training_untouched(self, case: ImplementationCase) -> None:
        quiet, asked = case.made(), case.made()
        quiet.advance(4)
        for _ in range(4):
            asked.predict(case.splits["test"])
            asked.predict(case.splits["train"].inputs[:5])
            asked.advance(1)
        assert case.scores(asked) == case.scores(quiet)

    def test_seven_steps_at_once_are_seven_single_steps(self, case: ImplementationCase) -> None:
        whole, single = case.made(), case.made()
        whole.advance(7)
        for _ in range(7):
            single.advance(1)
        assert case.scores(whole) == case.scores(single)

    def test_a_restored_state_continues_bit_for_bit(self, case: ImplementationCase) -> None:
        first = case.made()
        first.advance(3)
        state = first.state()
        saved = case.scores(first)
        first.advance(4)
        second = case.made()
        second.restore(state)
        assert case.scores(second) == saved
        second.advance(4)
        assert case.scores(second) == case.scores(first)

    def test_a_state_is_not_changed_by_further_training(self, case: ImplementationCase) -> None:
        made = case.made()
        made.advance(1)
        state = made.state()
        copy = bytes(bytearray(state))
        made.advance(2)
        assert state == copy

    def test_restore_refuses_what_is_not_a_state_and_stays_as_it_was(
        self, case: ImplementationCase
    ) -> None:
        made = case.made()
        made.advance(2)
        before, state = case.scores(made), made.state()
        middle = len(state) // 2
        flipped = state[:middle] + bytes([state[middle] ^ 1]) + state[middle + 1 :]
        for garbage in (b"", b"not a state", state[:middle], flipped):
            with pytest.raises(FormatError):
                made.restore(garbage)
        assert case.scores(made) == before

    def test_each_step_marks_its_parts_by_known_names(self, case: ImplementationCase) -> None:
        parts: list[str] = []

        def lap(part: str) -> None:
            parts.append(part)

        made = case.made(lap)
        made.advance(1)
        once = list(parts)
        assert once
        assert set(once) <= set(PARTS)
        made.advance(2)
        assert parts == once * 3


class FrameworkContract:
    """A framework, given by the fixture `framework`, with its name by `name`.

    Run it in a process that has not set the framework up yet: setting up is for a whole process.
    """

    def test_setup_names_its_version_and_sets_the_threads(
        self, framework: Framework, name: str
    ) -> None:
        setup = framework.setup(device="cpu", threads=1, precision="float32")
        assert setup.threads == 1
        assert setup.device_name
        assert setup.versions[name]
        assert setup.versions["python"]

    def test_an_unknown_device_is_refused_by_name(self, framework: Framework) -> None:
        with pytest.raises(UsageError, match=r"abacus.* sees cpu"):
            framework.setup(device="abacus", threads=1, precision="float32")

    def test_waiting_for_an_idle_device_returns(self, framework: Framework) -> None:
        framework.setup(device="cpu", threads=1, precision="float32")
        framework.synchronise()
        framework.synchronise()

    def test_another_number_of_threads_later_is_kept_or_refused(self, framework: Framework) -> None:
        framework.setup(device="cpu", threads=1, precision="float32")
        framework.synchronise()
        threads, refusal = 0, ""
        try:
            threads = framework.setup(device="cpu", threads=2, precision="float32").threads
        except UsageError as error:
            refusal = str(error)
        assert threads == 2 or "2 threads" in refusal


class TaskContract:
    """A closed task, given by the fixture `task`."""

    def test_the_hash_survives_writing_and_reading(self, task: Task) -> None:
        read = msgspec.json.decode(msgspec.json.encode(task), type=Task)
        assert read == task
        assert read.hash() == task.hash()

    def test_prose_leaves_the_hash_and_rules_change_it(self, task: Task) -> None:
        changed = msgspec.structs.replace
        assert changed(task, title="another", notes=(), sources=()).hash() == task.hash()
        assert changed(task, steps_max=task.steps_max + 1).hash() != task.hash()
        light = changed(task.light_target, threshold=0.123)
        assert changed(task, light_target=light).hash() != task.hash()

    def test_counts_shape_and_classes_are_those_of_the_data_set(self, task: Task) -> None:
        info, use = datasets.get(task.dataset.name), task.dataset
        assert (use.input_shape, use.classes) == (info.input_shape, info.classes)
        rest = info.examples + (info.test_examples or 0) - use.validation_count - use.test_count
        assert use.train_count == min(rest, use.split.train_limit or rest)
        assert use.validation_count == use.split.validation_count

    def test_targets_are_on_the_evaluated_split_easiest_first(self, task: Task) -> None:
        assert task.targets
        sizes = {
            "train": task.dataset.train_count,
            "validation": task.dataset.validation_count,
            "test": task.dataset.test_count,
        }
        assert sizes[task.eval_split] > 0
        for easier, harder in zip((task.light_target, *task.targets), task.targets, strict=False):
            assert easier.split == harder.split == task.eval_split
            assert (easier.metric, easier.direction) == (harder.metric, harder.direction)
            assert harder.met_by(harder.threshold)
            assert easier.met_by(harder.threshold)
            assert not harder.met_by(easier.threshold)

    def test_it_stops_on_validation_or_says_what_else_it_stops_on(self, task: Task) -> None:
        said = " ".join(task.notes)
        if not task.stops_at_target:
            assert "stops on nothing" in said
        elif task.eval_split != "validation":
            assert f"stops on {task.eval_split}" in said

    def test_steps_are_possible(self, task: Task) -> None:
        assert 0 < task.eval_every_steps <= task.steps_max
        assert task.steps_per_epoch >= 1
        assert (task.batch_size is None) == (task.step != "mini-batch")

    def test_it_says_where_its_rules_come_from(self, task: Task) -> None:
        assert task.title
        assert task.sources
        assert all(source.text for source in task.sources)
        assert all(source.read_on for source in task.sources if source.url)

    def test_every_implementation_is_there(self, task: Task) -> None:
        assert task.implementations
        for path in task.implementations.values():
            module, _, attribute = path.partition(":")
            assert importlib.util.find_spec(module) is not None
            assert attribute
        assert task.precisions


class LauncherContract:
    """A launcher, given by the fixture `launcher`; its workers train the fake.

    With `elsewhere` the plan is one for other machines: one core, no CPU of this one by number.
    """

    elsewhere = False

    @pytest.fixture(autouse=True)
    def _fakes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fakes.write_plugin(tmp_path / "plugin")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=os.pathsep)

    def test_a_worker_is_told_its_place(self, launcher: Launcher, tmp_path: Path) -> None:
        run, plan = _placed(tmp_path, "build_telling", elsewhere=self.elsewhere)
        with _started(launcher, run, plan) as job:
            assert list(job.pids) == list(range(plan.workers))
            assert _exits(job)[0].code == 0
        told = json.loads(run.stdout(0).read_text().splitlines()[0])
        assert told["RANK"] == told["LOCAL_RANK"] == "0"
        assert told["WORLD_SIZE"] == str(plan.workers)
        assert told["MASTER_ADDR"]
        assert 0 < int(told["MASTER_PORT"]) < 2**16
        begun = next(e for e in WORKER_LOG.read(run.events(0)) if isinstance(e, Started))
        if not isinstance(job, Elsewhere):  # no second counts twice, before its start and after
            assert job.spawned_ns[0] <= begun.t_ns

    def test_exit_codes_come_back_with_counters(self, launcher: Launcher, tmp_path: Path) -> None:
        for build, code in (("build", 0), ("build_failing", 70)):
            run, plan = _placed(tmp_path, build, elsewhere=self.elsewhere)
            with _started(launcher, run, plan) as job:
                left = _exits(job)[0]
                assert _exits(job)[0] == left  # asking again does not change the answer
            assert left.code == code
            assert not left.out_of_memory
            assert left.user_s is None or left.user_s > 0

    def test_a_worker_asked_to_stop_saves_its_state(
        self, launcher: Launcher, tmp_path: Path
    ) -> None:
        run, plan = _placed(tmp_path, "build_slow", elsewhere=self.elsewhere)
        with _started(launcher, run, plan) as job:
            _wait_for_training(run)
            job.ask_to_stop()
            assert _exits(job)[0].code == 75, (_exits(job)[0], run.stdout(0).read_text()[-2000:])
            job.ask_to_stop()  # of no effect on what has ended
        events = WORKER_LOG.read(run.events(0))
        assert isinstance(events[-1], Stopped)
        assert events[-1].status is None
        saved = [event for event in events if isinstance(event, Checkpointed)]
        assert saved[-1].step == events[-1].step > 0

    def test_a_killed_worker_ends_by_the_signal(self, launcher: Launcher, tmp_path: Path) -> None:
        run, plan = _placed(tmp_path, "build_slow", elsewhere=self.elsewhere)
        with _started(launcher, run, plan) as job:
            _wait_for_training(run)
            assert not job.poll()
            job.kill()
            assert _exits(job)[0].code == -signal.SIGKILL
        assert not isinstance(WORKER_LOG.read(run.events(0))[-1], Stopped)

    def test_leaving_early_leaves_no_process_behind(
        self, launcher: Launcher, tmp_path: Path
    ) -> None:
        run, plan = _placed(tmp_path, "build_slow", elsewhere=self.elsewhere)
        before = _children()
        with _started(launcher, run, plan):
            _wait_for_training(run)
        assert _children() <= before


class CollectiveContract:
    """The all-reduce of the framework that the fixture `framework` names, in real workers."""

    @pytest.fixture
    def record(self, framework: str, tmp_path: Path) -> RunRecord:
        """A small measurement by two workers on this machine."""
        run, plan = runs.place(tmp_path, runs.exchange_plan(fakes.EXCHANGE, framework))
        result = supervise(run, plan, LocalLauncher(), lambda events: None)
        assert result.status == "reached", (result, run.stdout(0).read_text())
        return read_run(run.path)

    def test_all_workers_log_every_repetition_of_every_array(self, record: RunRecord) -> None:
        wanted = fakes.EXCHANGE.points(light=False)
        counts = []
        for rank in range(record.plan.workers):
            seen = [e for e in record.workers_events[rank] if isinstance(e, Exchanged)]
            assert [Point(event.dtype, event.bytes) for event in seen] == wanted
            assert all(second > 0 for event in seen for second in event.seconds)
            counts.append([len(event.seconds) for event in seen])
        assert counts[0] == counts[1]
        most = fakes.EXCHANGE.repetitions_max
        assert all(fakes.EXCHANGE.repetitions_min <= count <= most for count in counts[0])


class ExaminationContract:
    """What the fixture `examination` says of its steps must fit together."""

    def test_every_row_has_a_name_of_its_own(self, examination: Examination) -> None:
        steps = [step.name for step in examination.steps]
        measures = [one.measure for step in examination.steps for one in step.seeks]
        assert len(set(steps)) == len(steps)
        assert len(set(measures)) == len(measures)
        assert all(step.seeks for step in examination.steps)
        for name in (*steps, *measures):
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        assert not [name for name in measures if name.startswith("time_of_")], "of the steps"

    def test_people_are_told_what_each_step_and_finding_is(self, examination: Examination) -> None:
        abouts = [step.about for step in examination.steps]
        abouts += [one.about for step in examination.steps for one in step.seeks]
        assert all(about and "\n" not in about for about in abouts)
        assert examination.sources

    def test_only_what_decides_the_result_is_in_the_hash(self, examination: Examination) -> None:
        changed = msgspec.structs.replace
        assert changed(examination, title="another", notes=()).hash() == examination.hash()
        assert changed(examination, steps=examination.steps[1:]).hash() != examination.hash()
        assert changed(examination, version=examination.version + 1).hash() != examination.hash()

    def test_light_leaves_steps_out_and_some_remain(self, examination: Examination) -> None:
        names = {step.name for step in examination.steps}
        assert set(examination.light_without) < names

    def test_it_is_read_back_as_it_was_written(self, examination: Examination) -> None:
        content = msgspec.json.encode(examination)
        assert msgspec.json.decode(content, type=Examination) == examination

    def test_every_examiner_is_a_module_that_is_there(self, examination: Examination) -> None:
        for path in examination.implementations.values():
            assert importlib.util.find_spec(path.partition(":")[0]) is not None, path


def _placed(store: Path, build: str, *, elsewhere: bool) -> tuple[RunDir, Plan]:
    plan = runs.fake_plan(implementation=f"timetrial.testing.fakes:{build}")
    if elsewhere:
        plan = msgspec.structs.replace(plan, cpus=None, cores=1)
    # beyond reach: a slow run lasts until it is interrupted
    steps = 10**9 if build == "build_slow" else plan.steps_max
    return runs.place(store, msgspec.structs.replace(plan, steps_max=steps))


@contextlib.contextmanager
def _started(launcher: Launcher, run: RunDir, plan: Plan) -> Iterator[Job]:
    """A job whose workers have all been started."""
    with launcher.start(run, plan, 0) as job:
        deadline = time.monotonic() + WAIT_S
        while isinstance(job, Elsewhere) and job.waiting():
            assert time.monotonic() < deadline, f"only {job.pids} were started in {WAIT_S:g} s"
            time.sleep(0.01)
        yield job


def _exits(job: Job) -> Mapping[int, Exit]:
    deadline = time.monotonic() + WAIT_S
    while len(exits := job.poll()) < len(job.pids):
        assert time.monotonic() < deadline, f"{job.pids}: only {list(exits)} ended in {WAIT_S:g} s"
        time.sleep(0.01)
    return exits


def _wait_for_training(run: RunDir) -> None:
    deadline = time.monotonic() + WAIT_S
    while not any(isinstance(event, Evaluated) for event in WORKER_LOG.read(run.events(0))):
        assert time.monotonic() < deadline, run.stdout(0).read_text()
        time.sleep(0.01)


def _children() -> set[int]:
    """Return the processes below this one."""
    return {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
