"""What Slurm says of its partitions, nodes and jobs, asked by its own commands.

Source: SchedMD, scontrol(1), sinfo(1), scancel(1), Slurm 22.05. `scontrol` is asked for jobs, not
`sacct`, which needs an accounting database.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final, NamedTuple

from timetrial.errors import LaunchError, UsageError

_TIMEOUT_S: Final = 60.0  # longer than Slurm's own attempts to reach its controller
_USABLE: Final = frozenset(
    {"idle", "mix", "mixed", "alloc", "allocated", "comp", "completing", "plnd", "planned"}
)
_WAITING: Final = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
_RUNNING: Final = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING",
                             "STAGE_OUT", "RESIZING"})  # fmt: skip


class Node(NamedTuple):
    """The CPUs of one node of a partition."""

    name: str
    cpus: int
    free: int  # 0 where the node takes no jobs now
    memory_bytes: int
    usable: bool  # False: down, drained or reserved for other uses


class Partition(NamedTuple):
    """A partition with its nodes and the limits that its jobs meet."""

    name: str
    nodes: tuple[Node, ...]
    max_nodes: int | None  # of a job
    max_minutes: int | None  # of a job
    shares_cores: str | None  # how jobs share cores here, None: they do not


class JobState(NamedTuple):
    """A job as Slurm's controller knows it."""

    state: str  # "GONE": it knows it no more
    reason: str
    nodes: str
    start_utc_s: float | None
    signal: int  # that ended its script, 0: none

    @property
    def waiting(self) -> bool:
        """Whether it has no nodes yet."""
        return self.state in _WAITING

    @property
    def running(self) -> bool:
        """Whether processes of it may still run."""
        return self.state in _RUNNING


def require_commands() -> None:
    """Check that Slurm's commands are here.

    Raises:
        LaunchError: One is missing.
    """
    missing = [
        name for name in ("sbatch", "scontrol", "sinfo", "scancel") if not shutil.which(name)
    ]
    if missing:
        raise LaunchError(
            f"Slurm's commands are not on PATH: {', '.join(missing)}. Run where jobs are submitted "
            "(a login node), or use another launcher: `timetrial list launchers`."
        )


def ask(*words: str) -> str:
    """Return what one of Slurm's commands prints.

    Raises:
        LaunchError: It failed, or its controller did not answer.
    """
    try:
        done = subprocess.run(
            words,
            env={**os.environ, "SLURM_TIME_FORMAT": "standard"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            start_new_session=True,  # Ctrl-C is ours to handle, not the command's
        )
    except subprocess.TimeoutExpired as error:
        raise LaunchError(
            f"Slurm did not answer `{' '.join(words)}` within {_TIMEOUT_S:g} s. Is its controller "
            "up? `scontrol ping` shows it."
        ) from error
    if done.returncode != 0:
        raise LaunchError(f"`{' '.join(words)}` failed: {_last_line(done.stderr)}")
    return done.stdout


def find_partition(name: str | None) -> Partition:
    """Return a partition with its nodes; None: the cluster's default.

    Raises:
        UsageError: No such partition, or none is the default.
        LaunchError: Slurm's controller cannot be reached.
    """
    found = {_field(line, "PartitionName"): line for line in _records("partition")}
    if name is None:
        marked = [key for key, line in found.items() if _field(line, "Default") == "YES"]
        if not marked:
            raise UsageError(
                "This Slurm cluster has no default partition. Choose one with --cluster NAME. "
                f"Available: {', '.join(sorted(found))}."
            )
        name = marked[0]
    if name not in found:
        raise UsageError(
            f"--cluster {name}: this Slurm cluster has no such partition. "
            f"Available: {', '.join(sorted(found))}."
        )
    line = found[name]
    sharing = _field(line, "OverSubscribe")
    return Partition(
        name=name,
        nodes=_nodes_of(name),
        max_nodes=_number(_field(line, "MaxNodes")),
        max_minutes=_minutes(_field(line, "MaxTime")),
        shares_cores=sharing if sharing.startswith("FORCE") and sharing != "FORCE:1" else None,
    )


def _nodes_of(partition: str) -> tuple[Node, ...]:
    """Return the nodes, by `sinfo`'s name|CPUs allocated/idle/other/total|MiB|state."""
    text = ask(
        "sinfo", "--noheader", "--Node", f"--partition={partition}", "--format=%N|%C|%m|%T"
    )  # fmt: skip
    nodes = []
    for line in text.splitlines():
        name, cpus, memory, state = (part.strip() for part in line.split("|"))
        _, idle, _, total = (int(part) for part in cpus.split("/"))
        usable = state.rstrip("*~#!%$@^-+").lower() in _USABLE
        nodes.append(
            Node(
                name=name,
                cpus=total,
                free=idle if usable and "*" not in state else 0,
                memory_bytes=int(memory.rstrip("+")) * 2**20,
                usable=usable,
            )
        )
    return tuple(nodes)


def address_of(node: str) -> str:
    """Return the address by which Slurm reaches a node."""
    return _field(ask("scontrol", "--oneliner", "show", "node", node), "NodeAddr")


def job_state(job: str) -> JobState:
    """Return how a job is.

    Raises:
        LaunchError: Slurm's controller cannot be reached.
    """
    try:
        line = ask("scontrol", "--oneliner", "show", "job", job)
    except LaunchError as error:
        if "Invalid job id" not in str(error):
            raise
        return JobState("GONE", "Slurm no longer knows it", "", None, 0)
    start = _field(line, "StartTime")
    state = _field(line, "JobState")
    _, _, signal = _field(line, "ExitCode").partition(":")
    begun = state not in _WAITING and start.startswith("2")
    return JobState(
        state=state,
        reason=_field(line, "Reason"),
        nodes=_field(line, "NodeList"),
        start_utc_s=datetime.datetime.fromisoformat(start).timestamp() if begun else None,
        signal=int(signal or 0),
    )


def _records(kind: str) -> list[str]:
    return [line for line in ask("scontrol", "--oneliner", "show", kind).splitlines() if line]


def _field(line: str, key: str) -> str:
    """Return a value of one of scontrol's lines; empty where it has none."""
    found = re.search(rf"(?:^|\s){key}=(\S*)", line)
    value = found[1] if found else ""
    return "" if value in ("(null)", "None") else value


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _minutes(text: str) -> int | None:
    """Return the minutes of Slurm's [days-]hours:minutes:seconds; None: unlimited."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def spread(partition: Partition, workers: int, cores: int) -> tuple[int, int]:
    """Return nodes and most workers per node for a job of `workers` with `cores` CPUs each.

    As few nodes as can hold them, evenly filled.

    Raises:
        UsageError: More than the partition can ever hold; a job of that size would wait for ever.
    """
    fits = sorted((node.cpus // cores for node in partition.nodes if node.usable), reverse=True)
    most = partition.max_nodes or len(fits)
    for per_node in range(min(workers, fits[0] if fits else 0), 0, -1):
        nodes = -(-workers // per_node)
        even = -(-workers // nodes)
        if nodes <= most and sum(fit >= even for fit in fits) >= nodes:
            return nodes, even
    largest = max((node.cpus for node in partition.nodes if node.usable), default=0)
    raise UsageError(
        f"--workers {workers} with {cores} cores each do not fit in partition {partition.name}: it "
        f"has {len(fits)} usable nodes of up to {largest} CPUs, together room for "
        f"{sum(fits[:most])} such workers in one job. Ask for fewer, or fewer --cores."
    )


def room(partition: Partition, workers: int, cores: int) -> int:
    """Return how many jobs of `workers` with `cores` free CPUs each fit at once now."""
    nodes, per_node = spread(partition, workers, cores)
    free = sorted((node.free // cores for node in partition.nodes), reverse=True)
    count = 0
    while sum(place >= per_node for place in free[:nodes]) == nodes:
        free = sorted([*(p - per_node for p in free[:nodes]), *free[nodes:]], reverse=True)
        count += 1
    return count


def cancel(job: str, *, signal: str | None = None) -> None:
    """Cancel a job, or send a signal to its processes; none is left is no error.

    Raises:
        LaunchError: Slurm's controller cannot be reached.
    """
    words: Sequence[str] = ("--signal", signal) if signal else ()
    try:
        ask("scancel", *words, job)
    except LaunchError as error:
        gone = ("Invalid job id", "already completing or completed", "Job/step already")
        if not any(word in str(error) for word in gone):
            raise
