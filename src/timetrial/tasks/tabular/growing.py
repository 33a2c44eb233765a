"""What all models that grow tree by tree have in common here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from timetrial.engine import checkpoint
from timetrial.errors import UsageError
from timetrial.spec import Growth, Lap, Split, SplitName, Task, Workload

T = TypeVar("T")


class Growing(ABC):
    """An implementation whose step is a tree, or a round of one tree a class.

    A state is the number of steps: the same data, seed and threads grow the same trees again, and
    no library's own format has to be trusted. Resuming costs the time that growing them took.
    """

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Keep what to grow on; no tree yet."""
        self.task = work.task
        self.train = splits["train"]
        self.seed = work.seed % 2**31  # the widest that all of these libraries take
        self.threads = work.threads
        self.lap = lap
        self.grown = 0
        counts = np.bincount(self.train.labels, minlength=self.task.dataset.classes)
        self._prior = np.log(np.maximum(counts, 0.5) / counts.sum())

    @abstractmethod
    def grow(self, steps: int) -> None:
        """Add the trees of so many steps; `grown` is still without them."""

    @abstractmethod
    def scores_of(self, inputs: np.ndarray) -> np.ndarray:
        """Return scores (examples, classes) of the trees there are: there is one at least."""

    @abstractmethod
    def clear(self) -> None:
        """Forget all trees."""

    def advance(self, steps: int) -> None:
        """Grow."""
        self.grow(steps)
        self.grown += steps

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return scores whose softmax is the probability, shape (examples, classes).

        Without a tree they are the logarithms of the classes' shares in train.
        """
        raw = inputs.inputs if isinstance(inputs, Split) else inputs
        if not self.grown:
            return np.tile(self._prior, (len(raw), 1))
        return self.scores_of(raw)

    def state(self) -> bytes:
        """Return how many steps there are."""
        return checkpoint.pack({"grown": np.array(self.grown)})

    def restore(self, state: bytes) -> None:
        """Grow as many steps as the state says."""
        found = checkpoint.unpack(state, {"grown": np.array(self.grown)})
        self.clear()
        self.grown = 0
        steps = int(found["grown"])
        if steps:
            self.advance(steps)


def model_of(task: Task, kind: type[T]) -> tuple[T, float]:
    """Return the task's model and the learning rate of its growth.

    Raises:
        UsageError: Another model.
    """
    model = task.model
    if not isinstance(model, kind) or not isinstance(task.optimizer, Growth):
        raise UsageError(
            f"Task {task.name} is no {kind.__name__.lower()} that grows: its model is "
            f"{type(model).__name__}, its optimizer {type(task.optimizer).__name__}. Name another "
            "implementation in the task's `implementations`."
        )
    return model, task.optimizer.learning_rate


def scores_of_margins(margins: np.ndarray) -> np.ndarray:
    """Return scores (examples, classes) of margins; of two classes those of class 1 alone."""
    if margins.ndim == 1:
        return np.stack([np.zeros_like(margins), margins], axis=1)
    return margins


def categorical(categories: Sequence[int]) -> list[int]:
    """Return which inputs are categories."""
    return [column for column, count in enumerate(categories) if count]
