"""Runs grouped into systems: what runs must share to be averaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from timetrial import frameworks, machine, units
from timetrial.plan import Plan, rules_of_its_own
from timetrial.scripted import command
from timetrial.spec import Target, Task
from timetrial.store import RunRecord

NO_DATASET: Final = "none"  # of a run that learns nothing
OWN_PRECISION: Final = "its own"  # of a script, or of what is examined
ALLREDUCE: Final = "allreduce"
SHUFFLED: Final = "shuffled"


class System(NamedTuple):
    """What runs must share to be averaged."""

    task: str
    task_hash: str
    division: str
    dataset: str
    framework: str
    version: str
    device: str
    cores: int
    memory_bytes: int | None
    precision: str
    workers: int
    launcher: str
    network: str | None
    name: str
    stops_at: str | None
    budget_s: float | None
    light: bool = False
    steps_max: int | None = None  # of a light run
    price_usd_per_h: float | None = None
    provider: str | None = None
    region: str | None = None
    image: str | None = None
    hosts: int = 1  # on which the workers ran
    algorithm: str = ALLREDUCE
    partition: str = SHUFFLED
    cluster: str | None = None
    inference_s: float | None = None


class Ran(Protocol):
    """The runs of one system, whatever they did."""

    @property
    def system(self) -> System:
        """What they share."""

    @property
    def runs(self) -> Sequence[RunRecord]:
        """Their records."""


class Group(NamedTuple):
    """The runs of one system that learned a task."""

    system: System
    task: Task
    runs: Sequence[RunRecord]


def group_runs(records: Sequence[RunRecord]) -> list[Group]:
    """Return the runs by system.

    Left out: runs that never began or can still go on, those of an A/A calibration, which share
    their seeds on purpose, probes, those that a search chose among, and those that measure
    (`exchanges.exchange_groups`).
    their seeds on purpose, probes, and those that learn nothing: `exchanges.exchange_groups` and
    `examined.examination_groups` have them.
    """
    groups: dict[System, list[RunRecord]] = {}
    for record in records:
        if counts(record) and record.plan.learned is not None:
            groups.setdefault(system_of(record), []).append(record)
    return [Group(system, runs[0].plan.task, runs) for system, runs in groups.items()]


def counts(record: RunRecord) -> bool:
    """Return whether a run has ended and is in estimates.

    A probe is none of them, nor is a run of a search: the best of many runs is better than the next
    run of its settings will be.
    """
    plan = record.plan
    aside = (plan.calibration, plan.probe_s, plan.search)
    return record.status is not None and aside == (None, None, None)


def system_of(record: RunRecord) -> System:
    """Return what the run must share with others to be averaged with them."""
    plan = record.plan
    version = framework_version(record)
    name = machine_name(record)
    place = place_of(record)
    declared = [part for part in (plan.provider, plan.region, plan.image) if part]
    several = plan.workers > 1  # how workers learn together says nothing of one
    parts = [*declared, name, *_choices(plan), *_team(plan, record.hosts)]
    name = ", ".join([*parts, *(["light"] if plan.light else [])])
    return System(
        task=plan.subject.name,
        task_hash=plan.task_hash,
        division=plan.division,
        dataset=_dataset_of(plan),
        framework=plan.framework,
        version=version,
        device=plan.device,
        cores=plan.cores,
        memory_bytes=plan.memory_bytes,
        precision=OWN_PRECISION if plan.script or plan.examination else plan.precision,
        workers=plan.workers,
        launcher=plan.launcher,
        network=plan.network,
        name=name,
        stops_at=str(plan.target) if plan.target else None,
        budget_s=plan.budget_s,
        light=plan.light,
        steps_max=plan.steps_max if plan.light else None,
        price_usd_per_h=plan.price_usd_per_h,
        provider=place.provider,
        region=place.region,
        image=place.image,
        hosts=record.hosts,
        algorithm=plan.algorithm if several else ALLREDUCE,
        partition=plan.partition if several else SHUFFLED,
        cluster=plan.cluster,
        inference_s=plan.inference_s,
    )


def _dataset_of(plan: Plan) -> str:
    named = plan.examination.dataset if plan.examination is not None else None
    return plan.learned.dataset.name if plan.learned is not None else named or NO_DATASET


def machine_name(record: RunRecord) -> str:
    """Return machine, cores, software and memory limit: what a run was made on, in words."""
    plan, version = record.plan, framework_version(record)
    software = f"{plan.framework} {version}".strip()
    if plan.script:
        software = f"{plan.framework}: {command.name_of(plan)} ({version})"
    name = "unknown machine"
    if record.machine is not None:
        name = machine.system_name(
            record.machine, cores=plan.cores, device=plan.device, software=software
        )
    return (
        name
        if plan.memory_bytes is None
        else (f"{name}, {plan.memory_bytes / 2**30:.3g} GiB limit")
    )


def _team(plan: Plan, hosts: int) -> list[str]:
    """Return how many workers there were, and how they were started and joined, in words."""
    parts: list[str] = []
    if plan.workers > 1:
        parts.append(workers_words(plan.workers) + (f" on {hosts} machines" if hosts > 1 else ""))
        chosen = plan.algorithm != ALLREDUCE or plan.division == "open"  # where others are possible
        parts += [plan.algorithm] if chosen else []
        parts += [f"partition {plan.partition}"] if plan.partition != SHUFFLED else []
    parts += [f"launcher {plan.launcher}"] if plan.launcher != "local" else []
    parts += [f"network {plan.network}"] if plan.network is not None else []
    if plan.cluster is not None:  # of a file the name alone: its whole path is in the plan
        parts.append(
            f"cluster {Path(plan.cluster).name if plan.launcher == 'ssh' else plan.cluster}"
        )
    return parts


def workers_words(count: int) -> str:
    """Return "1 worker" or "2 workers"."""
    return "1 worker" if count == 1 else f"{count} workers"


def crowding(record: RunRecord) -> str | None:
    """Return a note where the workers of one machine have more cores together than it has."""
    plan = record.plan
    here = cores_here(record)
    if plan.workers == 1 or record.hosts > 1 or here is None or plan.workers * plan.cores <= here:
        return None
    each = f" of {cores_words(plan.cores)} each" if plan.cores > 1 else ""
    return f"{plan.workers} workers{each} on {cores_words(here)}: more than there are"


def cores_here(record: RunRecord) -> int | None:
    """Return the cores of the machine that the first worker ran on, as far as they were allowed."""
    known = None if record.machine is None else record.machine.cpu.allowed_cores
    cpus = record.plan.cpus
    return known if known is not None or cpus is None else len(cpus)


def cores_words(count: int) -> str:
    """Return "1 core" or "2 cores"."""
    return "1 core" if count == 1 else f"{count} cores"


def _choices(plan: Plan) -> list[str]:
    """Return what was chosen otherwise than the task does by itself, in words."""
    task = plan.learned
    chosen: list[str] = []
    if task is None:
        return chosen
    if not plan.script and plan.precision != task.precisions[0]:
        chosen.append(plan.precision)
    if task.dataset.name in task.datasets:
        chosen.append(f"data set {task.dataset.name}")
    if task.eval_split in task.eval_splits:
        chosen.append(f"evaluated on {task.eval_split}")
    if plan.target is not None and not plan.light and plan.target != task.targets[-1]:
        chosen.append(f"stops at {plan.target}")
    if plan.budget_s is not None:
        chosen.append(f"budget {units.duration(plan.budget_s)}")
    if plan.inference_s is not None:
        chosen.append(f"inference {units.duration(plan.inference_s)}")
    if not plan.script:
        chosen += [f"{name} {value}" for name, value in rules_of_its_own(plan).items()]
    return chosen


class MachinePlace(NamedTuple):
    """Where a run was made: declared by the user, else by the machine's own word; None: unknown."""

    provider: str | None
    region: str | None
    image: str | None


def place_of(record: RunRecord) -> MachinePlace:
    """Return provider, region and image of a run's machine."""
    plan, here = record.plan, record.machine
    cloud = here.cloud if here is not None else None
    return MachinePlace(
        provider=plan.provider or (cloud.provider if cloud else None),
        region=plan.region or (cloud.region if cloud else None),
        image=plan.image or (here.software.os if here is not None else None),
    )


def framework_version(record: RunRecord) -> str:
    """Return the framework's version: its own word, or of a run that failed before, the package's.

    Empty where neither is known. Of a script, what tells it from another of its name.
    """
    if record.plan.script:
        return command.version_of(record.plan)
    framework, environment = record.plan.framework, record.environment
    if environment is not None and framework in environment.versions:
        return environment.versions[framework]
    packages = record.machine.software.packages if record.machine else {}
    return frameworks.version(framework, packages)


def targets_of(group: Group) -> list[Target]:
    """Return the targets to report, easiest first: the task's up to the one asked for."""
    asked = group.runs[0].plan.target
    known = list(group.task.targets)
    if asked is None:
        return [group.task.light_target] if group.system.light else known
    return known[: known.index(asked) + 1] if asked in known else [asked]
