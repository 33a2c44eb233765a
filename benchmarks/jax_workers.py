"""Milliseconds per step in JAX: one worker, and two that add their gradients up, in turn.

    .venv/bin/python benchmarks/jax_workers.py [TASK …] [--rounds 15] [--steps 20]

Two processes, a core and a thread each. In every round worker 0 first does the steps alone, then
both do them by each algorithm, the same mini-batches cut in two. Prints medians over the rounds,
of the ratio to one worker too, and how the fenced steps of `allreduce` divide.
"""

from __future__ import annotations

import argparse
import collections
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from timetrial.frameworks import Place
from timetrial.launch.local import free_port
from timetrial.plan import find_task
from timetrial.spec import Split, Task, Workload

WORKERS = 2
KINDS = ("one worker", "allreduce", "ddp")


def main() -> None:
    """Start the workers, or be one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=["digits-cnn", "mnist-cnn"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--worker", nargs=2, type=int, metavar=("RANK", "PORT"))
    options = parser.parse_args()
    if options.worker:
        work(options, *options.worker)
        return
    print(f"load average before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
    port = str(free_port())
    workers = [
        subprocess.Popen([sys.executable, *sys.argv, "--worker", str(rank), port])
        for rank in range(WORKERS)
    ]
    sys.exit(max(worker.wait() for worker in workers))


def work(options: argparse.Namespace, rank: int, port: int) -> None:
    """Measure as one of the workers; worker 0 prints."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    from timetrial.frameworks.jax import Jax
    from timetrial.tasks.networks import with_jax

    jax = Jax()
    jax.connect(Place(rank, WORKERS, "127.0.0.1", port, "cpu"))
    jax.setup(device="cpu", threads=1, precision="float32")
    for name in options.tasks:
        task = find_task(name)
        splits: Any = {"train": made_up(task)}
        alone = Workload(task=task, seed=1, device="cpu", precision="float32")
        marks = Marks(jax.synchronise)
        made = {}
        for kind in KINDS:
            workload = alone
            if kind != KINDS[0]:
                workload = msgspec.structs.replace(
                    alone, rank=rank, workers=WORKERS, algorithm=kind
                )
            made[kind] = with_jax.build(workload, splits, marks)
            made[kind].advance(10)
        rounds = [one_round(made, rank, options.steps) for _ in range(options.rounds)]
        marks.on = True
        for _ in range(options.rounds):
            marks.begin()
            made["allreduce"].advance(1)
        if rank == 0:
            report(task, rounds, marks)
    jax.disconnect()


def one_round(made: dict[str, Any], rank: int, steps: int) -> dict[str, float]:
    """Return the milliseconds per step of each kind."""
    seen = {}
    for kind, each in made.items():
        if kind == KINDS[0] and rank:
            continue  # the next exchange waits for worker 0
        if kind != KINDS[0]:
            each.advance(1)  # both begin together
        begun = time.perf_counter()
        each.advance(steps)
        seen[kind] = 1e3 * (time.perf_counter() - begun) / steps
    return seen


class Marks:
    """Notes how long the parts of a step take, once it is on."""

    def __init__(self, synchronise: Callable[[], None]) -> None:
        """Begin switched off."""
        self.on = False
        self.parts: dict[str, list[float]] = collections.defaultdict(list)
        self._synchronise = synchronise
        self._last_s = 0.0

    def begin(self) -> None:
        """Begin a step."""
        self._synchronise()
        self._last_s = time.perf_counter()

    def __call__(self, part: str) -> None:
        """End a part of it."""
        if self.on:
            self._synchronise()
            now_s = time.perf_counter()
            self.parts[part].append(1e3 * (now_s - self._last_s))
            self._last_s = now_s


def made_up(task: Task) -> Split:
    """Return a training split of random numbers."""
    rng = np.random.default_rng(0)
    use = task.dataset
    inputs = rng.integers(0, 255, size=(use.train_count, *use.input_shape), dtype=np.uint8)
    return Split("train", inputs, rng.integers(0, use.classes, size=use.train_count))


def report(task: Task, rounds: list[dict[str, float]], marks: Marks) -> None:
    """Print one task's figures."""
    print(f"{task.name}, mini-batch {task.batch_size}, {len(rounds)} rounds", flush=True)
    for kind in KINDS:
        times = [each[kind] for each in rounds]
        ratios = sorted(each[kind] / each[KINDS[0]] for each in rounds)
        low, high = np.quantile(ratios, [0.1, 0.9])
        print(
            f"  {kind:10}  {statistics.median(times):6.2f} ms a step (least {min(times):.2f}), "
            f"{statistics.median(ratios):.2f} of one worker ({low:.2f} to {high:.2f})"
        )
    parts = {name: statistics.median(times) for name, times in marks.parts.items()}
    print("  allreduce fenced: " + ", ".join(f"{name} {ms:.2f}" for name, ms in parts.items()))
    print(f"  load average after: {os.getloadavg()[0]:.2f}", flush=True)


if __name__ == "__main__":
    main()
