"""What is asked for becomes plans, without a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command_line import ROOT, Outcome, Ran
from hypothesis import given
from hypothesis import strategies as st

import timetrial as tt
from timetrial.errors import UnknownNameError, UsageError
from timetrial.plan import Plan, Request, apply_settings, choose_target, find_task, grid
from timetrial.spec import PolynomialDecay, changed_rules, rule


def test_all_systems_are_run_in_turn_within_each_seed() -> None:
    plans = tt.plans("digits-cnn", seeds=[7, 8, 9], precision=["float32", "float64"])

    assert [(plan.seed, plan.precision) for plan in plans] == [
        (7, "float32"),
        (7, "float64"),
        (8, "float32"),
        (8, "float64"),
        (9, "float32"),
        (9, "float64"),
    ]


def test_seeds_come_from_the_system_and_are_unique() -> None:
    plans = tt.plans("digits-cnn", seeds=20, precision=["float32", "float64"])

    assert len({plan.seed for plan in plans}) == 40
    assert all(0 <= plan.seed < 2**48 for plan in plans)


def test_a_request_named_twice_is_run_once() -> None:
    plans = tt.plans(["digits-cnn", "digits-cnn", "breast-cancer-logreg"], seeds=1)

    assert [plan.task.name for plan in plans] == ["digits-cnn", "breast-cancer-logreg"]


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"cores": "2"}, "cores"),
        ({"cores": []}, r"cores = \[\]"),
        ({"target": "high"}, "target"),
        ({"device": 3}, "device"),
        ({"precision": 3}, "--precision 3"),
        ({"division": 3}, "--division 3"),
        ({"light": "yes"}, "light"),
        ({"seeds": 0}, "--seeds 0"),
        ({"seeds": [1, 1]}, "unique"),
        ({"budget_s": float("nan")}, "--budget nan"),
        ({"inference_s": float("inf")}, "--inference inf"),
        ({"memory_bytes": -1}, "--memory -1"),
        ({"settings": {"batch_size": 0}, "division": "open"}, "batch_size=0"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tt.plans("digits-cnn", **choices)


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(UsageError, match="Nothing to run"):
        tt.plans([])


def test_an_unknown_option_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'cores'"):
        tt.plans("digits-cnn", core=2)


def test_a_suite_brings_its_own_number_of_runs() -> None:
    plans = tt.plans("quick-digits")

    assert len(plans) == 6
    assert len({(plan.cores, plan.precision) for plan in plans}) == 2


def test_a_dry_run_prints_the_plans_and_makes_no_store(
    call: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    plans = call(
        "run", "digits-cnn", "--precision=float32,float64", "--seeds=2", "--dry-run", "--json"
    )

    assert [plan["precision"] for plan in plans.json()] == ["float32", "float64"] * 2
    assert list(tmp_path.iterdir()) == []


def test_options_overrule_a_file_and_what_is_left_out_does_not(
    call: Callable[..., Outcome], tmp_path: Path
) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(
        'seeds = 1\n[[run]]\ntask = "digits-cnn"\nprecision = "float64"\nlight = true\n'
        'division = "open"\nset = { steps_max = 34 }\n'
    )

    as_written = call("run", path, "--dry-run", "--json").json()
    overruled = call("run", path, "--precision=float32", "--seeds=2", "--dry-run", "--json").json()

    assert len(as_written) == 1
    assert as_written[0]["division"] == "open"
    assert as_written[0]["steps_max"] == 34
    assert as_written[0]["precision"] == "float64"
    assert as_written[0]["target"]["threshold"] == 0.9
    assert [plan["precision"] for plan in overruled] == ["float32", "float32"]


def test_the_example_grid_is_planned(call: Callable[..., Outcome]) -> None:
    plans = call("run", ROOT / "examples/grid.toml", "--dry-run", "--json").json()

    assert len(plans) >= 4
    assert len({plan["precision"] for plan in plans}) == 2
    assert {json.dumps(plan["data_files"]) != "{}" for plan in plans} == {True}


@pytest.mark.parametrize(
    ("asked", "threshold"),
    [
        (Request(task="digits-cnn"), 0.97),
        (Request(task="digits-cnn", target=0.5), 0.5),
        (Request(task="digits-cnn", light=True), 0.9),
        (Request(task="digits-cnn", light=True, target=0.8), 0.8),
    ],
)
def test_a_run_stops_at_the_target_asked_for(asked: Request, threshold: float) -> None:
    target = choose_target(find_task("digits-cnn"), asked)

    assert target is not None
    assert target.threshold == threshold


def test_a_task_without_validation_stops_on_nothing() -> None:
    assert choose_target(find_task("mnist-cnn"), Request(task="mnist-cnn")) is None


def test_an_open_run_is_another_task_by_its_hash() -> None:
    task = find_task("digits-cnn")
    asked = Request(task="digits-cnn", division="open", settings={"batch_size": "32"})

    changed, _ = apply_settings(task, asked)

    assert changed.batch_size == 32
    assert changed.hash() != task.hash()


@pytest.mark.parametrize("value", ["inf", "nan", math.inf])
@pytest.mark.parametrize("key", ["optimizer.learning_rate", "optimizer.momentum"])
def test_a_rule_that_no_plan_can_hold_is_refused(key: str, value: str | float) -> None:
    asked = Request(task="digits-cnn", division="open", settings={key: value})

    with pytest.raises(UsageError, match=rf"--set {key}={value} is not possible.*finite"):
        apply_settings(find_task("digits-cnn"), asked)


OPEN_RULES = {
    "optimizer.nesterov": ("false", False),
    "optimizer.weight_decay": ("0.001", 0.001),
    "optimizer.schedule.warmup_steps": ("17", 17),
}


@pytest.mark.parametrize("key", OPEN_RULES)
def test_every_number_and_switch_of_the_optimizer_can_be_set_in_the_open_division(key: str) -> None:
    given, expected = OPEN_RULES[key]
    asked = Request(task="digits-cnn", division="open", settings={key: given})

    changed, _ = apply_settings(find_task("digits-cnn"), asked)

    assert rule(changed, key) == expected
    assert changed_rules(changed, find_task("digits-cnn")) == {key: expected}
    with pytest.raises(UsageError, match="--division open"):
        apply_settings(find_task("digits-cnn"), msgspec.structs.replace(asked, division="closed"))


POLYNOMIAL = {
    "optimizer.schedule.power": "2",  # whatever stands first
    "optimizer.schedule.type": "polynomial_decay",
    "optimizer.schedule.fraction": "0.5",
    "optimizer.schedule.end_factor": "0",
}


def test_the_form_of_the_schedule_can_be_set_with_all_its_numbers() -> None:
    task = find_task("digits-cnn")
    asked = Request(task="digits-cnn", division="open", settings=POLYNOMIAL)

    changed, _ = apply_settings(task, asked)

    expected = PolynomialDecay(fraction=0.5, power=2.0, end_factor=0.0)
    assert changed.optimizer == msgspec.structs.replace(task.optimizer, schedule=expected)
    assert changed_rules(changed, task) == {
        "optimizer.schedule.fraction": 0.5,
        "optimizer.schedule.power": 2.0,
        "optimizer.schedule.end_factor": 0.0,
        "optimizer.schedule.type": "polynomial_decay",
    }
    with pytest.raises(UsageError, match="--division open"):
        apply_settings(task, msgspec.structs.replace(asked, division="closed"))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"optimizer.schedule.fraction": "1.5"}, UsageError, r"<= 1.0.*fraction"),
        ({"optimizer.schedule.warmup_steps": "3"}, UnknownNameError, "warmup_steps"),
        ({"optimizer.schedule.type": "polynomial"}, UnknownNameError, "Did you mean 'polynomial_d"),
        ({"optimizer.schedule.type": "milestones"}, UnknownNameError, "one_cycle"),
        ({"optimizer.schedule.type": "inverse_time_decay"}, UnknownNameError, "schedule.rate"),
    ],
)
def test_a_form_of_schedule_that_cannot_be_is_refused(changes, error, said) -> None:
    asked = Request(task="digits-cnn", division="open", settings={**POLYNOMIAL, **changes})

    with pytest.raises(error, match=said):
        apply_settings(find_task("digits-cnn"), asked)


def test_a_number_of_another_form_of_schedule_must_not_be_missing() -> None:
    few = {name: value for name, value in POLYNOMIAL.items() if "power" not in name}
    asked = Request(task="digits-cnn", division="open", settings=few)

    with pytest.raises(UsageError, match=r"missing required field `power`"):
        apply_settings(find_task("digits-cnn"), asked)


def test_a_negative_count_is_refused() -> None:
    asked = Request(
        task="digits-cnn", division="open", settings={"optimizer.schedule.warmup_steps": -1}
    )

    with pytest.raises(UsageError, match="0 and more"):
        apply_settings(find_task("digits-cnn"), asked)


def test_the_rhythm_is_free_in_the_closed_division() -> None:
    task = find_task("digits-cnn")
    asked = Request(task="digits-cnn", settings={"fence_every_steps": "0", "timeout_s": "5"})

    same, rhythm = apply_settings(task, asked)

    assert same.hash() == task.hash()
    assert (rhythm.fence_every_steps, rhythm.timeout_s) == (0, 5)


@given(st.lists(st.integers(min_value=1, max_value=3), max_size=4))
def test_a_grid_has_every_combination_once(lengths: list[int]) -> None:
    choices = {str(number): [*range(length)] for number, length in enumerate(lengths)}

    combinations = grid(choices)

    different = {tuple(combination.values()) for combination in combinations}
    assert len(combinations) == len(different) == math.prod(lengths)


def test_a_plan_is_what_the_file_of_a_run_holds(digits: Ran) -> None:
    for path in digits.store.glob("*/plan.json"):
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
        assert plan.run == path.parent.name
        assert plan.task_hash == plan.task.hash()


def test_the_evaluated_split_is_changed_where_the_rules_allow_it() -> None:
    (usual,) = tt.plans("cifar10-resnet20-v2", seeds=[1], dataset="cifar10-jpeg")
    (changed,) = tt.plans(
        "cifar10-resnet20-v2", seeds=[1], dataset="cifar10-jpeg", eval_split="train"
    )

    assert (usual.task.eval_split, changed.task.eval_split) == ("test", "train")
    assert changed.task_hash != usual.task_hash
    assert changed.target is not None
    assert changed.target.split == "train"
    with pytest.raises(UsageError, match="--eval-split train is not possible for task mnist-cnn"):
        tt.plans("mnist-cnn", seeds=[1], eval_split="train")
