"""What can be asked of a measuring task, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from timetrial import api
from timetrial.errors import TimetrialError, UnknownNameError, UsageError
from timetrial.exchange import request as measuring
from timetrial.exchange.allreduce import ALLREDUCE
from timetrial.plan import decode_plan
from timetrial.rundir import pretty_json
from timetrial.spec import ITEM_BYTES, expected_sum


def test_the_plan_holds_the_rules_and_no_task():
    [plan] = api.plans("allreduce", seeds=1, workers=2)
    assert plan.learned is None
    assert plan.exchange == ALLREDUCE
    assert plan.subject is plan.exchange
    assert plan.task_hash == ALLREDUCE.hash()
    assert plan.implementation == ALLREDUCE.implementations["torch"]
    assert plan.steps_max == len(ALLREDUCE.sizes_bytes) * len(ALLREDUCE.dtypes)
    assert decode_plan(pretty_json(plan), "here") == plan
    with pytest.raises(UsageError, match="nothing is learned in it"):
        _ = plan.task


def test_sizes_go_from_one_number_to_64_mebibytes_by_powers_of_four():
    assert ALLREDUCE.sizes_bytes[0] == 4
    assert ALLREDUCE.sizes_bytes[-1] == 64 * 2**20
    assert all(size % item == 0 for size in ALLREDUCE.sizes_bytes for item in ITEM_BYTES.values())
    light = ALLREDUCE.points(light=True)
    assert light == [p for p in ALLREDUCE.points(light=False) if p.bytes <= 4 * 2**20]


def test_prose_is_not_in_the_hash_and_rules_are():
    changed = msgspec.structs.replace
    assert changed(ALLREDUCE, title="another").hash() == ALLREDUCE.hash()
    assert changed(ALLREDUCE, warm_up=9).hash() != ALLREDUCE.hash()


def test_any_number_of_workers_gives_a_sum_that_float16_holds():
    assert [expected_sum(workers) for workers in (1, 2, 3, 9)] == [1, 3, 6, 37]
    assert expected_sum(450) <= 2048


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"workers": 1}, "--workers 1 is not possible for allreduce"),
        ({"workers": 2, "target": 0.9}, "--target 0.9 does not fit allreduce"),
        ({"workers": 2, "dataset": "mnist"}, "--dataset mnist"),
        ({"workers": 2, "budget_s": 5.0}, "--budget 5.0"),
        ({"workers": 2, "precision": "float64"}, "--precision float64"),
        ({"workers": 2, "algorithm": "ddp"}, "--algorithm ddp"),
        ({"workers": 2, "division": "open"}, "Allowed: closed"),
        ({"workers": 2, "framework": "sklearn"}, "framework of allreduce"),
        ({"workers": 2, "device": "abacus"}, "--device abacus"),
        ({"workers": 2, "network": "rate=1mbit"}, "Add --launcher shaped"),
        ({"workers": 2, "settings": {"fence_every_steps": "3"}}, "fence_every_steps"),
        ({"workers": 2, "settings": {"timeout_s": "0"}}, "Allowed: above 0"),
        ({"workers": 2, "settings": {"timeout_s": "long"}}, "a number of seconds"),
    ],
)
def test_what_a_measurement_cannot_follow_is_refused(choices: dict[str, object], message: str):
    with pytest.raises(UsageError, match=message):
        api.plans("allreduce", seeds=1, **choices)


@pytest.mark.parametrize("asked", [{"until": 0.1}, {"calibrate": 2}])
def test_what_needs_a_target_is_refused_before_anything_runs(asked: dict[str, float], tmp_path):
    with pytest.raises(UsageError, match="Choose --seeds"):
        api.run("allreduce", workers=2, store_dir=tmp_path, **asked)
    assert not list(tmp_path.iterdir())


def test_settings_of_sampler_and_timeout_may_be_chosen():
    [plan] = api.plans("allreduce", seeds=1, workers=2, settings={"sample_every_s": "0"})
    assert plan.rhythm.sample_every_s == 0


def test_a_name_that_is_no_measurement_is_none():
    assert measuring.find("digits-cnn") is None
    assert measuring.find("allreduce") is ALLREDUCE
    with pytest.raises(UnknownNameError, match="allreduce"):
        api.plans("allreduced", seeds=1)


def test_a_script_cannot_learn_a_measurement():
    with pytest.raises(TimetrialError, match="allreduce"):
        api.plans("allreduce", seeds=1, workers=2, division="open", script=["true"])
