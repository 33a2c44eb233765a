"""JAX: threads, devices, precision, waiting for the device."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Final

import jax
import jax.extend.backend
import jaxlib.version

from timetrial.errors import UsageError
from timetrial.frameworks import Setup
from timetrial.spec import Precision

# XLA sizes the CPU's thread pool by this when it starts, else by the CPUs the process may use.
# Measured: 1 gives one busy core on two, NPROC too; --xla_cpu_multi_thread_eigen=false and
# intra_op_parallelism_threads in XLA_FLAGS leave two busy (jax 0.10.2, 1500 x 1500 products).
POOL_VARIABLE: Final = "PJRT_NPROC"
_ACCELERATORS: Final = ("cuda", "rocm", "tpu")
_GPU_FLAG: Final = "--xla_gpu_deterministic_ops=true"  # a resumed run repeats the same bits


class Jax:
    """The JAX of this process."""

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Choose device, size of the thread pool, and precision.

        Raises:
            UsageError: No such device here, or JAX already runs with another number of threads.
        """
        chosen = start(device, threads=threads, precision=precision)
        versions = {name: importlib.metadata.version(name) for name in ("flax", "optax")}
        return Setup(
            versions={**jax_versions(), **versions, "python": platform.python_version()},
            threads=threads,
            settings=settings(chosen),
            device_name=chosen.device_kind,
        )

    def synchronise(self) -> None:
        """Return when the device has finished all it was given."""
        wait()


def start(device: str, *, threads: int, precision: Precision) -> jax.Device:
    """Start JAX with this device as default, and return the device.

    Raises:
        UsageError: No such device here, or JAX already runs with another number of threads.
    """
    running = _is_running()
    if running and os.environ.get(POOL_VARIABLE) != str(threads):
        raise UsageError(
            f"JAX cannot be given {threads} threads: it already runs in this process with "
            f"{os.environ.get(POOL_VARIABLE, 'its own number')}. Set it up first, and once."
        )
    os.environ[POOL_VARIABLE] = str(threads)
    if device == "cpu":
        if not running:
            jax.config.update("jax_platforms", "cpu")  # no accelerator is touched
    elif _GPU_FLAG not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_GPU_FLAG}".strip()
    found = find_device(device)
    jax.config.update("jax_default_device", found)
    jax.config.update("jax_default_matmul_precision", "highest")  # float32: never TF32 or bfloat16
    set_precision(precision)
    return found


def set_precision(precision: Precision) -> None:
    """Let JAX compute in float64 where the run asks for it: as shipped it makes float32 of it."""
    jax.config.update("jax_enable_x64", precision == "float64")


def find_device(name: str) -> jax.Device:
    """Return the device called cpu, or cuda, rocm, tpu, each also with its number, as in cuda:1.

    Raises:
        UsageError: JAX does not know it or does not see it here.
    """
    seen: dict[str, jax.Device] = {"cpu": jax.devices("cpu")[0]}
    if name != "cpu":
        for kind in _ACCELERATORS:
            for index, device in enumerate(_devices(kind)):
                seen.setdefault(kind, device)
                seen[f"{kind}:{index}"] = device
    if name not in seen:
        raise UsageError(
            f"--device {name} is not to be had: this JAX ({jax.__version__}) sees "
            f"{', '.join(seen)} here."
        )
    return seen[name]


def jax_versions() -> dict[str, str]:
    """Return the versions of JAX and of its compiler."""
    return {"jax": jax.__version__, "jaxlib": jaxlib.version.__version__}


def settings(device: jax.Device) -> dict[str, str]:
    """Return what decides how this JAX computes."""
    seen = {
        "default_matmul_precision": str(jax.config.values["jax_default_matmul_precision"]),
        "enable_x64": str(jax.config.values["jax_enable_x64"]),
        "cpu_threads": f"{POOL_VARIABLE}={os.environ[POOL_VARIABLE]}: size of XLA's thread pool",
        "platform_version": jax.extend.backend.get_backend(device.platform).platform_version,
    }
    if "XLA_FLAGS" in os.environ:
        seen["XLA_FLAGS"] = os.environ["XLA_FLAGS"]
    return seen


def wait() -> None:
    """Return when every array of this process is computed: JAX has no call that waits for a device.

    40 µs with 100 arrays. A small array put on the device does not wait for a CPU's work.
    """
    jax.block_until_ready(jax.live_arrays())


def _devices(kind: str) -> list[jax.Device]:
    try:
        return list(jax.devices(kind))
    except RuntimeError:  # JAX's word for: no such platform here
        return []


def _is_running() -> bool:
    from jax._src import xla_bridge  # no public name tells without starting it

    return bool(xla_bridge.backends_are_initialized())
