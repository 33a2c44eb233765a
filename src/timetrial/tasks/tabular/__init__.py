"""Tables: one table learned by a linear model, a forest, boosting and two networks.

A task is a table and a kind of model: `flights-delay-boosting`. Data, split and targets of a
table's tasks are the same. Of `flights-delay` there are sizes, as in benchm-ml: `-10k` and `-100k`
train on so many flights.

linear    logistic regression on one-hot categories and standardised numbers
forest    100 trees on one-hot categories
boosting  100 rounds; each library at its proper interface, categories native
mlp       the network of benchm-ml: two hidden layers of 200 ReLU, plain SGD with momentum
net       a well-made one: numbers encoded piecewise linearly, dropout, a one-cycle schedule
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from timetrial.spec import (
    Boosting,
    DatasetUse,
    Dense,
    Dropout,
    Forest,
    Growth,
    InputEncoding,
    LogisticRegression,
    Metric,
    Network,
    OneCycle,
    OneHot,
    PiecewiseLinear,
    Scaled,
    Sgd,
    Solver,
    Source,
    SplitRule,
    Standardised,
    Target,
    Task,
)
from timetrial.tasks.networks import IMPLEMENTATIONS

SKLEARN: Final = "timetrial.tasks.tabular.with_sklearn:build"
BOOSTING: Final[Mapping[str, str]] = {
    "xgboost": "timetrial.tasks.tabular.with_xgboost:build",
    "lightgbm": "timetrial.tasks.tabular.with_lightgbm:build",
    "catboost": "timetrial.tasks.tabular.with_catboost:build",
    "sklearn": SKLEARN,
}
KINDS: Final = ("linear", "forest", "boosting", "mlp", "net")
EPOCHS: Final = 10  # of the networks
BATCH: Final = 128  # examples: benchm-ml's
NET_BATCH: Final = 512
SMALL_BATCH: Final = 32  # of both, where a table is small
_SEEDS: Final = (
    "Every run cuts the data anew by its own seed: an interval is over splits and seeds."
)
_ALWAYS: Final = "It stops on nothing: targets are read off the curve."


class Table(NamedTuple):
    """A table, and what all its tasks have in common."""

    name: str  # of the tasks
    title: str
    dataset: str
    columns: tuple[int, ...]  # categories of each input, 0: a number
    classes: int
    counts: tuple[int, int, int]  # train, validation, test
    scaled: Mapping[int, Scaled]  # numbers as benchm-ml scales them for its networks, by column
    metric: Metric
    thresholds: tuple[float, ...]
    light_threshold: float
    trees: Boosting
    sources: tuple[Source, ...]
    others: tuple[str, ...] = ()  # data sets of the same shape and counts
    notes: tuple[str, ...] = ()
    size: int | None = None  # train on so many

    @property
    def large(self) -> bool:
        """Whether it is too large for a network to learn from 32 at a time."""
        return self.counts[0] > 10_000


FLIGHTS: Final = Table(
    name="flights-delay",
    title="Whether a flight leaves 15 minutes late or later",
    dataset="flights-actual",
    columns=(12, 31, 7, 0, 16, 3, 104, 0),
    classes=2,
    counts=(229_964, 32_852, 65_705),
    scaled={3: Scaled(divide_by=2_500.0), 7: Scaled(divide_by=4.0, log10=True)},
    metric="auc",
    thresholds=(0.7, 0.75, 0.8, 0.85),
    light_threshold=0.65,
    trees=Boosting(depth_max=10, leaves_max=512, bins_max=255),
    sources=(
        Source(
            text="Inputs, target, scaling of the networks' inputs and the sizes: szilard/benchm-ml",
            url="https://github.com/szilard/benchm-ml",
            read_on="2026-11-22",
        ),
        Source(
            text="100 rounds of depth 10, learning rate 0.1: szilard/GBM-perf",
            url="https://github.com/szilard/GBM-perf",
            read_on="2026-11-22",
        ),
    ),
    others=("flights-scheduled",),
    notes=(
        "The time of departure is the actual one, as in benchm-ml: who leaves late leaves later, "
        "so a part of the answer is in it. --dataset flights-scheduled has the time that was known "
        "beforehand.",
        "Other flights than benchm-ml's (New York 2013 instead of the USA 2005 to 2007), cut at "
        "random instead of by year: an AUC here is not one there.",
    ),
)
BREAST_CANCER: Final = Table(
    name="breast-cancer",
    title="Malignant or benign, from 30 features of a cell's nucleus",
    dataset="breast-cancer",
    columns=(0,) * 30,
    classes=2,
    counts=(364, 91, 114),
    scaled={},
    metric="auc",
    thresholds=(0.95, 0.98, 0.99),
    light_threshold=0.9,
    trees=Boosting(depth_max=6, leaves_max=31, bins_max=255),
    sources=(
        Source(
            text="Data: UCI Breast Cancer Wisconsin (Diagnostic), as shipped in scikit-learn",
            url="https://archive.ics.uci.edu/dataset/17",
            read_on="2026-11-22",
        ),
        Source(text="Split, models and targets: chosen for this project"),
    ),
)
DIGITS: Final = Table(
    name="digits-tabular",
    title="8 x 8 handwritten digits as a table of 64 numbers",
    dataset="digits-tabular",
    columns=(0,) * 64,
    classes=10,
    counts=(1_077, 360, 360),
    scaled={},
    metric="accuracy",
    thresholds=(0.9, 0.95, 0.97),
    light_threshold=0.85,
    trees=Boosting(depth_max=6, leaves_max=31, bins_max=255),
    sources=(
        Source(
            text="Data: scikit-learn's copy of the test part of UCI's Optical Recognition of "
            "Handwritten Digits",
            url="https://archive.ics.uci.edu/dataset/80",
            read_on="2026-11-22",
        ),
        Source(text="Split, models and targets: chosen for this project"),
    ),
)
SIZES: Final[Mapping[str, int | None]] = {"": None, "-100k": 100_000, "-10k": 10_000}
TABLES: Final[Mapping[str, Table]] = {
    **{f"{FLIGHTS.name}{suffix}": FLIGHTS._replace(size=size) for suffix, size in SIZES.items()},
    BREAST_CANCER.name: BREAST_CANCER,
    DIGITS.name: DIGITS,
}


def tasks_of(table: str) -> dict[str, Task]:
    """Return the tasks of a table of TABLES by kind."""
    return {kind: _MAKE[kind](table, TABLES[table]) for kind in KINDS}


def _dataset(table: Table, encoding: tuple[InputEncoding, ...]) -> DatasetUse:
    train, validation, test = table.counts
    encoded = bool(encoding)
    return DatasetUse(
        name=table.dataset,
        input_shape=(len(table.columns),),
        classes=table.classes,
        train_count=min(train, table.size or train),
        validation_count=validation,
        test_count=test,
        split=SplitRule(
            test_fraction=0.2, validation_count=validation, seed=None, train_limit=table.size
        ),
        divide_by=1.0,
        categories=() if encoded or not any(table.columns) else table.columns,
        encoding=encoding,
    )


def _encoding(table: Table, number: Callable[[int], InputEncoding]) -> tuple[InputEncoding, ...]:
    """Return categories one-hot, and numbers as `number` says of each column."""
    return tuple(
        OneHot(categories=count) if count else number(column)
        for column, count in enumerate(table.columns)
    )


def _task(name: str, table: Table, kind: str, **rules: object) -> Task:
    targets = [
        Target(metric=table.metric, threshold=t, direction="at_least", split="validation")
        for t in (table.light_threshold, *table.thresholds)
    ]
    return Task(
        name=f"{table.name}-{kind}{name.removeprefix(table.name)}",
        version=1,
        title=f"{table.title}, {_TITLES[kind]}"
        + (f", {table.size:,} examples" if table.size else ""),
        loss="cross_entropy",
        eval_split="validation",
        targets=tuple(targets[1:]),
        light_target=targets[0],
        stops_at_target=False,
        measures=(),
        sources=table.sources,
        notes=(_SEEDS, _ALWAYS, *table.notes, *_NOTES.get(kind, ())),
        datasets=table.others,
        **rules,  # type: ignore[arg-type]
    )


def _linear(name: str, table: Table) -> Task:
    return _task(
        name,
        table,
        "linear",
        dataset=_dataset(table, _encoding(table, lambda _: Standardised())),
        model=LogisticRegression(solver="lbfgs", c=1.0, penalise_intercept=False),
        optimizer=Solver(tolerance=1e-4, iterations_max=1_000),
        step="fit",
        batch_size=None,
        steps_max=1,
        eval_every_steps=1,
        precisions=("float64",),
        implementations={"sklearn": SKLEARN},
    )


def _forest(name: str, table: Table) -> Task:
    encoding = _encoding(table, lambda _: Scaled(divide_by=1.0)) if any(table.columns) else ()
    return _task(
        name,
        table,
        "forest",
        dataset=_dataset(table, encoding),
        model=Forest(leaf_min=1),
        optimizer=Growth(learning_rate=1.0),
        step="tree",
        batch_size=None,
        steps_max=100,
        eval_every_steps=10,
        precisions=("mixed",),
        implementations={"sklearn": SKLEARN},
    )


def _boosting(name: str, table: Table) -> Task:
    return _task(
        name,
        table,
        "boosting",
        dataset=_dataset(table, ()),
        model=table.trees,
        optimizer=Growth(learning_rate=0.1),
        step="boosting round",
        batch_size=None,
        steps_max=100,
        eval_every_steps=10,
        precisions=("mixed",),
        implementations=BOOSTING,
    )


def _mlp(name: str, table: Table) -> Task:
    def number(column: int) -> InputEncoding:
        return table.scaled.get(column, Standardised())

    return _network(
        name,
        table,
        "mlp",
        _encoding(table, number),
        BATCH if table.large else SMALL_BATCH,
        Network(
            layers=(
                Dense(units=200, activation="relu", init="glorot_uniform"),
                Dense(units=200, activation="relu", init="glorot_uniform"),
                Dense(units=table.classes, activation="linear", init="glorot_uniform"),
            )
        ),
        lambda _: Sgd(
            learning_rate=0.01,
            momentum=0.9,
            nesterov=False,
            rate_in_velocity=False,
            weight_decay=0.0,
            schedule=None,
        ),
    )


def _net(name: str, table: Table) -> Task:
    def schedule(steps_of_epoch: int) -> Sgd:
        return Sgd(
            learning_rate=0.1,
            momentum=0.9,
            nesterov=True,
            rate_in_velocity=False,
            weight_decay=1e-4,
            schedule=OneCycle(warmup_steps=steps_of_epoch, start_factor=0.1, end_factor=0.0),
        )

    bins = 64 if table.large else 8
    return _network(
        name,
        table,
        "net",
        _encoding(table, lambda _: PiecewiseLinear(bins=bins)),
        NET_BATCH if table.large else SMALL_BATCH,
        Network(
            layers=(
                Dense(units=256, activation="relu", init="he_normal"),
                Dropout(rate=0.1),
                Dense(units=256, activation="relu", init="he_normal"),
                Dropout(rate=0.1),
                Dense(units=table.classes, activation="linear", init="glorot_uniform"),
            )
        ),
        schedule,
    )


def _network(
    name: str,
    table: Table,
    kind: str,
    encoding: tuple[InputEncoding, ...],
    batch: int,
    model: Network,
    optimizer: Callable[[int], Sgd],
) -> Task:
    use = _dataset(table, encoding)
    epoch = math.ceil(use.train_count / batch)
    return _task(
        name,
        table,
        kind,
        dataset=use,
        model=model,
        optimizer=optimizer(epoch),
        step="mini-batch",
        batch_size=batch,
        steps_max=EPOCHS * epoch,
        eval_every_steps=epoch,
        precisions=("float32", "float64", "bfloat16"),
        implementations=IMPLEMENTATIONS,
    )


_MAKE: Final[Mapping[str, Callable[[str, Table], Task]]] = {
    "linear": _linear,
    "forest": _forest,
    "boosting": _boosting,
    "mlp": _mlp,
    "net": _net,
}
_TITLES: Final[Mapping[str, str]] = {
    "linear": "logistic regression",
    "forest": "a random forest",
    "boosting": "gradient boosting",
    "mlp": "a network of two hidden layers",
    "net": "a well-made network",
}
_NOTES: Final[Mapping[str, tuple[str, ...]]] = {
    "forest": (
        "scikit-learn's trees know no categories: they are one-hot, and a split looks at the "
        "square root of those many columns.",
    ),
    "boosting": (
        "Categories are native in all four libraries; each splits them its own way. No proof of "
        "parity covers trees: the libraries agree in limits, rounds and learning rate, not in "
        "every split.",
        "XGBoost's QuantileDMatrix, LightGBM's Dataset and CatBoost's Pool are made in the segment "
        "`bin`; scikit-learn bins inside of every call of fit, and CatBoost turns categories into "
        "numbers there.",
        "Between evaluations, scikit-learn is called once and CatBoost goes on from its snapshot: "
        "neither has a call for one round.",
        "CatBoost's trees are symmetric: within the limit on leaves they have fewer levels, 9 "
        "where the others may have 10 with 512 leaves.",
    ),
}


def __getattr__(name: str) -> Task:
    """Return a task by the name of its attribute, such as FLIGHTS_DELAY_10K__BOOSTING."""
    table, _, kind = name.lower().replace("_", "-").partition("--")
    if table in TABLES and kind in KINDS:
        return _MAKE[kind](table, TABLES[table])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
