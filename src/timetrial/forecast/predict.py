"""One prediction: what the next run of a task takes and costs on one system."""

from __future__ import annotations

import datetime
import math
import secrets
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

import timetrial
from timetrial import units
from timetrial.errors import UsageError
from timetrial.forecast.systems import Probed, Varies
from timetrial.references.convergence import CurveSet, StepsToTarget, steps_to
from timetrial.rows import Row
from timetrial.spec import Record, Target, Task, for_workers, parameter_count
from timetrial.spec.network import Network
from timetrial.spec.work import WEIGHT_BYTES
from timetrial.stats import forecast, scaling
from timetrial.stats.forecast import Forecast, Noise, Rhythm, Steps
from timetrial.stats.intervals import Estimate

FORMAT: Final = 1
CLOCK: Final = "mlperf"
EXCHANGE_ERROR: Final = 0.25
"""Standard deviation of the logarithm of measured over computed exchange, rate and delay alone.

Source: docs/scaling.md, 12 networks: the step so computed was off by 16.2 % in the median.
"""
STOLEN_SAID: Final = 0.05  # of the processor during a probe: from here on a note says so
Measure = Literal["time_to_target", "run_time"]


class Wanted(NamedTuple):
    """What is to be predicted: a task, where it stops, and how many workers share it."""

    task: Task
    target: Target | None  # None: all of its steps
    steps_max: int
    rhythm: Rhythm
    workers: int = 1
    network: Network | None = None


class Prediction(Record, frozen=True, kw_only=True):
    """What was predicted, before any run that it is scored by; seconds, USD."""

    format: int
    id: str
    made_utc: str
    timetrial: str
    task: str
    task_hash: str
    dataset: str
    measure: Measure
    target: str | None
    split: str | None
    clock: str
    system: Probed
    workers: int
    network: str | None
    seconds: float | None  # median of the next run on `clock`; None: more likely than not never
    low_s: float | None
    high_s: float | None  # None: beyond 2.5 % chance it never comes
    billed_s: float | None
    billed_low_s: float | None
    billed_high_s: float | None
    chance_reached: float
    steps: float | None  # median
    steps_n: int  # runs of the convergence library
    steps_seeds: tuple[int, ...]  # theirs, as far as known: no run to score by has one of them
    steps_source: str
    step_s: float  # of so many workers, exchange included
    noise: Noise
    noise_source: str
    notes: tuple[str, ...] = ()

    def estimate(self) -> Estimate:
        """Return the seconds on the clock; n is the number of runs of the library."""
        return Estimate(
            value=self.seconds,
            low=self.low_s,
            high=self.high_s,
            n=self.steps_n,
            method="forecast of the next run",
        )


class Drawn(NamedTuple):
    """A prediction and the draws that it summarises."""

    prediction: Prediction
    draws: Forecast


def predict(system: Probed, wanted: Wanted, *, curves: Sequence[CurveSet], varies: Varies) -> Drawn:
    """Return what the next run takes on this system; `curves` are the convergence library.

    Raises:
        UsageError: The library knows no run of these rules, or the workers cannot share them.
    """
    task = for_workers(wanted.task, wanted.workers)
    known = _steps(task, wanted, curves)
    exchange, exchanged = _exchange(task, system, wanted)
    draws = forecast.forecast(
        system.pace,
        Steps(known.steps, known.reached),
        wanted.rhythm,
        varies.noise,
        exchange_s=exchange,
        workers=wanted.workers,
    )
    if wanted.target is None:
        whole = draws.seconds + system.pace.after_s
        draws = draws._replace(seconds=whole)
    seconds = forecast.summarise(draws.seconds, len(known.steps))
    billed = forecast.summarise(draws.billed_s, len(known.steps))
    every = np.where(known.reached, known.steps, np.inf)
    median = float(np.quantile(every, 0.5, method="nearest"))
    now = datetime.datetime.now(datetime.UTC)
    return Drawn(
        Prediction(
            format=FORMAT,
            id=f"{task.name}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
            made_utc=now.isoformat(timespec="microseconds"),
            timetrial=timetrial.__version__,
            task=task.name,
            task_hash=task.hash(),
            dataset=task.dataset.name,
            measure="run_time" if wanted.target is None else "time_to_target",
            target=str(wanted.target) if wanted.target else None,
            split=wanted.target.split if wanted.target else None,
            clock=CLOCK,
            system=system,
            workers=wanted.workers,
            network=str(wanted.network) if wanted.network else None,
            seconds=seconds.value,
            low_s=seconds.low,
            high_s=seconds.high,
            billed_s=billed.value,
            billed_low_s=billed.low,
            billed_high_s=billed.high,
            chance_reached=forecast.chance(draws.seconds, None),
            steps=median if math.isfinite(median) else None,
            steps_n=len(known.steps),
            steps_seeds=known.seeds,
            steps_source=_source(known, wanted),
            step_s=float(np.median(draws.step_s)),
            noise=varies.noise,
            noise_source=varies.source,
            notes=(*_notes(known, system, wanted), *exchanged),
        ),
        draws,
    )


def _steps(task: Task, wanted: Wanted, curves: Sequence[CurveSet]) -> StepsToTarget:
    """Return the steps that the run will do.

    Raises:
        UsageError: Nobody knows.
    """
    if wanted.target is None:
        return StepsToTarget(
            steps=np.array([float(wanted.steps_max)]),
            reached=np.ones(1, np.bool_),
            seeds=(),
            batch_size=task.batch_size or 0,
            eval_every_steps=wanted.rhythm.eval_every_steps,
            system="its rules",
            date="",
            command="",
        )
    known = steps_to(task.hash(), wanted.target, curves)
    if known is None or not len(known.steps):
        several = f" with {wanted.workers} workers" if wanted.workers > 1 else ""
        raise UsageError(
            f"How many steps {task.name}{several} needs to {wanted.target} is not known: the "
            "convergence library has no run of these rules. Measure it with: timetrial "
            f"convergence update {task.name} --target {wanted.target.threshold:g}"
        )
    every = wanted.rhythm.eval_every_steps
    steps = np.ceil(known.steps / every) * every  # seen at the run's own next evaluation
    steps = np.minimum(steps, max(wanted.steps_max, steps.min()))
    reached = known.reached & (known.steps <= wanted.steps_max)
    return known._replace(steps=steps, reached=reached)


def _exchange(task: Task, system: Probed, wanted: Wanted) -> tuple[np.ndarray | float, list[str]]:
    """Return draws of what a step of several workers exchanges, and what must be known of it."""
    if wanted.workers == 1:
        return 0.0, []
    count = parameter_count(task)
    assert count is not None  # trees are not learned by several workers: `for_workers` refused
    size = count * WEIGHT_BYTES[system.precision]
    network = wanted.network or Network()
    links = [network.link(rank) for rank in range(wanted.workers)]
    rates = [link.rate_bit_per_s for link in links if link.rate_bit_per_s is not None]
    if not rates:
        return 0.0, [
            f"{wanted.workers} workers: no network given, their exchange counts as nothing; give "
            "--network rate=1gbit,delay=0.1ms"
        ]
    seconds = scaling.gradient_exchange_s(
        size,
        wanted.workers,
        rate_bit_per_s=min(rates),  # a ring is as slow as its slowest link
        delay_s=max(link.delay_s for link in links),
    )
    generator = np.random.default_rng(1)
    drawn = seconds * np.exp(EXCHANGE_ERROR * generator.standard_normal(forecast.DRAWS))
    return drawn, [
        f"{wanted.workers} workers, each as the probed one: computing divides evenly, "
        f"{units.bytes_(size)} of gradients take {units.duration(seconds)} a step on the network "
        "by rate and delay alone (ring all-reduce, nothing overlapped)"
    ]


def _source(known: StepsToTarget, wanted: Wanted) -> str:
    if wanted.target is None:
        return f"all of its {wanted.steps_max:,} steps"
    return f"{len(known.steps)} runs on {known.system}, {known.date}"


def _notes(known: StepsToTarget, system: Probed, wanted: Wanted) -> list[str]:
    notes: list[str] = []
    missed = int((~known.reached).sum())
    if missed:
        notes.append(f"{missed} of {len(known.steps)} runs of the library missed the target")
    if wanted.target is not None and len(known.steps) < 5:
        notes.append(f"only {len(known.steps)} runs of the library: the interval is too narrow")
    if known.eval_every_steps > wanted.rhythm.eval_every_steps:
        notes.append(
            f"the library was evaluated every {known.eval_every_steps} steps: the time is late by "
            "up to as many"
        )
    if system.shipped:
        notes.append("the probe came with timetrial: it was not made on this machine")
    if system.pace.relative_error == 0:
        notes.append("the probe did too few steps to show its own spread: probe for longer")
    if system.stolen is not None and system.stolen > STOLEN_SAID:
        seen, usual = units.percent(system.stolen, 0), system.usual_stolen
        instead = (
            "what is usual there is not known, so it is in the prediction"
            if usual is None
            else f"taken off, and the {units.percent(usual, 1)} put on that are usual there"
        )
        notes.append(f"others had {seen} of the processor during the probe (steal): {instead}")
    if system.drift is not None and abs(system.drift) > 0.1:
        notes.append(
            f"the probe's later half took {units.percent(abs(system.drift), 0)} "
            f"{'more' if system.drift > 0 else 'less'} a step than the earlier: probe for longer"
        )
    return notes


def _within(made: Prediction) -> str:
    """Return what is known of stretches as short as the probe, in words; empty where nothing is."""
    counted_s = made.system.pace.counted_s
    varies = forecast.within(made.noise, counted_s or 0.0)
    if counted_s is None or not varies:
        return ""
    return f", stretches of {units.duration(counted_s)} within runs: {units.percent(varies, 1)}"


def row_of(made: Prediction) -> Row:
    """Return the row of a prediction: origin predicted."""
    system = made.system
    several = [] if made.workers == 1 else [f"{made.workers} workers"]
    network = [] if made.network is None else [f"network {made.network}"]
    plain = [] if system.precision == "float32" else [system.precision]
    return Row(
        task=made.task,
        target=made.target,
        split=made.split,
        clock=made.clock,
        dataset=made.dataset,
        division="closed",
        framework=system.framework,
        device=system.device,
        cores=system.cores,
        precision=system.precision,
        workers=made.workers,
        launcher="local" if made.workers == 1 else "unknown",
        network=made.network,
        system=", ".join([system.machine, *plain, *several, *network]),
        measure=made.measure,
        value=made.seconds,
        low=made.low_s,
        high=made.high_s,
        n=made.steps_n,
        unit="s",
        origin="predicted",
        source=f"timetrial {made.timetrial}, prediction {made.id}",
        date=made.made_utc[:10],
        status_counts={},
        notes=[
            *made.notes,
            f"interval of the next run; steps: {made.steps_source}; speed: "
            f"{system.pace.probes} probe{'s' if system.pace.probes > 1 else ''} of "
            f"{units.duration(system.probe_s)} in all, {system.date}; run to run: "
            f"{units.percent(made.noise.sd_log, 1)} ({made.noise_source}){_within(made)}",
        ],
        evidence=list(system.evidence),
        facts={"chance_reached": f"{made.chance_reached:.4g}", "step_s": f"{made.step_s:.6g}"},
    )
