"""The table [task] of a file, made into a task: strict about keys, every default written out.

What a user leaves out is resolved here, once, into the same `Task` as a built-in one; the page of
`timetrial show FILE` then says all of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal, cast

import msgspec
import numpy as np

from timetrial.datasets.info import DatasetInfo
from timetrial.datasets.load import use_of
from timetrial.errors import UnknownNameError, UsageError
from timetrial.owntask.layers import network_of
from timetrial.owntask.tables import Table, convert, tagged
from timetrial.spec import (
    SCHEDULES,
    CropFlip,
    DatasetUse,
    Metric,
    OneCycle,
    Record,
    Schedule,
    Sgd,
    Source,
    Split,
    SplitName,
    SplitRule,
    Target,
    Task,
)
from timetrial.tasks.networks import IMPLEMENTATIONS

Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]

EPOCHS: Final = 20
TEST_FRACTION: Final = 0.2
VALIDATION_SHARE: Final = 0.2  # of what is not test
LIGHT_SHARE: Final = 0.9  # of the easiest target
DIGITS: Final = 6  # of a mean or standard deviation that is computed
CONSTANT: Final = 1e-12  # of a column's mean: a deviation below that is rounding, not data

# --- the keys of the file ------------------------------------------------------------------------


class OwnRules(Record, frozen=True, kw_only=True):
    """[task]: all but `data` and `target` may be left out."""

    data: Table
    target: float | Table | list[float | Table]  # easiest first, of one metric
    name: str | None = None  # the file's
    title: str | None = None
    version: Count = 1
    split: Table = msgspec.field(default_factory=dict)
    preprocess: Table = msgspec.field(default_factory=dict)
    network: str | list[Table] | None = None  # small-cnn for images, mlp for a table
    optimizer: Table = msgspec.field(default_factory=dict)
    batch_size: Count = 64
    last_batch: Literal["keep", "drop"] = "keep"
    class_weights: tuple[Positive, ...] = ()
    epochs: Count | None = None  # EPOCHS
    steps_max: Count | None = None  # in place of epochs
    eval_every_steps: Count | None = None  # once an epoch
    light_target: float | Table | None = None
    stops_at_target: bool = True


class DataTable(Record, frozen=True, kw_only=True):
    """[task.data]: one of images, csv and dataset."""

    images: str | None = None  # a folder, relative to the file's
    csv: str | None = None
    label: str | None = None  # of a CSV: the column that holds the class
    dataset: str | None = None  # a registered one
    name: str | None = None  # the folder's or file's


class SplitTable(Record, frozen=True, kw_only=True):
    """[task.split]."""

    test_fraction: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    validation_count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0


class AugmentationTable(Record, frozen=True, kw_only=True):
    """[task.preprocess.augmentation]: crops of the image's own size, and mirroring."""

    padding: Annotated[int, msgspec.Meta(ge=0)] = 4
    flip: bool = True


class PreprocessTable(Record, frozen=True, kw_only=True):
    """[task.preprocess]."""

    divide_by: Positive | None = None  # 255 for images, 1 for a table
    standardise: bool | None = None  # by the training part; true where mean and std are left out
    mean: tuple[float, ...] = ()
    std: tuple[Positive, ...] = ()
    augmentation: Table | None = None


class OptimizerTable(Record, frozen=True, kw_only=True):
    """[task.optimizer]."""

    learning_rate: Positive = 0.05
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.9
    nesterov: bool | None = None  # wherever there is momentum
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 1e-4
    decays: Literal["all", "weights"] = "all"
    schedule: str | Table = "one-cycle"


class TargetTable(Record, frozen=True, kw_only=True):
    """A target: a number alone is an accuracy."""

    threshold: float
    metric: Metric = "accuracy"


def task_of(
    rules: OwnRules,
    info: DatasetInfo,
    *,
    name: str,
    where: str,
    registered: bool,
    read: Callable[[DatasetUse], Mapping[SplitName, Split]],
) -> Task:
    """Return the task that the rules give over this data set.

    `read` gives the splits; it is asked only where means and deviations are to be computed.

    Raises:
        UsageError: A rule that the data or the other rules do not allow.
    """
    split = _split(convert(rules.split, SplitTable, f"{where} [task.split]"), info, where)
    use = use_of(info, split, divide_by=1.0)
    if not registered:
        use = msgspec.structs.replace(use, content_sha256=info.content_sha256)
    _check_counts(use, where)
    notes: list[str] = []
    use, augmentation = _preprocess(rules, use, f"{where} [task.preprocess]", read, notes)
    batch_size = min(rules.batch_size, use.train_count)
    last_full = rules.last_batch == "drop"
    per_epoch = use.train_count // batch_size if last_full else -(-use.train_count // batch_size)
    steps_max = _steps(rules, per_epoch, where)
    eval_split: SplitName = "validation" if use.validation_count else "test"
    targets, light = _targets(rules, eval_split, where)
    weights = rules.class_weights
    if weights and len(weights) != use.classes:
        raise UsageError(
            f"{where}: class_weights names {len(weights)} numbers. Allowed: {use.classes}, one a "
            f"class in this order: {', '.join(info.class_names)}."
        )
    if split.test_fraction is not None:
        notes.append(
            f"The data set ships no test set: {split.test_fraction:g} of it is cut with the "
            "task's recorded seed."
        )
    return with_notes(
        Task(
            name=name,
            version=rules.version,
            title=rules.title or f"A task of one's own: {info.title}",
            dataset=use,
            model=network_of(rules.network, use, f"{where} [task.network]"),
            loss="cross_entropy",
            optimizer=_optimizer(rules.optimizer, steps_max, f"{where} [task.optimizer]"),
            step="mini-batch",
            batch_size=batch_size,
            steps_max=steps_max,
            eval_every_steps=min(rules.eval_every_steps or per_epoch, steps_max),
            eval_split=eval_split,
            targets=targets,
            light_target=light,
            stops_at_target=rules.stops_at_target,
            measures=(),
            precisions=("float32", "float64", "bfloat16"),
            implementations=IMPLEMENTATIONS,
            sources=(Source(text=f"Rules: {where}"), Source(text=f"Data: {info.title}")),
            notes=tuple(notes),
            augmentation=augmentation,
            class_weights=weights,
            last_batch=rules.last_batch,
        )
    )


def with_notes(task: Task) -> Task:
    """Return the task with a note where it looks at the test set while it trains."""
    if task.eval_split != "test":
        return task
    if task.stops_at_target:
        note = (
            "It has no validation split and stops on test: what it reports on test was looked at "
            "while it trained."
        )
    else:
        note = "It has no validation split: it stops on nothing, and targets are read on test."
    if any("stops on" in known for known in task.notes):
        return task
    return msgspec.structs.replace(task, notes=(*task.notes, note))


# --- data ----------------------------------------------------------------------------------------


def _split(table: SplitTable, info: DatasetInfo, where: str) -> SplitRule:
    fraction = table.test_fraction
    if info.test_examples is not None and fraction is not None:
        raise UsageError(
            f"{where} [task.split]: test_fraction = {fraction:g} is not possible: the data set "
            f"ships {info.test_examples} test examples. Leave it out."
        )
    if info.test_examples is None and fraction is None:
        fraction = TEST_FRACTION
    validation = table.validation_count
    if validation is None:
        rest = info.examples - int(np.ceil((fraction or 0) * info.examples))
        validation = max(round(VALIDATION_SHARE * rest), info.classes)
    return SplitRule(test_fraction=fraction, validation_count=validation, seed=table.seed)


def _check_counts(use: DatasetUse, where: str) -> None:
    counts = {"train": use.train_count, "test": use.test_count}
    if use.validation_count:
        counts["validation"] = use.validation_count
    for part, count in counts.items():
        if count < use.classes:
            raise UsageError(
                f"{where} [task.split]: {part} would hold {count} examples of {use.classes} "
                "classes. Allowed: one a class and more. Change test_fraction or "
                "validation_count, or add data."
            )


def _preprocess(
    rules: OwnRules,
    use: DatasetUse,
    where: str,
    read: Callable[[DatasetUse], Mapping[SplitName, Split]],
    notes: list[str],
) -> tuple[DatasetUse, CropFlip | None]:
    table = convert(rules.preprocess, PreprocessTable, where)
    images = len(use.input_shape) == 3
    channels = use.input_shape[-1]
    use = msgspec.structs.replace(use, divide_by=table.divide_by or (255.0 if images else 1.0))
    given = {"mean": table.mean, "std": table.std}
    for key, values in given.items():
        if values and len(values) != channels:
            raise UsageError(
                f"{where}: {key} names {len(values)} numbers. Allowed: {channels}, one a "
                f"{'channel' if images else 'column'}."
            )
    standardise = not any(given.values()) if table.standardise is None else table.standardise
    if standardise and any(given.values()):
        raise UsageError(f"{where}: standardise computes mean and std. Leave it out, or them.")
    if standardise:
        mean, std = _standard(read(use)["train"], use)
        notes.append("Mean and standard deviation are those of the training part.")
    else:
        mean, std = table.mean, table.std
    augmentation = None
    if table.augmentation is not None:
        if not images:
            raise UsageError(f"{where}: augmentation is for images. Leave it out.")
        crop = convert(table.augmentation, AugmentationTable, f"{where} augmentation")
        augmentation = CropFlip(padding=crop.padding, flip=crop.flip)
    return msgspec.structs.replace(use, mean=mean, std=std), augmentation


def _standard(train: Split, use: DatasetUse) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel; 1 where nothing varies.

    Both are rounded, the mean to what matters beside the deviation: a time in seconds since 1970
    is far larger than it varies.
    """
    axes = tuple(range(train.inputs.ndim - 1))
    mean = train.inputs.mean(axes, dtype=np.float64) / use.divide_by
    std = train.inputs.std(axes, dtype=np.float64) / use.divide_by
    std = np.where(std > CONSTANT * np.abs(mean), std, 1.0)
    means = tuple(_rounded(*pair) for pair in zip(mean.tolist(), std.tolist(), strict=True))
    return means, tuple(_rounded(value) for value in std.tolist())


def _rounded(value: float, scale: float = math.inf) -> float:
    """Return the value to DIGITS of its own digits, and of those of a smaller `scale`."""
    size = min(abs(value), scale)
    if size == 0:
        return 0.0
    return round(value, DIGITS - 1 - math.floor(math.log10(size)))


# --- training ------------------------------------------------------------------------------------


def _steps(rules: OwnRules, per_epoch: int, where: str) -> int:
    if rules.steps_max is not None and rules.epochs is not None:
        raise UsageError(
            f"{where}: epochs = {rules.epochs} and steps_max = {rules.steps_max} both say how "
            "long. Leave one out."
        )
    return rules.steps_max or (rules.epochs or EPOCHS) * per_epoch


def _optimizer(table: Table, steps_max: int, where: str) -> Sgd:
    rules = convert(table, OptimizerTable, where)
    nesterov = rules.momentum > 0 if rules.nesterov is None else rules.nesterov
    schedule: Schedule | None
    match rules.schedule:
        case "constant":
            schedule = None
        case "one-cycle":
            warmup = max(steps_max // 20, 1)
            schedule = OneCycle(warmup_steps=warmup, start_factor=0.1, end_factor=0.0)
        case str() as name:
            raise UnknownNameError(
                f"schedule in {where}", name, ["constant", "one-cycle", "a table with a type"]
            )
        case dict() as parts:
            kinds = cast(Sequence[type[Schedule]], SCHEDULES)
            schedule = tagged(parts, kinds, f"schedule in {where}")
    return Sgd(
        learning_rate=rules.learning_rate,
        momentum=rules.momentum,
        nesterov=nesterov,
        rate_in_velocity=False,
        weight_decay=rules.weight_decay,
        schedule=schedule,
        decays=rules.decays,
    )


def _targets(rules: OwnRules, split: SplitName, where: str) -> tuple[tuple[Target, ...], Target]:
    given = rules.target if isinstance(rules.target, list) else [rules.target]
    if not given:
        raise UsageError(f"{where}: target = [] names none. Write such as target = 0.9.")
    targets = [_target(value, split, f"{where}: target") for value in given]
    for easier, harder in itertools.pairwise(targets):
        _check_harder(easier, harder, f"{where}: target")
    first = targets[0]
    if rules.light_target is not None:
        light = _target(rules.light_target, split, f"{where}: light_target")
    else:
        share = LIGHT_SHARE if first.direction == "at_least" else 1 / LIGHT_SHARE
        light = msgspec.structs.replace(first, threshold=_rounded(first.threshold * share))
    _check_harder(light, first, f"{where}: light_target, then target")
    return tuple(targets), light


def _target(value: float | Table, split: SplitName, where: str) -> Target:
    table = value if isinstance(value, dict) else {"threshold": value}
    read = convert(table, TargetTable, where)
    if read.metric != "loss" and not 0 < read.threshold <= 1:
        raise UsageError(
            f"{where}: {read.threshold:g} is not possible for {read.metric}. Allowed: above 0, up "
            "to 1, such as 0.9."
        )
    return Target(
        metric=read.metric,
        threshold=read.threshold,
        direction="at_least" if "accuracy" in read.metric else "at_most",
        split=split,
    )


def _check_harder(easier: Target, harder: Target, where: str) -> None:
    same = easier.metric == harder.metric
    if not same or not easier.met_by(harder.threshold) or harder.met_by(easier.threshold):
        raise UsageError(
            f"{where}: {easier} stands before {harder}. Allowed: one metric, the easiest first."
        )
