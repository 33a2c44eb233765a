"""Workers as tasks of jobs on a real Slurm cluster of two nodes."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psutil
import pytest
from command_line import environment, timetrial_command
from elsewhere_runs import WAIT_S, training, wait_until, watch_nothing, wrong_in
from slurm_cluster import cluster  # noqa: F401 - a fixture

from timetrial import api, store
from timetrial.engine.events import (
    LAUNCHER_LOG,
    WORKER_LOG,
    Exited,
    Granted,
    Spawned,
    Stopped,
    WorkerEvent,
)
from timetrial.errors import LaunchError, UsageError
from timetrial.launch.slurm import SlurmLauncher
from timetrial.launch.supervise import Result, Watch, supervise
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.stats import clocks
from timetrial.testing import fakes, runs
from timetrial.testing.contracts import LauncherContract
from timetrial.testing.slurm import PARTITION, SlurmCluster

pytestmark = pytest.mark.usefixtures("cluster")


class TestSlurm(LauncherContract):
    elsewhere = True

    @pytest.fixture
    def launcher(self) -> SlurmLauncher:
        return SlurmLauncher()


@pytest.fixture(autouse=True)
def _plugin(
    cluster: SlurmCluster,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("plugin")
    fakes.write_plugin(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    cluster.cancel_all()  # of a test that failed


def placed(place: Path, build: str = "build", **fields: object) -> tuple[RunDir, Plan]:
    plan = runs.fake_plan(implementation=f"timetrial.testing.fakes:{build}")
    here = {"cpus": None, "cores": 1, "launcher": "slurm", **fields}
    return runs.place(place, msgspec.structs.replace(plan, **here))


def endless(place: Path, **fields: object) -> tuple[RunDir, Plan]:
    return placed(place, "build_slow", steps_max=10**9, **fields)


def supervised(
    run: RunDir, plan: Plan, meanwhile: Callable[[], None], watch: Watch = watch_nothing
) -> Result:
    """Run one attempt, while this thread does something to it."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(supervise, run, plan, SlurmLauncher(), watch)
        meanwhile()
        return future.result(WAIT_S)


def processes_of(run: RunDir) -> list[psutil.Process]:
    """All processes that have the run directory among their words."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(run.path) in (process.info["cmdline"] or ()):
            found.append(process)
    return found


def assert_nothing_is_left(cluster: SlurmCluster, run: RunDir) -> None:  # noqa: F811
    assert cluster.jobs() == []
    assert processes_of(run) == []
    assert [path for path in run.path.parent.iterdir() if path.name.startswith(".")] == []


# --- places --------------------------------------------------------------------------------------


def test_two_workers_get_a_node_each_and_the_same_meeting_place(
    cluster: SlurmCluster,  # noqa: F811
    tmp_path: Path,
):
    run, plan = placed(tmp_path, "build_telling", workers=2)
    result = supervise(run, plan, SlurmLauncher(), watch_nothing)
    assert result.status == "reached"
    told = [json.loads(run.stdout(rank).read_text().splitlines()[0]) for rank in (0, 1)]
    assert [t["RANK"] for t in told] == ["0", "1"]
    assert [t["LOCAL_RANK"] for t in told] == ["0", "0"]
    assert [t["SLURMD_NODENAME"] for t in told] == list(cluster.nodes)
    assert {(t["WORLD_SIZE"], t["MASTER_ADDR"]) for t in told} == {("2", "127.0.0.1")}
    assert len({t["MASTER_PORT"] for t in told}) == 1
    spawned = [e for e in LAUNCHER_LOG.read(run.launcher_events) if isinstance(e, Spawned)]
    cpus = {event.limits["cpu"] for event in spawned}
    assert len(cpus) == min(2, len(os.sched_getaffinity(0)))  # no CPU has two workers
    assert all(f"in partition {PARTITION}" in event.limits["job"] for event in spawned)
    assert wrong_in(run.path) == []
    assert_nothing_is_left(cluster, run)


# --- ends ----------------------------------------------------------------------------------------


def test_a_job_killed_by_others_is_a_killed_run_that_can_be_resumed(
    cluster: SlurmCluster,  # noqa: F811
    tmp_path: Path,
):
    run, plan = placed(tmp_path, "build_slow")

    def kill() -> None:
        wait_until(lambda: training(run))
        [job] = cluster.jobs()
        cluster.command("scancel", "--signal=KILL", f"{job}.0")

    result = supervised(run, plan, kill)
    assert result.status is None
    assert "ended by signal 9: Slurm job" in result.reason
    record = store.read_run(run.path)
    assert record.status == "killed"
    assert [e.why for e in record.launcher if isinstance(e, Exited)] == [
        result.reason.partition(": ")[2]
    ]
    assert_nothing_is_left(cluster, run)
    [resumed] = api.resume([run.path])
    assert resumed.status == "reached"
    assert resumed.attempts == 2
    assert wrong_in(run.path) == []
    assert_nothing_is_left(cluster, run)


def test_scancel_lets_the_workers_save(cluster: SlurmCluster, tmp_path: Path):  # noqa: F811
    run, plan = endless(tmp_path)

    def cancel() -> None:
        wait_until(lambda: training(run))
        [job] = cluster.jobs()
        cluster.command("scancel", job)

    result = supervised(run, plan, cancel)
    assert result.status is None
    last = WORKER_LOG.read(run.events(0))[-1]
    assert isinstance(last, Stopped)
    assert list(run.checkpoints.iterdir())
    assert_nothing_is_left(cluster, run)


def test_a_worker_that_is_killed_alone_ends_the_run_with_its_job(
    cluster: SlurmCluster,  # noqa: F811
    tmp_path: Path,
):
    run, plan = endless(tmp_path, workers=2)

    def kill() -> None:
        wait_until(lambda: training(run) and run.begun(0, 1).exists())
        psutil.Process(json.loads(run.begun(0, 1).read_text())["pid"]).kill()

    result = supervised(run, plan, kill)
    assert (result.status, result.reason) == (None, "worker 1 was ended by signal 9")
    assert_nothing_is_left(cluster, run)


@pytest.mark.slow
def test_a_node_that_fails_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its daemon and all it started die at once, as when a machine loses its power."""
    with SlurmCluster(nodes=1) as failing:
        monkeypatch.setenv("SLURM_CONF", failing.environment["SLURM_CONF"])
        run, plan = endless(tmp_path)

        def fail() -> None:
            wait_until(lambda: training(run))
            failing.lose("n1")

        result = supervised(run, plan, fail)
        assert result.status is None
        assert "ended by signal 9: Slurm job 1" in result.reason
        assert processes_of(run) == []


# --- the queue -----------------------------------------------------------------------------------


def test_time_in_the_queue_is_waiting_and_nobody_bills_it(
    cluster: SlurmCluster,  # noqa: F811
    tmp_path: Path,
):
    cluster.command("sbatch", "--nodes=2", "--output=/dev/null", "--wrap=sleep 300")
    wait_until(lambda: "R" in cluster.command("squeue", "--noheader", "--format=%t"))
    [holder] = cluster.jobs()
    run, plan = placed(tmp_path)

    def let_go() -> None:
        wait_until(lambda: len(cluster.jobs()) == 2)
        time.sleep(2.5)
        cluster.command("scancel", holder)

    assert supervised(run, plan, let_go).status == "reached"
    record = store.read_run(run.path)
    names = [stretch.name for stretch in record.stretches]
    assert names[:3] == ["wait", "provision", "environment"]
    [waited] = [s.stop_s - s.start_s for s in record.stretches if s.name == "wait"]
    assert waited > 1.5  # Slurm's clock has whole seconds
    wall, billed = (
        clocks.elapsed_s(record.stretches, clocks.CLOCKS[name]) for name in ("wall", "billed")
    )
    assert wall is not None
    assert billed == pytest.approx(wall - waited)
    assert wrong_in(run.path) == []


def test_ctrl_c_in_the_queue_leaves_no_job(cluster: SlurmCluster, tmp_path: Path):  # noqa: F811
    cluster.command("sbatch", "--nodes=2", "--output=/dev/null", "--wrap=sleep 300")
    run, plan = placed(tmp_path)

    def watch(_events: Sequence[WorkerEvent]) -> None:
        if len(cluster.jobs()) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervise(run, plan, SlurmLauncher(), watch)
    [holder] = cluster.jobs()
    log = LAUNCHER_LOG.read(run.launcher_events)
    assert not [event for event in log if isinstance(event, Granted | Spawned)]
    cluster.command("scancel", holder)
    assert not run.done.exists()


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cluster": "gpu"}, rf"--cluster gpu: .* no such partition. Available: {PARTITION}\."),
        ({"workers": 3}, "--workers 3 with 1 cores each do not fit .* room for 2 such workers"),
        ({"cores": 2}, "--workers 1 with 2 cores each do not fit .* up to 1 CPUs"),
    ],
)
def test_what_the_partition_can_never_hold_is_refused_at_once(
    fields: dict[str, object],
    said: str,
    cluster: SlurmCluster,  # noqa: F811
    tmp_path: Path,
):
    run, plan = placed(tmp_path, **fields)
    with pytest.raises(UsageError, match=said):
        SlurmLauncher().start(run, plan, 0)
    assert_nothing_is_left(cluster, run)


def test_a_job_that_slurm_refuses_says_why(cluster: SlurmCluster, tmp_path: Path):  # noqa: F811
    run, plan = placed(tmp_path, memory_bytes=2**50)
    with pytest.raises(LaunchError, match=r"Slurm refused the job .*(Memory|memory|node config)"):
        SlurmLauncher().start(run, plan, 0)
    assert_nothing_is_left(cluster, run)


def test_without_slurms_commands_the_error_says_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, plan = placed(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="not on PATH: sbatch, scontrol, sinfo, scancel"):
        SlurmLauncher().start(run, plan, 0)


def test_a_controller_that_does_not_answer_is_named(
    cluster: SlurmCluster,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    configuration = (cluster.folder / "slurm.conf").read_text()
    lines = [
        "SlurmctldPort=1" if line.startswith("SlurmctldPort=") else line
        for line in configuration.splitlines()
    ]
    (tmp_path / "slurm.conf").write_text("\n".join([*lines, "MessageTimeout=2"]))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    run, plan = placed(tmp_path)
    with pytest.raises(LaunchError, match=r"Unable to contact slurm controller|did not answer"):
        SlurmLauncher().start(run, plan, 0)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare (util-linux)")
def test_a_store_that_the_nodes_do_not_see_is_named(
    cluster: SlurmCluster,  # noqa: F811
    tmp_path: Path,
):
    """The launcher alone has a file system of its own there, as a laptop's disk is its own."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    words = timetrial_command("run", "fake-digits", "--launcher=slurm", "--seeds=1")
    script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", hidden, *words, f"--store={hidden}"],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "ended before a worker began" in done.stderr
    assert "on a file system that this machine and the job's machines see" in done.stderr
    assert cluster.jobs() == []


# --- several runs at once ------------------------------------------------------------------------


def test_the_room_for_runs_is_that_of_the_free_cores(cluster: SlurmCluster, tmp_path: Path):  # noqa: F811
    _, plan = placed(tmp_path)
    launcher = SlurmLauncher()
    two = msgspec.structs.replace(plan, workers=2)
    assert (launcher.capacity(plan), launcher.capacity(two)) == (2, 1)
    cluster.command("sbatch", "--output=/dev/null", "--wrap=sleep 300")
    wait_until(lambda: launcher.capacity(plan) == 1)
    assert launcher.capacity(two) == 0
    [holder] = cluster.jobs()
    cluster.command("scancel", holder)
    wait_until(lambda: launcher.capacity(plan) == 2)


def test_runs_go_side_by_side_on_a_node_each(
    cluster: SlurmCluster,  # noqa: F811
    tmp_path: Path,
    timetrial: Callable[..., object],
):
    outcome = timetrial(
        "run", "fake-digits", "--launcher=slurm", "--seeds=3", "--json", "--store", tmp_path
    )
    assert outcome.code == 0, outcome
    records = store.read_runs([tmp_path])
    assert len(records) == 3
    spans = []
    for record in records:
        [begun] = [event for event in record.launcher if isinstance(event, Spawned)]
        [ended] = [event for event in record.launcher if isinstance(event, Exited)]
        spans.append((begun.t_ns, ended.t_ns, begun.limits["cpu"], begun.limits["job"]))
    beside = [
        (a, b)
        for index, a in enumerate(spans)
        for b in spans[index + 1 :]
        if a[0] < b[1] and b[0] < a[1]
    ]
    assert beside
    for a, b in beside:  # never on one core
        assert a[3].rpartition(" ")[2] != b[3].rpartition(" ")[2]
        assert a[2] != b[2] or len(os.sched_getaffinity(0)) == 1
    assert wrong_in(tmp_path) == []
    assert cluster.jobs() == []


def test_ctrl_c_stops_all_runs_side_by_side_and_says_how_to_resume(
    cluster: SlurmCluster,  # noqa: F811
    tmp_path: Path,
):
    words = ["run", "fake-digits-slow", "--launcher=slurm", "--seeds=3", "--store", str(tmp_path)]
    long = ["--division=open", "--set=steps_max=100000", "--target=1.0"]
    process = subprocess.Popen(
        timetrial_command(*words, *long),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )

    def at_work() -> list[RunDir]:
        return [RunDir(path) for path in tmp_path.iterdir() if training(RunDir(path))]

    try:
        wait_until(lambda: len(at_work()) == 2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "timetrial run --resume --store" in said
    records = store.read_runs([tmp_path])
    assert [record.status for record in records] == [None] * 3
    assert sorted(record.attempts for record in records) == [0, 1, 1]
    for record in records:
        if record.attempts:
            assert isinstance(record.worker[-1], Stopped)
    assert cluster.jobs() == []
