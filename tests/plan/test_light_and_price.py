"""Light runs, prices and places: what a plan says of them, and what a suite asks for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from timetrial import suites
from timetrial.batch import expand, paired, uncapped
from timetrial.errors import UnknownNameError, UsageError
from timetrial.plan import (
    Request,
    check_request,
    choose_target,
    decode_plan,
    find_task,
    light_steps,
)
from timetrial.rundir import pretty_json
from timetrial.testing import runs

DIGITS = find_task("digits-cnn")
MNIST = msgspec.structs.replace(find_task("mnist-cnn"), light_steps_max=469)
LIGHT = Request(task="mnist-cnn", light=True)


@pytest.mark.parametrize(
    ("request_", "steps"),
    [
        (Request(task="mnist-cnn"), 4690),
        (LIGHT, 469),
        (msgspec.structs.replace(LIGHT, light_steps=100), 100),
        (msgspec.structs.replace(LIGHT, light_steps=9999), 4690),
        (Request(task="mnist-cnn", light_steps=100), 4690),
    ],
)
def test_a_light_run_has_fewer_steps_and_a_full_one_all(request_: Request, steps: int) -> None:
    assert light_steps(MNIST, request_) == steps


def test_a_light_run_of_a_task_that_stops_on_nothing_does_a_fixed_number_of_steps() -> None:
    assert choose_target(MNIST, LIGHT) is None
    asked = choose_target(MNIST, msgspec.structs.replace(LIGHT, target=0.5))
    assert asked is not None
    assert asked.threshold == 0.5


def test_a_plan_says_that_it_is_light_and_keeps_the_whole_tasks_schedule() -> None:
    light = runs.resolve(Request(task="digits-cnn", light=True, light_steps=34), 1)
    full = runs.resolve(Request(task="digits-cnn"), 1)
    assert (light.light, full.light) == (True, False)
    assert (light.steps_max, full.steps_max) == (34, DIGITS.steps_max)
    assert light.task == full.task
    assert light.task_hash == full.task_hash


def test_plans_of_before_can_still_be_read() -> None:
    plan = runs.resolve(Request(task="digits-cnn"), 1)
    fields = msgspec.to_builtins(plan)
    for name in ("light", "suite", "price_usd_per_h", "provider", "region", "image"):
        del fields[name]
    assert decode_plan(pretty_json(fields), "plan.json") == plan


@pytest.mark.parametrize("price", [0.0, -1.0, float("inf"), float("nan")])
def test_a_price_that_cannot_be_is_refused(price: float) -> None:
    with pytest.raises(UsageError, match=r"--price-per-hour .* above 0 USD"):
        check_request(DIGITS, Request(task="digits-cnn", price_usd_per_h=price))


def test_price_and_place_come_from_a_grid_file_as_well(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(
        '[[run]]\ntask = "digits-cnn"\nprice_per_hour = 0.4\nprovider = "Paperspace"\n'
        'region = "NY2"\nimage = "fast-ai"\n'
    )
    [request], _, _ = expand(path, {})
    assert request == Request(
        task="digits-cnn",
        price_usd_per_h=0.4,
        provider="Paperspace",
        region="NY2",
        image="fast-ai",
    )


def test_requests_of_a_suite_carry_its_name() -> None:
    requests, _, _ = expand("mlbench", {})
    assert {request.suite for request in requests} == {"mlbench"}
    assert len(requests) == 8
    assert not any(request.light for request in requests)


def test_the_light_form_of_mlbench_has_every_network_with_capped_seeds() -> None:
    requests, _, _ = expand("mlbench", {"light": True})
    assert {request.task for request in requests} == {
        request.task for request in suites.find_suite("mlbench").requests
    }
    assert all(request.light and request.light_steps for request in requests)
    made = [request.task for request, _ in paired(requests, 3)]
    assert made.count("cifar10-resnet20-v1") == 3
    assert made.count("cifar10-resnet56-v1") == 1
    asked = [request.task for request, _ in paired(uncapped(requests), 5)]
    assert asked.count("cifar10-resnet56-v1") == 5, "a user's own number holds"


def test_light_mlbench_ends_within_15_minutes_on_slow_cores() -> None:
    """Seconds at 250 images/s of ResNet-20; deeper ones as much slower as they have more layers."""
    total = 0.0
    for request, _ in paired(expand("mlbench", {"light": True})[0], 3):
        depth = int(request.task.removeprefix("cifar10-resnet").partition("-")[0])
        images_per_s = 250 * (20 - 2) / (depth - 2)
        task = find_task(request.task)
        steps = light_steps(task, request)
        evaluations = -(-steps // int(request.settings["eval_every_steps"]))
        trained = steps * (task.batch_size or 0) / images_per_s
        total += 10 + trained + evaluations * task.dataset.test_count / (3 * images_per_s)
    assert total < 15 * 60


@pytest.mark.parametrize(
    ("suite", "images_per_s", "passes"), [("cloud-check", 60, 2), ("platform-task", 250, 2)]
)
def test_other_light_suites_end_within_15_minutes_on_slow_cores(
    suite: str, images_per_s: float, passes: int
) -> None:
    """`passes` over the test set: its accuracy, and what the task measures beside it."""
    total = 0.0
    for request, _ in paired(expand(suite, {"light": True})[0], suites.find_suite(suite).seeds):
        task = find_task(request.task)
        trained = light_steps(task, request) * (task.batch_size or 0) / images_per_s
        total += 10 + trained + passes * task.dataset.test_count / (3 * images_per_s)
    assert total < 15 * 60


@pytest.mark.parametrize("name", ["suite", "light_steps", "seeds_max"])
def test_what_suites_set_is_no_option_of_the_user(name: str) -> None:
    with pytest.raises(UnknownNameError):
        expand("digits-cnn", {name: 1})
