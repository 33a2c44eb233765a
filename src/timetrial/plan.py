"""A plan: everything resolved before a run starts. Afterwards nobody looks anything up."""

from __future__ import annotations

import itertools
import math
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final, get_args

import msgspec

from timetrial._registry import Registry
from timetrial.errors import FormatError, UnknownNameError, UsageError
from timetrial.spec import (
    MALFORMED,
    SCHEDULE,
    Division,
    Examination,
    Exchange,
    Precision,
    Record,
    Sgd,
    SplitName,
    Target,
    Task,
    changeable,
    changed_rules,
    for_workers,
    rule,
    with_rules,
)
from timetrial.spec.network import check_network, parse_network

FORMAT: Final = 1  # of a run directory; 1: first
CLOSED_ALGORITHMS: Final = ("allreduce", "ddp")  # synchronous SGD: explicit, the framework's own
PROBE_SAMPLE_S: Final = 0.2  # of the meters in a probe, which may be over after a second
INFERENCE_MIN_S: Final = 0.1
SHUFFLED: Final = "shuffled"  # every worker a part of each mini-batch of one common order
_DEVICE: Final = re.compile(r"cpu|mps|(cuda|rocm|tpu)(:\d+)?")

_TABLES: Final = {  # as in tasks/tabular: names and sizes
    "flights-delay": ("", "-100k", "-10k"),
    "breast-cancer": ("",),
    "digits-tabular": ("",),
}


def _attribute(table: str, kind: str) -> str:
    return f"{table}--{kind}".upper().replace("-", "_")


TASKS: Final = Registry(
    "task",
    group="timetrial.tasks",
    built_in={
        "breast-cancer-logreg": "timetrial.tasks.breast_cancer_logreg:TASK",
        **{
            f"cifar10-resnet{n}-v{version}": f"timetrial.tasks.cifar10_resnet:V{version}_{n}"
            for n in (20, 32, 44, 56)
            for version in (1, 2)
        },
        "cifar10-resnet18": "timetrial.tasks.cifar10_resnet18:TASK",
        "cifar10-resnet18-weighted": "timetrial.tasks.cifar10_resnet18:WEIGHTED_TASK",
        "cifar10-resnet20-v1-2020": "timetrial.tasks.cifar10_resnet:V1_20_2020",
        "cifar10-vgg-published": "timetrial.tasks.cifar10_vgg:PUBLISHED_TASK",
        "cifar10-vgg16": "timetrial.tasks.cifar10_vgg:VGG16_TASK",
        "digits-cnn": "timetrial.tasks.digits_cnn:TASK",
        "fashion-mnist-cnn": "timetrial.tasks.fashion_mnist_cnn:TASK",
        "imagenet-resnet50": "timetrial.tasks.imagenet_resnet50:TASK",
        "mnist-cnn": "timetrial.tasks.mnist_cnn:TASK",
        **{
            f"{table}-{kind}{size}": f"timetrial.tasks.tabular:{_attribute(table + size, kind)}"
            for table, sizes in _TABLES.items()
            for kind in ("linear", "forest", "boosting", "mlp", "net")
            for size in sizes
        },
    },
)


MEASUREMENTS: Final = Registry(
    "measuring task",
    group="timetrial.measurements",
    built_in={"allreduce": "timetrial.exchange.allreduce:ALLREDUCE"},
)

EXAMINATIONS: Final = Registry(
    "examination",
    group="timetrial.examinations",
    built_in={
        "course-frameworks": "timetrial.examinations.course_frameworks:FRAMEWORKS",
        "course-hardware": "timetrial.examinations.course_hardware:HARDWARE",
        "course-pipeline": "timetrial.examinations.course_pipeline:PIPELINE",
        "experiment-tool": "timetrial.examinations.tools.examination:EXPERIMENT_TOOL",
    },
)


class Rhythm(Record, frozen=True, kw_only=True):
    """How often the engine looks up from training; none of it changes the arithmetic."""

    eval_every_steps: int
    fence_every_steps: int = 20  # every k-th step is split into its parts; 0: never
    checkpoint_every_s: float = 30.0  # at the next evaluation after so many seconds; 0: at each
    sample_every_s: float = 1.0  # of the meters; 0: no sampler
    timeout_s: float = 24 * 3600.0  # after which the launcher kills the worker
    lost_after_s: float = 20.0  # of silence: a worker is frozen or cut off, and the run is ended


class Plan(Record, frozen=True, kw_only=True):
    """One run, resolved. Written as plan.json before anything starts."""

    format: int
    run: str
    batch: str  # the runs of one invocation share it
    created_utc: str
    timetrial: str  # version
    learned: Task | None = msgspec.field(name="task")  # None: see `exchange` and `examination`
    task_hash: str  # of `learned`, or of what stands in its place
    division: Division
    framework: str
    implementation: str  # "module:attribute" of a Build, or of a BuildCollective
    device: str
    precision: Precision
    cpus: tuple[int, ...] | None  # the logical CPUs the run may use; None: cannot be restricted
    cores: int  # of each worker
    cores_restricted: bool  # True when asked for with --cores
    memory_bytes: int | None  # limit asked for, None: all of the machine's
    workers: int
    launcher: str
    network: str | None
    seed: int
    target: Target | None  # at which it stops; None: runs to its budget
    steps_max: int
    budget_s: float | None  # on the mlperf clock, time between attempts left out
    rhythm: Rhythm
    data_files: Mapping[str, str]  # file of the data set -> path on the machine that runs
    data_sources: Mapping[str, str]  # file of the data set -> which source gave it
    calibration: str | None  # pair of an A/A calibration, else None
    command: tuple[str, ...]
    script: tuple[str, ...] = ()  # open division: the command that trains, program first
    script_folder: str = ""  # in which it runs
    script_file: str | None = None  # its own file, None where it has none
    script_sha256: str | None = None  # of that file
    script_others: Mapping[str, str] = msgspec.field(default_factory=dict)  # text files that its
    # words name besides, such as a configuration -> SHA-256
    light: bool = False  # asked for with --light: an easier target, fewer steps
    suite: str | None = None  # in whose table the run belongs
    price_usd_per_h: float | None = None  # as given with --price-per-hour on `created_utc`
    provider: str | None = None  # this and the next two: declared, else the machine record tells
    region: str | None = None
    image: str | None = None
    algorithm: str = CLOSED_ALGORITHMS[0]  # how several workers learn together
    partition: str = SHUFFLED  # which examples each of them sees
    cluster: str | None = None  # where the launcher runs: hosts file, address or partition
    exchange: Exchange | None = None  # what is measured, in a run that learns nothing
    examination: Examination | None = None  # what is examined, likewise
    probe_s: float | None = None  # a probe: so many seconds of training, only to measure speed
    inference_s: float | None = None  # after training, time predictions for about so long
    search: str | None = None  # the search that made it, and which of its trials; see tune

    @property
    def subject(self) -> Task | Exchange | Examination:
        """What the run learns, measures or examines."""
        found = self.examination or self.exchange or self.learned
        if found is None:
            raise FormatError(
                f"The plan of run {self.run} has neither a task, an exchange nor an examination. "
                "It was damaged; restore it from a copy."
            )
        return found

    @property
    def task(self) -> Task:
        """What the run learns.

        Raises:
            UsageError: It learns nothing, but measures.
        """
        if self.learned is None:
            raise UsageError(
                f"{self.subject.name} is a measurement: nothing is learned in it. Name a task; "
                "`timetrial list` shows them."
            )
        return self.learned


class Request(Record, frozen=True, kw_only=True):
    """What a user asks for, before it is resolved: one value of every list option."""

    task: str
    framework: str | None = None
    device: str = "cpu"
    cores: int | None = None
    memory_bytes: int | None = None
    precision: Precision | None = None
    workers: int = 1
    launcher: str = "local"
    division: Division = "closed"
    dataset: str | None = None
    eval_split: SplitName | None = None
    target: float | None = None
    budget_s: float | None = None
    light: bool = False
    light_steps: int | None = None  # with `light`: in place of the task's own number
    seeds_max: int | None = None  # of this request, where the user does not say how many
    suite: str | None = None
    price_usd_per_h: float | None = None
    provider: str | None = None
    region: str | None = None
    image: str | None = None
    network: str | None = None  # of the launcher "shaped": "rate=100mbit,delay=5ms"
    algorithm: str | None = None  # with several workers; None: "allreduce"
    partition: str | None = None  # with several workers; None: "shuffled"
    cluster: str | None = None
    settings: Mapping[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    script: tuple[str, ...] = ()  # open division: a command of one's own, as typed
    probe_s: float | None = None  # measure only speed, for about so many seconds of training
    inference_s: float | None = None  # after training, time predictions for about so long


def find_task(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        UnknownNameError: No such task.
    """
    task = TASKS.get(name)
    if not isinstance(task, Task):
        raise UsageError(f"Task {name!r} is not a timetrial.spec.Task but a {type(task).__name__}.")
    return task


def new_seed() -> int:
    """Return a seed from the operating system, 48 bits wide so that any JSON reader keeps it."""
    return secrets.randbelow(2**48)


def allowed_cpus() -> tuple[int, ...] | None:
    """Return the logical CPUs this process may use, None where the system cannot tell."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return None


def restrict_cpus(cores: int | None) -> tuple[tuple[int, ...] | None, int]:
    """Return the CPUs of a run limited to `cores` of those allowed here, and their number.

    Raises:
        UsageError: More cores than there are, or a system that cannot restrict them.
    """
    cpus = allowed_cpus()
    if cores is None:
        return cpus, len(cpus) if cpus is not None else os.cpu_count() or 1
    if cpus is None:
        raise UsageError(
            f"--cores {cores} cannot be enforced: this system has no CPU affinity. "
            "Leave --cores out, or run on Linux."
        )
    if not 1 <= cores <= len(cpus):
        raise UsageError(f"--cores {cores} is not possible here. Allowed: 1 to {len(cpus)}.")
    return cpus[:cores], cores


def learns(name: str) -> bool:
    """Return whether what is called so is learned: measuring tasks and examinations are not."""
    return name not in MEASUREMENTS.names() and name not in EXAMINATIONS.names()


def usual_workers(task: str) -> int:
    """Return how many workers a task or measurement has where nobody says."""
    return 2 if task in MEASUREMENTS.names() else 1  # between workers: none with one


def cpus_of(plan: Plan, local_rank: int) -> tuple[int, ...]:
    """Return the logical CPUs of one worker: `cores` of the run's, dealt out in turn.

    Workers share CPUs where there are more of them than CPUs.
    """
    assert plan.cpus is not None
    first = local_rank * plan.cores
    count = min(plan.cores, len(plan.cpus))
    return tuple(plan.cpus[(first + i) % len(plan.cpus)] for i in range(count))


def restrict_workers(workers: int, cores: int | None) -> tuple[tuple[int, ...] | None, int]:
    """Return the CPUs of a run and the cores of each of its workers.

    Without `cores` the workers share what is allowed here, at least one core each.

    Raises:
        UsageError: More cores for a worker than there are, or a system that cannot restrict them.
    """
    allowed, here = restrict_cpus(None)
    if workers == 1:
        return restrict_cpus(cores)
    if cores is not None:
        restrict_cpus(cores)  # as many as one worker may have
    each = cores if cores is not None else max(1, here // workers)
    return (None if allowed is None else allowed[: workers * each]), each


def grid(choices: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """Return every combination of the listed values, the last key varying fastest."""
    return [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]


def variant_of(task: Task, *, dataset: str | None, eval_split: SplitName | None) -> Task:
    """Return the task on another data set or evaluated split, None: its own. Another hash each.

    Whether the rules allow it is asked by `check_request`.
    """
    changed = msgspec.structs.replace
    if dataset is not None:
        task = changed(task, dataset=changed(task.dataset, name=dataset))
    if eval_split is not None:
        targets = tuple(changed(target, split=eval_split) for target in task.targets)
        light = changed(task.light_target, split=eval_split)
        task = changed(task, eval_split=eval_split, targets=targets, light_target=light)
    return task


def choose_framework(task: Task, name: str | None) -> str:
    """Return the framework asked for, or the task's first.

    Raises:
        UnknownNameError: The task has no implementation in it.
    """
    if name is None:
        return next(iter(task.implementations))
    if name not in task.implementations:
        raise UnknownNameError(f"framework of task {task.name}", name, task.implementations)
    return name


def choose_target(task: Task, request: Request) -> Target | None:
    """Return the target at which a run stops: the one asked for, the light one, or the highest.

    Raises:
        UsageError: A threshold outside the metric's range.
    """
    if request.light:
        fewer = light_steps(task, request) < task.steps_max
        if request.target is None and not task.stops_at_target and fewer:
            return None  # the same work in every run, as in the full task
        return request_target(task.light_target, request.target)
    if request.target is not None:
        return request_target(task.targets[-1], request.target)
    return task.targets[-1] if task.stops_at_target else None


def light_steps(task: Task, request: Request) -> int:
    """Return the most steps of a run: fewer with --light, where the task or a suite says so.

    The learning-rate schedule stays that of the whole task.
    """
    fewer = request.light_steps or task.light_steps_max
    return min(fewer, task.steps_max) if request.light and fewer else task.steps_max


def request_target(base: Target, threshold: float | None) -> Target:
    """Return `base` with another threshold, or itself for None."""
    if threshold is None:
        return base
    if base.metric == "loss" and not math.isfinite(threshold):
        raise UsageError(
            f"--target {threshold} is not possible for loss. Allowed: a finite number."
        )
    if base.metric != "loss" and not 0 < threshold <= 1:
        raise UsageError(
            f"--target {threshold:g} is not possible for {base.metric}. Allowed: above 0, up to 1, "
            "such as 0.97."
        )
    return msgspec.structs.replace(base, threshold=threshold)


def apply_settings(task: Task, request: Request) -> tuple[Task, Rhythm]:
    """Return the task and rhythm with `--set` applied.

    Rhythm keys are free. A rule of the task may be changed in the open division only.

    Raises:
        UsageError: A rule of a closed task, or a value of the wrong kind.
        UnknownNameError: No such key.
    """
    rhythm: dict[str, object] = {"eval_every_steps": task.eval_every_steps}
    if request.probe_s is not None:
        rhythm["sample_every_s"] = PROBE_SAMPLE_S
    rules: dict[str, object] = {}
    form = request.settings.get(SCHEDULE)
    own = [*changeable(task, None if form is None else str(form))]
    if isinstance(task.optimizer, Sgd):
        own.append(SCHEDULE)
    for key, value in request.settings.items():
        if key in Rhythm.__struct_fields__:
            rhythm[key] = value
            if key == "eval_every_steps" and request.division == "open":
                rules[key] = value
        elif key not in own:
            raise UnknownNameError("key of --set", key, [*Rhythm.__struct_fields__, *own])
        elif request.division != "open":
            raise UsageError(
                f"--set {key}={value} changes a rule of the closed task {task.name}. "
                "Add --division open, or leave it out."
            )
        else:
            rules[key] = value
    try:
        changed = with_rules(task, rules)
        looks = msgspec.convert(rhythm, Rhythm, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"A value of --set cannot be used: {error}.") from error
    _check_settings(changed, looks, request.settings)
    return changed, looks


def _check_settings(
    task: Task, rhythm: Rhythm, settings: Mapping[str, str | int | float | bool]
) -> None:
    """Refuse numbers that no run can follow: an epoch of no examples, a rhythm of no steps.

    Infinity and NaN are none that a plan can hold either: JSON has no such numbers.
    """
    counts = {
        "batch_size": task.batch_size,
        "steps_max": task.steps_max,
        "eval_every_steps": rhythm.eval_every_steps,
    }
    for key in settings:
        if key in counts:
            value: float | None = counts[key]
            allowed = "1 and more"
            possible = value is None or value >= 1
        elif key in Rhythm.__struct_fields__:
            value = getattr(rhythm, key)
            waits = key in ("timeout_s", "lost_after_s")
            allowed = "above 0" if waits else "0 and more"
            possible = math.isfinite(value) and (value > 0 or (value == 0 and not waits))
        elif key == SCHEDULE:
            continue
        else:  # of the optimizer or its schedule
            number = rule(task, key)
            assert isinstance(number, bool | int | float)
            counted = isinstance(number, int)
            allowed = "0 and more" if counted else "a finite number"
            possible = math.isfinite(number) and (number >= 0 or not counted)
        if not possible:
            raise UsageError(f"--set {key}={settings[key]} is not possible. Allowed: {allowed}.")


def rules_of_its_own(plan: Plan) -> dict[str, object]:
    """Return the rules of an open run that its task has otherwise, by dotted name.

    {} in the closed division, and for a task that is not known here.
    """
    if plan.division != "open" or plan.learned is None or plan.learned.name not in TASKS.names():
        return {}
    task = plan.learned
    base = variant_of(find_task(task.name), dataset=task.dataset.name, eval_split=task.eval_split)
    return changed_rules(task, for_workers(base, plan.workers))


def choose_precision(task: Task, precision: Precision | None) -> Precision:
    """Return the precision asked for, or the task's own.

    Raises:
        UsageError: The task's implementations do not compute in it.
    """
    if precision is None:
        return task.precisions[0]
    if precision not in task.precisions:
        raise UsageError(
            f"--precision {precision} is not possible for task {task.name}. "
            f"Allowed: {', '.join(task.precisions)}."
        )
    return precision


def check_request(task: Task, request: Request) -> None:
    """Refuse what this version cannot do, rather than do something else.

    Raises:
        UsageError: With the value seen and what is allowed.
    """
    if request.dataset not in (None, task.dataset.name, *task.datasets):
        raise UsageError(
            f"--dataset {request.dataset} does not fit task {task.name}. "
            f"Allowed: {', '.join([task.dataset.name, *task.datasets])}."
        )
    if request.eval_split not in (None, task.eval_split, *task.eval_splits):
        raise UsageError(
            f"--eval-split {request.eval_split} is not possible for task {task.name}. "
            f"Allowed: {', '.join([task.eval_split, *task.eval_splits])}."
        )
    _check_workers(task, request)
    _check_inference(request)
    budget = request.budget_s
    if budget is not None and not (math.isfinite(budget) and budget > 0):
        raise UsageError(f"--budget {budget:g}s is not possible. Allowed: above 0 s.")
    if request.division not in get_args(Division):
        raise UsageError(
            f"--division {request.division} is not possible. "
            f"Allowed: {', '.join(get_args(Division))}."
        )
    check_place(request)


def _check_inference(request: Request) -> None:
    """Refuse to time predictions for no time, or where no model of ours is trained.

    Raises:
        UsageError: With the value seen and what is allowed.
    """
    seconds = request.inference_s
    if seconds is None:
        return
    if not (math.isfinite(seconds) and seconds >= INFERENCE_MIN_S):
        raise UsageError(
            f"--inference {seconds:g}s is not possible. Allowed: {INFERENCE_MIN_S:g}s and more, "
            "such as 10s."
        )
    if request.script or request.probe_s is not None:
        doer = "a script" if request.script else "a probe"
        raise UsageError(
            f"--inference {seconds:g}s does not fit {doer}: what is timed is the predict of a "
            "model that a whole run of ours has trained. Leave it out."
        )


def check_place(request: Request) -> None:
    """Refuse a machine, a price or a network that cannot be, whatever is run.

    Raises:
        UsageError: With the value seen and what is allowed.
    """
    if request.memory_bytes is not None and request.memory_bytes <= 0:
        raise UsageError(f"--memory {request.memory_bytes} is not possible. Allowed: above 0.")
    price = request.price_usd_per_h
    if price is not None and not (math.isfinite(price) and price > 0):
        raise UsageError(
            f"--price-per-hour {price:g} is not possible. Allowed: above 0 USD; leave it out where "
            "the price is not known."
        )
    if not _DEVICE.fullmatch(request.device):
        raise UsageError(
            f"--device {request.device} is not possible. "
            "Allowed: cpu, cuda, cuda:N, rocm, rocm:N, mps, tpu, tpu:N."
        )
    if request.network is not None and request.launcher != "shaped":
        raise UsageError(
            f"--network {request.network} is not possible with launcher {request.launcher}. "
            "Add --launcher shaped: it gives each worker a network namespace of its own."
        )
    network_of(request)


def _check_workers(task: Task, request: Request) -> None:
    """Refuse what several workers cannot do together.

    Raises:
        UsageError: With the value seen and what is allowed.
    """
    for_workers(task, request.workers)
    if request.workers == 1:
        for option, value in (("algorithm", request.algorithm), ("partition", request.partition)):
            if value is not None:
                raise UsageError(
                    f"--{option} {value} says how several workers learn; here is one. Add "
                    "--workers 2, or leave it out."
                )
        return
    if request.script:
        raise UsageError(
            f"--workers {request.workers} is not possible for a script: it starts its own "
            "processes. Leave --workers out."
        )
    together = algorithm_of(request), request.partition or SHUFFLED
    if request.division == "closed" and not _is_closed(*together):
        raise UsageError(
            f"--algorithm {together[0]} with --partition {together[1]} is no synchronous SGD over "
            f"all data, as the closed division of {task.name} has it. Add --division open, or use "
            f"{' or '.join(CLOSED_ALGORITHMS)} with {SHUFFLED}."
        )


def _is_closed(algorithm: str, partition: str) -> bool:
    return algorithm in CLOSED_ALGORITHMS and partition == SHUFFLED


def network_of(request: Request) -> str | None:
    """Return the network asked for as its canonical text, None: none is emulated.

    Raises:
        UsageError: It is no network, or names workers that the run does not have.
    """
    if request.network is None:
        return None
    network = parse_network(request.network)
    check_network(network, request.workers)
    return str(network)


def algorithm_of(request: Request) -> str:
    """Return how the workers are to learn together."""
    return request.algorithm or CLOSED_ALGORITHMS[0]


def decode_plan(content: bytes, where: str) -> Plan:
    """Return the plan in `content` (JSON).

    Raises:
        FormatError: Written by a newer version, or not a plan.
    """
    try:
        seen = msgspec.json.decode(content)
        number = seen.get("format") if isinstance(seen, dict) else None
        if isinstance(number, int) and number > FORMAT:
            raise FormatError(
                f"{where} has format {number}; this timetrial reads up to format {FORMAT}. "
                "Install a newer timetrial to read it."
            )
        return msgspec.convert(seen, Plan)
    except MALFORMED as error:
        raise FormatError(
            f"{where} is not a plan of timetrial: {error}. It was damaged or is not ours; "
            "restore it from a copy, or move the directory out of the store."
        ) from error
