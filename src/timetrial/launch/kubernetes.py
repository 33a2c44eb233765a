"""Workers as pods of an Indexed Job or a JobSet, applied with kubectl and followed.

The store lies on a volume that this machine mounts too. Without kubectl, or without such a volume,
`timetrial show RUN_DIR --manifest` prints objects that need nobody outside.
"""

from __future__ import annotations

import datetime
import logging
import shutil
import subprocess
from pathlib import Path
from typing import Final, final

import msgspec

from timetrial.errors import LaunchError, UsageError
from timetrial.launch import manifests
from timetrial.launch.manifests import Where, documents, name_of, to_yaml
from timetrial.launch.outlying import OutlyingJob, Seen
from timetrial.launch.words import read_where
from timetrial.plan import Plan
from timetrial.rundir import RunDir

EXTRA: Final = "kubernetes"
_TIMEOUT_S: Final = 60.0
_GONE: Final = "60s"
_SIGNALLED: Final = 128  # a container's exit code after signal n is this and n
# why a container does not start, and will not without a change to what was asked for
_HOPELESS: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)

_log = logging.getLogger(__name__)


class _Ended(msgspec.Struct):
    exitCode: int = 0  # noqa: N815 - a field of Kubernetes, as all below
    reason: str = ""


class _Waits(msgspec.Struct):
    reason: str = ""
    message: str = ""


class _State(msgspec.Struct):
    waiting: _Waits | None = None
    terminated: _Ended | None = None


class _Container(msgspec.Struct):
    state: _State = msgspec.field(default_factory=_State)


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class _Status(msgspec.Struct):
    phase: str = "Pending"
    startTime: datetime.datetime | None = None  # noqa: N815
    conditions: list[_Condition] = msgspec.field(default_factory=list)
    containerStatuses: list[_Container] = msgspec.field(default_factory=list)  # noqa: N815


class _Pod(msgspec.Struct):
    status: _Status = msgspec.field(default_factory=_Status)


class _Pods(msgspec.Struct):
    items: list[_Pod] = msgspec.field(default_factory=list)


@final
class KubernetesBackend:
    """The objects of one attempt."""

    def __init__(self, kubectl: list[str], name: str, kind: str) -> None:
        """Keep what was applied; `kubectl` is the command with its context and namespace."""
        self._kubectl = kubectl
        self._name = name
        self._kind = kind
        self._had_pods = False
        self._ended = False  # by us

    def look(self) -> Seen:
        """Ask for the pods."""
        content = _ask([*self._kubectl, "get", "pods", *self._mine(), "--output=json"])
        pods = [pod.status for pod in msgspec.json.decode(content, type=_Pods).items]
        self._had_pods = self._had_pods or bool(pods)
        phases = sorted(pod.phase for pod in pods)
        detail = f"Kubernetes {self._kind} {self._name}: {', '.join(phases) or 'no pods'}"
        detail += "".join(f"; {reason}" for reason in sorted({_reason(pod) for pod in pods} - {""}))
        starts = [pod.startTime for pod in pods if pod.startTime is not None]
        granted_s = max(starts).timestamp() if starts else None
        if not pods:
            return Seen("over" if self._had_pods or self._ended else "waiting", detail)
        if all(pod.phase in ("Succeeded", "Failed") for pod in pods) or self._hopeless(pods):
            return Seen("over", detail, granted_s, _signal(pods))
        if "Pending" in phases:
            return Seen("waiting", detail)
        return Seen("running", detail, granted_s)

    def ask_to_stop(self) -> None:
        """Delete the objects: their pods are sent SIGTERM and given their grace."""
        self._ended = True
        _ask([*self._kubectl, "delete", self._object(), "--ignore-not-found", "--wait=false"])

    def kill(self) -> None:
        """Delete the pods without grace."""
        self._ended = True
        gone = ["--cascade=orphan", "--ignore-not-found"]  # else its pods are asked to end first
        _ask([*self._kubectl, "delete", self._object(), *gone])
        at_once = ["--grace-period=0", "--force", "--ignore-not-found", "--wait=false"]
        _ask([*self._kubectl, "delete", "pods", *self._mine(), *at_once])

    def clean(self) -> str:
        """Delete all objects of the attempt; return what the pods said last."""
        said = ""
        try:
            words = [*self._kubectl, "logs", *self._mine(), "--tail=5", "--prefix"]
            said = " | ".join(_ask(words).split("\n")).strip(" |")
        except LaunchError as error:
            said = str(error)
        kinds = f"service,job{',jobset' if self._kind == 'jobset' else ''}"
        words = [*self._kubectl, "delete", kinds, *self._mine(), "--ignore-not-found"]
        try:
            _ask([*words, "--wait=true", f"--timeout={_GONE}"], timeout_s=2 * _TIMEOUT_S)
        except LaunchError as error:
            _log.warning("Objects of %s may be left: %s", self._name, error)
        return said

    def _mine(self) -> list[str]:
        return [f"--selector={manifests.RUN_LABEL}={self._name}"]

    def _object(self) -> str:
        return f"{self._kind}/{self._name}"

    def _hopeless(self, pods: list[_Status]) -> bool:
        return any(
            container.state.waiting is not None and container.state.waiting.reason in _HOPELESS
            for pod in pods
            for container in pod.containerStatuses
        )


def _reason(pod: _Status) -> str:
    """Return why a pod does not run, or how it ended; empty where there is nothing to say."""
    for container in pod.containerStatuses:
        state = container.state
        if state.waiting is not None and state.waiting.reason not in ("", "ContainerCreating"):
            return f"{state.waiting.reason}: {state.waiting.message}".rstrip(": ")
        if state.terminated is not None and state.terminated.reason not in ("", "Completed"):
            return f"{state.terminated.reason} (exit code {state.terminated.exitCode})"
    for condition in pod.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{condition.reason}: {condition.message}".rstrip(": ")
    return ""


def _signal(pods: list[_Status]) -> int:
    """Return the signal that ended a container, 9 where none is told."""
    codes = [
        container.state.terminated.exitCode
        for pod in pods
        for container in pod.containerStatuses
        if container.state.terminated is not None
    ]
    return next((code - _SIGNALLED for code in codes if _SIGNALLED < code < _SIGNALLED + 65), 9)


@final
class KubernetesLauncher:
    """Applies the objects of one attempt with kubectl; `plan.cluster` says where (`Where`)."""

    def settle(self, plan: Plan) -> Plan:
        """Return the plan as it is, once `cluster` is understood.

        Raises:
            UsageError: No claim, an unknown key or an impossible value.
        """
        read_where(plan.cluster, Where, "kubernetes")
        return plan

    def start(self, run: RunDir, plan: Plan, attempt: int) -> OutlyingJob:
        """Apply the objects; their pods may have to wait for room.

        Raises:
            UsageError: No image or claim, or files that the claim does not hold.
            MissingExtraError: The YAML library is not installed.
            LaunchError: kubectl is not here, or refuses.
        """
        where = read_where(plan.cluster, Where, "kubernetes")
        text = to_yaml(documents(run, plan, attempt, where, attended=False), EXTRA)
        _check_files(run, plan, where)
        if shutil.which("kubectl") is None:
            raise LaunchError(
                "kubectl is not on PATH, so nothing can be started from here. Print the objects "
                f"with `timetrial show {run.path} --manifest` and apply them where it is: they "
                "run by themselves and keep the run on their volume."
            )
        kubectl = ["kubectl"]
        for option in ("context", "namespace"):
            if getattr(where, option) is not None:
                kubectl.append(f"--{option}={getattr(where, option)}")
        backend = KubernetesBackend(kubectl, name_of(plan, attempt), where.kind)
        try:
            _ask([*kubectl, "apply", "--filename=-"], text)
        except BaseException:
            backend.clean()
            raise
        return OutlyingJob(run, plan, attempt, backend)

    def manifest(self, run: RunDir, plan: Plan, attempt: int) -> str:
        """Return objects that need nobody outside, as YAML.

        Raises:
            UsageError: No image or claim.
            MissingExtraError: The YAML library is not installed.
        """
        where = read_where(plan.cluster, Where, "kubernetes")
        return to_yaml(documents(run, plan, attempt, where, attended=True), EXTRA)


def _check_files(run: RunDir, plan: Plan, where: Where) -> None:
    """Refuse what pods would not find.

    Raises:
        UsageError: The store or the data lie outside the claim's mount.
    """
    mount = manifests.mount_of(run, where)
    wanted = [str(run.path.absolute()), *plan.data_files.values()]
    outside = [name for name in wanted if not Path(name).is_relative_to(mount)]
    if outside:
        raise UsageError(
            f"Pods see only what is below {mount}, where claim {where.claim} is mounted, but not "
            f"{', '.join(outside)}. Choose a store there with --store DIR, keep the data there "
            "(TIMETRIAL_DATA), or name the mount with --cluster claim=…,at=DIR."
        )


def _ask(words: list[str], text: str | None = None, *, timeout_s: float = _TIMEOUT_S) -> str:
    """Return what kubectl prints.

    Raises:
        LaunchError: It failed or did not end.
    """
    try:
        done = subprocess.run(
            words,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
            start_new_session=True,  # Ctrl-C is ours to handle, not kubectl's
        )
    except subprocess.TimeoutExpired as error:
        raise LaunchError(f"`{' '.join(words)}` did not end within {timeout_s:g} s.") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise LaunchError(
            f"`{' '.join(words)}` failed: {lines[-1]}. `kubectl cluster-info` shows whether the "
            "cluster can be reached."
        )
    return done.stdout
