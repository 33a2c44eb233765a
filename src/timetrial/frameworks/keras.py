"""Keras on TensorFlow, JAX or PyTorch: one process holds one of them.

Keras reads its backend when it is imported, so making one of these classes imports both.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from types import ModuleType
from typing import Final, Literal, final

from timetrial.errors import UsageError
from timetrial.frameworks import Setup, describe_version
from timetrial.spec import Precision

Backend = Literal["tensorflow", "jax", "torch"]
_QUIET: Final = {"TF_CPP_MIN_LOG_LEVEL": "3"}  # what users set themselves stays


@final
class KerasTensorflow:
    """Keras on TensorFlow in this process."""

    def __init__(self) -> None:
        """Import Keras and TensorFlow."""
        self._keras = import_keras("tensorflow")
        self._tensorflow = importlib.import_module("tensorflow")

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Choose device, threads within and between operations, and precision.

        Raises:
            UsageError: No such device here, or TensorFlow already runs with other settings.
        """
        tf = self._tensorflow
        name = self._choose_device(device)
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError as error:
            raise UsageError(
                f"TensorFlow cannot be given {threads} threads: it already runs in this process "
                f"({error}) Set it up first, and once."
            ) from error
        tf.config.experimental.enable_tensor_float_32_execution(False)
        tf.config.experimental.enable_op_determinism()  # a resumed run repeats the same bits
        versions = {"tensorflow": str(tf.__version__)}
        build = tf.sysconfig.get_build_info()
        if build.get("cuda_version"):
            versions["cuda"] = str(build["cuda_version"])
        return Setup(
            versions=_versions("keras-tensorflow", self._keras, versions),
            threads=tf.config.threading.get_intra_op_parallelism_threads(),
            settings={
                **set_keras(self._keras, precision),
                "intra_op_threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
                "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
                "tensor_float_32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
                "op_determinism": "True",
                "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "not set"),
            },
            device_name=name,
        )

    def synchronise(self) -> None:
        """Return when the devices have finished all they were given."""
        self._tensorflow.test.experimental.sync_devices()

    def _choose_device(self, device: str) -> str:
        """Leave only the device asked for visible to TensorFlow; return its name."""
        tf = self._tensorflow
        kind = "rocm" if tf.test.is_built_with_rocm() else "cuda"
        seen = {"cpu": None}
        accelerators = tf.config.list_physical_devices("GPU")
        if accelerators:
            seen[kind] = accelerators[0]
        seen |= {f"{kind}:{index}": found for index, found in enumerate(accelerators)}
        if device not in seen:
            raise UsageError(
                f"--device {device} is not to be had: this TensorFlow ({tf.__version__}) sees "
                f"{', '.join(seen)} here. For CUDA replace tensorflow-cpu by tensorflow[and-cuda]."
            )
        chosen = seen[device]
        try:
            tf.config.set_visible_devices([] if chosen is None else [chosen], "GPU")
        except RuntimeError as error:
            raise UsageError(
                f"TensorFlow cannot be given --device {device}: it already runs in this process "
                f"({error}) Set it up first, and once."
            ) from error
        if chosen is None:
            return "cpu"
        return str(tf.config.experimental.get_device_details(chosen).get("device_name", kind))


@final
class KerasJax:
    """Keras on JAX in this process."""

    def __init__(self) -> None:
        """Import Keras and JAX."""
        self._keras = import_keras("jax")

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Choose device, size of the thread pool, and precision.

        Raises:
            UsageError: No such device here, or JAX already runs with another number of threads.
        """
        from timetrial.frameworks import jax

        chosen = jax.start(device, threads=threads, precision=precision)
        return Setup(
            versions=_versions("keras-jax", self._keras, jax.jax_versions()),
            threads=threads,
            settings={**set_keras(self._keras, precision), **jax.settings(chosen)},
            device_name=chosen.device_kind,
        )

    def synchronise(self) -> None:
        """Return when the device has finished all it was given."""
        from timetrial.frameworks import jax

        jax.wait()


@final
class KerasTorch:
    """Keras on PyTorch in this process."""

    def __init__(self) -> None:
        """Import Keras and PyTorch."""
        self._keras = import_keras("torch")
        self._device = importlib.import_module("torch").device("cpu")

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Choose device, threads of one operation, and precision.

        Raises:
            UsageError: No such device here.
        """
        from timetrial.frameworks import torch

        self._device = torch.find_device(device)
        self._keras.device(str(self._device)).__enter__()  # for the life of the process
        versions = torch.set_arithmetic(threads)
        return Setup(
            versions=_versions("keras-torch", self._keras, versions),
            threads=threads,
            settings={**set_keras(self._keras, precision), **torch.settings(self._device)},
            device_name=torch.device_name(self._device),
        )

    def synchronise(self) -> None:
        """Return when the device has finished; a CPU always has."""
        from timetrial.frameworks import torch

        torch.wait(self._device)


def import_keras(backend: Backend) -> ModuleType:
    """Import Keras on `backend`, and return it.

    Raises:
        UsageError: This process already holds Keras on another backend.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
    keras = importlib.import_module("keras")
    running = keras.backend.backend()
    if running != backend:
        raise UsageError(
            f"keras-{backend} cannot start: this process already holds Keras on {running}, and "
            f"one process holds one backend. Start another process, or choose keras-{running}."
        )
    return keras


def set_keras(keras: ModuleType, precision: Precision) -> dict[str, str]:
    """Set what a user's keras.json could hold otherwise; return it.

    The default type is that of weights: float64, or else float32. Layers that compute in a shorter
    one are the implementation's to choose.
    """
    keras.config.set_floatx("float64" if precision == "float64" else "float32")
    # Keras computes means and losses in float32 even of float64, unless on TensorFlow: 4e-9 to
    # 6e-8 off after 20 steps; with this entry 4e-16 (Keras 3.15.1, against PyTorch in float64).
    dtypes = importlib.import_module("keras.src.backend.common.dtypes")
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    if keras.backend.backend() == "jax":
        from timetrial.frameworks import jax

        jax.set_precision(precision)
    keras.config.set_epsilon(1e-7)  # Keras' own default
    keras.config.set_image_data_format("channels_last")  # the layout TensorFlow's CPU has
    return {
        "backend": keras.backend.backend(),
        "floatx": keras.config.floatx(),
        "epsilon": f"{keras.config.epsilon():g}",
        "image_data_format": keras.config.image_data_format(),
    }


def _versions(name: str, keras: ModuleType, backend: dict[str, str]) -> dict[str, str]:
    own = {"keras": str(keras.__version__), **backend}
    return {name: describe_version(name, own), **own, "python": platform.python_version()}
