"""Probes and runs become systems with a pace; those shipped know more than the own machine."""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from timetrial import references
from timetrial.engine.probing import WARM_UP_S
from timetrial.errors import FormatError
from timetrial.findings import framework_version, machine_name, place_of
from timetrial.spec import Precision, Record
from timetrial.stats import speed
from timetrial.stats.capacity import usual_share
from timetrial.stats.forecast import Noise, Pace, Paced, Stretch, run_to_run
from timetrial.stats.speed import Speed
from timetrial.store import RunRecord

SHIPPED: Final = "probes.toml"
DEGREES_MIN: Final = 5  # of freedom, below which the shipped noise speaks for the store's own
RUNS_MIN: Final = 5  # of which stretches of a length must be known, for the length to count


class Probed(Record, frozen=True, kw_only=True):
    """One system and how fast it is at one task."""

    task: str
    task_hash: str
    dataset: str
    framework: str
    version: str
    device: str
    cores: int
    precision: Precision
    machine: str  # such as "Intel Xeon Processor, 2 cores, torch 2.13.0+cpu"
    pace: Pace
    probe_s: float  # how long the probes took on the headline clock, together
    date: str
    drift: float | None = None  # of the newest probe
    eval_examples: int | None = None  # that the last look saw
    stolen: float | None = None  # share of processor time that others had in the newest probe
    usual_stolen: float | None = None  # in all the time since its machine started, in the pace
    evidence: tuple[str, ...] = ()  # runs and probes
    provider: str | None = None
    region: str | None = None
    image: str | None = None
    price_usd_per_h: float | None = None
    memory_bytes: int | None = None
    shipped: bool = False

    @property
    def processor(self) -> str:
        """Return what computes, without how much of it: the first word of the machine's name."""
        return processor_of(self.machine)

    @property
    def key(self) -> tuple[object, ...]:
        """Return what decides how fast it is."""
        return (
            self.task_hash, self.framework, self.version, self.device, self.cores, self.precision,
            self.machine, self.memory_bytes, self.provider, self.region, self.image,
        )  # fmt: skip


def processor_of(machine: str) -> str:
    """Return what computes on a machine of that name: its processor or accelerator."""
    return machine.split(",")[0]


class _ShippedNoise(Record, frozen=True, kw_only=True):
    precisions: tuple[Precision, ...]  # that it is of: the shorter ones vary more from run to run
    noise: Noise
    system: str
    date: str
    command: str


class _Shipped(Record, frozen=True, kw_only=True):
    run_to_run: tuple[_ShippedNoise, ...]
    probed: tuple[Probed, ...] = ()


def shipped_probes() -> tuple[Probed, ...]:
    """Return the systems whose probes come with timetrial.

    Raises:
        FormatError: The shipped file is damaged.
    """
    return tuple(msgspec.structs.replace(one, shipped=True) for one in _shipped().probed)


def _shipped() -> _Shipped:
    content = (importlib.resources.files(references.__name__) / SHIPPED).read_bytes()
    try:
        return msgspec.toml.decode(content, type=_Shipped)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise FormatError(f"references/{SHIPPED}: {error}. Install timetrial again.") from error


def probed_systems(records: Sequence[RunRecord]) -> list[Probed]:
    """Return the systems that probes and whole runs of one worker show, and those shipped.

    What was measured here comes first; a shipped system that is here too is left out.
    """
    groups: dict[tuple[object, ...], list[tuple[RunRecord, Speed]]] = {}
    for record in records:
        plan = record.plan
        whole = record.done is not None and record.status in ("reached", "budget")
        if not whole or plan.workers > 1 or plan.division != "closed":
            continue
        seen = speed.speed_of(record)
        if seen is None or seen.eval_s is None:
            continue
        groups.setdefault(_probed(record, [(record, seen)]).key, []).append((record, seen))
    here = [_probed(group[-1][0], group) for group in groups.values()]
    known = {one.key for one in here}
    return [*here, *(one for one in shipped_probes() if one.key not in known)]


def _probed(record: RunRecord, seen: Sequence[tuple[RunRecord, Speed]]) -> Probed:
    plan, place = record.plan, place_of(record)
    speeds = [_as_usual(run, one) for run, one in seen]
    declared = [run.plan.price_usd_per_h for run, _ in seen]
    prices = [price for price in declared if price is not None]
    return Probed(
        task=plan.task.name,
        task_hash=plan.task_hash,
        dataset=plan.task.dataset.name,
        framework=plan.framework,
        version=framework_version(record),
        device=plan.device,
        cores=plan.cores,
        precision=plan.precision,
        machine=machine_name(record),
        pace=_pace(speeds),
        probe_s=math.fsum(one.on_clock_s for one in speeds),
        date=max(run.plan.created_utc for run, _ in seen)[:10],
        drift=speeds[-1].drift,
        eval_examples=speeds[-1].eval_examples,
        stolen=speeds[-1].stolen,
        usual_stolen=usual_share(seen[-1][0].machine),
        evidence=tuple(run.run.path.name for run, _ in seen),
        provider=place.provider,
        region=place.region,
        image=plan.image,
        price_usd_per_h=prices[-1] if prices else None,
        memory_bytes=plan.memory_bytes,
    )


def _as_usual(record: RunRecord, seen: Speed) -> Speed:
    """Return the speed with the share of the processor that the machine usually leaves to us.

    Where it does not tell, with what was left in this very probe.
    """
    share = usual_share(record.machine)
    slower = 1 / (1 - (seen.stolen if share is None else share))
    names = ("step_s", "step_low_s", "step_high_s", "eval_s", "test_s", "warm_up_s")
    values = {name: getattr(seen, name) for name in names}
    return seen._replace(
        **{name: value * slower for name, value in values.items() if value is not None}
    )


def _pace(speeds: Sequence[Speed]) -> Pace:
    """Return the means over probes; their own error shrinks as one over the root of their number.

    The logarithmic mean of seconds per step: what `run_to_run` speaks of.
    """
    count = len(speeds)
    after = [one.tear_down_s + one.checkpoint_s + (one.test_s or 0.0) for one in speeds]
    within = [one.relative_error for one in speeds]
    return Pace(
        step_s=float(np.exp(np.mean([math.log(one.step_s) for one in speeds]))),
        eval_s=_mean([one.eval_s or 0.0 for one in speeds]),
        set_up_s=_mean([one.set_up_s for one in speeds]),
        warm_up_s=_mean([one.warm_up_s for one in speeds]),
        checkpoint_s=_mean([one.checkpoint_s for one in speeds]),
        start_up_s=_mean([one.start_up_s for one in speeds]),
        after_s=_mean(after),
        relative_error=math.sqrt(math.fsum(error**2 for error in within)) / count,
        counted_s=math.fsum(one.counted_s for one in speeds),
        probes=count,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


class Varies(NamedTuple):
    """How much the same work varies from run to run, and where that is known from."""

    noise: Noise
    source: str


class _Seen(NamedTuple):
    """What one probe or run says of how work varies."""

    processor: str
    precision: Precision
    key: tuple[object, ...]  # runs of one key did the same work on the same system
    paced: Paced
    stretches: dict[float, float]  # of a whole run: see speed.stretches_of


class Spreads:
    """How much work varies, on every processor in every precision.

    From the probes and runs given, those on one processor in alike precisions together; where they
    say too little, from what is shipped of that processor, else of the one that varies most. Of a
    precision of which nothing is shipped that is the widest of all.

    Raises:
        FormatError: The shipped file is damaged.
    """

    def __init__(self, records: Sequence[RunRecord]) -> None:
        """Look at these records; what is shipped is read too."""
        self._seen = _all_seen(records)
        self._shipped = _shipped().run_to_run
        self._found: dict[tuple[str, Precision], Varies] = {}

    def of(self, processor: str, precision: Precision) -> Varies:
        """Return how much work in that precision varies on that processor."""
        key = (processor, precision)
        if key not in self._found:
            self._found[key] = self._look(processor, precision)
        return self._found[key]

    def _look(self, processor: str, precision: Precision) -> Varies:
        alike = [one for one in self._shipped if precision in one.precisions]
        same = [one for one in alike if one.system == processor]
        shipped = max(same or alike or self._shipped, key=lambda one: one.noise.sd_log)
        here = [one for one in self._seen if one.processor == processor]
        own = _spread(here, shipped.precisions if alike else (precision,))
        which = " and ".join(shipped.precisions)
        if own is not None and own.degrees >= DEGREES_MIN:
            if not own.stretches and same:
                own = _spread(here, shipped.precisions, shipped.noise.stretches) or own
            which = which if alike else precision
            return Varies(own, f"{own.runs} runs of {own.systems} systems here, {which}")
        known = shipped.noise
        where = f"{shipped.system}, {which}, {shipped.date}"
        return Varies(known, f"{known.runs} runs of {known.systems} systems on {where}")


def spread_of(records: Sequence[RunRecord], precisions: Collection[Precision]) -> Noise | None:
    """Return how much work in these precisions varies by run; None: none was seen twice."""
    return _spread(_all_seen(records), precisions)


def _all_seen(records: Sequence[RunRecord]) -> list[_Seen]:
    """Return what finished probes and runs say; too short a probe to have warmed up is slow."""
    found: list[_Seen] = []
    for record in records:
        plan = record.plan
        cold = plan.probe_s is not None and plan.probe_s < 2 * WARM_UP_S
        speed_seen = speed.speed_of(record) if record.done is not None and not cold else None
        if speed_seen is not None:
            system = _probed(record, [(record, speed_seen)])
            whole = plan.probe_s is None
            found.append(
                _Seen(
                    processor=system.processor,
                    precision=plan.precision,
                    key=(*system.key, plan.workers, plan.network),
                    paced=Paced(speed_seen.step_s, speed_seen.counted_s),
                    stretches=speed.stretches_of(record) if whole else {},
                )
            )
    return found


def _spread(
    seen: Sequence[_Seen],
    precisions: Collection[Precision],
    stretches: Sequence[Stretch] | None = None,
) -> Noise | None:
    groups: dict[tuple[object, ...], list[Paced]] = {}
    squares: dict[float, list[float]] = {}
    for one in seen:
        if one.precision in precisions:
            groups.setdefault(one.key, []).append(one.paced)
            for seconds, square in one.stretches.items():
                squares.setdefault(seconds, []).append(square)
    own = [
        Stretch(seconds=seconds, sd_log=math.sqrt(_mean(values)), runs=len(values))
        for seconds, values in sorted(squares.items())
        if len(values) >= RUNS_MIN
    ]
    return run_to_run(list(groups.values()), own if stretches is None else stretches)
