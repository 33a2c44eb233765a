"""The Keras implementation on each backend: a process can hold only one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


# Small networks: compiling takes longer than computing, and XLA's optimisations are not on trial.
# A third of the time (314 s, then 91 and 126 s); ResNet-20 would be slower without them.
XLA_IN_A_HURRY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def run(backend: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": XLA_IN_A_HURRY,
    }
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=HERE, capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_keras_keeps_the_contract_and_is_the_reference_on(backend: str):
    ended = run(backend, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / "keras_networks.py"))
    assert ended.returncode == 0, ended.stdout[-5000:]


def test_a_backend_that_cannot_train_is_refused_by_name():
    program = (
        "from timetrial.tasks.networks import with_keras\n"
        "from timetrial.errors import UsageError\n"
        "try:\n    with_keras.build(None, {}, print)\n"
        "except UsageError as error:\n    print(error)\n"
    )
    ended = run("numpy", "-c", program)
    assert ended.returncode == 0, ended.stderr
    assert "Keras runs on numpy" in ended.stdout
