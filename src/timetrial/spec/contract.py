"""What an implementation is handed, and what it must offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

from timetrial.errors import UsageError
from timetrial.spec.rules import Precision, Record, SplitName, Task

if TYPE_CHECKING:
    import numpy as np


class LazyImages(Protocol):
    """Images that are decoded when asked for: too many for memory, of many sizes on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all images together, as they are seen: images first, channels last."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return these images, uint8, as evaluation sees them."""

    @property
    def draws(self) -> int:
        """How many uniform numbers decide what training sees of one image."""

    def augmented(self, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return these images, uint8, as training sees them; `draws` has a line for each."""


class Split:
    """The examples of one split, as the data set stores them (before preprocessing).

    `inputs` has the examples first and channels last; `labels` are integers 0 … classes - 1.
    Where the data set decodes its images when asked for, `lazy` holds them instead of `inputs`.
    """

    __slots__ = ("_inputs", "labels", "lazy", "name")

    def __init__(
        self, name: SplitName, inputs: np.ndarray | LazyImages, labels: np.ndarray
    ) -> None:
        """Keep the arrays, read-only."""
        self.name: SplitName = name
        self.lazy: LazyImages | None = None
        self._inputs: np.ndarray | None = None
        if hasattr(inputs, "augmented"):
            self.lazy = cast("LazyImages", inputs)
        else:
            inputs.flags.writeable = False
            self._inputs = inputs
        labels.flags.writeable = False
        self.labels = labels

    @property
    def inputs(self) -> np.ndarray:
        """The examples as one array.

        Raises:
            UsageError: They are decoded when asked for, and this caller wants all at once.
        """
        if self._inputs is None:
            raise UsageError(
                f"The {self.name} split holds {len(self)} images that are decoded when asked for; "
                "this implementation wants them as one array. Use torch."
            )
        return self._inputs

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.labels)


class Lap(Protocol):
    """Marks the end of a part of a step; does nothing except in fenced steps."""

    def __call__(self, part: str) -> None:
        """End the part called data, forward, backward, communication or optimizer."""


class Implementation(Protocol):
    """One task in one framework, ready to train. It logs nothing and reads no clock."""

    def advance(self, steps: int) -> None:
        """Train for `steps` steps; return only when the device has finished them."""

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return scores, a row per example and a column per class, in evaluation mode."""

    def state(self) -> bytes:
        """Return all that decides the further run: weights, optimizer, position."""

    def restore(self, state: bytes) -> None:
        """Go on exactly from where `state` was taken.

        Raises:
            FormatError: The bytes are not a state of this implementation.
        """


class Probe(NamedTuple):
    """One mini-batch looked at: nothing of the implementation changes by it."""

    inputs: np.ndarray  # as the network gets them: preprocessed, augmented, channels last
    scores: np.ndarray  # (examples, classes), in training mode
    loss: float  # of the mini-batch, without any weight decay
    gradients: dict[str, np.ndarray]  # of that loss, by parameter


@runtime_checkable
class Inspectable(Protocol):
    """What the parity proof needs beyond training; arrays in the layout of the NumPy reference."""

    def variables(self) -> dict[str, np.ndarray]:
        """Return parameters and running statistics by name ("3.body.0.weight")."""

    def assign(self, variables: Mapping[str, np.ndarray]) -> None:
        """Take these parameters and statistics instead; the velocity stays as it is."""

    def probe(self, step: int) -> Probe:
        """Return what the mini-batch of `step` gives with the present variables."""


@runtime_checkable
class Compilable(Protocol):
    """An implementation that compiles programs before its first step."""

    def compile(self) -> None:
        """Compile all that training and prediction will run; nothing else changes by it."""


@runtime_checkable
class Bins(Protocol):
    """An implementation that puts inputs into bins, or into its library's own form, before it."""

    def bin(self) -> None:
        """Do that with train; it has a segment of its own."""


@runtime_checkable
class GoesFurther(Protocol):
    """An implementation to which every call of `advance` costs more than its steps do.

    The engine asks it for all steps up to the next evaluation at once, and looks at requests to
    stop, the budget and parts of steps no more often.
    """

    @property
    def at_once(self) -> str:
        """Why: what a call costs, for the reader of its rows."""


@runtime_checkable
class PredictsInParts(Protocol):
    """An implementation whose `predict` computes no more than so many examples at once."""

    @property
    def predict_batch(self) -> int:
        """How many these are; more of them are cut into such parts."""


@runtime_checkable
class PredictsWithDropout(Protocol):
    """An implementation that can leave its dropout on, for figures that were taken that way."""

    def predict_with_dropout(self, split: Split) -> np.ndarray:
        """Return scores as `predict` does, dropout on, all else in evaluation mode."""


@runtime_checkable
class Adaptive(Protocol):
    """An implementation whose schedule looks at evaluations."""

    def evaluated(self, step: int, loss: float) -> None:
        """Take note of the loss of the evaluated split after `step` steps."""


@runtime_checkable
class Settles(Protocol):
    """An implementation whose workers do not all hold the same weights all the time."""

    def settle(self) -> None:
        """Make ready what `predict` scores with, such as the mean of all workers' weights.

        Called in every worker before an evaluation, which then is made in the first worker alone.
        Training goes on as if it had not been called.
        """


class Workload(Record, frozen=True, kw_only=True):
    """What decides the arithmetic of one run, handed to `build`."""

    task: Task
    seed: int
    device: str
    precision: Precision
    rank: int = 0  # of this worker among `workers`, which all hold the whole of the data
    workers: int = 1
    algorithm: str = "allreduce"  # how they learn together, as `timetrial.algorithms` reads it
    partition: str = "shuffled"  # which examples each sees, as `tasks.networks.shards` reads it
    threads: int = 1  # it may use


Build: TypeAlias = Callable[[Workload, Mapping[SplitName, Split], Lap], Implementation]
"""Builds an implementation from the workload, its splits and the lap marker."""
