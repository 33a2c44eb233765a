"""Runs in emulated networks: real workers, real faults, nothing left."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from timetrial import api, store
from timetrial.engine.events import Spawned
from timetrial.errors import LaunchError
from timetrial.launch.local import LocalLauncher
from timetrial.launch.network import netns
from timetrial.launch.network.delayline import Account
from timetrial.launch.network.wires import INTERFACE
from timetrial.launch.shaped import ShapedLauncher
from timetrial.launch.supervise import supervise
from timetrial.plan import Plan, Request
from timetrial.rundir import RunDir
from timetrial.spec import parameter_count
from timetrial.testing import fakes, runs
from timetrial.testing.faults import faulty_attempt, processes_of

NETWORK = "rate=100mbit,delay=2ms"


@pytest.fixture(autouse=True)
def _allowed() -> None:
    """Skip where namespaces may not be made, and say why."""
    try:
        netns.check_system()
        namespace = netns.new_namespace()
    except LaunchError as error:
        pytest.skip(str(error))
    os.close(namespace)


@pytest.fixture(autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("plugin")
    fakes.write_plugin(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def fake_pair(
    build: str, network: str | None, *, steps: int | None = None, **settings: float
) -> Plan:
    plan = runs.fake_plan(
        implementation=f"timetrial.testing.fakes:{build}",
        settings={"checkpoint_every_s": 0, **settings},
    )
    changed = {"workers": 2, "cores": 1, "launcher": "shaped", "network": network}
    return msgspec.structs.replace(plan, steps_max=steps or plan.steps_max, **changed)


def digits_pair(framework: str = "torch", **changed: float) -> Plan:
    settings = {"steps_max": 51, "checkpoint_every_s": 0, "sample_every_s": 0, **changed}
    request = Request(
        task="digits-cnn",
        framework=framework,
        division="open",
        workers=2,
        cores=1,
        launcher="shaped",
        network="delay=2000us,rate=0.1gbit",
        settings=settings,
    )
    return msgspec.structs.replace(runs.resolve(request, seed=77), target=None)


def finished(run: RunDir, plan: Plan, launcher: ShapedLauncher | LocalLauncher) -> store.RunRecord:
    assert supervise(run, plan, launcher, lambda events: None).status is not None
    return store.read_run(run.path)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_run_over_a_network_has_the_curve_it_has_without_and_keeps_what_passed(
    framework: str, tmp_path: Path
) -> None:
    run, plan = runs.place(tmp_path, digits_pair(framework))
    assert plan.network == NETWORK
    shaped = finished(run, plan, ShapedLauncher())
    plain = finished(*runs.place(tmp_path, plan), LocalLauncher())

    assert runs.curve_bits(shaped) == runs.curve_bits(plain)
    [first, second] = [event for event in shaped.launcher if isinstance(event, Spawned)]
    assert first.limits["network"].startswith(f"{NETWORK}; 10.77.0.1 on {INTERFACE}; TCP ")
    assert second.limits["network"].startswith(f"{NETWORK}; 10.77.0.2")
    account = msgspec.json.decode(run.network(0).read_bytes(), type=Account)
    assert account.bytes > plan.steps_max * 4 * parameter_count(plan.task)
    assert account.lost == account.overflowed == 0
    assert not run.scratch.exists()
    assert run.network(0).name in shaped.run.hashes()


def test_nothing_is_emulated_without_a_network(tmp_path: Path) -> None:
    run, plan = runs.place(tmp_path, fake_pair("build", None))
    record = finished(run, plan, ShapedLauncher())

    [first, _] = [event for event in record.launcher if isinstance(event, Spawned)]
    assert first.limits["network"].startswith("rate=unlimited; 10.77.0.1")
    assert not run.network(0).exists()


@pytest.mark.slow
def test_a_worker_that_is_cut_off_ends_the_run_and_resuming_goes_on(tmp_path: Path) -> None:
    run, plan = runs.place(tmp_path, digits_pair(steps_max=400, lost_after_s=5))
    launcher = ShapedLauncher()
    fault = faulty_attempt(
        run, plan, launcher, kind="cut off", rank=1, after_s=0.3, cut=launcher.cut
    )

    assert fault.seconds is not None
    assert fault.result == (None, "worker 1 was silent for 5 s: frozen, or cut off")
    assert fault.left_over == ()
    account = msgspec.json.decode(run.network(0).read_bytes(), type=Account)
    assert account.refused > 0
    before = store.read_run(run.path)
    assert before.status == "killed"
    [record] = api.resume([run.path])
    assert record.done is not None
    assert len(record.evaluations) > len(before.evaluations)


def link_of(job_pid: int) -> tuple[str, str]:
    """The state of a worker's device, and the neighbours it knows."""
    namespace = os.open(f"/proc/{job_pid}/ns/net", os.O_RDONLY)
    try:
        return netns.inside(
            namespace,
            lambda: (
                netns.run_program(["ip", "-brief", "link", "show", INTERFACE]),
                netns.run_program(["ip", "neigh"]),
            ),
        )
    finally:
        os.close(namespace)


def test_a_link_that_is_mended_is_what_it_was_and_the_run_goes_on(tmp_path: Path) -> None:
    run, plan = runs.place(tmp_path, fake_pair("build_slow", NETWORK, steps=300))
    launcher = ShapedLauncher()
    seen: list[tuple[str, str]] = []

    def cut_and_mend(run: RunDir, rank: int) -> None:
        pid = next(
            event.pid
            for event in store.read_run(run.path).launcher
            if isinstance(event, Spawned) and event.rank == rank
        )
        seen.append(link_of(pid))
        launcher.cut(run, rank)
        seen.append(link_of(pid))
        launcher.mend(run, rank)
        seen.append(link_of(pid))

    fault = faulty_attempt(
        run, plan, launcher, kind="cut off", rank=1, after_s=0.2, cut=cut_and_mend
    )

    before, cut, mended = seen
    assert before == mended
    assert "LOWER_UP" in before[0]
    assert "10.77.0.1" in before[1]
    assert "UP" not in cut[0].replace("NO-CARRIER", "")
    assert cut[1] == ""
    assert fault.result.status == "reached"


def refused(run: RunDir, asked: Callable[[RunDir, int], None], rank: int = 0) -> str:
    with pytest.raises(LaunchError) as caught:
        asked(run, rank)
    return str(caught.value)


def test_only_a_running_worker_with_a_network_of_its_own_can_be_cut_off(tmp_path: Path) -> None:
    run, plan = runs.place(tmp_path, fake_pair("build_slow", None, steps=10**9))
    launcher = ShapedLauncher()
    assert "was ever started" in refused(run, launcher.cut)

    def cut(run: RunDir, rank: int) -> None:
        said.append(refused(run, launcher.cut, rank))
        os.kill(processes_of(run)[0], 9)

    said: list[str] = []
    faulty_attempt(run, plan, LocalLauncher(), kind="cut off", rank=0, after_s=0, cut=cut)
    assert "has no network of its own. Start the run with --launcher shaped" in said[0]
    assert "does not run" in refused(run, launcher.mend)


def test_a_switch_that_dies_is_what_ends_the_run(tmp_path: Path) -> None:
    run, plan = runs.place(tmp_path, fake_pair("build_slow", "delay=1ms", steps=10**9))

    def kill_switch(run: RunDir, rank: int) -> None:
        for child in psutil.Process().children():
            if "timetrial.launch.network.delayline" in child.cmdline():
                child.kill()

    with pytest.raises(LaunchError, match="switch between the workers ended with -9"):
        faulty_attempt(
            run, plan, ShapedLauncher(), kind="cut off", rank=0, after_s=0, cut=kill_switch
        )
    assert processes_of(run) == []
    assert not run.done.exists()  # it can be resumed
