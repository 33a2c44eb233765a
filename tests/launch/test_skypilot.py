"""SkyPilot task files: fields, values kept out of the shell, and their own lines really run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from timetrial import audit, store
from timetrial.engine.events import WORKER_LOG, Evaluated, Spawned
from timetrial.errors import LaunchError, UsageError
from timetrial.launch.local import free_port
from timetrial.launch.skypilot import SkyPilotLauncher
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.testing import fakes, runs

yaml = pytest.importorskip("yaml", reason="pip install 'timetrial[skypilot]'")
WAIT_S = 90.0

# Source: sky/utils/schemas.py of SkyPilot 0.14.1, get_task_schema and get_resources_schema: the
# fields, and the kinds of value, of what timetrial writes.
FIELDS = {"name": str, "num_nodes": int, "resources": dict, "envs": dict, "volumes": dict,
          "setup": str, "run": str}  # fmt: skip
RESOURCES = {"cpus": str, "memory": str, "infra": str, "accelerators": str, "image_id": str}


def placed(place: Path, build: str = "build", **fields: object) -> tuple[RunDir, Plan]:
    plan = runs.fake_plan(implementation=f"timetrial.testing.fakes:{build}")
    here = {"cpus": None, "cores": 1, "launcher": "skypilot", **fields}
    return runs.place(place, msgspec.structs.replace(plan, **here))


def written(run: RunDir, plan: Plan) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(SkyPilotLauncher().manifest(run, plan, 0))
    return loaded


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"workers": 3, "cluster": "volume=share,at=/mnt/share,infra=k8s"},
        {"device": "cuda", "cluster": "accelerator=H100", "memory_bytes": 5 * 2**30 + 1},
        {"provider": "aws", "region": "us-east-1", "image": "registry.example/timetrial:1"},
    ],
)
def test_fields_are_skypilots(fields: dict[str, object], tmp_path: Path):
    run, plan = placed(tmp_path, **fields)
    task = written(run, plan)
    for found, known in ((task, FIELDS), (task["resources"], RESOURCES)):
        assert set(found) <= set(known)
        assert all(isinstance(value, known[key]) for key, value in found.items())
    assert all(isinstance(value, str) for value in task["envs"].values())
    assert task["num_nodes"] == plan.workers
    sky = pytest.importorskip("sky", reason="pip install skypilot")
    sky.Task.from_yaml_config(task)


def test_resources_are_those_of_the_plan(tmp_path: Path):
    where = "accelerator=H100,infra=gcp/us-central1"
    run, plan = placed(tmp_path, device="cuda", cluster=where, cores=4, memory_bytes=5 * 2**30 + 1)
    assert written(run, plan)["resources"] == {
        "cpus": "4+",
        "memory": "6+",
        "infra": "gcp/us-central1",
        "accelerators": "H100:1",
    }


def test_no_value_of_the_user_is_in_the_shell_lines(tmp_path: Path):
    odd = "'; touch /tmp/x; $(id) `id` \" & #"
    run, plan = placed(tmp_path / odd, image=odd, cluster="package=a; rm -rf /")
    plain, usual = placed(tmp_path)
    task, other = written(run, plan), written(plain, usual)
    assert (task["setup"], task["run"]) == (other["setup"], other["run"])
    assert task["envs"]["TIMETRIAL_PACKAGE"] == "a; rm -rf /"
    assert msgspec.json.decode(task["envs"]["TIMETRIAL_PLAN"], type=Plan) == plan
    for lines in (task["setup"], task["run"]):
        checked = subprocess.run(["bash", "-n"], input=lines, encoding="utf-8", check=False)
        assert checked.returncode == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"workers": 2}, "--workers 2 with launcher skypilot need a volume that all nodes share"),
        ({"cluster": "volume=a"}, "volume=NAME and at=DIR belong together"),
        ({"device": "cuda"}, "--cluster accelerator=NAME, such as H100"),
        ({"cluster": "accelerator=H100"}, "--device cpu with accelerator=H100 is not possible"),
        ({"cluster": "cloud=aws"}, "unknown field `cloud`.*keys: infra, volume, at"),
    ],
)
def test_what_a_task_file_cannot_have_is_refused(
    fields: dict[str, object], said: str, tmp_path: Path
):
    run, plan = placed(tmp_path, **fields)
    with pytest.raises(UsageError, match=said):
        SkyPilotLauncher().manifest(run, plan, 0)


def test_running_says_how_the_run_is_started(tmp_path: Path):
    run, plan = placed(tmp_path)
    with pytest.raises(LaunchError, match=r"timetrial show .* --manifest > task.yaml"):
        SkyPilotLauncher().start(run, plan, 0)


# --- the lines at work ---------------------------------------------------------------------------


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """What SkyPilot gives to all nodes; python3 is the one of this environment."""
    fakes.write_plugin(tmp_path / "plugin")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=os.pathsep)
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "python3"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.2",
    }


def start(task: dict[str, Any], nodes: Mapping[str, str], cwd: Path) -> list[subprocess.Popen[str]]:
    """Run the task's lines as SkyPilot does, all nodes here."""
    port = str(free_port())
    return [
        subprocess.Popen(
            ["bash", "-c", task["run"]],
            env={
                **nodes,
                **task["envs"],
                "MASTER_PORT": port,
                "SKYPILOT_NODE_RANK": str(rank),
                "SKYPILOT_NUM_NODES": str(task["num_nodes"]),
            },
            cwd=cwd,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        for rank in range(task["num_nodes"])
    ]


def ends_of(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    try:
        said = [process.communicate(timeout=WAIT_S)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, text) for p, text in zip(processes, said, strict=True)]


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_nodes_make_a_whole_record_on_their_volume(nodes: Mapping[str, str], tmp_path: Path):
    volume = tmp_path / "volume"
    run, plan = placed(tmp_path / "planned", workers=2, cluster=f"volume=v,at={volume}")
    ends = ends_of(start(written(run, plan), nodes, tmp_path))
    assert [code for code, _ in ends] == [0, 0], ends
    [record] = store.read_runs([volume])
    assert (record.status, record.attempts, record.plan.run) == ("reached", 1, plan.run)
    assert sorted(e.rank for e in record.launcher if isinstance(e, Spawned)) == [0, 1]
    wrong = [c for found in audit.verify([volume]) for c in found.checks if not c.ok]
    assert [check.name for check in wrong] == ["communication"]  # fakes exchange nothing
    assert not run.launcher_events.exists()  # the planned directory is as it was


def test_one_node_keeps_its_run_below_the_working_directory_and_stops_on_request(
    nodes: Mapping[str, str], tmp_path: Path
):
    run, plan = placed(tmp_path / "planned", "build_slow", steps_max=10**9)
    work = tmp_path / "work"
    work.mkdir()
    [process] = start(written(run, plan), nodes, work)
    there = RunDir(work / "timetrial-runs" / run.path.name)
    try:
        wait_until(lambda: any(isinstance(e, Evaluated) for e in WORKER_LOG.read(there.events(0))))
        process.send_signal(signal.SIGTERM)
    finally:
        [(code, _)] = ends_of([process])
    assert code == 75
    record = store.read_run(there.path)
    assert record.status is None
    assert record.steps > 0
    exits = json.loads(there.exit(0, 0).read_text())
    assert exits["code"] == 75


def test_a_manifest_of_another_attempt_is_refused(nodes: Mapping[str, str], tmp_path: Path):
    run, plan = placed(tmp_path / "planned")
    task = written(run, plan)
    task["envs"]["TIMETRIAL_ATTEMPT"] = "3"
    [(code, said)] = ends_of(start(task, nodes, tmp_path))
    assert code == 78
    assert "is at attempt 0; this manifest was written for attempt 3" in said
