"""Pods as workers: the objects by Kubernetes' own schemas, and a run of theirs on a stand-in."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from elsewhere_runs import WAIT_S, training, wait_until, wrong_in

from timetrial import store
from timetrial.engine.events import Spawned
from timetrial.errors import LaunchError, UsageError
from timetrial.launch import Job, Renders, manifests
from timetrial.launch.kubernetes import KubernetesLauncher
from timetrial.launch.local import free_port
from timetrial.launch.supervise import Result, supervise
from timetrial.launch.words import read_where
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.testing import fakes, runs
from timetrial.testing.contracts import LauncherContract

yaml = pytest.importorskip("yaml", reason="pip install 'timetrial[kubernetes]'")
SCHEMA = json.loads((Path(__file__).parent / "jobset-v1alpha2.json").read_text())
STAND_IN = Path(__file__).parent / "kubectl_stand_in.py"


def placed(place: Path, build: str = "build", **fields: object) -> tuple[RunDir, Plan]:
    plan = runs.fake_plan(implementation=f"timetrial.testing.fakes:{build}")
    here = {
        "cpus": None,
        "cores": 2,
        "launcher": "kubernetes",
        "image": "registry.example/timetrial:1",
        "cluster": f"claim=share,at={place}",
        "data_files": {},
        **fields,
    }
    return runs.place(place, msgspec.structs.replace(plan, **here))


def written(run: RunDir, plan: Plan) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(KubernetesLauncher().manifest(run, plan, 0)))


def job_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The Job among objects, or the one inside a JobSet."""
    last = objects[-1]
    if last["kind"] == "JobSet":
        template = last["spec"]["replicatedJobs"][0]["template"]
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, **template}
    return last


def container_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return job_of(objects)["spec"]["template"]["spec"]["containers"][0]


# --- objects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["job", "jobset"])
@pytest.mark.parametrize("fields", [{}, {"workers": 3}, {"memory_bytes": 2**31, "device": "cuda"}])
def test_objects_are_what_kubernetes_schemas_allow(
    kind: str, fields: dict[str, object], tmp_path: Path
):
    validate = pytest.importorskip("kubernetes_validate", reason="pip install 'timetrial[dev]'")
    run, plan = placed(tmp_path, **fields, cluster=f"claim=share,at=/mnt/share,kind={kind}")
    objects = written(run, plan)
    assert [each["kind"] for each in objects] == (
        ["JobSet"] if kind == "jobset" else ["Service", "Job"]
    )
    if kind == "jobset":
        jsonschema.validate(objects[0], SCHEMA)
        objects = [job_of(objects)]
    for each in objects:
        validate.validate(each, "1.34", strict=True)


def test_the_schemas_refuse_an_unknown_field(tmp_path: Path):
    validate = pytest.importorskip("kubernetes_validate", reason="pip install 'timetrial[dev]'")
    job = job_of(written(*placed(tmp_path)))
    job["spec"]["completionsMode"] = "Indexed"
    with pytest.raises(validate.ValidationError):
        validate.validate(job, "1.34", strict=True)
    jobset = written(*placed(tmp_path, cluster="claim=share,kind=jobset"))[0]
    jobset["spec"]["network"]["dns"] = True
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(jobset, SCHEMA)


@pytest.mark.parametrize("kind", ["job", "jobset"])
def test_the_index_is_the_rank_and_the_first_pods_name_the_address(kind: str, tmp_path: Path):
    run, plan = placed(tmp_path, workers=4, cluster=f"claim=share,kind={kind}")
    objects = written(run, plan)
    spec = job_of(objects)["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["backoffLimit"] == 0
    told = {each["name"]: each for each in container_of(objects)["env"]}
    assert told["RANK"]["valueFrom"]["fieldRef"]["fieldPath"] == (
        "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    )
    assert told["WORLD_SIZE"]["value"] == "4"
    name = manifests.name_of(plan, 0)
    first = {"job": f"{name}-0.{name}", "jobset": f"{name}-workers-0-0.{name}"}[kind]
    assert told["MASTER_ADDR"]["value"] == first
    assert len(first.partition(".")[0]) <= 63  # a label of DNS
    if kind == "job":
        assert spec["template"]["spec"]["subdomain"] == objects[0]["metadata"]["name"] == name
        labels = spec["template"]["metadata"]["labels"]
        assert objects[0]["spec"]["selector"].items() <= labels.items()
        assert objects[0]["spec"]["clusterIP"] == "None"


def test_cores_and_memory_are_asked_for_and_not_exceeded(tmp_path: Path):
    run, plan = placed(tmp_path, memory_bytes=2**31, device="cuda")
    asked = container_of(written(run, plan))["resources"]
    assert asked["requests"] == asked["limits"]
    assert asked["limits"] == {"cpu": "2", "memory": str(2**31), "nvidia.com/gpu": "1"}


def test_what_a_user_names_is_data_in_the_yaml_and_no_syntax(tmp_path: Path):
    """Names with YAML's, the shell's and Kubernetes' own signs come through as they are."""
    odd = tmp_path / "a: b # c $(HOME) $$ 'd' \"e\" - *f &g\n--- h"
    run, plan = placed(odd, image="x: y", cluster="claim=share")
    objects = written(run, plan)
    assert len(objects) == 2
    container = container_of(objects)
    assert container["image"] == "x: y"
    path = container["command"][4]
    assert path.replace("$$", "$") == str(run.path)
    carried = {each["name"]: each.get("value", "") for each in container["env"]}
    text = carried["TIMETRIAL_PLAN"].replace("$$", "$")
    assert msgspec.json.decode(text, type=Plan) == plan


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image": None}, "needs the image that its pods run.* add --image NAME"),
        ({"cluster": None}, "Object missing required field `claim`.*keys: claim, at, namespace"),
        ({"cluster": "claim=a,zone=b"}, "unknown field `zone`.*keys: claim, at"),
        ({"cluster": "claim=a,claim=b"}, "'claim=b' is not possible"),
        ({"cluster": "claim=A_b"}, "claim=A_b is not a name in Kubernetes"),
        ({"cluster": "claim=a,kind=pod"}, "Invalid enum value 'pod'"),
        ({"device": "cuda:1"}, "--device cuda:1 is not possible with launcher kubernetes"),
        ({"device": "tpu"}, "Allowed: cpu, cuda, rocm"),
    ],
)
def test_what_pods_cannot_have_is_refused(fields: dict[str, object], said: str, tmp_path: Path):
    run, plan = placed(tmp_path, **fields)
    with pytest.raises(UsageError, match=said):
        KubernetesLauncher().manifest(run, plan, 0)
    with pytest.raises(UsageError, match=said):
        KubernetesLauncher().start(run, plan, 0)


def test_files_outside_the_claims_mount_are_named(tmp_path: Path):
    run, plan = placed(tmp_path / "store", data_files={"a": "/elsewhere/digits.csv"})
    where = f"claim=share,at={tmp_path}/other"
    with pytest.raises(UsageError, match=r"Pods see only what is below .*/other.*TIMETRIAL_DATA"):
        KubernetesLauncher().start(run, msgspec.structs.replace(plan, cluster=where), 0)
    with pytest.raises(UsageError, match=r"but not /elsewhere/digits\.csv"):
        KubernetesLauncher().start(
            run, msgspec.structs.replace(plan, cluster=f"claim=share,at={tmp_path}"), 0
        )


def test_without_kubectl_the_error_says_how_to_write_the_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, plan = placed(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match=r"kubectl is not on PATH.*timetrial show .* --manifest"):
        KubernetesLauncher().start(run, plan, 0)


def test_show_prints_the_objects_of_a_planned_run(tmp_path: Path, call: Callable[..., Any]):
    run, plan = placed(tmp_path)
    outcome = call("show", run.path, "--manifest")
    assert outcome.code == 0, outcome.err
    assert outcome.out == KubernetesLauncher().manifest(run, plan, 0)
    local, _ = runs.place(tmp_path, runs.fake_plan())
    outcome = call("show", local.path, "--manifest")
    assert outcome.code == 1
    assert "Launcher local" in outcome.err
    assert "writes no manifest" in outcome.err


def test_the_launcher_is_one_that_writes_manifests():
    assert isinstance(KubernetesLauncher(), Renders)
    where = read_where("claim=a, namespace=b,", manifests.Where, "kubernetes")
    assert (where.claim, where.namespace, where.kind) == ("a", "b", "job")


# --- a run on the stand-in -----------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the state of a cluster; its kubectl is first on PATH."""
    programs, state = tmp_path / "programs", tmp_path / "cluster"
    programs.mkdir()
    state.mkdir()
    program = programs / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "{STAND_IN}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    fakes.write_plugin(tmp_path / "of-pods")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "of-pods"), prepend=os.pathsep)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("KUBECTL_STAND_IN", str(state))
    monkeypatch.setenv("KUBECTL_STAND_IN_PORT", str(free_port()))
    return state


def on_cluster(tmp_path: Path, build: str = "build", **fields: object) -> tuple[RunDir, Plan]:
    data = runs.fake_plan().data_files
    folder = tmp_path / "share"
    (folder / "data").mkdir(parents=True)
    files = {}
    for key, name in data.items():
        shutil.copy(name, folder / "data")
        files[key] = str(folder / "data" / Path(name).name)
    chosen = {"cores": 1, "data_files": files, "cluster": f"claim=share,at={folder}", **fields}
    return placed(folder / "runs", build, **chosen)


class TestKubernetes(LauncherContract):
    elsewhere = True

    @pytest.fixture
    def launcher(self, cluster: Path) -> OnCluster:
        return OnCluster()


class OnCluster:
    """The launcher, for tests whose plans know of no cluster: the volume is the whole disk."""

    def start(self, run: RunDir, plan: Plan, attempt: int) -> Job:
        chosen = {"cluster": "claim=share,at=/", "image": "registry.example/timetrial:1"}
        plan = msgspec.structs.replace(plan, **chosen)
        return KubernetesLauncher().start(run, plan, attempt)


@pytest.mark.parametrize("kind", ["job", "jobset"])
def test_two_pods_learn_together_and_nothing_is_left(kind: str, cluster: Path, tmp_path: Path):
    run, plan = on_cluster(tmp_path, workers=2)
    plan = msgspec.structs.replace(plan, cluster=f"{plan.cluster},namespace=ml,kind={kind}")
    result = supervise(run, plan, KubernetesLauncher(), lambda events: None)
    assert result.status == "reached"
    record = store.read_run(run.path)
    assert sorted(e.rank for e in record.launcher if isinstance(e, Spawned)) == [0, 1]
    assert wrong_in(run.path) == []
    calls = [json.loads(line) for line in (cluster / "calls").read_text().splitlines()]
    own = [call for call in calls if call[0] != "keep"]
    assert all(call[0] == "--namespace=ml" for call in own)
    assert own[-1][1] == "delete"
    assert json.loads((cluster / "pods.json").read_text()) == []


def test_pods_asked_to_stop_save_their_state(cluster: Path, tmp_path: Path):
    run, plan = on_cluster(tmp_path, "build_slow", steps_max=10**9)
    with KubernetesLauncher().start(run, plan, 0) as job:
        wait_until(lambda: not job.waiting())
        wait_until(lambda: training(run))
        job.ask_to_stop()
        wait_until(lambda: len(job.poll()) == 1)
        assert job.poll()[0].code == 75


def test_pods_that_are_killed_end_the_run_by_what_the_cluster_says(cluster: Path, tmp_path: Path):
    run, plan = on_cluster(tmp_path, "build_slow", steps_max=10**9)

    def attempt() -> Result:
        return supervise(run, plan, KubernetesLauncher(), lambda events: None)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(attempt)
        wait_until(lambda: training(run))
        [pod] = json.loads((cluster / "pods.json").read_text())
        import psutil

        for process in psutil.Process(pod["pid"]).children(recursive=True):
            process.kill()
        result = future.result(WAIT_S)
    assert result.status is None
    assert "was ended by signal 9: Kubernetes job timetrial-" in result.reason
    assert "exit code 137" in result.reason


def test_an_image_that_cannot_be_had_is_the_error(cluster: Path, tmp_path: Path):
    run, plan = on_cluster(tmp_path, image="no-such-image")
    with pytest.raises(LaunchError, match="ImagePullBackOff: Back-off pulling image"):
        supervise(run, plan, KubernetesLauncher(), lambda events: None)
