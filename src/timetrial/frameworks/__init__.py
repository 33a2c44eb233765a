"""One file per framework: versions, threads, devices, waiting for the device."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import socket
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol, runtime_checkable

import psutil

from timetrial._registry import Registry
from timetrial.errors import MissingExtraError, UnknownNameError, UsageError
from timetrial.spec import Precision, Record

REGISTRY: Final = Registry(
    "framework",
    group="timetrial.frameworks",
    built_in={
        "catboost": "timetrial.frameworks.catboost:Catboost",
        "jax": "timetrial.frameworks.jax:Jax",
        "keras-jax": "timetrial.frameworks.keras:KerasJax",
        "keras-tensorflow": "timetrial.frameworks.keras:KerasTensorflow",
        "keras-torch": "timetrial.frameworks.keras:KerasTorch",
        "lightgbm": "timetrial.frameworks.lightgbm:Lightgbm",
        "sklearn": "timetrial.frameworks.sklearn:Sklearn",
        "torch": "timetrial.frameworks.torch:Torch",
        "xgboost": "timetrial.frameworks.xgboost:Xgboost",
    },
)


class Requirement(Record, frozen=True, kw_only=True):
    """What one framework of ours needs installed, and where it can compute."""

    # module to look for -> the distributions that bring it, of which one is installed; the
    # framework's own first
    modules: Mapping[str, tuple[str, ...]]
    extra: str
    devices: tuple[str, ...]  # of `--device`; which of them are here, `setup` finds out
    connects: bool = False  # whether several workers can learn together in it


_JAX: Final = ("cpu", "cuda", "rocm", "tpu")
_TORCH: Final = ("cpu", "cuda", "rocm", "mps")

REQUIREMENTS: Final[Mapping[str, Requirement]] = {
    "catboost": Requirement(modules={"catboost": ("catboost",)}, extra="trees", devices=("cpu",)),
    "jax": Requirement(
        modules={"jax": ("jax",), "flax": ("flax",), "optax": ("optax",)},
        extra="jax",
        devices=_JAX,
        connects=True,
    ),
    "keras-jax": Requirement(
        modules={"keras": ("keras",), "jax": ("jax",)}, extra="keras-jax", devices=_JAX
    ),
    "keras-tensorflow": Requirement(
        modules={"keras": ("keras",), "tensorflow": ("tensorflow", "tensorflow-cpu")},
        extra="keras-tensorflow",
        devices=("cpu", "cuda", "rocm"),
    ),
    "keras-torch": Requirement(
        modules={"keras": ("keras",), "torch": ("torch",)}, extra="keras-torch", devices=_TORCH
    ),
    "lightgbm": Requirement(modules={"lightgbm": ("lightgbm",)}, extra="trees", devices=("cpu",)),
    "sklearn": Requirement(
        modules={"sklearn": ("scikit-learn",)}, extra="sklearn", devices=("cpu",)
    ),
    "torch": Requirement(
        modules={"torch": ("torch",)}, extra="torch", devices=_TORCH, connects=True
    ),
    "xgboost": Requirement(
        modules={"xgboost": ("xgboost-cpu", "xgboost")}, extra="trees", devices=("cpu", "cuda")
    ),
}


class Setup(Record, frozen=True, kw_only=True):
    """What a framework was set to, for the log."""

    versions: Mapping[str, str]
    threads: int
    settings: Mapping[str, str]
    device_name: str


class Framework(Protocol):
    """One framework in a worker. Made without arguments.

    Importing or making it imports the framework; only the worker does that.
    """

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Choose device, threads and arithmetic for the whole process; called once in it.

        float32 means float32: no shorter products inside. The same seed gives the same bits.

        Raises:
            UsageError: No such device here, or the process is set up otherwise already.
        """

    def synchronise(self) -> None:
        """Return when the device has finished all it was given."""


class Place(NamedTuple):
    """Where a worker stands among those that learn together."""

    rank: int
    size: int
    address: str  # of worker 0
    port: int  # free on its machine, for the framework's own use
    device: str


@runtime_checkable
class Connects(Protocol):
    """A framework in which several workers, each a process, can learn together."""

    def connect(self, place: Place) -> Mapping[str, str]:
        """Find the other workers; called once, before `setup`. Return what was set, for the log.

        Raises:
            UsageError: No way to communicate from this device.
        """

    def disconnect(self) -> None:
        """Close the connections."""


def address_towards(address: str) -> str | None:
    """Return this machine's address in traffic to `address`, None if there is no way to it."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)  # sends nothing: the system chooses the way
            own: str = probe.getsockname()[0]
    except OSError:
        return None
    return own


def interface_towards(address: str) -> str | None:
    """Return the name of the network interface whose traffic goes to `address`, None if unknown."""
    own = address_towards(address)
    if own is None:
        return None
    for name, addresses in psutil.net_if_addrs().items():
        if any(known.address == own for known in addresses):
            return name
    loopback = own.startswith("127.")
    names = [n for n in psutil.net_if_addrs() if n in ("lo", "lo0")]
    return names[0] if loopback and names else None


def require(name: str, *, workers: int = 1) -> None:
    """Refuse a framework that is not installed or not for so many workers, without importing it.

    Raises:
        UnknownNameError: No such framework.
        UsageError: Several workers, and ours do not learn together in it.
        MissingExtraError: Not installed; says which extra brings it.
    """
    if name not in REGISTRY.names():
        raise UnknownNameError("framework", name, REGISTRY.names())
    if name in REQUIREMENTS and not installed(name):
        raise MissingExtraError(f"Framework {name}", extra=REQUIREMENTS[name].extra)
    if workers > 1 and name in REQUIREMENTS and not REQUIREMENTS[name].connects:
        able = ", ".join(known for known, required in REQUIREMENTS.items() if required.connects)
        raise UsageError(
            f"--workers {workers} is not possible with framework {name}. Allowed: 1, or one of "
            f"the frameworks {able}."
        )


def installed(name: str) -> bool:
    """Return whether the framework's modules can be found; imports nothing.

    A framework that another package registered came with it.
    """
    if name not in REQUIREMENTS:
        return name in REGISTRY.names()
    return all(importlib.util.find_spec(module) for module in REQUIREMENTS[name].modules)


def install_line(name: str) -> str:
    """Return the line that installs a framework; empty for one of another package."""
    required = REQUIREMENTS.get(name)
    return f"pip install 'timetrial[{required.extra}]'" if required else ""


def version(name: str, packages: Mapping[str, str] | None = None) -> str:
    """Return a framework's version, of Keras with its backend's: "3.15.1 on jax 0.10.2".

    `packages` maps distributions to versions, None: those installed here. Empty where unknown.
    """
    required = REQUIREMENTS.get(name)
    if required is None:
        return (packages or {}).get(name, "")
    found: dict[str, str] = {}
    for module, distributions in required.modules.items():
        for distribution in distributions:
            number = _installed_version(distribution) if packages is None else None
            number = number or _look_up(distribution, packages or {})
            if number and module not in found:
                found[module] = number
    return describe_version(name, found)


def describe_version(name: str, modules: Mapping[str, str]) -> str:
    """Return the version from those of the framework's modules: its own, of Keras with its backend.

    Empty where the framework's own is not known.
    """
    own, *others = REQUIREMENTS[name].modules
    if own not in modules:
        return ""
    if own != "keras":
        return modules[own]
    return f"{modules[own]} on {others[0]} {modules.get(others[0], 'of unknown version')}"


def _installed_version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _look_up(distribution: str, packages: Mapping[str, str]) -> str | None:
    """Return the version of a distribution; some spell themselves with underscores."""
    return packages.get(distribution) or packages.get(distribution.replace("-", "_"))
