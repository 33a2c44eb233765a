"""A framework without a framework: a classifier by class means, in NumPy, and a task for it.

It truly learns, so its curve rises, but a worker with it is ready in a fraction of a second.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from timetrial.engine import checkpoint, seeds
from timetrial.errors import UsageError
from timetrial.exchange.allreduce import ALLREDUCE
from timetrial.frameworks import Place, Setup
from timetrial.spec import (
    Exchange,
    Lap,
    Point,
    Precision,
    Split,
    SplitName,
    Target,
    Task,
    Workload,
)
from timetrial.tasks import digits_cnn

SLOW_STEP_S: Final = 0.005


def _target(threshold: float) -> Target:
    return Target(metric="accuracy", threshold=threshold, direction="at_least", split="validation")


TASK: Final[Task] = msgspec.structs.replace(
    digits_cnn.TASK,
    name="fake-digits",
    title="8 x 8 digits by class means, to test timetrial itself",
    batch_size=8,
    steps_max=240,
    eval_every_steps=20,
    targets=(_target(0.85),),
    light_target=_target(0.7),
    implementations={"fake": "timetrial.testing.fakes:build"},
    notes=("Not a benchmark: the rules of network and optimizer are ignored.",),
)


EXCHANGE: Final[Exchange] = msgspec.structs.replace(
    ALLREDUCE,
    name="fake-allreduce",
    title="All-reduce of a few small arrays, to test timetrial itself",
    sizes_bytes=(4, 65536, 2**23),
    repetitions_max=4,
    seconds_per_point=0.5,
    light_bytes_max=65536,
    light_repetitions_max=2,
    implementations={"fake": "timetrial.testing.fakes:build_collective"},
)

SLOW_TASK: Final[Task] = msgspec.structs.replace(
    TASK,
    name="fake-digits-slow",
    implementations={"fake": "timetrial.testing.fakes:build_slow"},
)


class FakeFramework:
    """A framework that has nothing to set."""

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Accept the CPU.

        Raises:
            UsageError: Another device.
        """
        if device != "cpu":
            raise UsageError(f"--device {device} is not possible: fake sees cpu.")
        versions = {"fake": "1", "python": platform.python_version()}
        return Setup(versions=versions, threads=threads, settings={}, device_name="cpu")

    def connect(self, place: Place) -> Mapping[str, str]:
        """Accept any place: the fake's workers all learn the same, and exchange nothing."""
        return {"backend": "none"}

    def disconnect(self) -> None:
        """Do nothing."""

    def synchronise(self) -> None:
        """Return at once."""


class FakeImplementation:
    """Adds each mini-batch to the sums of its classes; the nearest class mean scores highest."""

    def __init__(
        self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap, *, step_s: float = 0.0
    ) -> None:
        """Start with empty sums; a step takes at least `step_s` seconds."""
        self._task = work.task
        self._seed = work.seed
        self._train = splits["train"]
        self._lap = lap
        self._step_s = step_s
        classes, features = work.task.dataset.classes, int(np.prod(work.task.dataset.input_shape))
        self._sums = np.zeros((classes, features))
        self._counts = np.zeros(classes)
        self._step = 0

    def advance(self, steps: int) -> None:
        """Learn `steps` mini-batches."""
        batch = self._task.batch_size or len(self._train)
        for _ in range(steps):
            epoch, position = divmod(self._step, self._task.steps_per_epoch)
            order = seeds.order(self._seed, epoch, len(self._train))
            chosen = order[position * batch : (position + 1) * batch]
            self._lap("data")
            np.add.at(
                self._sums, self._train.labels[chosen], self._flat(self._train.inputs[chosen])
            )
            np.add.at(self._counts, self._train.labels[chosen], 1)
            self._lap("optimizer")
            self._step += 1
            time.sleep(self._step_s)

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return minus half the squared distance to each class mean, up to a constant per row."""
        flat = self._flat(inputs.inputs if isinstance(inputs, Split) else inputs)
        means = self._sums / np.maximum(self._counts, 1)[:, None]
        scores: np.ndarray = flat @ means.T - (means**2).sum(axis=1) / 2
        return scores

    def state(self) -> bytes:
        """Return sums, counts and step."""
        return checkpoint.pack(self._arrays())

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        arrays = checkpoint.unpack(state, self._arrays())
        self._sums, self._counts = arrays["sums"], arrays["counts"]
        self._step = int(arrays["step"])

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"sums": self._sums, "counts": self._counts, "step": np.array(self._step)}

    def _flat(self, inputs: np.ndarray) -> np.ndarray:
        return inputs.reshape(len(inputs), -1) / self._task.dataset.divide_by


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> FakeImplementation:
    """Build the fake."""
    return FakeImplementation(work, splits, lap)


def build_slow(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> FakeImplementation:
    """Build a fake whose steps take long enough to be interrupted."""
    return FakeImplementation(work, splits, lap, step_s=SLOW_STEP_S)


def build_telling(
    work: Workload, splits: Mapping[SplitName, Split], lap: Lap
) -> FakeImplementation:
    """Build a fake after printing the worker's environment as one line of JSON."""
    print(json.dumps(dict(os.environ)), flush=True)
    return FakeImplementation(work, splits, lap)


class FakeCollective:
    """A worker alone that sleeps while it would exchange: a given time, and one for each byte."""

    def __init__(self, latency_s: float = 0.0, s_per_byte: float = 0.0) -> None:
        """Start without an array."""
        self._latency_s, self._s_per_byte = latency_s, s_per_byte
        self.made: list[Point] = []  # in the order of `prepare`
        self.sums: list[float] = []

    def prepare(self, point: Point) -> None:
        """Note the array."""
        self.made.append(point)

    def meet(self) -> None:
        """Return: there is nobody else."""

    def reduce(self) -> None:
        """Take the time that the array takes."""
        time.sleep(self._latency_s + self._s_per_byte * self.made[-1].bytes)
        self.sums.append(1.0)

    def result(self) -> tuple[float, float]:
        """Return the sum over one worker."""
        return self.sums[-1], self.sums[-1]


def build_collective(device: str) -> FakeCollective:
    """Build the fake of a measurement."""
    return FakeCollective()


def build_failing(
    work: Workload, splits: Mapping[SplitName, Split], lap: Lap
) -> FakeImplementation:
    """Raise RuntimeError in place of building."""
    raise RuntimeError("this implementation always fails")


def build_failing_second(
    work: Workload, splits: Mapping[SplitName, Split], lap: Lap
) -> FakeImplementation:
    """Build a fake, but raise RuntimeError in worker 1."""
    if work.rank == 1:
        raise RuntimeError("the second worker always fails")
    return FakeImplementation(work, splits, lap, step_s=SLOW_STEP_S)


def write_plugin(folder: Path) -> None:
    """Make `folder`, once it is on sys.path, offer the framework "fake" and its tasks.

    It is what installing a package with these entry points leaves. Workers find it by PYTHONPATH.
    """
    info = folder / "timetrial_fakes-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: timetrial-fakes\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "[timetrial.frameworks]\nfake = timetrial.testing.fakes:FakeFramework\n"
        f"[timetrial.tasks]\n{TASK.name} = timetrial.testing.fakes:TASK\n"
        f"{SLOW_TASK.name} = timetrial.testing.fakes:SLOW_TASK\n"
    )
