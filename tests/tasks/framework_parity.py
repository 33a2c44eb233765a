"""What a framework's network must compute: in float64 the same as the NumPy reference."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import pytest
from every_layer import every_layer
from small_data import small_splits, small_task

from timetrial.engine.metrics import cross_entropy
from timetrial.plan import find_task
from timetrial.spec import (
    Build,
    Dense,
    Flatten,
    Inspectable,
    Network,
    Precision,
    PredictsWithDropout,
    Sgd,
    Task,
    Workload,
)
from timetrial.tasks.networks import reference
from timetrial.testing.contracts import no_lap

TOLERANCE = 1e-10  # 1e-8 is what is promised
TASKS = {
    "every-layer": every_layer,
    "mnist-cnn": lambda: small_task(find_task("mnist-cnn"), train=44, batch=12),
}


def farthest(seen: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """Return the largest distance, relative to each array's largest number.

    An array next to the others' rounding errors (gradients that are 0 but for these) counts as
    one of a millionth of the largest.
    """
    assert set(seen) == set(expected)
    floor = 1e-6 * max(np.abs(value).max() for value in expected.values())
    return max(
        float(np.abs(seen[name] - value).max() / max(np.abs(value).max(), floor))
        for name, value in expected.items()
    )


class NetworkParity:
    """One framework's `build`, given by the fixture `build`."""

    def test_probe_and_six_steps_are_those_of_the_reference(self, build: Build) -> None:
        task = every_layer()  # tests/parity proves real tasks in every framework
        splits = small_splits(task)
        work = Workload(task=task, seed=11, device="cpu", precision="float64")
        fast, slow = build(work, splits, no_lap), reference.build(work, splits, no_lap)
        assert isinstance(fast, Inspectable)
        before = fast.variables()
        assert list(before) == list(slow.variables())

        for step in (0, 3):  # a full mini-batch and the epoch's last one
            seen, expected = fast.probe(step), slow.probe(step)
            assert farthest({"": seen.inputs}, {"": expected.inputs}) < TOLERANCE
            assert farthest({"": seen.scores}, {"": expected.scores}) < TOLERANCE
            assert seen.loss == pytest.approx(expected.loss, rel=TOLERANCE)
            assert farthest(seen.gradients, expected.gradients) < TOLERANCE
        assert all(np.array_equal(fast.variables()[key], value) for key, value in before.items())

        for step in range(6):  # steps 3 and 4 lie on either side of an epoch's partial batch
            fast.advance(1)
            slow.advance(1)
            assert farthest(fast.variables(), slow.variables()) < TOLERANCE, step
            for split in (splits["train"], splits["test"]):
                losses = [cross_entropy(each.predict(split), split.labels) for each in (fast, slow)]
                assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE), (step, split.name)

    @pytest.mark.parametrize("rate_in_velocity", [False, True])
    @pytest.mark.parametrize("decays", ["all", "weights"])
    def test_every_form_of_sgd_is_the_references(
        self, build: Build, rate_in_velocity: bool, decays: str
    ) -> None:
        task = small_task(find_task("digits-cnn"), train=16, batch=8)
        assert isinstance(task.optimizer, Sgd)
        head = Dense(units=10, activation="linear", init="glorot_uniform")
        task = msgspec.structs.replace(task, model=Network(layers=(Flatten(), head)))
        for nesterov in (False, True):
            sgd = msgspec.structs.replace(
                task.optimizer,
                rate_in_velocity=rate_in_velocity,
                nesterov=nesterov,
                weight_decay=0.1,
                decays=decays,
            )
            assert_same_steps(build, msgspec.structs.replace(task, optimizer=sgd))

    def test_bfloat16_keeps_weights_and_statistics_in_float32(self, build: Build) -> None:
        task = every_layer()
        splits = small_splits(task)
        scores = {}
        for precision in ("bfloat16", "float32"):
            made = build(_work(task, precision), splits, no_lap)
            assert isinstance(made, Inspectable)
            scores[precision] = made.predict(splits["test"])
            made.advance(1)
            assert {value.dtype.name for value in made.variables().values()} == {"float32"}
        assert scores["bfloat16"].dtype == np.float32
        gap = farthest({"": scores["bfloat16"]}, {"": scores["float32"]})
        assert 1e-4 < gap < 0.1  # another arithmetic, the same network

    def test_dropout_left_on_gives_the_references_scores_and_is_off_again(
        self, build: Build
    ) -> None:
        task = every_layer()
        test = small_splits(task)["test"]
        work = _work(task, "float64")
        fast, slow = (make(work, small_splits(task), no_lap) for make in (build, reference.build))
        assert isinstance(fast, PredictsWithDropout)
        assert isinstance(slow, PredictsWithDropout)
        fast.advance(2)
        slow.advance(2)
        plain, dropped = fast.predict(test), fast.predict_with_dropout(test)
        assert farthest({"": dropped}, {"": slow.predict_with_dropout(test)}) < TOLERANCE
        assert farthest({"": plain}, {"": dropped}) > 1e-3
        assert np.array_equal(fast.predict(test), plain)
        assert np.array_equal(fast.predict_with_dropout(test), dropped)

    def test_assign_takes_variables_and_the_state_holds_them(self, build: Build) -> None:
        task = every_layer()
        splits = small_splits(task)
        first, second = (
            build(_work(task, "float32", seed=seed), splits, no_lap) for seed in (1, 2)
        )
        assert isinstance(first, Inspectable)
        assert isinstance(second, Inspectable)
        first.advance(2)
        second.assign(first.variables())
        assert np.array_equal(first.predict(splits["test"]), second.predict(splits["test"]))
        held = first.variables()
        first.advance(1)
        assert all(np.array_equal(second.variables()[key], value) for key, value in held.items())


def assert_same_steps(build: Build, task: Task) -> None:
    """Compare three steps: the learning rate must move for the forms to differ."""
    splits = small_splits(task)
    work = _work(task, "float64")
    fast, slow = build(work, splits, no_lap), reference.build(work, splits, no_lap)
    assert isinstance(fast, Inspectable)
    fast.advance(3)
    slow.advance(3)
    assert farthest(fast.variables(), slow.variables()) < TOLERANCE


def _work(task: Task, precision: Precision, *, seed: int = 5) -> Workload:
    return Workload(task=task, seed=seed, device="cpu", precision=precision)
