"""A run as a SkyPilot task file: machines of any cloud, started by SkyPilot's own program.

The file carries its plan and keeps its own log (`attend`), so it can be handed to whoever has the
accounts. Every value of the user is in `envs`; the shell lines are the same for all runs.

Source: SkyPilot documentation, "SkyPilot YAML", "Distributed Multi-Node Jobs" and "Volumes", read
2026-11-22; checked against the schema of SkyPilot 0.14.1.
"""

from __future__ import annotations

import math
from typing import Any, Final, final

import msgspec

import timetrial
from timetrial import frameworks
from timetrial.errors import LaunchError, UsageError
from timetrial.launch import Job
from timetrial.launch.attend import PLAN_VARIABLE
from timetrial.launch.manifests import PORT, name_of, to_yaml
from timetrial.launch.words import read_where
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.spec import Record

EXTRA: Final = "skypilot"
DEFAULT_AT: Final = "timetrial-runs"  # in SkyPilot's own working directory on the machine
_SETUP: Final = """\
python3 -m pip install "$TIMETRIAL_PACKAGE"
"""
_RUN: Final = """\
set -eu
MASTER_ADDR="$(printf '%s\\n' "$SKYPILOT_NODE_IPS" | head -n 1)"
RANK="$SKYPILOT_NODE_RANK"
WORLD_SIZE="$SKYPILOT_NUM_NODES"
export MASTER_ADDR RANK WORLD_SIZE
exec python3 -P -m timetrial.launch.attend "$TIMETRIAL_RUN" --attempt "$TIMETRIAL_ATTEMPT"
"""


class Where(Record, frozen=True, kw_only=True):
    """Which machines, and which volume holds the store."""

    infra: str | None = None  # cloud/region/zone, k8s/context; None: the cheapest that fits
    volume: str | None = None  # of SkyPilot, shared by all nodes; needed for several workers
    at: str | None = None  # where it is mounted
    accelerator: str | None = None  # of each worker, such as H100
    package: str | None = None  # what pip installs there; None: this version with the framework


def task(run: RunDir, plan: Plan, attempt: int, where: Where) -> dict[str, Any]:
    """Return the task of one attempt, a node per worker.

    Raises:
        UsageError: Several workers without a volume, or a device that the machines would not have.
    """
    if (where.volume is None) != (where.at is None):
        raise UsageError(
            "--cluster volume=NAME and at=DIR belong together: which volume, and where it is "
            f"mounted. Given: {plan.cluster}."
        )
    if plan.workers > 1 and where.volume is None:
        raise UsageError(
            f"--workers {plan.workers} with launcher skypilot need a volume that all nodes share, "
            "for the run's files: add --cluster volume=NAME,at=/mnt/NAME. SkyPilot has such on "
            "Kubernetes and RunPod."
        )
    on_cpu = plan.device == "cpu"
    if on_cpu != (where.accelerator is None) or plan.device not in ("cpu", "cuda", "rocm"):
        raise UsageError(
            f"--device {plan.device} with accelerator={where.accelerator} is not possible with "
            "launcher skypilot. Allowed: cpu without one; cuda or rocm with --cluster "
            "accelerator=NAME, such as H100."
        )
    folder = where.at or DEFAULT_AT
    volumes = {"volumes": {where.at: where.volume}} if where.volume is not None else {}
    cache = {"TIMETRIAL_CACHE": f"{where.at}/timetrial-cache"} if where.at is not None else {}
    return {
        "name": name_of(plan, attempt),
        "num_nodes": plan.workers,
        "resources": _resources(plan, where),
        **volumes,
        "envs": {
            "TIMETRIAL_PACKAGE": where.package or _package(plan),
            "TIMETRIAL_RUN": f"{folder}/{run.path.name}",
            "TIMETRIAL_ATTEMPT": str(attempt),
            PLAN_VARIABLE: msgspec.json.encode(plan).decode(),
            **cache,
            "LOCAL_RANK": "0",
            "MASTER_PORT": str(PORT),
        },
        "setup": _SETUP,
        "run": _RUN,
    }


def _resources(plan: Plan, where: Where) -> dict[str, Any]:
    wanted: dict[str, Any] = {"cpus": f"{plan.cores}+"}
    if plan.memory_bytes is not None:
        wanted["memory"] = f"{math.ceil(plan.memory_bytes / 2**30)}+"
    infra = where.infra or "/".join(filter(None, (plan.provider, plan.region)))
    if infra:
        wanted["infra"] = infra
    if where.accelerator is not None:
        wanted["accelerators"] = f"{where.accelerator}:1"
    if plan.image is not None:
        wanted["image_id"] = f"docker:{plan.image}"
    return wanted


def _package(plan: Plan) -> str:
    """Return what pip installs: this version of timetrial, with the plan's framework."""
    required = frameworks.REQUIREMENTS.get(plan.framework)
    extra = f"[{required.extra}]" if required is not None else ""
    return f"timetrial{extra}=={timetrial.__version__}"


@final
class SkyPilotLauncher:
    """Writes the task file of a run; SkyPilot's own program starts it."""

    def settle(self, plan: Plan) -> Plan:
        """Return the plan as it is, once `cluster` is understood.

        Raises:
            UsageError: An unknown key or an impossible value.
        """
        read_where(plan.cluster, Where, "skypilot")
        return plan

    def start(self, run: RunDir, plan: Plan, attempt: int) -> Job:
        """Refuse, and say how the run is started.

        Raises:
            UsageError: It cannot be: the plan asks for what a task file cannot have.
            LaunchError: Always otherwise.
        """
        self.manifest(run, plan, attempt)
        raise LaunchError(
            "Launcher skypilot starts nothing by itself. The run is planned; go on with: "
            f"timetrial show {run.path} --manifest > task.yaml, then: sky launch task.yaml. Its "
            "files are then on the machine of rank 0, or on the volume."
        )

    def manifest(self, run: RunDir, plan: Plan, attempt: int) -> str:
        """Return the task file, as YAML.

        Raises:
            UsageError: The plan asks for what a task file cannot have.
            MissingExtraError: The YAML library is not installed.
        """
        where = read_where(plan.cluster, Where, "skypilot")
        return to_yaml([task(run, plan, attempt, where)], EXTRA)
