"""The learning rate of every step: tables of the documents' values, and plateaus."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from timetrial.plan import find_task
from timetrial.spec import Milestones, PlateauHalving, Sgd
from timetrial.tasks.networks.schedules import Plateau, learning_rate

EPOCH = 391


def rates_of(optimizer: Sgd, steps: list[int]) -> list[float]:
    return [learning_rate(optimizer, step, 164 * EPOCH) for step in steps]


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
@pytest.mark.parametrize("version", [1, 2])
def test_mlbench_falls_by_ten_at_epochs_82_and_109(depth: int, version: int):
    """The document's rates of one worker: 0.05, then 0.005, then 0.0005."""
    task = find_task(f"cifar10-resnet{depth}-v{version}")
    table = {
        0: 0.05,
        EPOCH: 0.05,
        5 * EPOCH: 0.05,
        82 * EPOCH - 1: 0.05,
        82 * EPOCH: 0.005,
        109 * EPOCH - 1: 0.005,
        109 * EPOCH: 0.0005,
        164 * EPOCH - 1: 0.0005,
    }
    assert task.steps_max == 164 * EPOCH
    assert rates_of(task.optimizer, list(table)) == pytest.approx(list(table.values()), rel=1e-14)


def test_eight_workers_climb_from_the_rate_of_one_in_five_epochs():
    """k workers: base k times as high, from 1/k of it, a straight line over five epochs."""
    base = find_task("cifar10-resnet20-v1").optimizer
    eight = msgspec.structs.replace(
        base,
        learning_rate=8 * 0.05,
        schedule=msgspec.structs.replace(base.schedule, start_factor=1 / 8),
    )
    assert isinstance(eight.schedule, Milestones)
    table = {
        0: 0.05,
        EPOCH: 0.05 + 0.35 / 5,
        2 * EPOCH: 0.05 + 2 * 0.35 / 5,
        5 * EPOCH - 1: 0.4 - 0.35 / (5 * EPOCH),
        5 * EPOCH: 0.4,
        82 * EPOCH: 0.04,
    }
    assert rates_of(eight, list(table)) == pytest.approx(list(table.values()), rel=1e-13)


def halving(**changes: float) -> Sgd:
    rules = PlateauHalving(
        warmup_steps=10, start_factor=0.5, patience=1, threshold=0.01, floor_factor=0.25
    )
    return Sgd(
        learning_rate=0.08,
        momentum=0.9,
        nesterov=False,
        rate_in_velocity=False,
        weight_decay=0.0,
        schedule=msgspec.structs.replace(rules, **changes),
    )


def test_the_rate_halves_down_to_its_floor():
    rates = [learning_rate(halving(), 50, 100, halvings) for halvings in range(5)]
    assert rates == pytest.approx([0.08, 0.04, 0.02, 0.02, 0.02], rel=1e-14)
    warm = [learning_rate(halving(), step, 100, 0) for step in (0, 5, 10)]
    assert warm == pytest.approx([0.04, 0.06, 0.08], rel=1e-14)


def test_losses_that_stop_falling_halve_after_patience_and_start_again():
    plateau = Plateau(halving())
    seen = []
    for number, loss in enumerate([1.0, 0.5, 0.495, 0.48, 0.48, 0.475, 0.5, 0.3]):
        plateau.evaluated(20 + number, loss)
        seen.append(plateau.halvings)
    # 0.495 is not below 0.5 by more than 0.01: bad; 0.48 is; two bad ones (0.48, 0.475) halve
    assert seen == [0, 0, 0, 0, 0, 1, 1, 1]


def test_evaluations_in_the_warm_up_do_not_count():
    plateau = Plateau(halving())
    for step in (2, 4, 6, 8, 10):
        plateau.evaluated(step, 1.0)
    assert plateau.halvings == 0
    for step in (12, 14, 16):  # the first is the best so far
        plateau.evaluated(step, 1.0)
    assert plateau.halvings == 1


def test_a_loss_that_is_no_number_is_never_an_improvement():
    plateau = Plateau(halving())
    plateau.evaluated(20, 1.0)
    plateau.evaluated(21, float("nan"))
    plateau.evaluated(22, float("nan"))
    assert plateau.halvings == 1


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_plateau_goes_on_from_where_it_was_saved(cut: int):
    losses = np.random.default_rng(5).uniform(0.4, 0.6, size=9)
    whole, first = Plateau(halving()), Plateau(halving())
    for number, loss in enumerate(losses):
        whole.evaluated(20 + number, float(loss))
        if number < cut:
            first.evaluated(20 + number, float(loss))
    second = Plateau(halving())
    second.restore(first.arrays())
    for number, loss in enumerate(losses[cut:], start=cut):
        second.evaluated(20 + number, float(loss))
    assert whole.halvings > 0
    assert second.halvings == whole.halvings
    assert {k: v.tolist() for k, v in second.arrays().items()} == {
        k: v.tolist() for k, v in whole.arrays().items()
    }


def test_the_reference_of_2020_never_falls_with_one_worker():
    task = find_task("cifar10-resnet20-v1-2020")
    assert learning_rate(task.optimizer, 100 * EPOCH, task.steps_max, 4) == 0.02
