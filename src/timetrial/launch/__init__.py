"""Launchers start the workers of a plan on machines.

A worker is a child process that is given RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and
a run directory.

`supervise` watches any launcher's job and writes the parent's log; back ends differ in `Launcher`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

from timetrial._registry import Registry
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.spec import Record

REGISTRY: Final = Registry(
    "launcher",
    group="timetrial.launchers",
    built_in={
        "kubernetes": "timetrial.launch.kubernetes:KubernetesLauncher",
        "local": "timetrial.launch.local:LocalLauncher",
        "ray": "timetrial.launch.ray:RayLauncher",
        "shaped": "timetrial.launch.shaped:ShapedLauncher",
        "skypilot": "timetrial.launch.skypilot:SkyPilotLauncher",
        "slurm": "timetrial.launch.slurm:SlurmLauncher",
        "ssh": "timetrial.launch.ssh:SshLauncher",
    },
)

ON_THIS_MACHINE: Final = ("local", "shaped")  # whose workers are pinned to this machine's CPUs


class Exit(Record, frozen=True, kw_only=True):
    """How a worker's process tree ended, and what the counters say of it; None: no counter."""

    code: int  # negative: the signal
    user_s: float | None
    system_s: float | None
    peak_rss_bytes: int | None
    cgroup_cpu_s: float | None
    cgroup_peak_bytes: int | None
    out_of_memory: bool
    utc_ns: int | None = None  # when, by the wall clock of its machine; None: as it is seen
    why: str = ""  # where others than the worker know, such as a batch system


class Job(Protocol):
    """The running workers of one attempt; entering it has started them."""

    pids: Mapping[int, int]  # rank -> process id
    spawned_ns: Mapping[int, int]  # rank -> when it was started, this machine's monotonic clock
    limits: Mapping[int, Mapping[str, str]]  # rank -> what was restricted -> how

    def poll(self) -> Mapping[int, Exit]:
        """Return, by rank, how those workers ended that have. Does not block."""

    def ask_to_stop(self) -> None:
        """Ask the workers to save their state and end."""

    def kill(self) -> None:
        """End the workers at once."""

    def __enter__(self) -> Self:
        """Return the job."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing behind: no process, no group."""


@runtime_checkable
class Elsewhere(Protocol):
    """A job on other machines, which may have to be waited for.

    Its `pids` and `spawned_ns` are whole afterwards.
    """

    granted_ns: int | None  # when it got its machines, by this machine's monotonic clock
    hosts: Mapping[int, str]  # rank -> the machine's own name

    def waiting(self) -> bool:
        """Return whether workers are still to be started. Does not block.

        Raises:
            LaunchError: They cannot be.
        """


@runtime_checkable
class Farms(Protocol):
    """A launcher with room for several runs at once, no core in two of them."""

    def capacity(self, plan: Plan) -> int:
        """Return how many runs like `plan` find free cores at once, now; 0: it would wait.

        Raises:
            LaunchError, UsageError: It can never run there.
        """


@runtime_checkable
class Settles(Protocol):
    """A launcher that looks at a plan before anything of it is written."""

    def settle(self, plan: Plan) -> Plan:
        """Return the plan with what `cluster` means to this launcher written out.

        Raises:
            UsageError: `cluster` is missing or not possible.
            MissingExtraError: A library that the launcher needs is not installed.
        """


@runtime_checkable
class Renders(Protocol):
    """A launcher whose runs can be written down for another program to start."""

    def manifest(self, run: RunDir, plan: Plan, attempt: int) -> str:
        """Return what that program reads.

        Raises:
            UsageError: The plan asks for what cannot be written.
            MissingExtraError: The library that writes it is not installed.
        """


class Launcher(Protocol):
    """One way to start workers. Made without arguments."""

    def start(self, run: RunDir, plan: Plan, attempt: int) -> Job:
        """Start the workers of `plan`.

        Raises:
            LaunchError: They cannot be started, or a limit cannot be enforced here.
        """
