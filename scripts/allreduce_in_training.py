#!/usr/bin/env python3
"""Compare the all-reduce inside training with the same all-reduce alone.

Two workers of a core each, on this machine: a task is trained with every few steps split into
parts, and arrays of as many bytes as its gradients have are summed by themselves, in turn, ROUNDS
times. Of each exchange the worker that came last counts: it waited for nobody. Prints the medians,
their ratio with its 95 % interval (bootstrap over rounds and exchanges), and exits with 1 where the
ratio is above 1.2.

    scripts/allreduce_in_training.py --task mnist-cnn --rounds 5
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from timetrial import api
from timetrial.cli.progress import ProgressWatcher
from timetrial.engine.events import Exchanged, Fenced
from timetrial.exchange.allreduce import ALLREDUCE
from timetrial.launch import REGISTRY
from timetrial.launch.supervise import supervise
from timetrial.plan import Request, find_task
from timetrial.spec import parameter_count
from timetrial.stats import communication
from timetrial.store import RunRecord, read_run
from timetrial.testing import runs

WORKERS: Final = 2
RATIO_MAX: Final = 1.2
FENCE: Final = 5
RESAMPLES: Final = 2000


def main() -> int:
    """Measure both, in turn; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--task", default="mnist-cnn")
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500, help="of a training (default 500)")
    parser.add_argument("--launcher", default="local")
    parser.add_argument("--network", help="with --launcher shaped")
    options = parser.parse_args()
    size = 4 * parameter_count(find_task(options.task))
    place = {"launcher": options.launcher, "network": options.network}
    print(f"{options.task}, {options.framework}: {size} bytes of gradients, {WORKERS} workers")
    inside: list[np.ndarray] = []
    alone: list[np.ndarray] = []
    with tempfile.TemporaryDirectory(prefix="timetrial-allreduce-") as folder:
        for number in range(1, options.rounds + 1):
            here = Path(folder) / str(number)
            count = options.steps // FENCE
            alone.append(summed(here, options.framework, size, count, place))
            inside.append(trained(here, options, place))
            print(
                f"round {number}: {1e3 * np.median(inside[-1]):.3f} ms in training "
                f"(n = {len(inside[-1])}), {1e3 * np.median(alone[-1]):.3f} ms alone "
                f"(n = {len(alone[-1])})",
                flush=True,
            )
    ratio, low, high = compare(inside, alone)
    print(
        f"all-reduce in training / alone: {ratio:.3f} (95 % interval {low:.3f} to {high:.3f}; "
        f"{options.rounds} rounds); allowed up to {RATIO_MAX}"
    )
    return 1 if ratio > RATIO_MAX else 0


def trained(place: Path, options: argparse.Namespace, where: dict[str, str | None]) -> np.ndarray:
    """Return the seconds of the exchange in each split step of a training."""
    request = Request(
        task=options.task,
        framework=options.framework,
        workers=WORKERS,
        cores=1,
        division="open",  # a closed run would stop at its target
        target=1.0,
        settings={
            "steps_max": options.steps,
            "eval_every_steps": options.steps,
            "fence_every_steps": FENCE,
            "checkpoint_every_s": 1e6,
        },
        **where,
    )
    with ProgressWatcher(quiet=True) as watcher:
        [record] = api.run([request], seeds=1, store_dir=place / "training", watcher=watcher)
    by_rank = [
        {e.step: e.parts_ns[communication.PART] for e in events if isinstance(e, Fenced)}
        for events in record.workers_events.values()
    ]
    steps = sorted(set.intersection(*map(set, by_rank)))[1:]  # the first may still warm up
    return np.array([min(own[step] for own in by_rank) / 1e9 for step in steps])


def summed(
    place: Path, framework: str, size: int, count: int, where: dict[str, str | None]
) -> np.ndarray:
    """Return the seconds of each all-reduce of `size` bytes alone."""
    rules = msgspec.structs.replace(
        ALLREDUCE,
        name="gradients-alone",
        title="Arrays of as many bytes as gradients have",
        sizes_bytes=(size,),
        dtypes=("float32",),
        warm_up=5,
        repetitions_min=count,
        repetitions_max=count,
    )
    planned = runs.exchange_plan(rules, framework)
    plan = msgspec.structs.replace(
        planned,
        cpus=runs.resolve(Request(task=ALLREDUCE.name, workers=WORKERS, cores=1), 1).cpus,
        cores=1,
        launcher=str(where["launcher"]),
        network=where["network"],
    )
    run, named = runs.place(place / "alone", plan)
    launcher = REGISTRY.get(named.launcher)
    assert callable(launcher)
    result = supervise(run, named, launcher(), lambda events: None)
    if result.status != "reached":
        raise SystemExit(f"{run.path}: {result.status} {result.reason}")
    return last_of(read_run(run.path))


def last_of(record: RunRecord) -> np.ndarray:
    """Return the least seconds over the workers of each repetition."""
    logs = [
        next(event.seconds for event in events if isinstance(event, Exchanged))
        for events in record.workers_events.values()
    ]
    return np.min(logs, axis=0)


def compare(inside: list[np.ndarray], alone: list[np.ndarray]) -> tuple[float, float, float]:
    """Return the mean over the rounds of the ratio of medians, and its interval."""
    generator = np.random.default_rng(0)
    ratios = [np.median(a) / np.median(b) for a, b in zip(inside, alone, strict=True)]
    draws = []
    for _ in range(RESAMPLES):
        picked = generator.integers(len(inside), size=len(inside))
        draws.append(
            np.mean(
                [
                    np.median(generator.choice(inside[place], len(inside[place])))
                    / np.median(generator.choice(alone[place], len(alone[place])))
                    for place in picked
                ]
            )
        )
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(np.mean(ratios)), float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
