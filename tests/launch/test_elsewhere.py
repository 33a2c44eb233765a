"""Workers whose run directories are elsewhere, over connections that are plain child processes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from command_line import ROOT, python_path
from elsewhere_runs import (
    HereLauncher,
    assert_nothing_is_left,
    endless,
    placed,
    processes_of,
    stepped,
    supervised,
    training,
    wait_until,
    worker_of,
    wrong_in,
)

from timetrial import store
from timetrial.datasets import own
from timetrial.datasets.prepare import prepare
from timetrial.datasets.sources import SearchPath
from timetrial.engine.events import LAUNCHER_LOG, WORKER_LOG, Exited, Spawned
from timetrial.errors import LaunchError
from timetrial.launch.local import LocalLauncher
from timetrial.launch.remote import pipe
from timetrial.launch.remote.link import Link
from timetrial.launch.supervise import Result
from timetrial.plan import Request
from timetrial.rundir import RunDir
from timetrial.testing import fakes, runs
from timetrial.testing.contracts import LauncherContract


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where the far ends keep their things."""
    return tmp_path / "cache"


@pytest.fixture
def launcher(cache: Path) -> HereLauncher:
    return HereLauncher(environment={"TIMETRIAL_CACHE": str(cache)})


class TestElsewhere(LauncherContract):
    elsewhere = True


@pytest.fixture(autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("plugin")
    fakes.write_plugin(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def exits(run: RunDir) -> list[Exited]:
    return [e for e in LAUNCHER_LOG.read(run.launcher_events) if isinstance(e, Exited)]


# --- a run ---------------------------------------------------------------------------------------


def test_a_run_leaves_the_same_files_and_curve_as_a_local_one(
    launcher: HereLauncher, cache: Path, tmp_path: Path
):
    run, plan = placed(tmp_path / "there", seed=3)
    assert supervised(run, plan, launcher).status == "reached"
    local, same = placed(tmp_path / "here", seed=3)
    assert supervised(local, same, LocalLauncher()).status == "reached"
    own_files = {"begun.0.0.json", "exit.0.0.json", *(p.name for p in run.machines())}
    assert {name for name in run.files() if name not in own_files} == set(local.files())
    curves = [runs.curve_bits(store.read_run(one.path)) for one in (run, local)]
    assert curves[0] == curves[1]
    assert wrong_in(run.path) == []
    assert_nothing_is_left(cache, run)


def test_two_workers_on_one_machine_get_places_and_cores_of_their_own(
    launcher: HereLauncher, cache: Path, tmp_path: Path
):
    run, plan = placed(tmp_path, "build_telling", workers=2)
    assert supervised(run, plan, launcher).status == "reached"
    told = [msgspec.json.decode(run.stdout(r).read_bytes().splitlines()[0]) for r in (0, 1)]
    assert [(t["RANK"], t["LOCAL_RANK"], t["WORLD_SIZE"]) for t in told] == [
        ("0", "0", "2"),
        ("1", "1", "2"),
    ]
    assert len({(t["MASTER_ADDR"], t["MASTER_PORT"]) for t in told}) == 1
    spawned = [e for e in LAUNCHER_LOG.read(run.launcher_events) if isinstance(e, Spawned)]
    assert {event.limits["site"] for event in spawned} == {"here0", "here1"}
    if len(os.sched_getaffinity(0)) > 1:
        assert len({event.limits["cpu"] for event in spawned}) == 2
    assert len(run.machines()) == 1
    assert len({(p.name) for p in run.checkpoints.iterdir()}) == 4  # two states of each
    assert wrong_in(run.path) == []
    assert_nothing_is_left(cache, run)


def test_logs_and_states_are_here_while_the_worker_runs(launcher: HereLauncher, tmp_path: Path):
    run, plan = endless(tmp_path)
    seen: list[int] = []

    def meanwhile() -> None:
        wait_until(lambda: run.checkpoints.exists() and list(run.checkpoints.glob("step-*.npz")))
        seen.append(len(WORKER_LOG.read(run.events(0))))
        wait_until(lambda: len(WORKER_LOG.read(run.events(0))) > seen[0])
        worker_of(run).kill()

    result = supervised(run, plan, launcher, meanwhile)
    assert result == Result(None, "the worker was ended by signal 9")


def test_a_resumed_run_goes_on_from_its_state_and_gives_the_same_curve(
    launcher: HereLauncher, cache: Path, tmp_path: Path
):
    whole, plan = placed(tmp_path / "whole", seed=5)
    supervised(whole, plan, LocalLauncher())
    run, cut = placed(tmp_path / "cut", "build_slow", seed=5)

    def kill() -> None:
        wait_until(lambda: run.checkpoints.exists() and list(run.checkpoints.glob("step-*.npz")))
        worker_of(run).kill()

    assert supervised(run, cut, launcher, kill).status is None
    assert_nothing_is_left(cache, run)
    assert supervised(run, cut, launcher).status == "reached"
    record = store.read_run(run.path)
    assert record.attempts == 2
    second = [e for e in record.worker if getattr(e, "attempt", None) == 1]
    assert second[0].step > 0
    assert runs.curve_bits(record) == runs.curve_bits(store.read_run(whole.path))
    assert wrong_in(run.path) == []


# --- ends ----------------------------------------------------------------------------------------


def test_a_frozen_worker_is_killed(launcher: HereLauncher, cache: Path, tmp_path: Path):
    run, plan = endless(tmp_path)
    with launcher.start(run, plan, 0) as job:
        wait_until(lambda: not job.waiting() and training(run))
        frozen = worker_of(run)
        frozen.suspend()
        job.ask_to_stop()
        assert not job.poll()
        job.kill()
        wait_until(job.poll)
        assert job.poll()[0].code == -signal.SIGKILL
    assert not frozen.is_running()
    assert_nothing_is_left(cache, run)


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGSTOP"])
def test_a_far_end_that_is_gone_or_frozen_ends_the_run_and_loses_little(
    launcher: HereLauncher,
    cache: Path,
    tmp_path: Path,
    signal_name: str,
    monkeypatch: pytest.MonkeyPatch,
):
    run, plan = endless(tmp_path, workers=2)
    far_ends: list[psutil.Process] = []

    def hit() -> None:
        wait_until(lambda: stepped(run, 1))
        agent = psutil.Process(worker_of(run, 1).ppid())
        far_ends.append(agent.parent())
        monkeypatch.setattr(pipe, "LOST_S", 3.0)
        far_ends[0].send_signal(getattr(signal, signal_name))

    result = supervised(run, plan, launcher, hit)
    assert result.status is None
    assert "worker 1 was ended by signal 9: " in result.reason
    assert "here1" in result.reason
    assert training(run)
    if signal_name == "SIGSTOP":  # it was killed with its connection, when that was given up
        wait_until(lambda: not far_ends[0].is_running())
    wait_until(lambda: processes_of(run) == [])


def test_a_file_that_comes_back_changed_is_fetched_again(
    cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run, plan = placed(tmp_path)
    assert supervised(run, plan, spoiling(cache, times=1)).status == "reached"
    assert "came back changed" in caplog.text
    assert wrong_in(run.path) == []


def test_a_file_that_comes_back_changed_again_is_refused_and_kept_there(
    cache: Path, tmp_path: Path
):
    run, plan = placed(tmp_path)
    with pytest.raises(LaunchError, match=r"machine\..*\.json came back from here0 with another"):
        supervised(run, plan, spoiling(cache, times=99))
    assert not run.done.exists()
    [kept] = (cache / "kept").iterdir()
    assert (kept / "events.0.jsonl").read_bytes() == run.events(0).read_bytes()
    assert_nothing_is_left(cache, run)


def spoiling(cache: Path, *, times: int) -> HereLauncher:
    """A launcher whose connection changes a file on its way, so often."""
    return HereLauncher(
        environment={"TIMETRIAL_CACHE": str(cache)}, wrap=lambda link: SpoiltLink(link, times=times)
    )


class SpoiltLink:
    """A link that changes a byte of a file on its way."""

    def __init__(self, link: Link, *, times: int) -> None:
        self.host = link.host
        self._link = link
        self._times = times

    def open(self) -> None:
        self._link.open()

    def call(self, head: Mapping[str, object], load: bytes) -> tuple[bytes, bytes]:
        told, answer = self._link.call(head, load)
        at = 0
        for name, _, length in msgspec.json.decode(told).get("pieces", ()):
            if name.startswith("machine.") and self._times > 0:
                self._times -= 1
                answer = answer[:at] + b"X" + answer[at + 1 :]
            at += length
        return told, answer

    def close(self) -> None:
        self._link.close()

    def abandon(self) -> None:
        self._link.abandon()


# --- what is there -------------------------------------------------------------------------------


def test_another_timetrial_there_is_refused(cache: Path, tmp_path: Path):
    shutil.copytree(ROOT / "src", tmp_path / "other", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "other" / "timetrial" / "units.py").open("a") as file:
        file.write("# another\n")
    launcher = HereLauncher(
        environment={
            "TIMETRIAL_CACHE": str(cache),
            "PYTHONPATH": python_path(tmp_path / "other"),
        }
    )
    run, plan = placed(tmp_path / "store")
    with pytest.raises(LaunchError, match="here0 has another timetrial"):
        supervised(run, plan, launcher)
    assert_nothing_is_left(cache, run)


def test_a_python_without_timetrial_is_refused_with_what_it_said(cache: Path, tmp_path: Path):
    bare = Path(sys.base_prefix) / "bin" / Path(sys.executable).name
    launcher = HereLauncher(
        python=str(bare), environment={"TIMETRIAL_CACHE": str(cache), "PYTHONPATH": ""}
    )
    run, plan = placed(tmp_path / "store")
    with pytest.raises(LaunchError, match=r"on here0 has no timetrial like this one: .*No module"):
        supervised(run, plan, launcher)
    assert_nothing_is_left(cache, run)


def test_data_that_is_not_there_is_refused_with_all_that_was_tried(cache: Path, tmp_path: Path):
    if not os.environ.get("TIMETRIAL_DATA"):
        pytest.skip("no real data here to make the plan with")
    drafted = runs.resolve(Request(task="mnist-cnn", framework="torch"), 1)
    run, plan = runs.place(tmp_path / "store", msgspec.structs.replace(drafted, cpus=None))
    nowhere = {"TIMETRIAL_CACHE": str(cache), "TIMETRIAL_DATA": "", "TIMETRIAL_OFFLINE": "1"}
    with pytest.raises(LaunchError, match="On here0: The data set 'mnist' cannot be had"):
        supervised(run, plan, HereLauncher(environment=nowhere))
    assert_nothing_is_left(cache, run)


def test_a_users_own_data_is_sent_once(launcher: HereLauncher, cache: Path, tmp_path: Path):
    table = tmp_path / "own.csv"
    rows = np.random.default_rng(1).integers(0, 17, (1797, 64))
    header = ",".join([*(f"p{i}" for i in range(64)), "digit"])
    lines = [",".join([*map(str, row), str(i % 10)]) for i, row in enumerate(rows)]
    table.write_text("\n".join([header, *lines]) + "\n")
    info = own.csv_table(table, label="digit", name="own-digits")
    kept = SearchPath(data_dirs=(), cache_dir=str(tmp_path / "local"), offline=True)
    located = prepare(info, kept, fetch=False)
    task = fakes.TASK
    use = msgspec.structs.replace(
        task.dataset,
        name=info.name,
        input_shape=info.input_shape,
        content_sha256=info.content_sha256,
    )
    changed = {
        "learned": msgspec.structs.replace(task, dataset=use),
        "data_files": located.files,
        "data_sources": located.places,
    }
    for _ in range(2):
        run, plan = placed(tmp_path / "store", **changed)
        assert supervised(run, plan, launcher).status in ("reached", "budget")
        [sent] = (cache / "data" / "own-digits").iterdir()
        assert sent.read_bytes() == Path(next(iter(located.files.values()))).read_bytes()
    assert_nothing_is_left(cache, run)


def test_a_script_is_not_sent(launcher: HereLauncher, tmp_path: Path):
    run, plan = placed(tmp_path, script=("train",), launcher="ssh")
    with pytest.raises(LaunchError, match="do not share this one's files; the command train"):
        launcher.start(run, plan, 0)


def test_a_connection_that_fails_ends_the_others(cache: Path, tmp_path: Path):
    def broken(link: Link) -> Link:
        if link.host != "here1":
            return link
        words = [sys.executable, "-c", "import sys; sys.exit('no route')"]
        return pipe.PipeLink(
            link.host, pipe.ChildWires(words, lambda said: f"here1: {said}"), greeting_s=60
        )

    launcher = HereLauncher(environment={"TIMETRIAL_CACHE": str(cache)}, wrap=broken)
    run, plan = placed(tmp_path, workers=2)
    with pytest.raises(LaunchError, match="here1: no route"):
        supervised(run, plan, launcher)
    assert_nothing_is_left(cache, run)


def test_a_job_left_while_it_is_made_ready_leaves_nothing(
    launcher: HereLauncher, cache: Path, tmp_path: Path
):
    run, plan = placed(tmp_path)
    with launcher.start(run, plan, 0) as job:
        assert job.waiting()
    assert_nothing_is_left(cache, run)


def test_a_launcher_that_is_killed_takes_its_workers_with_it(cache: Path, tmp_path: Path):
    run, plan = endless(tmp_path)
    pid = os.fork()
    if pid == 0:  # a launcher of its own, to be killed
        supervised(run, plan, HereLauncher(environment={"TIMETRIAL_CACHE": str(cache)}))
        os._exit(0)
    wait_until(lambda: training(run))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert_nothing_is_left(cache, run)
    assert training(run)
    assert not run.done.exists()
