"""The proof passes for what is the same, and fails for every broken rule."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import msgspec
import numpy as np
import pytest
from command_line import run_timetrial
from xla_in_a_hurry import XLA_IN_A_HURRY

from timetrial import frameworks
from timetrial.errors import MissingExtraError, ParityError, UnknownNameError, UsageError
from timetrial.parity import proof
from timetrial.parity.proof import FLOAT64, Check, Proof, prove
from timetrial.parity.scale import Scale, proof_task, twins_of
from timetrial.parity.side import Order, follow
from timetrial.plan import find_task
from timetrial.spec import Milestones, Precision, Task
from timetrial.tasks import cifar10_resnet
from timetrial.tasks.networks.ready import ready_network

SMALL = Scale(steps=8, batch_size=8, train_count=20, test_count=10)
NETWORKS = ("torch", "jax", "keras-tensorflow", "keras-jax", "keras-torch")


def shallow(name: str, version: int) -> Task:
    """Return a task with a shallow network on small images: `timetrial parity` proves the real."""
    task = find_task(name)
    dataset = msgspec.structs.replace(task.dataset, input_shape=(12, 12, 3))
    model = cifar10_resnet.network(8, version)
    return msgspec.structs.replace(task, dataset=dataset, model=model)


def far_table() -> Task:
    """Return a task on a table one column of which is a time in seconds since 1970."""
    task = find_task("digits-cnn")
    dataset = msgspec.structs.replace(
        task.dataset, input_shape=(3,), divide_by=1.0, mean=(1.7e9, 0.0, -5.0), std=(3e3, 1.0, 0.2)
    )
    return msgspec.structs.replace(task, dataset=dataset, model=ready_network("mlp", dataset))


PROVED = {
    "far table": far_table(),
    "mnist-cnn": find_task("mnist-cnn"),
    "shallow cifar10-resnet20-v2": shallow("cifar10-resnet20-v2", 2),
}
TWINNED = {
    "mnist-cnn": find_task("mnist-cnn"),
    "shallow cifar10-resnet20-v1": shallow("cifar10-resnet20-v1", 1),
    "shallow cifar10-resnet18-weighted": shallow("cifar10-resnet18-weighted", 1),
}


def order(task: Task, *, framework: str | None = None, steps: int = SMALL.steps) -> Order:
    return Order(
        task=task,
        framework=framework,
        implementation=proof.REFERENCE if framework is None else task.implementations[framework],
        device="cpu",
        precision="float64",
        threads=1,
        steps=steps,
        look=False,
    )


@cache
def reference(name: str) -> Mapping[str, np.ndarray]:
    return follow(order(proof_task(TWINNED[name], SMALL)), {})


def needs(framework: str) -> None:
    try:
        frameworks.require(framework)
    except MissingExtraError as error:
        pytest.skip(str(error))


PROOFS: dict[tuple[str, Precision], tuple[str, ...]] = {
    ("mnist-cnn", "float64"): NETWORKS,
    ("mnist-cnn", "float32"): ("torch",),
    # float64 has digits enough to centre columns carelessly
    ("far table", "float32"): ("torch", "jax", "keras-tensorflow"),
    # of Keras, tests/tasks compares every layer
    ("shallow cifar10-resnet20-v2", "float64"): ("torch", "jax"),
}


@cache
def proof_of(name: str, precision: Precision) -> Proof:
    """The proof of a task in its frameworks, as far as they are installed."""
    here = [which for which in PROOFS[name, precision] if frameworks.installed(which)]
    with pytest.MonkeyPatch.context() as patch:
        if name != "far table":  # which is compiled as users have it
            patch.setenv("XLA_FLAGS", XLA_IN_A_HURRY)
        return prove(PROVED[name], here, scale=SMALL, precisions=(precision,))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the first of a task runs them all
@pytest.mark.parametrize(
    ("name", "precision", "framework"),
    [(*proof, which) for proof, all_ in PROOFS.items() for which in all_],
)
def test_every_framework_is_proved_to_do_the_same(name: str, precision: Precision, framework: str):
    needs(framework)
    found = [check for check in proof_of(name, precision).checks if check.framework == framework]
    assert found
    assert all(check.ok for check in found), [check for check in found if not check.ok]
    assert {check.precision for check in found} == {precision}
    assert any(check.seen > 0 for check in found)  # it compares two things, not one


TWINS = [
    (name, twin.name) for name in TWINNED for twin in twins_of(proof_task(TWINNED[name], SMALL))
]


@pytest.mark.parametrize(("name", "broken"), TWINS)
def test_a_twin_with_one_broken_rule_is_caught(name: str, broken: str):
    small = proof_task(TWINNED[name], SMALL)
    (twin,) = [twin for twin in twins_of(small) if twin.name == broken]
    seen = follow(order(twin.task, framework="torch"), {})
    assert proof._apart(seen, reference(name)) > 1


@pytest.mark.parametrize("name", TWINNED)
def test_what_is_not_broken_is_not_caught(name: str):
    seen = follow(order(proof_task(TWINNED[name], SMALL), framework="torch"), {})
    assert proof._apart(seen, reference(name)) < 1


def test_the_twins_of_the_document_are_all_there():
    broken = {name for _, name in TWINS}
    assert {
        "momentum in the other form",
        "Nesterov missing or added",
        "weight decay on the wrong parameters",
        "schedule one step late",
        "warm-up one step long",
        "last batch dropped or kept",
        "no mirroring",
        "no class weights",
        "Keras' epsilon in batch normalisation",
        "Keras' momentum in batch normalisation",
        "half the dropout",
    } <= broken


def test_the_schedule_is_squeezed_into_the_proof_and_every_change_falls_into_it():
    small = proof_task(find_task("cifar10-resnet20-v1"), Scale())
    schedule = small.optimizer.schedule
    assert isinstance(schedule, Milestones)
    assert schedule.warmup_steps == 3
    assert schedule.start_factor == 0.5
    assert schedule.milestones == (10, 13)  # of 20: 82 and 109 of 164


def test_deep_networks_are_proved_at_a_fiftieth_of_their_rate_and_others_at_their_own():
    rates = {
        name: proof_task(find_task(name), SMALL).optimizer.learning_rate
        for name in ("cifar10-resnet20-v2", "cifar10-resnet56-v2")
    }
    assert rates == {"cifar10-resnet20-v2": 0.05, "cifar10-resnet56-v2": 0.05 * 0.02}


@pytest.mark.parametrize("field", ["eval_scores", "scores", "inputs"])
def test_nan_and_other_shapes_never_pass(field: str):
    small = proof_task(find_task("digits-cnn"), SMALL)
    looked = msgspec.structs.replace(order(small), look=True)
    ours = follow(looked, proof._given(small))
    for change in (np.full_like(ours[field], np.nan), ours[field][1:]):
        checks = list(proof._compare("x", "float64", FLOAT64, {**ours, field: change}, ours, 8))
        assert [check.ok for check in checks].count(False) == 1
    assert all(check.ok for check in proof._compare("x", "float64", FLOAT64, ours, ours, 8))


def test_a_missing_or_misshapen_parameter_is_named():
    small = proof_task(find_task("digits-cnn"), SMALL)
    ours = follow(msgspec.structs.replace(order(small), look=True), proof._given(small))
    less = {name: value for name, value in ours.items() if name != "initial/0.bias"}
    checks = list(proof._compare("x", "float64", FLOAT64, less, ours, 8))
    wrong = [check for check in checks if not check.ok]
    assert "0.bias" in wrong[0].detail


@pytest.mark.parametrize("group", ["initial", "gradient", "final"])
def test_nan_in_any_one_tensor_never_passes(group: str):
    small = proof_task(find_task("digits-cnn"), SMALL)
    ours = follow(msgspec.structs.replace(order(small), look=True), proof._given(small))
    for name in [name for name in ours if name.startswith(f"{group}/")]:
        poisoned = {**ours, name: np.full_like(ours[name], np.nan)}
        checks = list(proof._compare("x", "float64", FLOAT64, poisoned, ours, 8))
        wrong = [check for check in checks if not check.ok]
        assert [check.detail for check in wrong] == [name.removeprefix(f"{group}/")]
    assert np.isnan(proof._apart({**ours, "final_scores": ours["final_scores"] * np.nan}, ours))


def test_a_check_with_nan_is_not_ok():
    made = Check(
        framework="x", precision="float64", what="y", seen=float("nan"), bound=1.0, detail=""
    )
    assert not made.ok


def test_a_task_without_a_reference_is_refused():
    with pytest.raises(UsageError, match="breast-cancer-logreg has no NumPy reference"):
        prove(find_task("breast-cancer-logreg"))


def test_unknown_frameworks_and_twins_of_others_are_refused():
    with pytest.raises(UnknownNameError, match="abacus"):
        prove(find_task("digits-cnn"), ["abacus"])
    with pytest.raises(UnknownNameError, match="jax"):
        prove(find_task("digits-cnn"), ["torch"], twins=["jax"])


def test_a_framework_that_the_task_does_not_have_is_refused_by_name():
    with pytest.raises(UnknownNameError, match=r"framework of task digits-cnn.*sklearn"):
        prove(find_task("digits-cnn"), ["sklearn"])


def computing_in(*precisions: Precision) -> Task:
    return msgspec.structs.replace(find_task("digits-cnn"), precisions=precisions)


def test_a_proof_that_could_compare_nothing_is_no_proof():
    with pytest.raises(UsageError, match=r"it computes in bfloat16.*Allowed: float64 and float32"):
        prove(computing_in("bfloat16"), ["torch"])
    none = msgspec.structs.replace(find_task("digits-cnn"), implementations={})
    with pytest.raises(UsageError, match="none of its frameworks"):
        prove(none)
    empty = Proof(task="x", task_hash="", scale=SMALL, notes=(), checks=(), twins=())
    assert not empty.ok


def test_twins_are_refused_where_they_cannot_be_run():
    with pytest.raises(UsageError, match=r"run in float64, and it computes in float32"):
        prove(computing_in("float32"), ["torch"], twins=["torch"])


def test_a_proof_without_float64_says_so():
    needs("torch")
    found = prove(computing_in("float32", "bfloat16"), ["torch"], scale=SMALL)
    assert found.ok
    assert {check.precision for check in found.checks} == {"float32"}
    assert any("float64 is not among the task's precisions" in note for note in found.notes)


def test_a_side_that_does_not_end_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proof, "TIMEOUT_S", 0.01)  # of each of two orders
    with pytest.raises(ParityError, match=r"the reference did not end within 0\.02 s"):
        prove(find_task("digits-cnn"), ["torch"], scale=SMALL)


def test_a_side_that_fails_is_an_error_with_its_last_words():
    with pytest.raises(ParityError, match=r"torch could not run task digits-cnn.*abacus"):
        prove(find_task("digits-cnn"), ["torch"], device="abacus", scale=SMALL)


def test_the_command_prints_a_table_and_json():
    options = ["parity", "digits-cnn", "--framework", "torch", "--steps", "4", "--batch", "4"]
    done = run_timetrial(*options, "--cores", "1")
    assert done.code == 0, done.err
    assert "the same task" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    told = run_timetrial(*options, "--cores", "1", "--json").json()
    assert told["ok"] is True
    assert {row["framework"] for row in told["proof"]["checks"]} == {"torch"}


def test_what_is_zero_but_for_rounding_is_compared_on_the_scale_of_the_precision():
    """A shift before a batch normalisation: 6e-8 of the largest is float32, 1e-3 is an error."""
    exact = {"gradient/a": np.array([1.0]), "gradient/zero": np.array([1e-16])}

    def apart(rest: float, bounds: proof.Bounds) -> float:
        side = {"gradient/a": np.array([1.0]), "gradient/zero": np.array([rest])}
        return proof._worst(side, exact, "gradient", bounds)[0] / bounds.gradients

    assert apart(6e-8, proof.FLOAT32) < 1
    assert apart(1e-3, proof.FLOAT32) > 1
    assert apart(6e-8, FLOAT64) > 1
    assert apart(1e-15, FLOAT64) < 1


def test_a_float32_gradient_may_be_as_far_off_as_numpys_own_a_few_times_and_no_further():
    exact = {"gradient/a": np.array([1.0, 0.1])}
    coarse = {"gradient/a": np.array([1.0, 0.13])}

    def ok(second: float, own: Mapping[str, np.ndarray] | None) -> bool:
        side = {"gradient/a": np.array([1.0, second])}
        return proof._worst(side, exact, "gradient", proof.FLOAT32, own)[0] <= 0.05

    assert ok(0.14, None)
    assert not ok(0.16, None)
    assert ok(0.16, coarse)
    assert not ok(0.2, coarse)
    assert not ok(-0.1, coarse)
