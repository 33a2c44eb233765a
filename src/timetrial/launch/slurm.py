"""Workers as the tasks of a Slurm job, submitted through submitit.

One job holds all workers of an attempt; each task becomes the agent of a worker. submitit writes
the batch file, and a pickle with the words of the agent's command, into a hidden folder beside the
run directory; both are gone when the job has ended.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shlex
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import msgspec

from timetrial.errors import LaunchError, MissingExtraError
from timetrial.launch import slurm_queries as queries
from timetrial.launch.outlying import OutlyingJob, Seen
from timetrial.plan import Plan
from timetrial.rundir import RunDir, disk_errors, write_atomically

if TYPE_CHECKING:
    from types import ModuleType

_MEETING_S: Final = 60.0  # the other tasks wait so long for the first
_LOOK_S: Final = 0.05
_NOTICE_S: Final = 90  # before a partition's time limit, SIGTERM: workers save
_STUBBORN_S: Final = 3.0  # for what was killed to end, and for what has ended to be gone
_GONE_S: Final = 30.0  # for the job's processes to end after they were killed
_MARGIN_MIN: Final = 10  # beyond the plan's own timeout
_LAST_LINES: Final = 5

_log = logging.getLogger(__name__)


class AgentTask(NamedTuple):
    """What each task of the job does: it becomes the agent of one worker."""

    run: str
    attempt: int
    meeting: str  # the file in which the first task says where it is

    def __call__(self) -> None:
        """Take the place that Slurm gave to this task, and execute the agent in it."""
        rank = int(os.environ["SLURM_PROCID"])
        address, port = _meet(Path(self.meeting), first=rank == 0)
        place = {
            "RANK": str(rank),
            "LOCAL_RANK": os.environ["SLURM_LOCALID"],
            "WORLD_SIZE": os.environ["SLURM_NTASKS"],
            "MASTER_ADDR": address,
            "MASTER_PORT": str(port),
        }
        words = [sys.executable, "-P", "-m", "timetrial.launch.agent", self.run]
        os.execve(
            sys.executable,
            [*words, "--attempt", str(self.attempt)],
            {**os.environ, **place},
        )


def _meet(file: Path, *, first: bool) -> tuple[str, int]:
    """Return the first task's address, and a port that was free there.

    Raises:
        LaunchError: It did not say so in time.
    """
    if first:
        address = queries.address_of(os.environ["SLURMD_NODENAME"])
        with contextlib.suppress(OSError):  # else the name as it is: the workers may resolve it
            address = socket.gethostbyname(address)
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = int(probe.getsockname()[1])
        write_atomically(file, msgspec.json.encode((address, port)))
        return address, port
    deadline = time.monotonic() + _MEETING_S
    while file not in file.parent.iterdir():
        if time.monotonic() > deadline:
            raise LaunchError(
                f"The first task of the job did not write {file} within {_MEETING_S:g} s. The "
                "store must be on a file system of all nodes. Choose one with --store DIR."
            )
        time.sleep(_LOOK_S)
    return msgspec.json.decode(file.read_bytes(), type=tuple[str, int])


@final
class SlurmBackend:
    """One Slurm job and the folder of its files."""

    def __init__(self, job: str, folder: Path, partition: queries.Partition) -> None:
        """Keep what was submitted."""
        self._job = job
        self._folder = folder
        self._partition = partition
        self._killed_s: float | None = None

    def look(self) -> Seen:
        """Ask Slurm's controller."""
        state = self._state()
        words = [f"Slurm job {self._job} in partition {self._partition.name}: {state.state}"]
        words += [f"on {state.nodes}"] if state.nodes else []
        words += [f"({state.reason})"] if state.reason and not state.running else []
        detail = " ".join(words)
        if self._partition.shares_cores is not None:
            detail += f"; jobs may share its cores: OverSubscribe={self._partition.shares_cores}"
        if state.waiting:
            return Seen("waiting", detail)
        killed = self._killed_s is not None
        if state.running and not (killed and state.state == "COMPLETING"):
            return Seen("running", detail, state.start_utc_s)
        signal = 9 if killed else state.signal or 9
        return Seen("over", detail, state.start_utc_s, signal)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the tasks; cancel a job that still waits."""
        if self._state().waiting:
            queries.cancel(self._job)
        else:
            queries.cancel(self._job, signal="TERM")

    def kill(self) -> None:
        """Send SIGKILL to the tasks; cancelling the whole job would ask them to stop first."""
        self._killed_s = time.monotonic()
        if self._state().waiting:
            queries.cancel(self._job)
        else:
            queries.cancel(f"{self._job}.0", signal="KILL")

    def clean(self) -> str:
        """See the job end, or end it; remove its files; return the last lines of its logs."""
        begun_s = time.monotonic()
        while (state := self._state()).waiting or state.running:
            waited_s = time.monotonic() - begun_s
            # a step that is killed while it ends by itself can hold its job for minutes
            if self._killed_s is None and (state.waiting or waited_s > _STUBBORN_S):
                self.kill()
            if waited_s > _GONE_S:
                _log.warning("Slurm job %s is still %s", self._job, state.state)
                break
            time.sleep(_LOOK_S)
        said = _last_lines(self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)
        return said

    def _state(self) -> queries.JobState:
        """Return how the job is; what was killed and goes on had no tasks yet and is cancelled."""
        state = queries.job_state(self._job)
        stubborn = self._killed_s is not None and time.monotonic() - self._killed_s > _STUBBORN_S
        if stubborn and state.state == "RUNNING":
            queries.cancel(self._job)
        return state


def _last_lines(folder: Path) -> str:
    found = []
    for file in sorted(folder.glob("*_log.*")):
        lines = file.read_text(errors="replace").strip().splitlines()
        own = [line for line in lines if line.strip() and "submitit INFO" not in line]
        found += [f"{file.name}: {line}" for line in own[-_LAST_LINES:]]
    return " | ".join(found[-2 * _LAST_LINES :])


@final
class SlurmLauncher:
    """Submits one job per run; `plan.cluster` is its partition, None: the default one."""

    def start(self, run: RunDir, plan: Plan, attempt: int) -> OutlyingJob:
        """Submit the job; it may wait for its nodes.

        Raises:
            MissingExtraError: submitit is not installed.
            UsageError: No such partition, or more workers than it can hold.
            LaunchError: Slurm is not here, does not answer, or refuses the job.
        """
        submitit = _submitit()
        queries.require_commands()
        partition = queries.find_partition(plan.cluster)
        nodes, per_node = queries.spread(partition, plan.workers, plan.cores)
        folder = run.path.absolute().parent / f".slurm-{run.path.name}-{attempt}"
        name = f"timetrial-{run.path.name}-{attempt}"
        with disk_errors(folder):
            folder.mkdir(exist_ok=True)
        try:
            executor = submitit.SlurmExecutor(
                folder, python=f"{shlex.quote(sys.executable)} -P"
            )  # -P: a file of the user called like a module of ours is not imported in its place
            executor.update_parameters(
                **_parameters(plan, partition, nodes, per_node), job_name=name
            )
            task = AgentTask(str(run.path.absolute()), attempt, str(folder / "meeting.json"))
            job = executor.submit(task).job_id
        except BaseException as error:
            _give_up(name, folder)
            if isinstance(error, submitit.core.utils.FailedJobError | RuntimeError):
                raise LaunchError(
                    f"Slurm refused the job for partition {partition.name}: {_reason(error)}"
                ) from error
            raise
        return OutlyingJob(run, plan, attempt, SlurmBackend(job, folder, partition))

    def capacity(self, plan: Plan) -> int:
        """Return how many runs like `plan` find free cores of the partition now."""
        partition = queries.find_partition(plan.cluster)
        if partition.shares_cores is not None:
            return 1  # two jobs of ours could get the same core
        return queries.room(partition, plan.workers, plan.cores)


def _parameters(
    plan: Plan, partition: queries.Partition, nodes: int, per_node: int
) -> dict[str, Any]:
    """Return the job's parameters in submitit's words."""
    minutes = math.ceil(plan.rhythm.timeout_s / 60) + _MARGIN_MIN
    more: dict[str, Any] = {
        "ntasks": plan.workers,
        "no-requeue": True,  # an attempt that is lost is resumed by the launcher, or not at all
        "signal": f"TERM@{_NOTICE_S}",
    }
    if plan.memory_bytes is not None:
        more["mem"] = f"{math.ceil(plan.memory_bytes * per_node / 2**20)}M"
    return {
        "partition": partition.name,
        "nodes": nodes,
        "ntasks_per_node": per_node,
        "cpus_per_task": plan.cores,
        "time": min(minutes, partition.max_minutes or minutes),
        "additional_parameters": more,
        # one task's end leaves the others alone: the launcher gives them a while
        "srun_args": [f"--cpus-per-task={plan.cores}", "--kill-on-bad-exit=0", "--wait=0"],
        "stderr_to_stdout": True,
    }


def _submitit() -> ModuleType:
    try:
        import submitit
    except ImportError as error:
        raise MissingExtraError("Launcher slurm needs submitit, which", extra="slurm") from error
    return submitit


def _give_up(name: str, folder: Path) -> None:
    """Cancel by its name a job that may or may not have been submitted."""
    with contextlib.suppress(LaunchError):
        queries.ask("scancel", "--name", name)
    shutil.rmtree(folder, ignore_errors=True)


def _reason(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if "error:" in line]
    return lines[-1] if lines else str(error)
