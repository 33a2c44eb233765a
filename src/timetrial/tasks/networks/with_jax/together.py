"""A step of training: of one worker, or of several that add up their gradients.

The loss of a worker's part is its share of the whole mini-batch's loss, so the sum over the workers
is the gradient of the whole, whatever the sizes of the parts. Batch norm goes by the worker's own
part, and its running figures are the worker's own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, final

import jax
from jax import lax
from jax import numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec

from timetrial.errors import UsageError
from timetrial.frameworks.jax import WORKERS, add_up, mesh_of, own, spread
from timetrial.spec import Lap, Workload
from timetrial.tasks.networks.with_jax.model import Tree
from timetrial.tasks.networks.with_jax.programs import (
    Batch,
    Held,
    Programs,
    Rules,
    gradients_of,
    train,
    updated,
)

_SAME: Final = PartitionSpec()  # every worker holds the same
_OWN: Final = PartitionSpec(WORKERS)  # every worker holds a part


class Step(Protocol):
    """How the state becomes that after the next mini-batch.

    `longer` says how many workers, the first ones, have one example more than the others; 0: all
    have the same number.
    """

    equal: bool  # whether the others' parts are filled up with an example that is not looked at

    def placed(self, held: Held) -> Held:
        """Return a state on this worker's device as the step wants it."""

    def own(self, held: Held) -> Held:
        """Return the state on this worker's device."""

    def compile(self, held: Held, batch: Batch, longer: int) -> None:
        """Compile what a mini-batch of these shapes needs."""

    def run(self, held: Held, batch: Batch, longer: int) -> Held:
        """Return the state after the mini-batch; the one given is used up."""


@final
class Alone:
    """One worker: one program."""

    equal = False

    def __init__(self, programs: Programs, device: jax.Device, lap: Lap) -> None:
        """Keep what marks the parts of a step."""
        self._programs = programs
        self._lap = lap

    def placed(self, held: Held) -> Held:
        """Return it as it is."""
        return held

    def own(self, held: Held) -> Held:
        """Return it as it is."""
        return held

    def compile(self, held: Held, batch: Batch, longer: int) -> None:
        """Compile the program."""
        self._programs.of(train, held, batch)

    def run(self, held: Held, batch: Batch, longer: int) -> Held:
        """Run the program."""
        after: Held = self._programs.of(train, held, batch)(held, batch)
        self._lap("fused")
        return after


@final
class Explicit:
    """Three programs: gradients, their sum as one vector, the optimizer."""

    equal = False

    def __init__(self, programs: Programs, device: jax.Device, lap: Lap) -> None:
        """Take one device of every worker."""
        self._programs = programs
        self._mesh = mesh_of(device)
        self._lap = lap
        self._sum: Callable[..., jax.Array] | None = None

    def placed(self, held: Held) -> Held:
        """Return it as it is."""
        return held

    def own(self, held: Held) -> Held:
        """Return it as it is."""
        return held

    def compile(self, held: Held, batch: Batch, longer: int) -> None:
        """Compile the three programs."""
        self._programs.of(_gradients, held.weights, held.statistics, batch)
        self._programs.of(_update, held.weights, held.optimizer, _flat(held.weights), batch.rate)
        self._summing(_flat(held.weights))

    def run(self, held: Held, batch: Batch, longer: int) -> Held:
        """Run them one after the other."""
        weights, statistics, state, rate = *held, batch.rate
        gradients, statistics = self._programs.of(_gradients, weights, statistics, batch)(
            weights, statistics, batch
        )
        self._lap("fused")

        summed = own(self._summing(gradients)(spread(self._mesh, _OWN, gradients)))
        self._lap("communication")

        weights, state = self._programs.of(_update, weights, state, summed, rate)(
            weights, state, summed, rate
        )
        self._lap("optimizer")
        return Held(weights, statistics, state)

    def _summing(self, flat: jax.Array) -> Callable[..., jax.Array]:
        if self._sum is None:
            self._sum = add_up.lower(self._mesh, spread(self._mesh, _OWN, flat)).compile()
        return self._sum


@final
class OneProgram:
    """The step of one worker with the sum in its middle, compiled for all workers together."""

    equal = True  # arrays that are spread over devices are cut evenly

    def __init__(self, programs: Programs, device: jax.Device, lap: Lap) -> None:
        """Take one device of every worker."""
        self._programs = programs
        self._mesh = mesh_of(device)
        self._lap = lap

    def placed(self, held: Held) -> Held:
        """Return arrays of all workers together, of which this one holds its part."""
        parts: Held = self._spread(_HELD, held)
        return parts

    def own(self, held: Held) -> Held:
        """Return this worker's part."""
        part: Held = own(held)
        return part

    def compile(self, held: Held, batch: Batch, longer: int) -> None:
        """Compile the program."""
        self._program(longer, held, self._spread(_BATCH, batch))

    def run(self, held: Held, batch: Batch, longer: int) -> Held:
        """Run the program."""
        parts = self._spread(_BATCH, batch)
        after: Held = self._program(longer, held, parts)(held, parts)
        self._lap("fused")
        return after

    def _program(self, longer: int, held: Held, parts: Batch) -> Callable[..., Held]:
        return self._programs.of(_train_together, held, parts, static=(self._mesh, longer))

    def _spread(self, specs: Any, parts: Any) -> Any:
        """Return `parts`, a tuple of trees, each spread by its own of `specs`."""
        spreads = (spread(self._mesh, spec, tree) for spec, tree in zip(specs, parts, strict=True))
        return type(parts)(*spreads)


STEPS: Final[Mapping[str, type[Explicit | OneProgram]]] = {
    "allreduce": Explicit,
    "ddp": OneProgram,
}
PARTITIONS: Final = ("shuffled",)


def step_of(work: Workload, programs: Programs, device: jax.Device, lap: Lap) -> Step:
    """Return the step that the workload asks for."""
    kind = STEPS[work.algorithm] if work.workers > 1 else Alone
    return kind(programs, device, lap)


def check_together(work: Workload) -> None:
    """Refuse what several workers cannot do here.

    Raises:
        UsageError: An algorithm or a partition that JAX has not, or workers that did not meet.
    """
    wanted = {"--algorithm": work.algorithm, "--partition": work.partition}
    offered = {"--algorithm": tuple(STEPS), "--partition": PARTITIONS}
    for option, value in wanted.items():
        if value not in offered[option]:
            raise UsageError(
                f"{option} {value} is not to be had in JAX. Allowed: "
                f"{', '.join(offered[option])}. The others need --framework torch."
            )
    if work.workers > 1 and jax.process_count() != work.workers:
        raise UsageError(
            f"{work.workers} workers are asked for, and JAX knows {jax.process_count()} here. "
            "Connect each of them before it is set up: Jax().connect(place)."
        )


# --- what is compiled ----------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _gradients(
    rules: Rules, weights: Tree, statistics: Tree, batch: Batch
) -> tuple[jax.Array, Tree]:
    gradients, moved = gradients_of(rules, weights, statistics, batch)
    return ravel_pytree(gradients)[0], moved


@functools.partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def _update(
    rules: Rules, weights: Tree, optimizer: Tree, flat: jax.Array, rate: jax.Array
) -> tuple[Tree, Tree]:
    _, as_tree = ravel_pytree(weights)
    return updated(rules, weights, optimizer, as_tree(flat), rate)


_HELD: Final = Held(_SAME, _OWN, _SAME)
_BATCH: Final = Batch(raw=_OWN, labels=_OWN, masks=_OWN, rate=_SAME, total=_SAME)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _train_together(rules: Rules, mesh: Mesh, longer: int, held: Held, batch: Batch) -> Held:
    step = functools.partial(_train_part, rules, longer)
    every = jax.shard_map(
        step, mesh=mesh, in_specs=(_HELD, _BATCH), out_specs=_HELD, check_vma=False
    )
    after: Held = every(held, batch)
    return after


def _train_part(rules: Rules, longer: int, held: Held, batch: Batch) -> Held:
    """Do one worker's share of a step.

    Arrays have one shape in all workers. Where parts are not equally long, the program holds the
    gradients for both lengths, and each worker runs its own.
    """
    find = functools.partial(gradients_of, rules, held.weights, held.statistics)
    if longer:
        found = lax.cond(
            lax.axis_index(WORKERS) < longer, find, lambda filled: find(_but_first(filled)), batch
        )
    else:
        found = find(batch)
    gradients, statistics = found
    # as one vector: XLA's CPU compiler would exchange each array by itself (docs/decisions.md)
    flat, as_tree = ravel_pytree(gradients)
    summed = as_tree(lax.psum(flat, WORKERS))
    weights, state = updated(rules, held.weights, held.optimizer, summed, batch.rate)
    return Held(weights, statistics, state)


def _but_first(batch: Batch) -> Batch:
    """Return the part without its first example, which only fills it up."""
    raw, labels, masks = jax.tree.map(lambda leaf: leaf[1:], tuple(batch[:3]))
    return batch._replace(raw=raw, labels=labels, masks=masks)


def _flat(weights: Tree) -> jax.Array:
    """Return a vector of the gradients' size and type."""
    leaves = jax.tree.leaves(weights)
    return jnp.zeros(sum(math.prod(leaf.shape) for leaf in leaves), leaves[0].dtype)
