"""Search spaces: what they may name, and what a point of one means for a run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from timetrial.errors import UnknownNameError, UsageError
from timetrial.plan import find_task
from timetrial.spec import (
    RHYTHM_TOLERANCE,
    PolynomialDecay,
    changed_rules,
    goal_differences,
    rhythm_gap,
    with_rules,
)
from timetrial.tune.space import (
    Parameter,
    SearchSpace,
    around,
    default_space,
    fit_space,
    point_of,
    read_space,
    settings_of,
    shipped,
)

MNIST = find_task("mnist-cnn")
DIGITS = find_task("digits-cnn")


def space(**parameters: Parameter) -> SearchSpace:
    named = {name.replace("__", "."): one for name, one in parameters.items()}
    return SearchSpace(title="test", source="test", parameters=named)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_space_has_its_source_and_fits_a_task(name: str) -> None:
    found = read_space(name)

    assert found.source
    assert found.url is not None
    assert found.read_on is not None
    assert fit_space(found, MNIST).chosen


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("mnist-cnn", "pd1"),
        ("cifar10-resnet20-v2", "pd1"),
        ("flights-delay-net-100k", "pd1"),
    ],
)
def test_a_task_gets_a_space_that_fits_it(task: str, expected: str) -> None:
    assert default_space(find_task(task)) == expected


def test_a_task_without_such_rules_has_no_space() -> None:
    with pytest.raises(UsageError, match="--space FILE"):
        default_space(find_task("breast-cancer-logreg"))


@pytest.mark.parametrize("size", [16, 50, 64, 100, 128, 256, 333, 512])
@pytest.mark.parametrize("task", [MNIST, DIGITS, find_task("fashion-mnist-cnn")])
def test_another_mini_batch_leaves_evaluations_and_end_where_they_were(task, size: int) -> None:
    fitted = fit_space(space(batch_size=Parameter(low=16, high=512, scale="log")), task)

    settings = settings_of(fitted, task, {"batch_size": size})
    changed = with_rules(task, settings)

    assert changed.batch_size == size
    assert abs(rhythm_gap(changed, task)) <= RHYTHM_TOLERANCE
    assert goal_differences(changed, task) == []
    epochs = changed.steps_max / changed.steps_per_epoch
    assert epochs == pytest.approx(task.steps_max / task.steps_per_epoch, rel=0.01)


def test_what_is_counted_in_steps_covers_the_same_examples() -> None:
    fitted = fit_space(space(batch_size=Parameter(choices=(32, 64))), DIGITS)

    settings = settings_of(fitted, DIGITS, {"batch_size": 32})

    assert settings["eval_every_steps"] == 34  # an epoch of 1,077 in mini-batches of 32
    assert settings["steps_max"] == 40 * 34
    assert settings["optimizer.schedule.warmup_steps"] == 2 * 34
    decay = settings_of(
        fit_space(space(batch_size=Parameter(choices=(64, 128))), MNIST), MNIST, {"batch_size": 64}
    )
    assert decay["optimizer.schedule.rate"] == 5e-6
    assert decay["eval_every_steps"] == 400


def test_the_task_s_own_mini_batch_moves_nothing() -> None:
    fitted = fit_space(space(batch_size=Parameter(choices=(32, 64))), DIGITS)

    assert settings_of(fitted, DIGITS, {"batch_size": 64}) == {"batch_size": 64}


def test_numbers_can_be_typed_again() -> None:
    fitted = fit_space(space(optimizer__momentum=Parameter(low=0, high=1)), MNIST)

    settings = settings_of(fitted, MNIST, {"optimizer.momentum": 0.123456789})

    assert settings == {"optimizer.momentum": 0.1235}


def test_a_search_begins_at_the_task_s_own_settings_or_the_nearest_that_the_space_holds() -> None:
    lcbench = fit_space(read_space("lcbench-sgd"), MNIST)
    nesterov = fit_space(read_space("algoperf-nesterov"), MNIST)
    falling = fit_space(read_space("bergstra-bengio"), MNIST)

    own = {"batch_size": 128, "optimizer.learning_rate": 0.05, "optimizer.momentum": 0.9}
    assert point_of(lcbench, MNIST) == (own, True)
    point, held = point_of(nesterov, MNIST)
    assert not held, "it has the other form of momentum"
    assert point["optimizer.weight_decay"] == 1e-7
    assert point_of(falling, MNIST) == (
        {
            "batch_size": 100,
            "optimizer.learning_rate": 0.05,
            "optimizer.schedule.rate": 1e-4,
        },
        False,
    )


def test_another_form_of_schedule_takes_the_place_of_the_task_s_own() -> None:
    pd1 = fit_space(read_space("pd1"), MNIST)
    point, own = point_of(pd1, MNIST)
    middle = {"optimizer.schedule.power": 1.05, "optimizer.schedule.fraction": 0.5}

    assert not own
    assert point == {
        "optimizer.learning_rate": 0.05, "optimizer.momentum": 0.9, **middle,
    }  # fmt: skip
    settings = settings_of(pd1, MNIST, point)
    changed = with_rules(MNIST, settings)
    assert changed.optimizer.schedule == PolynomialDecay(fraction=0.5, power=1.05, end_factor=1e-3)
    assert goal_differences(changed, MNIST) == []
    assert changed_rules(changed, MNIST) == {"optimizer.nesterov": True, **settings_of_form(middle)}


def settings_of_form(numbers: dict[str, float]) -> dict[str, object]:
    end = {"optimizer.schedule.end_factor": 1e-3}
    return {**numbers, **end, "optimizer.schedule.type": "polynomial_decay"}


def test_another_form_needs_all_its_numbers_and_allows_other_mini_batches() -> None:
    rest = {"optimizer.schedule.power": Parameter(choices=(1.0,)), **HALF}
    asked = SearchSpace(title="t", source="s", schedule="polynomial_decay", parameters=rest)

    with pytest.raises(UsageError, match=r"nothing says its optimizer.schedule.end_factor\. Add"):
        fit_space(asked, MNIST)
    with pytest.raises(UnknownNameError, match="Did you mean 'polynomial_decay'"):
        fit_space(msgspec.structs.replace(asked, schedule="polynomial"), MNIST)
    with pytest.raises(UnknownNameError, match="none: it has no learning rate"):
        fit_space(asked, find_task("breast-cancer-logreg"))
    whole = {
        **rest,
        "optimizer.schedule.end_factor": Parameter(choices=(0.0,)),
        "batch_size": Parameter(choices=(64, 128)),
    }
    milestones = find_task("cifar10-resnet20-v2")
    assert fit_space(msgspec.structs.replace(asked, parameters=whole), milestones).chosen


HALF = {"optimizer.schedule.fraction": Parameter(low=0.25, high=0.75)}


def test_a_search_looks_around_its_first_point() -> None:
    named = space(
        optimizer__learning_rate=Parameter(low=1e-4, high=1.0, scale="log"),
        optimizer__momentum=Parameter(low=0.0, high=0.99, scale="log-one-minus"),
        optimizer__nesterov=Parameter(choices=(True, False)),
        optimizer__weight_decay=Parameter(low=0.0, high=0.8),
        batch_size=Parameter(low=64, high=128),
    )
    point = {
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 0.0,
        "batch_size": 128,
    }

    moved = [(set(one.items()) - set(point.items())) for one in around(named, point)]

    assert all(len(one) == 1 for one in moved)
    assert [next(iter(one)) for one in moved] == [
        ("optimizer.learning_rate", pytest.approx(10**-1.5)),
        ("optimizer.learning_rate", pytest.approx(10**-0.5)),
        ("optimizer.momentum", pytest.approx(1 - 10**-0.75)),
        ("optimizer.momentum", pytest.approx(1 - 10**-1.25)),
        ("optimizer.nesterov", True),
        ("optimizer.weight_decay", pytest.approx(0.1)),
        ("batch_size", 120),
    ]


@pytest.mark.parametrize(
    "one",
    [
        Parameter(low=1e-5, high=10.0, scale="log"),
        Parameter(low=0.0, high=0.999, scale="log-one-minus"),
        Parameter(low=-1.0, high=3.0),
    ],
)
def test_a_share_of_a_range_and_the_value_there_are_inverse(one: Parameter) -> None:
    for share in (0.0, 0.3, 0.5, 1.0):
        assert one.share(one.at(share)) == pytest.approx(share)
    assert one.at(2.0) == pytest.approx(one.high)
    assert one.at(-1.0) == pytest.approx(one.low)


@pytest.mark.parametrize(
    ("parameter", "value", "nearest"),
    [
        (Parameter(low=0.1, high=0.9), 0.5, 0.5),
        (Parameter(low=0.1, high=0.9), 0.95, 0.9),
        (Parameter(low=0.1, high=0.9), 0.0, 0.1),
        (Parameter(choices=(20, 100)), 40, 20),
        (Parameter(choices=(20, 100)), 128, 100),
        (Parameter(choices=(True,)), False, True),
        (Parameter(choices=(0.5, 0.1)), 0.0, 0.5),
    ],
)
def test_the_nearest_value_is_within_what_may_be_taken(
    parameter: Parameter, value: float, nearest: float
) -> None:
    assert parameter.nearest(value) == nearest
    assert parameter.holds(parameter.nearest(value))


REFUSED = [
    ({"eval_every_steps": Parameter(low=1, high=9)}, "stays the task's"),
    ({"targets": Parameter(low=1, high=9)}, "stays the task's"),
    ({"optimizer.rate": Parameter(low=0, high=1)}, "optimizer.learning_rate"),
    ({"batch_size": Parameter(low=1, high=5000)}, "2.5 %"),
    ({"batch_size": Parameter(low=0, high=64)}, "1 to 60000"),
    ({"batch_size": Parameter(low=16.5, high=64)}, "whole numbers"),
    ({"optimizer.momentum": Parameter(low=0.9, high=0.1)}, "low below high"),
    ({"optimizer.momentum": Parameter(low=0.5, high=1.0, scale="log-one-minus")}, "below 1"),
    ({"optimizer.learning_rate": Parameter(low=0, high=1, scale="log")}, "above 0"),
    ({"optimizer.learning_rate": Parameter()}, "low and high"),
    ({"optimizer.nesterov": Parameter(low=0, high=1)}, "true, false"),
    ({"optimizer.nesterov": Parameter(choices=(1, 0))}, "cannot take 1"),
    ({"optimizer.momentum": Parameter(choices=(0.9,))}, "nothing to choose"),
    ({}, "nothing to choose"),
]


@pytest.mark.parametrize(("parameters", "said"), REFUSED)
def test_a_space_that_no_search_can_follow_is_refused(
    parameters: dict[str, Parameter], said: str
) -> None:
    asked = SearchSpace(title="test", source="test", parameters=parameters)

    with pytest.raises(UsageError, match=said):
        fit_space(asked, MNIST)


def test_steps_of_a_falling_rate_forbid_another_mini_batch() -> None:
    with pytest.raises(UsageError, match="Leave batch_size out"):
        fit_space(read_space("lcbench-sgd"), find_task("cifar10-resnet20-v2"))


def test_a_file_says_which_key_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text('title = "t"\nsource = "s"\n[parameters]\nbatch_size = { lo = 1, high = 2 }\n')

    with pytest.raises(UsageError, match=r"space.toml.*`lo`"):
        read_space(file)
    with pytest.raises(UsageError, match="No such file"):
        read_space(tmp_path / "other.toml")
    with pytest.raises(UnknownNameError, match="Did you mean 'lcbench-sgd'"):
        read_space("lcbench")


def test_a_space_of_one_s_own_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
    file = tmp_path / "space.toml"
    file.write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")

    found = fit_space(read_space(file), DIGITS)

    assert list(found.chosen) == [
        "optimizer.learning_rate",
        "optimizer.momentum",
        "optimizer.nesterov",
    ]
    assert msgspec.convert(msgspec.to_builtins(found), SearchSpace) == found
