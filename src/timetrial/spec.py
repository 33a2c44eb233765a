"""What a task is: plain frozen records and the protocol an implementation follows.

No framework is imported here: rules can be read, hashed, listed and compared with none installed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Final,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    cast,
    runtime_checkable,
)

import msgspec

from timetrial.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

SplitName: TypeAlias = Literal["train", "validation", "test"]
Metric: TypeAlias = Literal["accuracy", "error_rate", "top5_accuracy", "loss"]
Division: TypeAlias = Literal["closed", "open"]
Precision: TypeAlias = Literal["float32", "float64", "bfloat16"]
Activation: TypeAlias = Literal["relu", "linear"]
TrainView: TypeAlias = Literal["stored", "resized_crop_flip"]
"""How training sees an image that is decoded when asked for.

resized_crop_flip: a random part of 8 to 100 % of its area with sides 3:4 to 4:3, scaled to the
input's size, left and right exchanged with probability 1/2; drawn per (seed, epoch, example).
Evaluation sees the centre of the scaled image (datasets/imagenet.py says both exactly).
"""
Init: TypeAlias = Literal["glorot_uniform", "he_normal", "he_normal_fan_out", "uniform_fan_in"]


MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are not the JSON asked for."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all stored records: immutable, strict about unknown keys.

    `frozen` and `kw_only` are repeated in every subclass: type checkers do not inherit them. Rules
    with defaults also say `omit_defaults=True`: a rule that a later version adds then leaves the
    hash of tasks that do not use it as it was.
    """


# --- the data ------------------------------------------------------------------------------------


class SplitRule(Record, frozen=True, kw_only=True):
    """How train, validation and test come out of a data set.

    `test_fraction` of None: the data set ships a test set, used as shipped. `validation_count` of
    0: the task trains on all of the train part, and its rows say that it stops on nothing.
    Cuts are stratified by label and drawn once with `seed`, the same for every run of the task.
    """

    test_fraction: float | None
    validation_count: int
    seed: int


class DatasetUse(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Which data set a task learns, in which shape."""

    name: str
    input_shape: tuple[int, ...]  # of one example, channels last
    classes: int
    train_count: int
    validation_count: int
    test_count: int
    split: SplitRule
    divide_by: float
    mean: tuple[float, ...] = ()  # a number per channel; empty: nothing is subtracted
    std: tuple[float, ...] = ()  # inputs become (inputs / divide_by - mean) / std
    content_sha256: str | None = None  # of a user's own data; None: the registered name fixes them
    train_view: TrainView = "stored"


class CropFlip(Record, frozen=True, kw_only=True, tag="crop_flip"):
    """Augmentation of images: black padding (before preprocessing), a random crop, a random flip.

    Crops of the image's own size lie anywhere in the padded image with equal chance; left and
    right are exchanged with probability 1/2. Drawn per (seed, epoch, example); off in evaluation.
    """

    padding: int
    flip: bool


# --- the model -----------------------------------------------------------------------------------


class Conv2d(Record, frozen=True, kw_only=True, omit_defaults=True, tag="conv2d"):
    """A convolution, zeros around the edge."""

    filters: int
    kernel: int
    padding: int
    activation: Activation
    init: Init
    stride: int = 1
    bias: bool = True


class BatchNorm(Record, frozen=True, kw_only=True, omit_defaults=True, tag="batch_norm"):
    """Batch normalisation over all but the channels, with a learned scale and shift (from 0).

    Training normalises with the batch's mean and its biased variance, and moves the running
    figures: running += momentum * (batch - running), where the batch's variance is the unbiased
    one. Evaluation normalises with the running figures, which start at 0 and 1.

    Source: Ioffe and Szegedy, ICML 2015; the running variance as in PyTorch's BatchNorm2d.
    """

    epsilon: float
    momentum: float
    initial_scale: float = 1.0


class Relu(Record, frozen=True, kw_only=True, tag="relu"):
    """The larger of each number and 0."""


class MaxPool2d(Record, frozen=True, kw_only=True, omit_defaults=True, tag="max_pool2d"):
    """A maximum over size × size windows, remainder cut; padding never is the maximum."""

    size: int
    stride: int | None = None  # None: size
    padding: int = 0


class GlobalAveragePool(Record, frozen=True, kw_only=True, tag="global_average_pool"):
    """The mean over height and width: a number per channel."""


class Dropout(Record, frozen=True, kw_only=True, tag="dropout"):
    """Inverted dropout: zero with probability `rate`, the rest divided by 1 - rate; off in eval."""

    rate: float


class Flatten(Record, frozen=True, kw_only=True, tag="flatten"):
    """Rows of height, width, channel order (channels last)."""


class Dense(Record, frozen=True, kw_only=True, tag="dense"):
    """A fully connected layer with bias."""

    units: int
    activation: Activation
    init: Init


class Residual(Record, frozen=True, kw_only=True, tag="residual"):
    """body(x) + shortcut(x), then the activation. An empty shortcut is x itself."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...]
    activation: Activation


Layer: TypeAlias = (
    "Conv2d | BatchNorm | Relu | MaxPool2d | GlobalAveragePool | Dropout | Flatten | Dense"
    " | Residual"
)


class Network(Record, frozen=True, kw_only=True, tag="network"):
    """A chain of layers; the last gives the class scores (logits)."""

    layers: tuple[Layer, ...]


class LogisticRegression(Record, frozen=True, kw_only=True, tag="logistic_regression"):
    """Binary logistic regression; `c` is the inverse strength of the L2 penalty."""

    solver: Literal["liblinear"]
    c: float
    penalise_intercept: bool


Model: TypeAlias = Network | LogisticRegression


# --- the optimizer -------------------------------------------------------------------------------


class InverseTimeDecay(Record, frozen=True, kw_only=True, tag="inverse_time_decay"):
    """Learning rate / (1 + rate * step), step counted from 0."""

    rate: float


class OneCycle(Record, frozen=True, kw_only=True, tag="one_cycle"):
    """Linear from `start_factor` to 1 in `warmup_steps`, then linear to `end_factor` at the end."""

    warmup_steps: int
    start_factor: float
    end_factor: float


class Milestones(Record, frozen=True, kw_only=True, tag="milestones"):
    """Linear from `start_factor` to 1 in `warmup_steps`, then × `factor` at each milestone.

    A step counts as past a milestone when its number, counted from 0, is that or larger.
    """

    warmup_steps: int
    start_factor: float
    milestones: tuple[int, ...]  # steps, rising
    factor: float


class PlateauHalving(Record, frozen=True, kw_only=True, tag="plateau_halving"):
    """Linear warm-up as in `Milestones`, then halved when the evaluated loss stops falling.

    After `patience` + 1 evaluations in a row whose loss is not below the best by more than
    `threshold`, the rate is halved, never below `floor_factor` times the learning rate.

    Source: mlbench-core 3.0, ReduceLROnPlateau with warm-up (by its code).
    """

    warmup_steps: int
    start_factor: float
    patience: int
    threshold: float
    floor_factor: float


Schedule: TypeAlias = InverseTimeDecay | OneCycle | Milestones | PlateauHalving


class Sgd(Record, frozen=True, kw_only=True, omit_defaults=True, tag="sgd"):
    """Stochastic gradient descent.

    With g = gradient + weight_decay * weight and velocity v (0 at the start):
    `rate_in_velocity` False (PyTorch): v = momentum * v + g; weight -= lr * v, or with nesterov
    weight -= lr * (g + momentum * v).
    `rate_in_velocity` True (Keras): v = momentum * v - lr * g; weight += v, or with nesterov
    weight += momentum * v - lr * g. The two differ only where the learning rate changes.
    """

    learning_rate: float
    momentum: float
    nesterov: bool
    rate_in_velocity: bool
    weight_decay: float
    schedule: Schedule | None
    decays: Literal["all", "weights"] = "all"  # "weights": no decay of biases, scales and shifts


class Solver(Record, frozen=True, kw_only=True, tag="solver"):
    """The model's own solver, run to its own tolerance: one step is the whole fit."""

    tolerance: float
    iterations_max: int


Optimizer: TypeAlias = Sgd | Solver


# --- the task ------------------------------------------------------------------------------------


class Target(Record, frozen=True, kw_only=True):
    """A quality to reach: the metric on that split, at or beyond the threshold."""

    metric: Metric
    threshold: float
    direction: Literal["at_least", "at_most"]
    split: SplitName

    def met_by(self, value: float) -> bool:
        """Return whether `value` meets the target; NaN never does."""
        if self.direction == "at_least":
            return value >= self.threshold
        return value <= self.threshold

    def __str__(self) -> str:
        """Return such as "accuracy >= 0.97 on validation"."""
        sign = ">=" if self.direction == "at_least" else "<="
        return f"{self.metric} {sign} {self.threshold:g} on {self.split}"


class Source(Record, frozen=True, kw_only=True):
    """Where a rule or figure comes from."""

    text: str
    url: str | None = None
    read_on: str | None = None


PROSE: Final = (  # fields of a task that decide nothing
    "title", "sources", "notes", "implementations", "precisions", "light_steps_max", "datasets",
    "eval_splits",
)  # fmt: skip


class Task(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A closed task: everything that decides what is learned and when it counts as learned."""

    name: str
    version: int
    title: str
    dataset: DatasetUse
    model: Model
    loss: Literal["cross_entropy"]
    optimizer: Optimizer
    step: Literal["mini-batch", "fit"]
    batch_size: int | None  # None where a step sees all of train
    steps_max: int
    eval_every_steps: int
    eval_split: SplitName  # evaluated during training
    targets: tuple[Target, ...]  # easiest first
    light_target: Target
    stops_at_target: bool  # False: always runs steps_max steps, targets are read off the curve
    measures: tuple[str, ...]  # the task's own measures beside the standard ones
    precisions: tuple[Precision, ...]  # of the arithmetic, the default first
    implementations: Mapping[str, str]  # framework -> "module:attribute" of a Build
    sources: tuple[Source, ...]
    notes: tuple[str, ...]
    augmentation: CropFlip | None = None
    class_weights: tuple[float, ...] = ()  # of the loss, by label; empty: all 1
    last_batch: Literal["keep", "drop"] = "keep"  # of an epoch, where it is not full
    light_steps_max: int | None = None  # with --light; None: steps_max
    datasets: tuple[str, ...] = ()  # others of the same shape and splits, for --dataset
    eval_splits: tuple[SplitName, ...] = ()  # others that the rules allow, for --eval-split

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch: every training example once, but for a last batch that is dropped."""
        if self.batch_size is None:
            return 1
        full, rest = divmod(self.dataset.train_count, self.batch_size)
        return full + (1 if rest and self.last_batch == "keep" else 0)

    def rules(self) -> dict[str, object]:
        """Return what decides the result, without prose and without where the code lies."""
        fields: dict[str, object] = msgspec.to_builtins(self)
        for name in PROSE:
            fields.pop(name, None)
        return fields

    def hash(self) -> str:
        """Return the SHA-256 of the rules as canonical JSON: equal rules, equal hash."""
        return hashlib.sha256(msgspec.json.encode(self.rules(), order="deterministic")).hexdigest()


class Placed(NamedTuple):
    """A layer in its place: its path ("3", "3.body.0"), and the shapes of one example."""

    path: str
    layer: Layer
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int  # its own and those of the layers inside it


def placed(input_shape: Sequence[int], layers: Sequence[Layer], above: str = "") -> list[Placed]:
    """Return the layers of one chain in their places; those inside a residual are not listed.

    Raises:
        UsageError: The two ways of a residual block do not end in one shape.
    """
    shape = tuple(input_shape)
    rows: list[Placed] = []
    for index, layer in enumerate(layers):
        path = f"{above}{index}"
        output, parameters = _output(path, layer, shape)
        rows.append(Placed(path, layer, shape, output, parameters))
        shape = output
    return rows


def _output(path: str, layer: Layer, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Return the shape of one example behind the layer, and the layer's parameter count."""
    match layer:
        case Conv2d(filters=filters, kernel=kernel, padding=padding, stride=stride, bias=bias):
            edge = [(side + 2 * padding - kernel) // stride + 1 for side in shape[:2]]
            return (*edge, filters), (kernel * kernel * shape[2] + bias) * filters
        case BatchNorm():
            return shape, 2 * shape[-1]
        case MaxPool2d(size=size, padding=padding):
            stride = layer.stride or size
            edge = [(side + 2 * padding - size) // stride + 1 for side in shape[:2]]
            return (*edge, shape[2]), 0
        case GlobalAveragePool():
            return shape[-1:], 0
        case Flatten():
            return (math.prod(shape),), 0
        case Dense(units=units):
            return (units,), (shape[0] + 1) * units
        case Residual():
            ways = [
                placed(shape, layer.body, f"{path}.body."),
                placed(shape, layer.shortcut, f"{path}.shortcut."),
            ]
            ends = [way[-1].output_shape if way else shape for way in ways]
            if ends[0] != ends[1]:
                raise UsageError(
                    f"Residual block {path}: the body ends in shape {ends[0]}, the shortcut in "
                    f"{ends[1]}. Give both the same filters and strides."
                )
            return ends[0], sum(row.parameters for way in ways for row in way)
        case Dropout() | Relu():
            return shape, 0


def walk(rows: Sequence[Placed]) -> Iterator[Placed]:
    """Yield the layers in order, those inside residual blocks (body first) after their block."""
    for row in rows:
        yield row
        if isinstance(row.layer, Residual):
            yield from walk(placed(row.input_shape, row.layer.body, f"{row.path}.body."))
            yield from walk(placed(row.input_shape, row.layer.shortcut, f"{row.path}.shortcut."))


def parameter_count(task: Task) -> int:
    """Return how many numbers the task's model learns."""
    match task.model:
        case Network(layers=layers):
            return sum(row.parameters for row in placed(task.dataset.input_shape, layers))
        case LogisticRegression():
            return math.prod(task.dataset.input_shape) + 1


# --- what an implementation is handed, and what it must offer -------------------------------------


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
class PredictsWithDropout(Protocol):
    """An implementation that can leave its dropout on, for figures that were taken that way."""

    def predict_with_dropout(self, split: Split) -> np.ndarray:
        """Return scores as `predict` does, dropout on, all else in evaluation mode."""


@runtime_checkable
class Adaptive(Protocol):
    """An implementation whose schedule looks at evaluations."""

    def evaluated(self, step: int, loss: float) -> None:
        """Take note of the loss of the evaluated split after `step` steps."""


class Workload(Record, frozen=True, kw_only=True):
    """What decides the arithmetic of one run, handed to `build`."""

    task: Task
    seed: int
    device: str
    precision: Precision


Build: TypeAlias = Callable[[Workload, Mapping[SplitName, Split], Lap], Implementation]
"""Builds an implementation from the workload, its splits and the lap marker."""
