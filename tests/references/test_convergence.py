"""The convergence library: curves usable for any threshold, and files that hold none."""

from __future__ import annotations

import json

import msgspec
import pytest

from timetrial.errors import FormatError
from timetrial.plan import find_task
from timetrial.references import convergence
from timetrial.references.convergence import Curve, CurveSet, decode_curves, steps_to
from timetrial.spec import Target

HASH = "0" * 64


def target(threshold: float) -> Target:
    return Target(metric="accuracy", threshold=threshold, direction="at_least", split="test")


def curves(*values: tuple[float, ...], first_seed: int = 1) -> CurveSet:
    """Curves evaluated every 10 steps."""
    return CurveSet(
        format=1,
        task="made-up",
        task_hash=HASH,
        metric="accuracy",
        split="test",
        batch_size=8,
        eval_every_steps=10,
        system="a machine",
        date="2026-11-23",
        command="timetrial convergence update made-up",
        curves=tuple(
            Curve(seed=seed, steps=tuple(range(10, 10 * len(run) + 1, 10)), values=run)
            for seed, run in enumerate(values, first_seed)
        ),
    )


def test_any_threshold_on_the_curve_has_its_steps() -> None:
    found = curves((0.5, 0.8, 0.9), (0.7, 0.9, 0.85))
    for threshold, steps in ((0.5, [10, 10]), (0.75, [20, 20]), (0.9, [30, 20])):
        known = steps_to(HASH, target(threshold), [found])
        assert known is not None
        assert known.steps.tolist() == steps
        assert known.reached.all()


def test_a_run_that_ended_below_is_censored_where_it_ended() -> None:
    known = steps_to(HASH, target(0.95), [curves((0.5, 0.96), (0.6, 0.7, 0.8))])
    assert known is not None
    assert known.steps.tolist() == [20, 30]
    assert known.reached.tolist() == [True, False]


def test_a_run_that_stopped_at_an_easier_target_says_nothing_of_a_harder_one() -> None:
    easy = curves((0.5, 0.8), (0.6, 0.75))
    stopped = msgspec.structs.replace(
        easy, curves=tuple(msgspec.structs.replace(c, stops_at=0.7) for c in easy.curves)
    )
    known = steps_to(HASH, target(0.7), [stopped])
    assert known is not None
    assert known.steps.tolist() == [20, 20]
    assert steps_to(HASH, target(0.78), [stopped]) is None  # one passed it by chance
    whole = curves((0.5, 0.6, 0.79), first_seed=9)
    further = steps_to(HASH, target(0.78), [stopped, whole])
    assert further is not None
    assert further.seeds == (9,)


def test_two_sets_are_taken_together_and_a_seed_counts_once() -> None:
    both = [curves((0.9,), (0.8, 0.9)), curves((0.8, 0.9), (0.9,), first_seed=2)]
    known = steps_to(HASH, target(0.9), both)
    assert known is not None
    assert sorted(known.seeds) == [1, 2, 3]
    assert len(known.steps) == 3


def test_other_rules_and_other_metrics_are_unknown() -> None:
    found = [curves((0.9,))]
    assert steps_to("1" * 64, target(0.5), found) is None
    loss = Target(metric="loss", threshold=0.5, direction="at_most", split="test")
    assert steps_to(HASH, loss, found) is None
    validation = msgspec.structs.replace(target(0.5), split="validation")
    assert steps_to(HASH, validation, found) is None


@pytest.mark.parametrize("name", ["digits-cnn", "fashion-mnist-cnn", "mnist-cnn"])
def test_the_shipped_curves_are_of_the_rules_of_today_and_reach(name: str) -> None:
    task = find_task(name)
    known = steps_to(task.hash(), task.targets[-1])
    assert known is not None
    assert len(known.steps) >= 20
    assert known.reached.all()
    assert known.eval_every_steps == task.eval_every_steps
    assert (known.steps % task.eval_every_steps == 0).all()


def test_every_shipped_file_is_named_after_what_it_holds() -> None:
    shipped = convergence.shipped_curves()
    assert shipped
    for found in shipped:
        assert found.file_name.startswith(f"{found.task}-{found.task_hash[:8]}")
        assert all(len(curve.steps) == len(curve.values) > 0 for curve in found.curves)


def test_steps_without_curves_are_known_for_their_own_target_alone() -> None:
    task = find_task("breast-cancer-logreg")
    known = steps_to(task.hash(), task.targets[-1])
    assert known is not None
    assert set(known.steps.tolist()) == {1.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format 2"),
        ({"curves": [{"seed": 1, "steps": [10], "values": []}]}, "seed 1"),
        ({"curves": [{"seed": 1, "steps": [20, 10], "values": [0.1, 0.2]}]}, "rising"),
        ({"curves": [{"seed": 7, "steps": [1], "values": [0.1]}] * 2}, "seed 7"),
        ({"metric": "happiness"}, "happiness"),
        ({"more": 1}, "more"),
    ],
)
def test_a_file_that_holds_no_curves_says_why(change: dict[str, object], said: str) -> None:
    content = {**json.loads(msgspec.json.encode(curves((0.5,)))), **change}
    with pytest.raises(FormatError, match=said):
        decode_curves(json.dumps(content).encode(), "library/made-up.json")


def test_a_file_that_is_no_json_names_itself() -> None:
    with pytest.raises(FormatError, match=r"made-up\.json"):
        decode_curves(b"{", "made-up.json")
