"""The rules of a task: plain frozen records. No framework is imported here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

SplitName: TypeAlias = Literal["train", "validation", "test"]
Metric: TypeAlias = Literal["accuracy", "error_rate", "top5_accuracy", "auc", "loss"]
"""auc: the area under the ROC curve, of two classes."""
Division: TypeAlias = Literal["closed", "open"]
Precision: TypeAlias = Literal["float32", "float64", "bfloat16", "mixed"]
"""mixed: a library's own mixture, which nobody can choose, such as sums in float64 of float32."""
Activation: TypeAlias = Literal["relu", "linear"]
TrainView: TypeAlias = Literal["stored", "resized_crop_flip"]
"""How training sees an image that is decoded when asked for.

resized_crop_flip: a random part of 8 to 100 % of its area with sides 3:4 to 4:3, scaled to the
input's size, left and right exchanged with probability 1/2; drawn per (seed, epoch, example).
Evaluation sees the centre of the scaled image (datasets/imagenet.py says both exactly).
"""
Scaling: TypeAlias = Literal["split_batch", "linear"]
"""What k workers make of a task's rules (spec/scaling.py).

split_batch: the mini-batch is divided among them, the rules stay as they are.
linear: each worker has the mini-batch of one, so k times as large together, and the learning rate
is k times as large, after a warm-up.
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


class SplitRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How train, validation and test come out of a data set.

    `test_fraction` of None: the data set ships a test set, used as shipped. `validation_count` of
    0: the task trains on all of the train part, and its rows say that it stops on nothing.
    Cuts are stratified by label and drawn with `seed`, the same for every run of the task; a `seed`
    of None: with each run's own, so that an interval over runs is one over splits too. With
    `train_limit`, so many examples of the train part are taken, the first as they were drawn, and
    the others left out.
    """

    test_fraction: float | None
    validation_count: int
    seed: int | None
    train_limit: int | None = None


class OneHot(Record, frozen=True, kw_only=True, tag="one_hot"):
    """A category becomes as many inputs as there are categories: its own is 1, the others 0."""

    categories: int


class Scaled(Record, frozen=True, kw_only=True, omit_defaults=True, tag="scaled"):
    """A number is divided, after its common logarithm was taken where that is said."""

    divide_by: float
    log10: bool = False


class Standardised(Record, frozen=True, kw_only=True, tag="standardised"):
    """From a number the mean of train is subtracted; it is divided by the standard deviation."""


class PiecewiseLinear(Record, frozen=True, kw_only=True, tag="piecewise_linear"):
    """A number becomes an input per bin between quantiles of train: how far it is through the bin.

    0 below the bin, 1 above it, linear inside; the first goes on below its bin, the last above it.

    Source: Gorishniy, Rubachev, Babenko, On embeddings for numerical features in tabular deep
    learning, NeurIPS 2022, arXiv 2203.05556, 3.2.
    """

    bins: int


InputEncoding: TypeAlias = OneHot | Scaled | Standardised | PiecewiseLinear


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
    categories: tuple[int, ...] = ()  # of each input, 0: a number; empty: all inputs are numbers
    encoding: tuple[InputEncoding, ...] = ()  # of each input; empty: as the data set has them


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
    """Logistic regression; `c` is the inverse strength of the L2 penalty.

    liblinear: two classes.
    """

    solver: Literal["liblinear", "lbfgs"]
    c: float
    penalise_intercept: bool


class Forest(Record, frozen=True, kw_only=True, tag="forest"):
    """A random forest: trees grown apart on bootstrap samples, whose probabilities are averaged.

    At each split the square root of the number of inputs is looked at, drawn anew.

    Source: Breiman, Random forests, Machine Learning 45, 2001.
    """

    leaf_min: int  # examples in a leaf at least


class Boosting(Record, frozen=True, kw_only=True, tag="boosting"):
    """Gradient-boosted trees on binned inputs: a round's tree (one a class) mends the sum so far.

    A tree has at most `depth_max` levels of splits and `leaves_max` leaves. What the tools do
    within these limits is theirs: leaf by leaf or level by level, and how categories are split.
    """

    depth_max: int
    leaves_max: int
    bins_max: int  # of a number


Model: TypeAlias = Network | LogisticRegression | Forest | Boosting


# --- the optimizer -------------------------------------------------------------------------------


class InverseTimeDecay(Record, frozen=True, kw_only=True, tag="inverse_time_decay"):
    """Learning rate / (1 + rate * step), step counted from 0."""

    rate: float


class OneCycle(Record, frozen=True, kw_only=True, tag="one_cycle"):
    """Linear from `start_factor` to 1 in `warmup_steps`, then linear to `end_factor` at the end."""

    warmup_steps: int
    start_factor: float
    end_factor: float


class PolynomialDecay(Record, frozen=True, kw_only=True, tag="polynomial_decay"):
    """Learning rate × (end + (1 - end) × (1 - t)^power), then `end_factor` of it to the end.

    t is the step, counted from 0, over `fraction` of all steps; end is `end_factor`.

    Source: Wang et al., Pre-trained Gaussian processes for Bayesian optimization, JMLR 25, 2024,
    the schedule of PD1, whose end is 0.001.
    """

    fraction: Annotated[float, msgspec.Meta(gt=0, le=1)]
    power: Annotated[float, msgspec.Meta(gt=0)]
    end_factor: Annotated[float, msgspec.Meta(ge=0, le=1)]


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


Schedule: TypeAlias = InverseTimeDecay | OneCycle | PolynomialDecay | Milestones | PlateauHalving
SCHEDULES: Final = (InverseTimeDecay, OneCycle, PolynomialDecay, Milestones, PlateauHalving)


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


class Growth(Record, frozen=True, kw_only=True, tag="growth"):
    """Trees are added one by one, each times `learning_rate` (1 where they are averaged)."""

    learning_rate: float


Optimizer: TypeAlias = Sgd | Solver | Growth


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
    "eval_splits", "scaling",
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
    step: Literal["mini-batch", "fit", "tree", "boosting round"]
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
    scaling: Scaling = "split_batch"  # not in the hash: what comes of it is, see for_workers

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch: every training example once, but for a last batch that is dropped."""
        if self.batch_size is None:  # a tree, too, is grown from all of them
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
