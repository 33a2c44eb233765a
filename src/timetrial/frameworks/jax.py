"""JAX: threads, devices, precision, waiting for the device; several processes as one mesh."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from typing import Any, Final

import jax
import jax.extend.backend
import jaxlib.version
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from timetrial.errors import UsageError
from timetrial.frameworks import Place, Setup, address_towards
from timetrial.spec import Precision

# XLA sizes the CPU's thread pool by this when it starts, else by the CPUs the process may use.
# Measured: 1 gives one busy core on two, NPROC too; --xla_cpu_multi_thread_eigen=false and
# intra_op_parallelism_threads in XLA_FLAGS leave two busy (jax 0.10.2, 1500 x 1500 products).
POOL_VARIABLE: Final = "PJRT_NPROC"
_ACCELERATORS: Final = ("cuda", "rocm", "tpu")
_GPU_FLAG: Final = "--xla_gpu_deterministic_ops=true"  # a resumed run repeats the same bits
WORKERS: Final = "workers"  # the one axis of the mesh
INTERFACE_VARIABLE: Final = "GLOO_SOCKET_IFNAME"  # PyTorch's gloo reads it; JAX's does not
_MEET_S: Final = 120  # the workers have met before: all are about to connect


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

    def connect(self, place: Place) -> Mapping[str, str]:
        """Find the other workers through JAX's coordinator, in worker 0; `setup` joins them.

        CPUs exchange by gloo over TCP, on the network interface that GLOO_SOCKET_IFNAME names, else
        from the address that this machine has towards worker 0. JAX itself would ask for the
        address of the machine's own name, which is another one in a network namespace.
        Accelerators exchange as JAX has it (NCCL between CUDA devices; not tried by us).

        Raises:
            UsageError: JAX runs already, or there is no way to worker 0.
        """
        if _is_running():
            raise UsageError(
                "JAX cannot be connected: it already runs in this process. Connect it before it "
                "is set up."
            )
        gloo = _way_of_gloo(place)
        kind, _, number = place.device.partition(":")
        # an error of one worker ends it at once, instead of after minutes of waiting for the others
        jax.config.update("jax_enable_recoverability", True)
        host = f"[{place.address}]" if ":" in place.address else place.address
        jax.distributed.initialize(
            f"{host}:{place.port}",
            place.size,
            place.rank,
            local_device_ids=None if kind == "cpu" else int(number or 0),
            cluster_detection_method="deactivate",
            initialization_timeout=_MEET_S,
        )
        _exchange_by_gloo(gloo)
        return {"collectives": "gloo" if kind == "cpu" else kind, **gloo}

    def disconnect(self) -> None:
        """Leave the coordinator, where that was not done; never waits for the other workers."""
        jax.distributed.shutdown()

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
    if jax.process_count() > 1 and jax.distributed.is_initialized():
        _join(found)
    return found


def set_precision(precision: Precision) -> None:
    """Let JAX compute in float64 where the run asks for it: as shipped it makes float32 of it."""
    jax.config.update("jax_enable_x64", precision == "float64")


def find_device(name: str) -> jax.Device:
    """Return the device called cpu, or cuda, rocm, tpu, each also with its number, as in cuda:1.

    Raises:
        UsageError: JAX does not know it or does not see it here.
    """
    seen: dict[str, jax.Device] = {"cpu": jax.local_devices(backend="cpu")[0]}
    if name != "cpu":
        for kind in _ACCELERATORS:
            for index, device in enumerate(_devices(kind)):
                seen.setdefault(kind, device)
                # one of several workers sees its own accelerator alone
                number = index if jax.process_count() == 1 else device.local_hardware_id
                seen[f"{kind}:{number}"] = device
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


# --- several workers -----------------------------------------------------------------------------


def mesh_of(device: jax.Device) -> Mesh:
    """Return a mesh of one device of each worker, by rank, all of this one's kind."""
    first: dict[int, jax.Device] = {}
    for each in jax.devices(device.platform):
        first.setdefault(each.process_index, each)
    return Mesh(np.array([first[rank] for rank in sorted(first)]), (WORKERS,))


def spread(mesh: Mesh, spec: PartitionSpec, tree: Any) -> Any:
    """Return each array of this worker's device as its part of one that all workers hold.

    `spec` of no axis: all hold the same. Of WORKERS: one behind the other along the first axis;
    the parts must have one shape. Nothing is copied or sent.
    """
    sharding = NamedSharding(mesh, spec)
    times = mesh.size if WORKERS in spec else 1

    def whole(part: jax.Array) -> jax.Array:
        shape = (part.shape[0] * times, *part.shape[1:]) if part.ndim else ()
        return jax.make_array_from_single_device_arrays(shape, sharding, [part])

    return jax.tree.map(whole, tree)


def own(tree: Any) -> Any:
    """Return this worker's part of each array."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


@functools.partial(jax.jit, static_argnums=0)
def add_up(mesh: Mesh, vectors: jax.Array) -> jax.Array:
    """Return the sum of all workers' vectors, each spread by WORKERS, in every worker."""
    total: jax.Array = jax.shard_map(
        lambda vector: lax.psum(vector, WORKERS),
        mesh=mesh,
        in_specs=PartitionSpec(WORKERS),
        out_specs=PartitionSpec(),
    )(vectors)
    return total


def _join(device: jax.Device) -> None:
    """Open the connections among the workers, by a first exchange, and leave the coordinator.

    What is left are gloo's connections: a worker that dies is an error in the others at once. The
    coordinator would abort them (SIGABRT), with no word in their logs. It is needed no more: gloo
    keeps its connections. NCCL may ask it again, so accelerators stay.
    """
    _count_workers(device)
    if device.platform != "cpu":
        return
    if jax.process_index() > 0:
        jax.distributed.shutdown()
    _count_workers(device)  # over when all others have left
    if jax.process_index() == 0:
        jax.distributed.shutdown()


def _count_workers(device: jax.Device) -> None:
    mesh = mesh_of(device)
    one = jax.device_put(np.ones(1, np.float32), device)
    total = float(own(add_up(mesh, spread(mesh, PartitionSpec(WORKERS), one)))[0])
    assert total == mesh.size


def _way_of_gloo(place: Place) -> dict[str, str]:
    """Return the interface, or the address, that gloo is to use."""
    interface = os.environ.get(INTERFACE_VARIABLE)
    if interface:
        return {"interface": interface}
    address = address_towards(place.address)
    if address is None:
        raise UsageError(
            f"There is no way from here to worker 0 at {place.address}. Name an address that all "
            f"workers can reach, or set {INTERFACE_VARIABLE} to a network interface."
        )
    return {"hostname": address}


def _exchange_by_gloo(way: Mapping[str, str]) -> None:
    """Have JAX's CPUs exchange by gloo, from this interface or address."""
    from jax._src import distributed, xla_bridge  # jax.config has no name for either
    from jaxlib import _jax

    def start_cpu() -> Any:
        gloo = _jax.make_gloo_tcp_collectives(distributed.global_state.client, **way)
        return xla_bridge.make_cpu_client(collectives=gloo)

    xla_bridge.register_backend_factory("cpu", start_cpu, priority=0, fail_quietly=False)


def _devices(kind: str) -> list[jax.Device]:
    try:
        return list(jax.local_devices(backend=kind))
    except RuntimeError:  # JAX's word for: no such platform here
        return []


def _is_running() -> bool:
    from jax._src import xla_bridge  # no public name tells without starting it

    return bool(xla_bridge.backends_are_initialized())
