"""Every model of a table keeps the contract, and learns."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from timetrial import frameworks, plan
from timetrial._registry import load_object
from timetrial.datasets.load import load_splits
from timetrial.engine import metrics
from timetrial.engine.encoding import encode
from timetrial.errors import UsageError
from timetrial.frameworks import Framework
from timetrial.plan import Request, find_task
from timetrial.spec import Bins, Boosting, GoesFurther, Split, Task, Workload, encoded
from timetrial.tasks import tabular
from timetrial.tasks.tabular.growing import model_of
from timetrial.testing import runs
from timetrial.testing.contracts import (
    FrameworkContract,
    ImplementationCase,
    ImplementationContract,
    no_lap,
)

TREES = ("xgboost", "lightgbm", "catboost")
CASES = (
    ("breast-cancer-linear", "sklearn"),
    ("breast-cancer-forest", "sklearn"),
    ("breast-cancer-boosting", "sklearn"),
    ("breast-cancer-boosting", "xgboost"),
    ("breast-cancer-boosting", "lightgbm"),
    ("breast-cancer-boosting", "catboost"),
    ("digits-tabular-linear", "sklearn"),
    ("digits-tabular-forest", "sklearn"),
)


@cache
def splits_of(name: str):
    resolved = runs.resolve(Request(task=name), seed=7)
    use = resolved.task.dataset
    splits = load_splits(use, resolved.data_files, seed=7)
    return encode(splits, use.encoding) if use.encoding else splits


def case_of(name: str, framework: str, task: Task | None = None) -> ImplementationCase:
    if not frameworks.installed(framework):
        pytest.skip(f"{framework} is not installed: {frameworks.install_line(framework)}")
    task = task or find_task(name)
    work = Workload(
        task=encoded(task), seed=7, device="cpu", precision=task.precisions[0], threads=1
    )
    build = load_object(task.implementations[framework])
    return ImplementationCase(cast(Any, build), work, splits_of(name))


@pytest.mark.parametrize("case", CASES, ids=lambda pair: "-".join(pair), indirect=True)
class TestTabular(ImplementationContract):
    @pytest.fixture
    def case(self, request: pytest.FixtureRequest) -> ImplementationCase:
        return case_of(*request.param)


@pytest.mark.parametrize(("name", "framework"), CASES)
def test_it_learns_better_than_the_share_of_the_largest_class(name: str, framework: str):
    case = case_of(name, framework)
    made = case.made()
    test = case.splits["test"]
    before = metrics.cross_entropy(made.predict(test), test.labels)
    made.advance(10 if case.work.task.step != "fit" else 1)
    scores = made.predict(test)
    assert metrics.accuracy(scores, test.labels) > 0.85
    assert metrics.cross_entropy(scores, test.labels) < 0.75 * before


@pytest.mark.parametrize("framework", ["sklearn", *TREES])
def test_categories_are_taken_for_categories(framework: str):
    """A label that is the parity of a code: no threshold tells it, a split by category does."""
    if not frameworks.installed(framework):
        pytest.skip(frameworks.install_line(framework))
    rng = np.random.default_rng(1)
    made_up = {}
    for name, count in (("train", 4000), ("validation", 10), ("test", 500)):
        codes = rng.integers(0, 40, count)
        inputs = np.stack([codes, rng.normal(size=count)], axis=1).astype(np.float32)
        made_up[name] = Split(name, inputs, (codes % 2).astype(np.int64))
    task = find_task("breast-cancer-boosting")
    use = msgspec.structs.replace(task.dataset, input_shape=(2,), categories=(40, 0))
    model = msgspec.structs.replace(cast(Boosting, task.model), depth_max=2, leaves_max=4)
    task = msgspec.structs.replace(task, dataset=use, model=model)
    work = Workload(task=task, seed=3, device="cpu", precision="mixed", threads=1)
    build = cast(Any, load_object(task.implementations[framework]))
    made = build(work, made_up, no_lap)
    if isinstance(made, Bins):
        made.bin()
    made.advance(6)
    test = made_up["test"]
    assert metrics.area_under_roc(made.predict(test), test.labels) > 0.99


def test_what_is_called_at_once_says_why():
    for name, framework in (
        ("breast-cancer-boosting", "sklearn"),
        ("breast-cancer-forest", "sklearn"),
    ):
        made = case_of(name, framework).made()
        assert isinstance(made, GoesFurther)
        assert made.at_once


def test_a_model_of_another_kind_is_refused_by_name():
    with pytest.raises(UsageError, match="is no boosting that grows: its model is Forest"):
        model_of(find_task("breast-cancer-forest"), Boosting)


def test_the_registry_names_what_the_folder_makes():
    made = {task.name for table in tabular.TABLES for task in tabular.tasks_of(table).values()}
    named = set(plan.TASKS.names())
    assert made <= named
    for name in made:
        assert find_task(name).name == name


def test_sizes_take_the_first_of_train_and_leave_the_rest_alone():
    whole = find_task("flights-delay-linear").dataset
    small = find_task("flights-delay-linear-10k").dataset
    assert small.train_count == 10_000
    assert (small.validation_count, small.test_count) == (whole.validation_count, whole.test_count)


@pytest.mark.parametrize("name", TREES)
class TestFrameworks(FrameworkContract):
    @pytest.fixture
    def framework(self, name: str) -> Framework:
        if not frameworks.installed(name):
            pytest.skip(frameworks.install_line(name))
        return cast(Framework, cast(Any, frameworks.REGISTRY.get(name))())
