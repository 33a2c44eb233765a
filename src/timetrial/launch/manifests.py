"""A run as Kubernetes objects: an Indexed Job with a headless Service, or a JobSet.

Each pod runs one worker: its completion index is the rank, and the pod of index 0 has a name in DNS
that the others know. Objects are built as data and written by a YAML library.

Source: Kubernetes, "Job with Pod-to-Pod Communication" and "Indexed Job", v1.37; JobSet API
v1alpha2, kubernetes-sigs/jobset, api/jobset/v1alpha2/jobset_types.go; all read 2026-11-22.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from timetrial.errors import MissingExtraError, UsageError
from timetrial.launch.attend import PLAN_VARIABLE
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.spec import Record

PORT: Final = 29500  # each pod has its own addresses, so one port does for all runs
RUN_LABEL: Final = "app.kubernetes.io/instance"
_INDEX: Final = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
_RESOURCES: Final = {"cuda": "nvidia.com/gpu", "rocm": "amd.com/gpu"}
_GRACE_S: Final = 60  # between SIGTERM and SIGKILL: workers save
_MARGIN_S: Final = 600
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # RFC 1123


class Where(Record, frozen=True, kw_only=True):
    """Where pods run, and the claim of the volume that holds the store."""

    claim: str
    at: str | None = None  # where it is mounted, here and in the pods; None: the store's folder
    namespace: str | None = None  # None: that of kubectl's context
    context: str | None = None  # of kubectl; None: the current one
    kind: Literal["job", "jobset"] = "job"


def name_of(plan: Plan, attempt: int) -> str:
    """Return the name of the objects of one attempt: short, since pods' host names contain it."""
    return f"timetrial-{plan.run.rpartition('-')[2]}-{attempt}"


def documents(
    run: RunDir, plan: Plan, attempt: int, where: Where, *, attended: bool
) -> list[dict[str, Any]]:
    """Return the objects of one attempt.

    With `attended` the pods bring the plan with them and keep the launcher's log themselves: the
    objects are complete for whoever applies them. Else a launcher watches from outside.

    Raises:
        UsageError: No image, an impossible claim, or a device that pods cannot ask for.
    """
    if plan.image is None:
        raise UsageError(
            "Launcher kubernetes needs the image that its pods run, with timetrial and the "
            "framework in it: add --image NAME."
        )
    for key in ("claim", "namespace"):
        value = getattr(where, key)
        if value is not None and not _NAME.fullmatch(value):
            raise UsageError(
                f"--cluster {key}={value} is not a name in Kubernetes. Allowed: small letters, "
                "digits, '-' and '.'."
            )
    name = name_of(plan, attempt)
    spec = _job_spec(run, plan, attempt, where, attended=attended)
    if where.kind == "jobset":
        return [_jobset(name, plan, where, spec)]
    spec["template"]["spec"]["subdomain"] = name
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, plan, where),
        "spec": {
            "clusterIP": "None",  # headless: a name for each pod
            "publishNotReadyAddresses": True,
            "selector": {RUN_LABEL: name},
        },
    }
    job: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name, plan, where),
        "spec": spec,
    }
    return [service, job]


def mount_of(run: RunDir, where: Where) -> Path:
    """Return where the claim is mounted."""
    return Path(where.at) if where.at is not None else run.path.absolute().parent


def path_in_pods(run: RunDir, where: Where) -> Path:
    """Return the run directory as pods see it: here's, or one of its name below the mount."""
    here, mount = run.path.absolute(), mount_of(run, where)
    return here if here.is_relative_to(mount) else mount / here.name


def _jobset(name: str, plan: Plan, where: Where, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the JobSet; its controller makes the Service."""
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": _metadata(name, plan, where),
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": name},
            "failurePolicy": {"maxRestarts": 0},
            "successPolicy": {"operator": "All"},
            "replicatedJobs": [{"name": "workers", "replicas": 1, "template": {"spec": spec}}],
        },
    }


def _metadata(name: str, plan: Plan, where: Where) -> dict[str, Any]:
    namespace = {"namespace": where.namespace} if where.namespace is not None else {}
    return {
        "name": name,
        **namespace,
        "labels": _labels(name),
        "annotations": {"timetrial/run": plan.run},
    }


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "timetrial", RUN_LABEL: name}


def _job_spec(
    run: RunDir, plan: Plan, attempt: int, where: Where, *, attended: bool
) -> dict[str, Any]:
    program = "timetrial.launch.attend" if attended else "timetrial.launch.agent"
    words = ["python3", "-P", "-m", program, str(path_in_pods(run, where))]
    container: dict[str, Any] = {
        "name": "worker",
        "image": plan.image,
        "command": [_literal(word) for word in (*words, "--attempt", str(attempt))],
        "env": _environment(plan, attempt, where, attended=attended),
        "resources": _resources(plan),
        "volumeMounts": [{"name": "store", "mountPath": str(mount_of(run, where))}],
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_S,
        "containers": [container],
        "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": where.claim}}],
    }
    owner = run.path.stat() if run.path.exists() and not attended else None
    if owner is not None and owner.st_uid != 0:  # what pods write belongs to whoever asked
        pod["securityContext"] = {
            "runAsUser": owner.st_uid,
            "runAsGroup": owner.st_gid,
            "fsGroup": owner.st_gid,
        }
    return {
        "completionMode": "Indexed",
        "completions": plan.workers,
        "parallelism": plan.workers,
        "backoffLimit": 0,  # an attempt that is lost is resumed by the launcher, or not at all
        "activeDeadlineSeconds": math.ceil(plan.rhythm.timeout_s) + _MARGIN_S,
        "template": {"metadata": {"labels": _labels(name_of(plan, attempt))}, "spec": pod},
    }


def _environment(plan: Plan, attempt: int, where: Where, *, attended: bool) -> list[dict[str, Any]]:
    name = name_of(plan, attempt)
    first = f"{name}-workers-0-0" if where.kind == "jobset" else f"{name}-0"
    values = {
        "LOCAL_RANK": "0",
        "WORLD_SIZE": str(plan.workers),
        "MASTER_ADDR": f"{first}.{name}",
        "MASTER_PORT": str(PORT),
    }
    if attended:
        values[PLAN_VARIABLE] = msgspec.json.encode(plan).decode()
    rank = {"name": "RANK", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}}
    return [rank, *({"name": key, "value": _literal(value)} for key, value in values.items())]


def _literal(text: str) -> str:
    """Return text that means itself: Kubernetes replaces $(NAME) in commands and environments."""
    return text.replace("$", "$$")


def _resources(plan: Plan) -> dict[str, Any]:
    """Return what each pod asks for and may not exceed: equal, so that it can have whole cores."""
    wanted: dict[str, str] = {"cpu": str(plan.cores)}
    if plan.memory_bytes is not None:
        wanted["memory"] = str(plan.memory_bytes)
    kind, _, number = plan.device.partition(":")
    if kind != "cpu":
        if kind not in _RESOURCES or number:
            raise UsageError(
                f"--device {plan.device} is not possible with launcher kubernetes: a pod asks for "
                f"any one accelerator. Allowed: cpu, {', '.join(_RESOURCES)}."
            )
        wanted[_RESOURCES[kind]] = "1"
    return {"requests": wanted, "limits": dict(wanted)}


def to_yaml(objects: Sequence[Mapping[str, Any]], extra: str) -> str:
    """Return objects as YAML documents; `extra` brings the library.

    Raises:
        MissingExtraError: The YAML library is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("Writing a manifest needs PyYAML, which", extra=extra) from error

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Writes lines as lines."""

    def write_text(dumper: Any, text: str) -> Any:
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, write_text)
    plain = json.loads(json.dumps(list(objects)))  # no anchors for what occurs twice
    written: str = yaml.dump_all(
        plain, Dumper=Dumper, sort_keys=False, width=1000, allow_unicode=True
    )
    return written
