"""How several workers learn together: one file per algorithm, in PyTorch, behind one interface.

catalogue     what each is, reads and sends: for planning and reports, without PyTorch
wire          collective operations of a group of workers; many tensors as one buffer
allreduce     the sum of all gradients, in every step
local_sgd, top_k, sign, powersgd, gossip, async_sgd
              what the open division may do instead

A worker's loss is the sum over its part of the mini-batch, divided by the count of the whole
mini-batch: the sum of all workers' gradients is the gradient of the mini-batch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

from timetrial._registry import Registry, load_object
from timetrial.errors import UnknownNameError, UsageError
from timetrial.spec import Division

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torch.distributed import ProcessGroup

Value: TypeAlias = bool | int | float | str

REGISTRY: Final = Registry(
    "algorithm",
    group="timetrial.algorithms",
    built_in={
        "allreduce": "timetrial.algorithms.catalogue:ALLREDUCE",
        "async-sgd": "timetrial.algorithms.catalogue:ASYNC_SGD",
        "ddp": "timetrial.algorithms.catalogue:DDP",
        "gossip": "timetrial.algorithms.catalogue:GOSSIP",
        "local-sgd": "timetrial.algorithms.catalogue:LOCAL_SGD",
        "powersgd": "timetrial.algorithms.catalogue:POWERSGD",
        "sign": "timetrial.algorithms.catalogue:SIGN",
        "top-k": "timetrial.algorithms.catalogue:TOP_K",
    },
)


class Algorithm(Protocol):
    """How several workers learn together. Every worker makes the same calls in the same order."""

    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return what the optimizer gets, in place of this worker's gradients.

        It is called before every update. The gradients may be overwritten; what is returned is
        valid until the next call, and the optimizer may overwrite it.
        """

    def mix(self, weights: list[Tensor], step: int) -> None:
        """Change the weights in place, after the update of `step` (the first is 0)."""

    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return the weights that worker 0 scores with; None: these.

        All workers call it before an evaluation. Training goes on as if it had not been called;
        what is returned is valid until the next call of any method.
        """

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what, besides weights and momentum, decides the further run of this worker.

        All workers call it, after the same step. Names, shapes and types are the same at any time;
        the arrays do not change later.
        """

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from `arrays`; weights and momentum are restored by the caller, before."""


@runtime_checkable
class MixesMomentum(Protocol):
    """An algorithm that changes the workers' momentum as well."""

    def mix_momentum(self, velocity: list[Tensor], step: int) -> None:
        """Change the momentum in place, after `mix` of the same step."""


@runtime_checkable
class Closes(Protocol):
    """An algorithm that holds connections of its own."""

    def close(self) -> None:
        """Close them; nothing is called afterwards."""


class Setting(NamedTuple):
    """One setting of an algorithm; the type of its default is its type."""

    name: str
    default: Value
    meaning: str
    least: float = -math.inf  # allowed
    above: float = -math.inf  # not allowed itself
    most: float = math.inf
    choices: tuple[str, ...] = ()  # of a text

    @property
    def allowed(self) -> str:
        """What a user may give, in words."""
        if isinstance(self.default, bool):
            return "true, false"
        if isinstance(self.default, str):
            return ", ".join(self.choices)
        bounds = ["a whole number"] if isinstance(self.default, int) else ["a number"]
        if self.least > -math.inf:
            bounds.append(f"{self.least:g} and more")
        if self.above > -math.inf:
            bounds.append(f"above {self.above:g}")
        if self.most < math.inf:
            bounds.append(f"up to {self.most:g}")
        return ", ".join(bounds)


class Description(NamedTuple):
    """What an algorithm is, for everyone who does not run it."""

    title: str
    division: Division
    source: str
    sends: str  # bytes a worker sends per step: n weights of s bytes each, k workers
    # the same as a number: (shapes of the weights, s, k, settings)
    bytes_per_step: Callable[[Sequence[Sequence[int]], int, int, Mapping[str, Value]], float]
    # (weights, *, group, seed, **settings) -> Algorithm; None: the framework does it by itself
    build: str | None
    settings: tuple[Setting, ...] = ()
    frameworks: tuple[str, ...] = ("torch",)
    repeats: bool = True  # whether the same seed gives the same bits
    # refuses numbers of workers that it cannot serve: (k, settings)
    check_workers: Callable[[int, Mapping[str, Value]], None] | None = None


class Choice(NamedTuple):
    """An algorithm with all its settings."""

    name: str
    settings: Mapping[str, Value]

    @property
    def text(self) -> str:
        """The canonical text, which says every setting: "top-k:ratio=0.01:feedback=true"."""
        said = (f"{key}={value_text(value)}" for key, value in self.settings.items())
        return ":".join([self.name, *said])


def parse_algorithm(text: str) -> Choice:
    """Return the algorithm that "name:key=value:key=value" means, left-out settings filled in.

    Raises:
        UnknownNameError: No such algorithm, or setting of it.
        UsageError: A value that is not possible, or a setting said twice.
    """
    name, *said = text.split(":")
    settings = {setting.name: setting for setting in describe(name).settings}
    found: dict[str, Value] = {}
    for part in said:
        key, sign, value = part.partition("=")
        if key not in settings:
            raise UnknownNameError(f"setting of algorithm {name}", key, settings)
        if not sign or key in found:
            seen = "twice" if key in found else "without a value"
            raise UsageError(
                f"--algorithm {text} says {key} {seen}. Allowed: {key}=VALUE once, such as "
                f"{key}={value_text(settings[key].default)}."
            )
        found[key] = _read(settings[key], value, f"--algorithm {name}:{part}")
    return Choice(name, {key: found.get(key, each.default) for key, each in settings.items()})


def describe(name: str) -> Description:
    """Return what the algorithm called `name` is.

    Raises:
        UnknownNameError: No such algorithm.
    """
    description = REGISTRY.get(name)
    if not isinstance(description, Description):
        raise UsageError(
            f"Algorithm {name!r} is not a timetrial.algorithms.Description but a "
            f"{type(description).__name__}. Let its entry point name one; see "
            "docs/add-an-algorithm.md."
        )
    return description


def check_algorithm(choice: Choice, *, workers: int, framework: str = "torch") -> None:
    """Refuse an algorithm where it cannot run.

    Raises:
        UsageError: Not in this framework, or not with so many workers.
    """
    description = describe(choice.name)
    if framework not in description.frameworks:
        raise UsageError(
            f"--algorithm {choice.name} is not possible in {framework}. Allowed: "
            f"{', '.join(description.frameworks)}."
        )
    if description.check_workers is not None:
        description.check_workers(workers, choice.settings)


def bytes_per_step(
    choice: Choice, shapes: Sequence[Sequence[int]], *, itemsize: int, workers: int
) -> float:
    """Return the bytes of gradients or weights that a worker sends per step.

    It is the mean over workers and steps, without the headers of any protocol. Collective
    operations are counted as the bandwidth-optimal ring does them: a sum of b bytes over k workers
    costs each 2 (k - 1) / k b, gathering b bytes of each (k - 1) b.

    Source: Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms for clusters of
    workstations, J. Parallel Distrib. Comput. 69 (2009), 3.2.
    """
    count = describe(choice.name).bytes_per_step
    return count(shapes, itemsize, workers, choice.settings) if workers > 1 else 0.0


def build(
    text: str, weights: Sequence[Tensor], *, seed: int, group: ProcessGroup | None = None
) -> Algorithm:
    """Return the algorithm `text` means for these weights; all workers of `group` call it.

    `group` None is PyTorch's default group. The weights are the ones being trained: `async-sgd`
    reads them before every update.

    Raises:
        UsageError: The framework does it by itself, or not with so many workers.
    """
    import torch.distributed

    choice = parse_algorithm(text)
    description = describe(choice.name)
    if description.build is None:
        raise UsageError(
            f"Algorithm {choice.name} is done by the framework itself. Allowed here: "
            f"{', '.join(n for n in REGISTRY.names() if describe(n).build is not None)}."
        )
    check_algorithm(choice, workers=torch.distributed.get_world_size(group))
    made = cast("Callable[..., Algorithm]", load_object(description.build))
    return made([leaf.detach() for leaf in weights], group=group, seed=seed, **choice.settings)


def _read(setting: Setting, text: str, where: str) -> Value:
    """Return the value that a text means."""
    value: Value | None = None
    if isinstance(setting.default, bool):
        value = {"true": True, "false": False}.get(text)
    elif isinstance(setting.default, str):
        value = text if text in setting.choices else None
    else:
        with contextlib.suppress(ValueError):
            number = int(text) if isinstance(setting.default, int) else float(text)
            if setting.least <= number <= setting.most and setting.above < number < math.inf:
                value = number
    if value is None:
        raise UsageError(f"{where} is not possible. Allowed: {setting.allowed}.")
    return value


def value_text(value: Value) -> str:
    """Return a value as it is written: "true", "0.01"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)
