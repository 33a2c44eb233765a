"""The Keras implementation on each backend: a process can hold only one of them."""

from __future__ import annotations

import pytest
from own_process import run, run_tests

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
# forms of SGD are in Keras' own operations: the backend that compiles nothing tells of all
SKIPPED = ("-k", "not test_every_form_of_sgd_is_the_references")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_keras_keeps_the_contract_and_is_the_reference_on(backend: str):
    skipped = () if backend == "torch" else SKIPPED
    ended = run_tests("keras_networks.py", *skipped, KERAS_BACKEND=backend, **QUIET)
    assert ended.returncode == 0, ended.stdout[-5000:]


def test_a_backend_that_cannot_train_is_refused_by_name():
    program = (
        "from timetrial.tasks.networks import with_keras\n"
        "from timetrial.errors import UsageError\n"
        "try:\n    with_keras.build(None, {}, print)\n"
        "except UsageError as error:\n    print(error)\n"
    )
    ended = run("-c", program, KERAS_BACKEND="numpy", **QUIET)
    assert ended.returncode == 0, ended.stderr
    assert "Keras runs on numpy" in ended.stdout
