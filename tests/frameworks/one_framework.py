"""The tests of one framework, named by the variable below: run in a process of its own.

One process holds one backend of Keras, and JAX and TensorFlow take their threads once. The file's
name keeps it out of the ordinary collection; test_framework_contract.py runs it for each.
"""

from __future__ import annotations

import importlib
import os
import time
from typing import Any, Final, cast

import numpy as np
import pytest

from timetrial import frameworks
from timetrial.errors import UsageError
from timetrial.frameworks import Framework
from timetrial.testing.contracts import FrameworkContract

NAME: Final = os.environ["TIMETRIAL_TEST_FRAMEWORK"]
KERAS: Final = NAME.startswith("keras-")


@pytest.fixture(scope="module")
def framework() -> Framework:
    return cast(type[Framework], frameworks.REGISTRY.get(NAME))()


@pytest.fixture
def name() -> str:
    return NAME


def product(size: int, dtype: str) -> Any:
    """A function that multiplies a matrix by itself in the framework, and its first argument."""
    start = np.eye(size, dtype=dtype)
    if KERAS:
        ops = importlib.import_module("keras").ops
        return ops.matmul, ops.convert_to_tensor(start)
    if NAME == "jax":
        jnp = importlib.import_module("jax.numpy")
        return jnp.matmul, jnp.asarray(start)
    if NAME == "torch":
        torch = importlib.import_module("torch")
        return torch.matmul, torch.from_numpy(start)
    return np.matmul, start


class TestContract(FrameworkContract):
    """The contract of timetrial.testing. It sets up one thread, first."""


def test_one_thread_keeps_one_core_busy(framework: Framework) -> None:
    """CPU seconds per second of wall time; another process on the machine can only lower it."""
    framework.setup(device="cpu", threads=1, precision="float32")  # the contract ended with two
    multiply, matrix = product(600, "float32")
    framework.synchronise()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(60):
        matrix = multiply(matrix, matrix)
    framework.synchronise()
    wall = time.perf_counter() - wall
    cpu = time.process_time() - cpu
    np.asarray(matrix)

    assert cpu / wall < 1.3


def test_float32_products_are_float32(framework: Framework) -> None:
    multiply, _ = product(1, "float32")
    left = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    exact = left.astype(np.float64) @ left.astype(np.float64)

    seen = np.asarray(multiply(product_input(left), product_input(left)))

    assert seen.dtype == np.float32
    assert np.abs(seen - exact).max() < 1e-4  # TF32 and bfloat16: above 1e-2


def product_input(array: np.ndarray) -> Any:
    if KERAS:
        return importlib.import_module("keras").ops.convert_to_tensor(array)
    if NAME == "torch":
        return importlib.import_module("torch").from_numpy(array)
    return array


def test_float64_stays_float64_once_set_up_for_it(framework: Framework) -> None:
    framework.setup(device="cpu", threads=1, precision="float64")
    third = product_input(np.full(3, 1 / 3))
    if KERAS:
        keras = importlib.import_module("keras")
        mean = keras.ops.mean(third)
        loss = keras.losses.MeanSquaredError()(third, third * 0)
        seen = [float(mean) - 1 / 3, float(loss) - 1 / 9]
        layer = keras.layers.Dense(1)
        layer.build((None, 2))
        assert keras.backend.standardize_dtype(layer.kernel.dtype) == "float64"
    elif NAME == "jax":
        seen = [float(importlib.import_module("jax.numpy").mean(third)) - 1 / 3]
    elif NAME == "torch":
        seen = [float(third.mean()) - 1 / 3]
    else:
        seen = [float(np.mean(third)) - 1 / 3]

    framework.setup(device="cpu", threads=1, precision="float32")

    assert np.abs(seen).max() < 1e-16


@pytest.mark.skipif(not KERAS, reason="Keras alone has backends")
def test_a_second_backend_in_one_process_is_refused(framework: Framework) -> None:
    other = "keras-jax" if NAME != "keras-jax" else "keras-torch"

    with pytest.raises(UsageError, match=rf"{other} cannot start: .* Keras on {NAME[6:]}"):
        cast(type[Framework], frameworks.REGISTRY.get(other))()


@pytest.mark.skipif(not KERAS, reason="Keras alone reads a file of its user's")
def test_what_a_keras_json_says_is_overruled(framework: Framework) -> None:
    keras = importlib.import_module("keras")
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(0.1)

    framework.setup(device="cpu", threads=1, precision="float32")

    assert keras.config.image_data_format() == "channels_last"
    assert (keras.config.floatx(), keras.config.epsilon()) == ("float32", 1e-7)


def test_waiting_waits_for_what_was_begun(framework: Framework) -> None:
    if NAME != "jax":
        pytest.skip("returns from an operation on a CPU when it is done")
    jax = importlib.import_module("jax")
    long = jax.jit(lambda a: jax.lax.fori_loop(0, 10, lambda _, x: x @ x, a))
    matrix = jax.numpy.eye(700)
    long(matrix).block_until_ready()

    begun = long(matrix)
    framework.synchronise()

    assert begun.is_ready()
