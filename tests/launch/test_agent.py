"""The agent: one worker on its machine, with a word before and after, and never an orphan."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
from ceiling_records import ceilings, here

from timetrial.engine.events import WORKER_LOG, Evaluated, Stopped
from timetrial.launch import reports
from timetrial.machine import kept
from timetrial.rundir import LogWriter, RunDir
from timetrial.testing import fakes, runs

PLACE = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29511",
}
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.write_plugin(tmp_path / "plugin")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=os.pathsep)


def placed(store: Path, build: str = "build") -> RunDir:
    plan = runs.fake_plan(implementation=f"timetrial.testing.fakes:{build}")
    steps = 10**9 if build == "build_slow" else plan.steps_max
    return runs.place(store, msgspec.structs.replace(plan, cpus=None, cores=1, steps_max=steps))[0]


def start(run: RunDir, **place: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-P", "-m", "timetrial.launch.agent", str(run.path), "--attempt", "2"]
    return subprocess.Popen(
        words,
        env={**os.environ, **PLACE, **place},
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def training(run: RunDir) -> bool:
    return any(isinstance(event, Evaluated) for event in WORKER_LOG.read(run.events(0)))


def worker_of(run: RunDir) -> psutil.Process:
    return psutil.Process(reports.read_begun(run, 2, [0])[0].pid)


def end(agent: subprocess.Popen[str]) -> str:
    try:
        return agent.communicate(timeout=WAIT_S)[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            agent.kill()


def test_it_says_that_its_worker_runs_and_how_it_ended(tmp_path: Path):
    run = placed(tmp_path)
    agent = start(run)
    said = end(agent)
    assert (agent.returncode, said) == (0, "")
    begun, exit_ = reports.read_begun(run, 2, [0])[0], reports.read_exits(run, 2, [0])[0]
    assert begun.rank == 0
    assert "allowed here" in begun.limits["cpu"]
    assert exit_.code == 0
    assert exit_.utc_ns is not None
    assert begun.utc_ns < exit_.utc_ns < time.time_ns()
    assert [path.name for path in run.machines()] == [run.machine(begun.host).name]


def test_it_takes_along_the_ceilings_kept_for_its_machine(tmp_path: Path):
    run, cache = placed(tmp_path), {"TIMETRIAL_CACHE": str(tmp_path / "cache")}
    known = ceilings(here())
    kept.keep(known, cache)
    end(start(run, **cache))
    assert kept.read_ceilings(run.ceilings(known.hostname)) == known


def test_a_worker_that_fails_gives_its_code_to_the_agent(tmp_path: Path):
    run = placed(tmp_path, "build_failing")
    agent = start(run)
    end(agent)
    assert agent.returncode == reports.read_exits(run, 2, [0])[0].code == 70


def test_only_the_first_worker_of_a_machine_describes_it(tmp_path: Path):
    run = placed(tmp_path)
    end(start(run, LOCAL_RANK="1"))
    assert run.machines() == []


def test_sigterm_asks_the_worker_to_save_and_end(tmp_path: Path):
    run = placed(tmp_path, "build_slow")
    agent = start(run)
    wait_until(lambda: training(run))
    agent.send_signal(signal.SIGTERM)
    end(agent)
    assert agent.returncode == reports.read_exits(run, 2, [0])[0].code == 75
    last = WORKER_LOG.read(run.events(0))[-1]
    assert isinstance(last, Stopped)
    assert last.status is None


def test_the_worker_dies_with_its_agent(tmp_path: Path):
    run = placed(tmp_path, "build_slow")
    agent = start(run)
    wait_until(lambda: training(run))
    worker = worker_of(run)
    agent.kill()
    end(agent)
    wait_until(lambda: not worker.is_running())
    assert reports.read_exits(run, 2, [0]) == {}


def test_a_worker_that_is_killed_is_reported_by_its_signal(tmp_path: Path):
    run = placed(tmp_path, "build_slow")
    agent = start(run)
    wait_until(lambda: training(run))
    worker_of(run).kill()
    end(agent)
    assert agent.returncode == 128 + signal.SIGKILL
    assert reports.read_exits(run, 2, [0])[0].code == -signal.SIGKILL


def test_a_launcher_that_is_gone_ends_the_run_with_its_state_saved(tmp_path: Path):
    run = placed(tmp_path, "build_slow")
    with LogWriter(run.launcher_events):
        agent = start(run)
        wait_until(lambda: training(run))
    end(agent)
    assert agent.returncode == 75


def test_without_a_launcher_beside_it_the_worker_is_left_alone(tmp_path: Path):
    run = placed(tmp_path)
    run.launcher_events.touch()  # a copy of it, held by nobody
    agent = start(run)
    end(agent)
    assert agent.returncode == 0


@pytest.mark.parametrize("missing", ["RANK", "MASTER_PORT"])
def test_a_place_that_is_not_whole_is_refused(missing: str, tmp_path: Path):
    run = placed(tmp_path)
    agent = start(run, **{missing: ""})
    said = end(agent)
    assert agent.returncode == 78
    assert f"{missing}=" in said
    assert "timetrial run --launcher" in said
    assert reports.read_begun(run, 2, [0]) == {}


def test_a_run_directory_that_is_not_there_is_named(tmp_path: Path):
    agent = start(RunDir(tmp_path / "elsewhere"))
    said = end(agent)
    assert agent.returncode == 78
    assert "elsewhere/plan.json cannot be read" in said
    assert "--store DIR" in said
