#!/usr/bin/env python3
"""Predict the time of a training step on many networks from a measurement, and compare.

At each point of a grid of rates and delays (launcher `shaped`, two workers of a core each):

1. `timetrial run allreduce` is made, and a line fitted to it;
2. both workers send as much as they can for a minute, and no exchange may stall;
3. a real task is trained, and its seconds per step stand beside the predicted: the computing of
   the same task without a shaped network, trained just before and just after, and the exchange of
   its gradients as it was measured in 1.

Three predictions: by the neighbouring sizes of the measurement, by its line, and by the model in
`stats.scaling` from no more than the rate and the delay asked for. Prints a line per point;
what is done stays in STORE, and a second call goes on from there. Exits with 1 where the median
error of the first prediction is above 15 %, or something stalled.

    scripts/network_grid.py STORE --rates 10mbit,100mbit,1gbit --delays 0ms,5ms,20ms --out grid.md
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from timetrial import api
from timetrial.cli.progress import ProgressWatcher
from timetrial.engine.events import Progress
from timetrial.exchange.allreduce import ALLREDUCE
from timetrial.findings.exchanges import ExchangeGroup, exchange_groups, exchange_rows, seconds_of
from timetrial.launch import REGISTRY
from timetrial.launch.supervise import supervise
from timetrial.plan import Request, find_task
from timetrial.rows import Row
from timetrial.spec import parameter_count
from timetrial.stats import communication, exchanges, scaling
from timetrial.store import RunRecord, read_runs
from timetrial.testing import runs
from timetrial.units import parse_duration

WORKERS: Final = 2
LOCAL_STEPS: Final = 300
ERROR_MAX: Final = 0.15
STALL_S: Final = 5.0  # beyond three times the median
_RATES: Final = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}


class Choices(NamedTuple):
    """What was asked for."""

    store: Path
    task: str
    framework: str
    light: bool
    load_s: float
    train_s: float


class Point(NamedTuple):
    """One network, measured, loaded, predicted and trained on."""

    network: str
    bandwidth: Row
    latency: Row
    load_bit_per_s: float
    longest_s: float  # of an exchange under load
    median_s: float
    stalled: bool
    predicted_s: dict[str, float]  # by name of the prediction
    low_s: float | None  # of the first
    high_s: float | None
    measured_s: float
    exchange_s: float | None  # of a split step, as training saw it
    steps: int
    compute_s: Sequence[float]  # of a step without its exchange, before and after
    gradient_bytes: int

    def error(self, name: str) -> float:
        """Return how far a prediction is off, relative to what was measured."""
        return self.predicted_s[name] / self.measured_s - 1


def main() -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--rates", default="10mbit,30mbit,100mbit,300mbit,1gbit")
    parser.add_argument("--delays", default="0ms,5ms,20ms")
    parser.add_argument("--task", default="digits-cnn")
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--whole", action="store_true", help="measure up to 64 MiB, not 4 MiB")
    parser.add_argument("--load", type=float, default=60.0, help="seconds of load (default 60)")
    parser.add_argument("--train", type=float, default=20.0, help="seconds of training (about)")
    parser.add_argument("--out", type=Path, help="Markdown; JSON is written beside it")
    options = parser.parse_args()
    choices = Choices(
        store=options.store,
        task=options.task,
        framework=options.framework,
        light=not options.whole,
        load_s=options.load,
        train_s=options.train,
    )
    near_s = line_of_group(made(choices.store / "local", measuring(choices), 1)).latency_s
    grid = [
        f"rate={rate}" + (f",delay={delay}" if parse_duration(delay) else "")
        for rate, delay in itertools.product(options.rates.split(","), options.delays.split(","))
    ]
    points = []
    for number, network in enumerate(grid, 1):
        points.append(point_of(network, near_s, choices))
        print(f"{number}/{len(grid)} {line_of(points[-1])}", flush=True)
    median = statistics.median(abs(point.error("neighbours")) for point in points)
    print(f"median error {100 * median:.1f} % over {len(points)} points")
    if options.out is not None:
        options.out.write_text(markdown(points, choices), encoding="utf-8")
        options.out.with_suffix(".json").write_bytes(as_json(points))
    return 1 if median > ERROR_MAX or any(point.stalled for point in points) else 0


# --- runs ----------------------------------------------------------------------------------------


def made(place: Path, request: Request, seeds: int) -> list[RunRecord]:
    """Return the runs of a request in their own store: made, or finished where they were begun."""
    with ProgressWatcher(quiet=True) as watcher:
        if place.is_dir() and any(place.glob("*/plan.json")):
            api.resume([place], watcher=watcher)
        else:
            api.run([request], seeds=seeds, store_dir=place, watcher=watcher)
    records = read_runs([place])
    failed = [r for r in records if r.status not in ("reached", "budget")]
    if failed:
        raise SystemExit(f"{failed[0].run.path}: {failed[0].status} {failed[0].detail}")
    return records


def training(choices: Choices, steps: int, **more: str) -> Request:
    """Return a training of so many steps, evaluated at their end alone."""
    return Request(
        task=choices.task,
        framework=choices.framework,
        workers=WORKERS,
        cores=1,
        division="open",  # a closed run would stop at its target
        target=1.0,
        settings={
            "steps_max": steps,
            "eval_every_steps": steps,
            "fence_every_steps": 10,
            "checkpoint_every_s": 1e6,
        },
        **more,
    )


def measuring(choices: Choices, **more: str) -> Request:
    """Return a measurement of the network."""
    return Request(
        task=ALLREDUCE.name,
        framework=choices.framework,
        workers=WORKERS,
        cores=1,
        light=choices.light,
        **more,
    )


def compute_s(place: Path, choices: Choices) -> float:
    """Return the seconds of a step without its exchange, on this machine's own network."""
    [record] = made(place, training(choices, LOCAL_STEPS), 1)
    step = communication.split_step(record)
    assert step is not None, "the exchange is explicit, and steps were split"
    return pace_s(record) * (1 - step.exchange / step.total)


def pace_s(record: RunRecord) -> float:
    """Return the seconds of a step, without the first stretch: it still warms up."""
    seen = [event for event in record.worker if isinstance(event, Progress)]
    return (seen[-1].t_ns - seen[0].t_ns) / 1e9 / (seen[-1].step - seen[0].step)


def line_of_group(records: Sequence[RunRecord]) -> exchanges.Line:
    """Return the line of the float32 measurement: gradients are float32."""
    seconds: dict[int, list[np.ndarray]] = {}
    for record in records:
        for size, values in seconds_of(record, "float32").items():
            seconds.setdefault(size, []).append(values)
    sizes = np.array(list(seconds), dtype=np.float64)
    return exchanges.fit_line(sizes, [np.concatenate(parts) for parts in seconds.values()])


def load(place: Path, network: str, rate: float, choices: Choices) -> RunRecord:
    """Have both workers send all they can for `load_s` seconds: sums of about half a second."""
    sizes = [size for size in ALLREDUCE.sizes_bytes if 8 * size / rate < 0.7]
    rules = msgspec.structs.replace(
        ALLREDUCE,
        name="two-way-load",
        title="One array, summed again and again",
        sizes_bytes=(sizes[-1],),
        dtypes=("float32",),
        repetitions_max=10**7,
        seconds_per_point=choices.load_s,
    )
    if not any(place.glob("*/done.json")):
        plan = runs.exchange_plan(rules, choices.framework)
        plan = msgspec.structs.replace(plan, launcher="shaped", network=network)
        run, named = runs.place(place, plan)
        launcher = REGISTRY.get("shaped")
        assert callable(launcher)
        result = supervise(run, named, launcher(), lambda events: None)
        if result.status != "reached":
            raise SystemExit(f"{run.path}: under load {result.status}: {result.reason}")
    return next(record for record in read_runs([place]) if record.done is not None)


# --- one point -----------------------------------------------------------------------------------


def point_of(network: str, near_s: float, choices: Choices) -> Point:
    """Measure, load, predict and train on one network."""
    place = choices.store / network.replace("=", "-").replace(",", "-")
    shaped = {"launcher": "shaped", "network": network}
    measured = made(place / "allreduce", measuring(choices, **shaped), 1)
    line = line_of_group(measured)
    rate, delay_s = of_network(network)
    loaded = load(place / "load", network, rate, choices)
    [(size, under_load)] = seconds_of(loaded, "float32").items()
    median = float(np.median(under_load))

    before = compute_s(place / "before", choices)
    gradients = parameter_count(find_task(choices.task)) * 4
    by_size = exchanges.by_neighbours(line, gradients)
    steps = int(np.clip(choices.train_s / (before + by_size.seconds), 60, 2000))
    trained = made(place / "training", training(choices, steps, **shaped), 1)
    computing = np.array([before, compute_s(place / "after", choices)])
    step = scaling.step_estimate(computing, by_size)
    exchanged = {
        "neighbours": by_size.seconds,
        "line": exchanges.by_line(line, gradients).seconds,
        "asked for": near_s + asked_for_s(rate, delay_s, gradients),
    }
    seconds = {name: float(computing.mean()) + time for name, time in exchanged.items()}
    split = communication.split_step(trained[0])
    bandwidth, latency = exchange_rows(float32(measured))
    return Point(
        network=network,
        bandwidth=bandwidth,
        latency=latency,
        load_bit_per_s=8 * size / median,
        longest_s=float(under_load.max()),
        median_s=median,
        stalled=float(under_load.max()) > STALL_S + 3 * median,
        predicted_s=seconds,
        low_s=step.low,
        high_s=step.high,
        measured_s=pace_s(trained[0]),
        exchange_s=split.exchange if split else None,
        steps=trained[0].steps,
        compute_s=computing.tolist(),
        gradient_bytes=gradients,
    )


def float32(records: Sequence[RunRecord]) -> ExchangeGroup:
    """Return the float32 half of a measurement."""
    return next(group for group in exchange_groups(records) if group.dtype == "float32")


def of_network(text: str) -> tuple[float, float]:
    """Return the rate in bit/s and the delay each way in seconds."""
    parts = dict(part.split("=") for part in text.split(","))
    unit = next(unit for unit in _RATES if parts["rate"].endswith(unit))
    rate = float(parts["rate"].removesuffix(unit)) * _RATES[unit]
    return rate, parse_duration(parts.get("delay", "0ms"))


def asked_for_s(rate: float, delay_s: float, gradient_bytes: int) -> float:
    """Return the exchange by rate and delay alone: frames of 1,500 bytes, gloo's ring."""
    return scaling.gradient_exchange_s(
        gradient_bytes, WORKERS, rate_bit_per_s=rate, delay_s=delay_s
    )


# --- words ---------------------------------------------------------------------------------------


def line_of(point: Point) -> str:
    """Return a point in one line."""
    return (
        f"{point.network}: {(point.bandwidth.value or 0) / 1e6:.1f} Mbit/s, round trip "
        f"{1e3 * (point.latency.value or 0):.1f} ms; load {point.load_bit_per_s / 1e6:.1f} Mbit/s, "
        f"longest {point.longest_s:.2f} s of {point.median_s:.2f} s"
        f"{' STALLED' if point.stalled else ''}; step {1e3 * point.measured_s:.1f} ms, predicted "
        + ", ".join(
            f"{1e3 * seconds:.1f} ({100 * point.error(name):+.1f} %) by {name}"
            for name, seconds in point.predicted_s.items()
        )
    )


def markdown(points: Sequence[Point], choices: Choices) -> str:
    """Return the table for docs/scaling.md."""
    heads = (
        "network", "bandwidth, Mbit/s", "round trip, ms", "load, Mbit/s", "longest exchange, s",
        "computing, ms", "predicted, ms", "measured, ms", "error", "error by line",
        "error by what was asked for", "steps",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for point in points:
        ends = ""
        if point.low_s is not None and point.high_s is not None:
            ends = f" ({1e3 * point.low_s:.1f} to {1e3 * point.high_s:.1f})"
        cells = (
            point.network,
            interval(point.bandwidth, 1e6),
            interval(point.latency, 1e-3),
            f"{point.load_bit_per_s / 1e6:.1f}",
            f"{point.longest_s:.2f}",
            " and ".join(f"{1e3 * second:.1f}" for second in point.compute_s),
            f"{1e3 * point.predicted_s['neighbours']:.1f}{ends}",
            f"{1e3 * point.measured_s:.1f}",
            *(f"{100 * point.error(name):+.1f} %" for name in ("neighbours", "line", "asked for")),
            str(point.steps),
        )
        lines.append(f"| {' | '.join(cells)} |")
    medians = ", ".join(
        f"{100 * statistics.median(abs(point.error(name)) for point in points):.1f} % by {name}"
        for name in ("neighbours", "line", "asked for")
    )
    return "\n".join(
        [
            f"{choices.task} in {choices.framework}, {WORKERS} workers of a core each, "
            f"{points[0].gradient_bytes:,} bytes of gradients in one message. Predicted is the "
            "mean computing of a step without a shaped network, in a run before and one after, and "
            "the exchange as it was measured between the neighbouring sizes of the all-reduce.",
            "",
            *lines,
            "",
            f"Median error over {len(points)} points: {medians}.",
            "",
        ]
    )


def interval(row: Row, unit: float) -> str:
    """Return a value with its interval in another unit."""
    numbers = [None if x is None else x / unit for x in (row.value, row.low, row.high)]
    value, low, high = ("unknown" if x is None else f"{x:.3g}" for x in numbers)
    return f"{value} ({low} to {high})"


def as_json(points: Sequence[Point]) -> bytes:
    """Return all points as JSON."""
    content = [
        {**point._asdict(), "errors": {name: point.error(name) for name in point.predicted_s}}
        for point in points
    ]
    return json.dumps(msgspec.to_builtins(content), indent=2).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main())
