"""What a tracking tool is told of one run: the same for every tool, made from the run's record."""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec

from timetrial.engine.events import Allocated, Status
from timetrial.errors import FormatError, StoreError
from timetrial.plan import Plan
from timetrial.rundir import sha256
from timetrial.spec import PROSE, Record
from timetrial.stats import measures
from timetrial.stats.clocks import HEADLINE
from timetrial.store import Evaluation, RunRecord

FORMAT: Final = 1  # of what is handed on; one more whenever a name or a meaning changes

Scalar: TypeAlias = str | int | float | bool

# of a plan: what names the run (see tags), places on a machine, prose, lists of records
_NO_PARAMS: Final = frozenset(
    {
        "batch",
        "command",
        "created_utc",
        "data_files",
        "data_sources",
        "exchange",
        "format",
        "run",
        "script_folder",
        "script_others",
        "timetrial",
        "task.light_target",
        "task.targets",
        *(f"task.{name}" for name in PROSE),
    }
)
_METER_NAMES: Final = {  # as `measures.meter_values` calls them -> with their unit
    "cpu": "cpu_s",
    "cores_used": "cores_used",
    "peak_memory": "peak_memory_bytes",
    "steal": "steal_s",
    "gpu_busy_any_kernel": "gpu_busy_any_kernel",
    "gpu_peak_memory": "gpu_peak_memory_bytes",
    "gpu_energy": "gpu_energy_j",
    "energy": "energy_j",
}


class Moment(Record, frozen=True, kw_only=True):
    """One evaluation of one split: what was known after `step` steps."""

    step: int
    at_s: float  # since the run's first attempt was allocated
    utc_ns: int
    values: Mapping[str, float]  # such as "validation/accuracy"


class Point(NamedTuple):
    """One number of one curve."""

    name: str
    step: int
    utc_ns: int
    value: float


class TrackedRun(Record, frozen=True, kw_only=True):
    """One run that has ended, as tracking tools see it."""

    format: int
    identity: str  # SHA-256 of the plan: the same for every copy of the run's directory
    name: str
    experiment: str  # the runs of one task share it
    group: str  # the runs of one invocation share it
    status: Status
    began_utc_ns: int
    ended_utc_ns: int
    params: Mapping[str, Scalar]  # of the plan, by their path in plan.json
    tags: Mapping[str, str]
    moments: tuple[Moment, ...]  # in the order of the log
    finals: Mapping[str, float]  # one number per run, known at its end
    last_step: int
    folder: str  # the run directory
    files: Mapping[str, str]  # to be kept with the run: name in `folder` -> SHA-256

    @property
    def went_well(self) -> bool:
        """Whether the run did the work it was planned for."""
        return self.status in ("reached", "budget")

    def fingerprint(self) -> str:
        """Return the SHA-256 of all that a tool is told; where the directory lies is left out."""
        told = msgspec.structs.replace(self, folder="")
        return hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()

    def points(self) -> Iterator[Point]:
        """Yield every number: those of the evaluations, then at the end one of each final."""
        for moment in self.moments:
            for name, value in moment.values.items():
                yield Point(name, moment.step, moment.utc_ns, value)
        for name, value in self.finals.items():
            yield Point(name, self.last_step, self.ended_utc_ns, value)


def why_not(record: RunRecord) -> str | None:
    """Return why a run cannot be handed on, None where it can."""
    if record.status is None:
        return f"it has not ended; finish it with: timetrial run --resume {record.run.path}"
    if record.plan.learned is None:
        return "it measures and learns nothing: it has no evaluations"
    return None


def track(record: RunRecord) -> TrackedRun:
    """Return what tools are told of a run that `why_not` says nothing against.

    Raises:
        FormatError: The run's name is none that a file can have.
        StoreError: One of its files is a link, or cannot be read.
    """
    plan = record.plan
    began = next(event for event in record.launcher if isinstance(event, Allocated)).utc_ns
    wall_s = record.stretches[-1].stop_s if record.stretches else 0.0
    status = record.status
    assert status is not None  # why_not
    return TrackedRun(
        format=FORMAT,
        identity=_identity(plan),
        name=_checked(plan.run, record),
        experiment="timetrial-" + re.sub(r"[^\w.-]+", "-", plan.task.name),
        group=plan.batch,
        status=status,
        began_utc_ns=began,
        ended_utc_ns=began + _ns(wall_s),
        params=_params(plan),
        tags=_tags(record),
        moments=tuple(_moment(seen, began) for seen in record.evaluations),
        finals=_finals(record),
        last_step=record.steps,
        folder=str(record.run.path),
        files=_files(record),
    )


def _identity(plan: Plan) -> str:
    return hashlib.sha256(msgspec.json.encode(plan, order="deterministic")).hexdigest()


def _checked(name: str, record: RunRecord) -> str:
    """Return the name; tools make files and folders of it, and the plan may be a stranger's."""
    if name in ("", ".", "..") or re.search(r"[/\\\x00]", name):
        raise FormatError(
            f"{record.run.plan} calls its run {name!r}. Allowed: a name that a file can have. The "
            "plan was changed; restore it from a copy."
        )
    return name


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _moment(seen: Evaluation, began_utc_ns: int) -> Moment:
    values = {"accuracy": seen.accuracy, "loss": seen.loss, "top5_accuracy": seen.top5}
    return Moment(
        step=seen.step,
        at_s=seen.at_s,
        utc_ns=began_utc_ns + _ns(seen.at_s),
        values={f"{seen.split}/{name}": v for name, v in values.items() if v is not None},
    )


def _params(plan: Plan) -> dict[str, Scalar]:
    return dict(_flat(msgspec.to_builtins(plan), ""))


def _flat(value: object, path: str) -> Iterator[tuple[str, Scalar]]:
    """Yield the scalars below a value by their dotted path; a list of scalars is one, as JSON."""
    if path in _NO_PARAMS or value is None:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        if value and not any(isinstance(inner, Mapping | list | tuple) for inner in value):
            yield path, msgspec.json.encode(value).decode()
    else:
        assert isinstance(value, str | int | float | bool)  # what JSON has besides
        yield path, value


def _tags(record: RunRecord) -> dict[str, str]:
    plan, here, seen = record.plan, record.machine, record.environment
    found: dict[str, str | None] = {
        "accuracy": _whose_accuracy(record),
        "attempts": str(record.attempts),
        "batch": plan.batch,
        "clock": HEADLINE,  # of time_to_target_s
        "command": shlex.join(plan.command),
        "created_utc": plan.created_utc,
        "detail": record.detail,
        "run": plan.run,
        "status": record.status,
        "timetrial": plan.timetrial,
    }
    if here is not None:
        checkout = here.software.checkout
        names = [gpu.name for gpu in here.accelerators if gpu.name]
        found |= {
            "host": here.hostname,
            "cpu": here.cpu.model,
            "gpu": ", ".join(names),
            "commit": checkout.commit + ("-dirty" if checkout.dirty else "") if checkout else None,
        }
    if seen is not None:
        found |= {"device_name": seen.device_name}
        found |= {f"version.{name}": version for name, version in seen.versions.items()}
    return {name: text for name, text in found.items() if text}


def _whose_accuracy(record: RunRecord) -> str:
    """Return whether the accuracies were computed here or are a script's word."""
    believed = [not seen.recomputed for seen in record.evaluations]
    if not any(believed):
        return "recomputed"
    return "claimed by the script" if all(believed) else "in part claimed by the script"


def _finals(record: RunRecord) -> dict[str, float]:
    seconds = measures.segment_seconds(record)
    found: dict[str, float | None] = {
        "wall_s": sum(seconds.values()),
        **{f"segment_s/{name}": value for name, value in seconds.items()},
        "seconds_per_step": measures.seconds_per_step(record),
        "examples_per_s": measures.examples_per_s(record),
    }
    for target in dict.fromkeys([*record.plan.task.targets, record.plan.target]):
        if target is None:
            continue
        label = f"{target.split}_{target.metric}_{target.threshold:g}"
        time = measures.time_to_target(record, target)
        steps = measures.steps_to_target(record, target)
        if time is not None and time.reached and steps is not None:
            found[f"time_to_target_s/{label}"] = time.seconds
            found[f"steps_to_target/{label}"] = float(steps[0])
    counted = measures.meter_values(record)
    found |= {_METER_NAMES[name]: value for name, value in counted.items()}
    for name in record.plan.task.measures:
        own = record.measured(name)
        if own is not None:
            found[f"{own.split}/{name}"] = own.value
    return {name: v for name, v in found.items() if v is not None and math.isfinite(v)}


def _files(record: RunRecord) -> dict[str, str]:
    """Return the files to keep with the run: all but the checkpoints, which are large."""
    found: dict[str, str] = {}
    folder = record.run.path
    for name in [*record.run.files(), record.run.done.name]:
        path = folder / name
        if path.is_symlink():
            raise StoreError(
                f"{path} is a link. What it leads to is no part of the run, and is not exported. "
                "Put the file itself there."
            )
        if "/" not in name and path.is_file():
            found[name] = sha256(path)
    return found
