"""How a worker's training ends, on real workers: target, budget, divergence, errors, limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from timetrial import audit, store, worker
from timetrial.engine.events import (
    Evaluated,
    Exited,
    Fenced,
    Progress,
    Segment,
    SegmentName,
    Spawned,
    Started,
    Stopped,
)
from timetrial.errors import DiskError, LaunchError, RunLockedError, StoreError
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import Result, supervise
from timetrial.meter.cgroup import open_cgroup
from timetrial.plan import Plan, Request
from timetrial.rundir import RunDir
from timetrial.store import RunRecord
from timetrial.testing import fakes, runs

Watch = Callable[[object], None]
SLOW = "timetrial.testing.fakes:build_slow"
ODD = """
    import numpy as np
    from timetrial.testing.fakes import FakeImplementation

    class Failing(FakeImplementation):
        def advance(self, steps):
            super().advance(steps)
            if self._step > 45:
                raise ValueError("a made-up failure in step 46")

    class Diverging(FakeImplementation):
        def predict(self, inputs):
            scores = super().predict(inputs)
            return scores if self._step <= 40 else np.full_like(scores, np.nan)

    class Short(FakeImplementation):
        def predict(self, inputs):
            return super().predict(inputs)[:-1]

    class Greedy(FakeImplementation):
        def advance(self, steps):
            super().advance(steps)
            self.held = np.ones(400 * 2**20, dtype=np.uint8)

    class Leaving(FakeImplementation):
        def advance(self, steps):
            import os
            import os
            os._exit(3)

    failing, diverging, short, greedy, leaving = Failing, Diverging, Short, Greedy, Leaving
"""


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.write_plugin(tmp_path / "plugin")
    (tmp_path / "plugin" / "odd.py").write_text(textwrap.dedent(ODD))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=os.pathsep)


def changed(plan: Plan, **fields: object) -> Plan:
    return msgspec.structs.replace(plan, **fields)


def attempt(
    run: RunDir, plan: Plan, watch: Callable[[object], None] = lambda events: None
) -> Result:
    return supervise(run, plan, LocalLauncher(), watch)


def finished(folder: Path, plan: Plan) -> RunRecord:
    """Run the plan to its end; its directory stands every check."""
    run, named = runs.place(folder / "store", plan)
    result = attempt(run, named)
    record = store.read_run(run.path)
    assert record.status == result.status is not None
    [verification] = audit.verify([run.path])
    assert verification.ok, verification
    return record


def steps_of(record: RunRecord, split: str) -> list[int]:
    return [seen.step for seen in record.evaluations if seen.split == split]


def test_a_run_stops_at_the_first_evaluation_that_meets_its_target(tmp_path: Path):
    whole = finished(tmp_path, runs.fake_plan())
    accuracies = [seen.accuracy for seen in whole.evaluations if seen.split == "validation"]
    threshold = sorted(accuracies)[len(accuracies) // 2]
    target = msgspec.structs.replace(fakes.TASK.targets[-1], threshold=threshold)
    record = finished(tmp_path, changed(runs.fake_plan(), target=target))
    assert record.status == "reached"
    first = next(i for i, accuracy in enumerate(accuracies) if accuracy >= threshold)
    assert steps_of(record, "validation") == [20 * (i + 1) for i in range(first + 1)]
    assert steps_of(record, "test") == [20 * (first + 1)]


def test_a_run_without_a_target_goes_to_its_last_step_and_tests_once(tmp_path: Path):
    record = finished(tmp_path, changed(runs.fake_plan(), steps_max=47))
    assert steps_of(record, "validation") == [20, 40, 47]
    assert steps_of(record, "test") == [47]
    assert record.plan.task.steps_per_epoch == 135  # evaluations are not tied to epochs


def test_a_missed_target_ends_at_the_last_step_with_status_budget(tmp_path: Path):
    target = msgspec.structs.replace(fakes.TASK.targets[-1], threshold=0.999)
    record = finished(tmp_path, changed(runs.fake_plan(), target=target, steps_max=60))
    assert (record.status, record.detail, record.steps) == ("budget", "last step", 60)


def test_a_time_budget_ends_training_between_evaluations_and_evaluates_once_more(tmp_path: Path):
    plan = runs.fake_plan(implementation=SLOW, settings={"eval_every_steps": 10**6})
    record = finished(tmp_path, changed(plan, steps_max=10**6, budget_s=1.0))
    assert record.status in ("budget", "reached")
    assert record.detail in ("time budget", "")
    assert steps_of(record, "validation") == steps_of(record, "test") == [record.steps]
    assert 0 < record.steps < 10**6


def test_the_budget_counts_earlier_attempts_from_the_data_to_their_last_event():
    def started(t_ns: int) -> Started:
        return Started(t_ns=t_ns, utc_ns=0, attempt=0, rank=0, pid=1, step=0, checkpoint=None)

    def segment(start_ns: int, t_ns: int, name: SegmentName, following: SegmentName) -> Segment:
        return Segment(t_ns=t_ns, start_ns=start_ns, name=name, next=following, step=0)

    killed = [
        started(100),
        segment(100, 130, "imports", "data"),
        segment(130, 150, "data", "train"),
        Progress(t_ns=190, step=4),
    ]
    saved = [
        started(1000),
        segment(1000, 1500, "imports", "data"),
        Stopped(t_ns=1507, step=4, status=None, detail=""),
    ]
    early = [started(5000)]
    assert worker._busy_ns([]) == 0
    assert worker._busy_ns(killed) == 60
    assert worker._busy_ns([*killed, *saved, *early]) == 60 + 7  # imports and waits left out


def test_scores_that_are_not_finite_end_the_run_as_diverged(tmp_path: Path):
    record = finished(tmp_path, runs.fake_plan(implementation="odd:diverging"))
    assert (record.status, record.steps) == ("diverged", 60)
    assert record.evaluations[-1].loss is None


def test_a_huge_learning_rate_diverges_and_the_run_is_data(tmp_path: Path):
    settings = {"optimizer.learning_rate": 1e30, "sample_every_s": 0, "eval_every_steps": 5}
    request = Request(task="digits-cnn", division="open", settings=settings)
    record = finished(tmp_path, runs.resolve(request, seed=1))
    assert record.status == "diverged"
    assert record.evaluations[-1].step == 5


def test_an_error_of_the_implementation_is_kept_with_its_trace(tmp_path: Path):
    record = finished(tmp_path, runs.fake_plan(implementation="odd:failing"))
    assert record.status == "error"
    assert record.detail == "ValueError: a made-up failure in step 46"
    assert "Traceback" in record.run.stdout(0).read_text()
    assert record.steps >= 40
    assert record.last_exit is not None
    assert record.last_exit.code == 70


def test_scores_that_leave_an_example_out_are_an_error(tmp_path: Path):
    record = finished(tmp_path, runs.fake_plan(implementation="odd:short"))
    assert record.status == "error"
    assert "(359, 10)" in record.detail
    assert "360 examples" in record.detail


def test_an_unknown_implementation_is_an_error_with_its_name(tmp_path: Path):
    record = finished(tmp_path, runs.fake_plan(implementation="no_such_module:build"))
    assert record.status == "error"
    assert "no_such_module" in record.detail


def test_a_worker_beyond_its_memory_limit_is_out_of_memory(tmp_path: Path):
    limit = 300 * 2**20
    try:
        open_cgroup("test", memory_bytes=limit).close()
    except LaunchError as error:
        pytest.skip(str(error))
    plan = changed(runs.fake_plan(implementation="odd:greedy"), memory_bytes=limit)
    record = finished(tmp_path, plan)
    assert record.status == "out_of_memory"
    assert record.last_exit is not None
    assert record.last_exit.code == -signal.SIGKILL
    assert record.last_exit.out_of_memory


def test_a_run_beyond_its_timeout_is_killed_and_says_so(tmp_path: Path):
    plan = runs.fake_plan(implementation=SLOW, settings={"timeout_s": 2})
    record = finished(tmp_path, changed(plan, steps_max=10**6))
    assert record.status == "timeout"
    assert record.last_exit is not None
    assert record.last_exit.code == -signal.SIGKILL


def test_a_worker_that_leaves_without_a_word_is_a_launch_error_with_its_code(tmp_path: Path):
    run, plan = runs.place(tmp_path, runs.fake_plan(implementation="odd:leaving"))
    with pytest.raises(LaunchError, match=r"exit code 3 .*printed nothing.*stdout\.0\.log"):
        attempt(run, plan)
    assert not run.done.exists()


def test_an_earlier_attempts_last_word_is_not_taken_for_the_last_ones(tmp_path: Path):
    run, plan = runs.place(tmp_path, runs.fake_plan(implementation=SLOW))
    with pytest.raises(KeyboardInterrupt):
        attempt(run, plan, interrupt_after(run, 1))
    with pytest.raises(LaunchError, match="exit code 3"):
        attempt(run, changed(plan), leave_at_once(run))
    with pytest.raises(StoreError):
        attempt(RunDir(finished(tmp_path, runs.fake_plan()).run.path), plan)


def leave_at_once(run: RunDir) -> Watch:
    """Return a watch; beside it, the plan in `run` now names an implementation that just exits."""
    text = run.plan.read_text()
    run.plan.write_text(text.replace(SLOW, "odd:leaving"))
    return lambda events: None


def test_fenced_steps_are_split_into_the_parts_that_the_implementation_marks(tmp_path: Path):
    plan = runs.fake_plan(settings={"fence_every_steps": 7})
    record = finished(tmp_path, changed(plan, steps_max=60))
    fenced = [event for event in record.worker if isinstance(event, Fenced)]
    assert [event.step for event in fenced] == [7, 14, 21, 28, 35, 42, 49, 56]
    for event in fenced:
        assert set(event.parts_ns) == {"data", "optimizer"}
        assert 0 < sum(event.parts_ns.values()) <= event.total_ns


def test_rhythm_changes_no_bit_of_the_curve(tmp_path: Path):
    curves = []
    for fence, checkpoint in ((0, 1000.0), (3, 0.0), (50, 0.01)):
        settings = {"fence_every_steps": fence, "checkpoint_every_s": checkpoint}
        plan = runs.fake_plan(settings=settings)
        curves.append(runs.curve_bits(finished(tmp_path, changed(plan, steps_max=60))))
    assert curves[0] == curves[1] == curves[2]


def test_counters_of_the_worker_are_in_the_launchers_log(tmp_path: Path):
    record = finished(tmp_path, changed(runs.fake_plan(), steps_max=20))
    [left] = [event for event in record.launcher if isinstance(event, Exited)]
    assert left.user_s is not None
    assert left.user_s > 0
    assert left.peak_rss_bytes is not None
    assert left.peak_rss_bytes > 20 * 2**20


# --- from outside --------------------------------------------------------------------------------


def interrupt_after(run: RunDir, evaluations: int) -> Watch:
    """Return a watch that raises KeyboardInterrupt once, as Ctrl-C does in the main thread."""
    seen: list[object] = []
    sent: list[bool] = []

    def watch(events: object) -> None:
        assert isinstance(events, list)
        seen.extend(event for event in events if isinstance(event, Evaluated))
        if len(seen) >= evaluations and not sent:
            sent.append(True)
            raise KeyboardInterrupt

    return watch


def test_ctrl_c_saves_the_run_and_resuming_gives_the_same_curve(tmp_path: Path):
    plan = runs.fake_plan(implementation=SLOW)
    whole = finished(tmp_path, runs.fake_plan())
    run, named = runs.place(tmp_path, plan)
    with pytest.raises(KeyboardInterrupt):
        attempt(run, named, interrupt_after(run, 2))
    record = store.read_run(run.path)
    assert record.status is None
    assert record.last_exit is not None
    assert record.last_exit.code == 75
    stopped = record.worker[-1]
    assert isinstance(stopped, Stopped)
    assert stopped.status is None
    assert attempt(run, named).status == "reached"
    resumed = store.read_run(run.path)
    assert resumed.attempts == 2
    assert runs.curve_bits(resumed) == runs.curve_bits(whole)
    assert all(v.ok for v in audit.verify([run.path]))


def test_a_second_process_on_a_run_is_refused_and_nothing_is_lost(tmp_path: Path):
    run, plan = runs.place(tmp_path / "store", runs.fake_plan(implementation=SLOW))
    refusals: list[str] = []
    code = "import sys; from timetrial import api; api.resume([sys.argv[1]])"

    def watch(events: object) -> None:
        if events and not refusals:
            machine = [path.read_bytes() for path in run.machines()]
            second = subprocess.run(
                [sys.executable, "-c", code, str(run.path)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert second.returncode == 1
            assert machine == [path.read_bytes() for path in run.machines()]
            refusals.append(second.stderr.splitlines()[-1])

    assert attempt(run, plan, watch).status == "reached"
    assert "RunLockedError: Another process is working on" in refusals[0]
    assert all(v.ok for v in audit.verify([run.path]))
    assert store.read_run(run.path).attempts == 1


LAUNCH = """
import sys
from pathlib import Path
from timetrial import store
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
record = store.read_run(Path(sys.argv[1]))
supervise(record.run, record.plan, LocalLauncher(), lambda events: None)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_without_its_launcher_a_worker_saves_and_ends_and_the_run_resumes(
    number: signal.Signals, tmp_path: Path
):
    whole = finished(tmp_path, runs.fake_plan())
    run, plan = runs.place(tmp_path, runs.fake_plan(implementation=SLOW))
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(run.path)], stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(evaluations(run)) >= 2)
    [begun] = [e for e in store.read_run(run.path).worker if isinstance(e, Started)]
    os.kill(begun.pid, signal.SIGSTOP)
    launcher.send_signal(number)
    launcher.wait()
    with pytest.raises(RunLockedError):  # the worker has not saved yet: no attempt is mixed in
        attempt(run, plan)
    assert store.read_run(run.path).attempts == 1
    os.kill(begun.pid, signal.SIGCONT)
    wait_until(lambda: isinstance(store.read_run(run.path).worker[-1], Stopped))
    stopped = store.read_run(run.path).worker[-1]
    assert isinstance(stopped, Stopped)
    assert stopped.status is None
    assert 0 < stopped.step < plan.steps_max
    wait_until(lambda: attempt_when_free(run, plan))
    record = store.read_run(run.path)
    assert record.status == "reached"
    assert record.attempts == 2
    assert runs.curve_bits(record) == runs.curve_bits(whole)
    assert all(v.ok for v in audit.verify([run.path]))


def attempt_when_free(run: RunDir, plan: Plan) -> bool:
    try:
        return attempt(run, plan).status is not None
    except RunLockedError:
        return False


def evaluations(run: RunDir) -> list[object]:
    return [event for event in store.read_run(run.path).worker if isinstance(event, Evaluated)]


def wait_until(true: Callable[[], bool], at_most_s: float = 60.0) -> None:
    deadline = time.monotonic() + at_most_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_launcher_killed_while_its_worker_imports_leaves_no_worker(tmp_path: Path):
    plan = changed(runs.fake_plan(implementation=SLOW), steps_max=10**6)
    run, _ = runs.place(tmp_path, plan)
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCH, str(run.path)])
    wait_until(lambda: any(isinstance(e, Spawned) for e in store.read_run(run.path).launcher))
    launcher.kill()
    launcher.wait()
    wait_until(lambda: bool(store.read_run(run.path).worker), 60)
    wait_until(lambda: isinstance(store.read_run(run.path).worker[-1], Stopped))


# --- a full disk ---------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_stops_the_run_which_resumes_to_the_same_curve(
    disk: Path, tmp_path: Path
):
    whole = finished(tmp_path, runs.fake_plan())
    run, plan = runs.place(disk, runs.fake_plan(implementation=SLOW))
    filler = disk / "filler"

    def watch(events: object) -> None:
        if len(evaluations(run)) >= 2 and not filler.exists():
            fill(filler)

    with pytest.raises(DiskError, match=r"timetrial run --resume"):
        attempt(run, plan, watch)
    assert run.events(0).read_bytes().endswith(b"\n")
    assert not run.done.exists()
    filler.unlink()
    assert attempt(run, plan).status == "reached"
    assert runs.curve_bits(store.read_run(run.path)) == runs.curve_bits(whole)
    assert all(v.ok for v in audit.verify([run.path]))


def test_the_exit_code_of_a_full_disk_becomes_an_error_that_says_how_to_resume(
    disk: Path, tmp_path: Path
):
    """Worker and launcher on different disks: only the worker's is full."""
    run, plan = runs.place(tmp_path, runs.fake_plan())
    run.events(0).symlink_to(disk / "events.0.jsonl")
    fill(disk / "filler")
    with pytest.raises(DiskError, match=r"disk is full.*timetrial run --resume"):
        attempt(run, plan)
    assert not run.done.exists()
    record = store.read_run(run.path)
    assert record.last_exit is not None
    assert record.last_exit.code == 74
    assert "No space left" in run.stdout(0).read_text()
    (disk / "filler").unlink()
    assert attempt(run, plan).status == "reached"


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
