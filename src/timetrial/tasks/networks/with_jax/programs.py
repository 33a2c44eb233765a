"""The compiled programs of one worker: a step of SGD, prediction, and what a parity proof looks at.

`gradients_of` and `updated` are the two halves of a step; several workers exchange gradients in
between (`together`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import numpy as jnp

from timetrial.spec import Sgd
from timetrial.tasks.networks import decayed
from timetrial.tasks.networks.with_jax.model import Chain, Tree, name_of

# --- the optimizer -------------------------------------------------------------------------------


def rate_in_velocity(
    rate: jax.Array, momentum: float, nesterov: bool
) -> optax.GradientTransformation:
    """Return SGD as Keras has it: the learning rate goes into the velocity."""

    def begin(weights: Tree) -> optax.TraceState:
        return optax.TraceState(jax.tree.map(jnp.zeros_like, weights))

    def update(
        gradients: Tree, state: optax.OptState, weights: Tree | None = None
    ) -> tuple[Tree, optax.TraceState]:
        assert isinstance(state, optax.TraceState)
        steps = jax.tree.map(lambda g: -rate * g, gradients)
        velocity = jax.tree.map(lambda v, s: momentum * v + s, state.trace, steps)
        changes = velocity
        if nesterov:
            changes = jax.tree.map(lambda v, s: momentum * v + s, velocity, steps)
        return changes, optax.TraceState(velocity)

    return optax.GradientTransformation(begin, update)


@functools.lru_cache
def optimizer_of(rules: Sgd) -> optax.GradientTransformation:
    """Return the rules as an Optax optimizer whose learning rate is set at every step."""

    def decays(weights: Tree) -> Tree:
        paths = list(flatten_dict(weights))
        marks = decayed(rules, [name_of(path) for path in paths])
        return unflatten_dict(dict(zip(paths, marks, strict=True)))

    def sgd(learning_rate: jax.Array) -> optax.GradientTransformation:
        form = rate_in_velocity if rules.rate_in_velocity else optax.sgd
        last = form(learning_rate, rules.momentum, rules.nesterov)
        if not rules.weight_decay:
            return last
        return optax.chain(optax.add_decayed_weights(rules.weight_decay, decays), last)

    return optax.inject_hyperparams(sgd)(learning_rate=rules.learning_rate)


class Rules(NamedTuple):
    """What decides the compiled programs, beside the shapes."""

    model: Chain
    optimizer: Sgd
    scale: tuple[float, ...]  # inputs = scale * centred(raw) + offset
    offset: tuple[float, ...]
    class_weights: tuple[float, ...]


class Held(NamedTuple):
    """What training changes."""

    weights: Tree
    statistics: Tree
    optimizer: Tree


class Batch(NamedTuple):
    """A mini-batch as it goes to the device."""

    raw: Any  # as stored, cropped and flipped
    labels: Any  # int32
    masks: Any  # of dropout, by path
    rate: Any  # learning rate
    total: Any = None  # what the loss is divided by; None: this is the whole mini-batch


class Seen(NamedTuple):
    """Examples to predict."""

    raw: Any
    masks: dict[str, Any]  # of dropout that is left on; empty: evaluation mode


def _prepare(rules: Rules, raw: jax.Array) -> jax.Array:
    kind = rules.model.param_dtype
    scale, offset = (jnp.asarray(part, kind) for part in (rules.scale, rules.offset))
    return raw.astype(kind) * scale + offset


def _loss(
    weights: Tree, statistics: Tree, rules: Rules, batch: Batch
) -> tuple[jax.Array, tuple[Tree, jax.Array]]:
    """Return the loss; the moved statistics and the scores beside it."""
    variables = {"params": weights, "batch_stats": statistics}
    inputs = _prepare(rules, batch.raw)
    scores, moved = rules.model.apply(variables, inputs, batch.masks, True, mutable=["batch_stats"])
    scores = scores.astype(inputs.dtype)
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, batch.labels)
    aside = (moved.get("batch_stats", {}), scores)
    if not rules.class_weights:
        return (losses.mean() if batch.total is None else losses.sum() / batch.total), aside
    shares = jnp.asarray(rules.class_weights, losses.dtype)[batch.labels]
    total = shares.sum() if batch.total is None else batch.total
    return (losses * shares).sum() / total, aside


def gradients_of(rules: Rules, weights: Tree, statistics: Tree, batch: Batch) -> tuple[Tree, Tree]:
    """Return the gradients and the moved statistics; an empty part adds nothing and moves none."""
    if not batch.labels.shape[0]:
        return jax.tree.map(jnp.zeros_like, weights), statistics
    gradients, (moved, _) = jax.grad(_loss, has_aux=True)(weights, statistics, rules, batch)
    return gradients, moved


def updated(
    rules: Rules, weights: Tree, optimizer: Tree, gradients: Tree, rate: jax.Array
) -> tuple[Tree, Tree]:
    """Return weights and state of the optimizer after a step with these gradients."""
    state = optimizer._replace(hyperparams={"learning_rate": rate})
    changes, state = optimizer_of(rules.optimizer).update(gradients, state, weights)
    return optax.apply_updates(weights, changes), state


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def train(rules: Rules, held: Held, batch: Batch) -> Held:
    """Return what is held after a step of one worker."""
    gradients, statistics = gradients_of(rules, held.weights, held.statistics, batch)
    weights, state = updated(rules, held.weights, held.optimizer, gradients, batch.rate)
    return Held(weights, statistics, state)


@functools.partial(jax.jit, static_argnums=0)
def score(rules: Rules, held: Held, seen: Seen) -> jax.Array:
    """Return scores, a row per example."""
    variables = {"params": held.weights, "batch_stats": held.statistics}
    inputs = _prepare(rules, seen.raw)
    scores = rules.model.apply(variables, inputs, seen.masks, False)
    assert isinstance(scores, jax.Array)
    return scores.astype(inputs.dtype)


@functools.partial(jax.jit, static_argnums=0)
def probe(rules: Rules, held: Held, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array, Tree]:
    """Return inputs, scores, loss and gradients."""
    (loss, (_, scores)), gradients = jax.value_and_grad(_loss, has_aux=True)(
        held.weights, held.statistics, rules, batch
    )
    return _prepare(rules, batch.raw), scores, loss, gradients


class Programs:
    """The compiled programs of one set of rules, by the shapes they take.

    They are kept here, not by `jit`: calling a jitted function compiles once more what was compiled
    ahead of time (jax 0.10).
    """

    def __init__(self, rules: Rules) -> None:
        """Begin with none."""
        self._rules = rules
        self._made: dict[tuple[object, ...], Any] = {}

    def of(
        self, function: Any, *arguments: Any, static: tuple[object, ...] = ()
    ) -> Callable[..., Any]:
        """Return the compiled function for arguments of the shapes of the last of these.

        `static` stands between the rules and the arguments.
        """
        leaves, structure = jax.tree.flatten(arguments[-1])
        leaf = leaves[0]  # what else there is has the same length
        key = (function, static, structure, leaf.shape, leaf.dtype, leaf.sharding)
        if key not in self._made:
            self._made[key] = function.lower(self._rules, *static, *arguments).compile()
        made: Callable[..., Any] = self._made[key]
        return made


@functools.lru_cache(maxsize=4)
def programs_of(rules: Rules) -> Programs:
    """Return the programs of these rules; equal rules share them."""
    return Programs(rules)
