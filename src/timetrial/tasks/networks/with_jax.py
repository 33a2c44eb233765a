"""Networks in JAX: Flax modules, Optax updates, a step as one compiled program.

What makes it fast and changes no value: forward, backward and update are compiled together ahead of
time, the program writes over the weights it was given (donated buffers), and steps are handed to
the device without waiting for the one before. bfloat16 is Flax's `dtype`: convolutions and dense
layers compute in it; weights, statistics, optimizer and loss are float32.
Measured figures: docs/results.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import numpy as jnp

from timetrial.engine import checkpoint
from timetrial.frameworks.jax import find_device, set_precision
from timetrial.spec import (
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Lap,
    Layer,
    MaxPool2d,
    Probe,
    Relu,
    Residual,
    Sgd,
    Split,
    SplitName,
    Workload,
)
from timetrial.tasks.networks import PREDICT_BATCH, decayed, is_statistic, rules_of
from timetrial.tasks.networks.batches import (
    Draws,
    augmented,
    centred,
    draw,
    position,
    scale_and_offset,
    test_masks,
)
from timetrial.tasks.networks.schedules import Plateau, learning_rate
from timetrial.tasks.networks.weights import initial_variables

Tree: TypeAlias = Any  # nested dicts of arrays, as Flax and Optax keep them


# --- the model -----------------------------------------------------------------------------------


class Chain(nn.Module):
    """Layers one after the other; each is called by its number, so paths are those of the rules."""

    layers: tuple[Layer, ...]
    dtype: Any  # of the arithmetic
    param_dtype: Any  # of weights and statistics
    above: str = ""  # the path of the chain itself

    @nn.compact
    def __call__(self, x: jax.Array, masks: Mapping[str, jax.Array], moves: bool) -> jax.Array:
        """Return the scores; `masks` of the dropout layers that are on, by path.

        `moves`: norms normalise by the batch and move their running figures.
        """
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        for index, layer in enumerate(self.layers):
            name = str(index)
            match layer:
                case Conv2d(filters=filters, kernel=kernel, stride=stride, bias=bias):
                    edge = (layer.padding, layer.padding)  # "SAME" pads strided ones otherwise
                    x = nn.Conv(
                        filters,
                        (kernel, kernel),
                        strides=stride,
                        padding=(edge, edge),
                        use_bias=bias,
                        name=name,
                        **kinds,
                    )(x)
                    x = nn.relu(x) if layer.activation == "relu" else x
                case Dense(units=units, activation=activation):
                    x = nn.Dense(units, name=name, **kinds)(x)
                    x = nn.relu(x) if activation == "relu" else x
                case BatchNorm():
                    x = Norm(layer.epsilon, layer.momentum, name=name, **kinds)(x, moves=moves)
                case Relu():
                    x = nn.relu(x)
                case MaxPool2d(size=size, padding=padding):
                    stride, edge = layer.stride or size, (padding, padding)
                    x = nn.max_pool(x, (size, size), (stride, stride), (edge, edge))
                case GlobalAveragePool():
                    x = x.mean(axis=(1, 2))
                case Dropout(rate=rate):
                    if f"{self.above}{name}" in masks:
                        kept = masks[f"{self.above}{name}"].astype(x.dtype)
                        x = x * (kept / jnp.asarray(1 - rate, x.dtype))
                case Flatten():
                    x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
                case Residual():
                    x = Block(layer, above=f"{self.above}{name}.", name=name, **kinds)(
                        x, masks, moves
                    )
        return x


class Block(nn.Module):
    """A residual block: two chains from one input, added up."""

    layer: Residual
    dtype: Any
    param_dtype: Any
    above: str

    @nn.compact
    def __call__(self, x: jax.Array, masks: Mapping[str, jax.Array], moves: bool) -> jax.Array:
        """Return the activation of body(x) + shortcut(x)."""
        ways = {"body": self.layer.body, "shortcut": self.layer.shortcut}
        body, shortcut = (
            Chain(layers, self.dtype, self.param_dtype, f"{self.above}{name}.", name=name)(
                x, masks, moves
            )
            for name, layers in ways.items()
        )
        y = body + shortcut
        return nn.relu(y) if self.layer.activation == "relu" else y


class Norm(nn.Module):
    """Batch normalisation whose running variance is the unbiased one; Flax's own keeps the biased.

    Computes in the type of the weights: under bfloat16 too, means and variances are float32.
    """

    epsilon: float
    momentum: float
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, moves: bool) -> jax.Array:
        """Normalise by the batch and move the running figures, or by these."""
        shape, kind = (x.shape[-1],), self.param_dtype
        scale = self.param("scale", nn.initializers.ones, shape, kind)
        shift = self.param("shift", nn.initializers.zeros, shape, kind)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, kind)
        variance = self.variable("batch_stats", "variance", jnp.ones, shape, kind)
        wide = x.astype(kind)
        centre, spread = mean.value, variance.value
        if moves:
            axes = tuple(range(x.ndim - 1))
            centre, spread = wide.mean(axis=axes), wide.var(axis=axes)
            count = x.size // x.shape[-1]
            mean.value += self.momentum * (centre - mean.value)
            variance.value += self.momentum * (spread * (count / (count - 1)) - variance.value)
        factor = scale * jax.lax.rsqrt(spread + self.epsilon)
        return ((wide - centre) * factor + shift).astype(self.dtype)


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
        marks = decayed(rules, [_name(path) for path in paths])
        return unflatten_dict(dict(zip(paths, marks, strict=True)))

    def sgd(learning_rate: jax.Array) -> optax.GradientTransformation:
        form = rate_in_velocity if rules.rate_in_velocity else optax.sgd
        last = form(learning_rate, rules.momentum, rules.nesterov)
        if not rules.weight_decay:
            return last
        return optax.chain(optax.add_decayed_weights(rules.weight_decay, decays), last)

    return optax.inject_hyperparams(sgd)(learning_rate=rules.learning_rate)


# --- what is compiled ----------------------------------------------------------------------------


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
    masks: dict[str, Any]  # of dropout
    rate: Any  # learning rate


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
    if not rules.class_weights:
        return losses.mean(), (moved.get("batch_stats", {}), scores)
    shares = jnp.asarray(rules.class_weights, losses.dtype)[batch.labels]
    loss = (losses * shares).sum() / shares.sum()
    return loss, (moved.get("batch_stats", {}), scores)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _train(rules: Rules, held: Held, batch: Batch) -> Held:
    gradients, (statistics, _) = jax.grad(_loss, has_aux=True)(
        held.weights, held.statistics, rules, batch
    )
    state = held.optimizer._replace(hyperparams={"learning_rate": batch.rate})
    changes, state = optimizer_of(rules.optimizer).update(gradients, state, held.weights)
    return Held(optax.apply_updates(held.weights, changes), statistics, state)


@functools.partial(jax.jit, static_argnums=0)
def _score(rules: Rules, held: Held, seen: Seen) -> jax.Array:
    variables = {"params": held.weights, "batch_stats": held.statistics}
    inputs = _prepare(rules, seen.raw)
    scores = rules.model.apply(variables, inputs, seen.masks, False)
    assert isinstance(scores, jax.Array)
    return scores.astype(inputs.dtype)


@functools.partial(jax.jit, static_argnums=0)
def _probe(rules: Rules, held: Held, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array, Tree]:
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

    def of(self, function: Any, held: Held, data: Batch | Seen) -> Callable[..., Any]:
        """Return the compiled function for data of these shapes."""
        leaves, structure = jax.tree.flatten(data)
        leaf = leaves[0]  # what else there is has the same length
        key = (function, structure, leaf.shape, leaf.dtype, leaf.sharding)
        if key not in self._made:
            self._made[key] = function.lower(self._rules, held, data).compile()
        made: Callable[..., Any] = self._made[key]
        return made


@functools.lru_cache(maxsize=4)
def programs_of(rules: Rules) -> Programs:
    """Return the programs of these rules; equal rules share them."""
    return Programs(rules)


# --- the implementation --------------------------------------------------------------------------


class JaxNetwork:
    """The timed implementation."""

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Build the weights from the seed and put them on the device."""
        set_precision(work.precision)
        self._task = work.task
        self._rules = rules_of(work.task)
        self._seed = work.seed
        self._lap = lap
        self._device = find_device(work.device)
        kind = np.dtype("float64" if work.precision == "float64" else "float32")
        self._dtype = kind
        assert hasattr(work.task.model, "layers")
        scale, offset = (tuple(part.tolist()) for part in scale_and_offset(work.task))
        chain = Chain(work.task.model.layers, jnp.dtype(work.precision), kind)
        self._programs = programs_of(
            Rules(chain, self._rules.optimizer, scale, offset, work.task.class_weights)
        )
        self._splits = splits
        self._inputs = centred(work.task, splits["train"].inputs)
        self._labels = splits["train"].labels.astype(np.int32)
        self._placed: dict[str, list[Seen]] = {}
        values = initial_variables(work.task, work.seed)
        self._names = list(values)
        velocity = {n: np.zeros(v.shape) for n, v in values.items() if not is_statistic(n)}
        self._held = self._placed_state(values, velocity)
        self._plateau = Plateau(self._rules.optimizer)
        self._draws: Draws | None = None
        self._step = 0

    def compile(self) -> None:
        """Compile the programs of full and last batches, of training and of prediction."""
        for step in (0, self._task.steps_per_epoch - 1):
            self._programs.of(_train, self._held, self._batch(step))
        for name in {self._task.eval_split, "test"}:
            parts = self._parts(self._splits[name])
            for part in (parts[0], parts[-1]):
                self._programs.of(_score, self._held, part)

    def advance(self, steps: int) -> None:
        """Train for `steps` mini-batches."""
        for _ in range(steps):
            batch = self._batch(self._step)
            self._lap("data")
            self._held = self._programs.of(_train, self._held, batch)(self._held, batch)
            self._lap("fused")
            self._step += 1
        jax.block_until_ready(self._held)

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return scores, shape (examples, classes); a split stays on the device once seen."""
        parts = self._parts(inputs) if isinstance(inputs, Split) else self._cut(inputs)
        return self._scores(parts)

    def predict_with_dropout(self, split: Split) -> np.ndarray:
        """Return scores of a split with dropout on."""
        return self._scores(
            self._cut(split.inputs, test_masks(self._rules, self._seed, len(split)))
        )

    def _scores(self, parts: list[Seen]) -> np.ndarray:
        held = self._held
        return np.concatenate([self._programs.of(_score, held, part)(held, part) for part in parts])

    def state(self) -> bytes:
        """Return variables, velocity and step."""
        return checkpoint.pack(self._arrays())

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        arrays = checkpoint.unpack(state, self._arrays())
        variables, velocity = (
            {n: arrays[f"{part}/{n}"] for n in self._names if f"{part}/{n}" in arrays}
            for part in ("variables", "velocity")
        )
        self._held = self._placed_state(variables, velocity)
        self._step = int(arrays["step"])
        self._plateau.restore(arrays)

    def evaluated(self, step: int, loss: float) -> None:
        """Tell the schedule the evaluated loss."""
        self._plateau.evaluated(step, loss)

    def variables(self) -> dict[str, np.ndarray]:
        """Return parameters and running statistics in the reference's layout."""
        found = _named(self._held.weights) | _named(self._held.statistics)
        return {name: found[name] for name in self._names}

    def assign(self, variables: Mapping[str, np.ndarray]) -> None:
        """Take these variables instead."""
        self._held = self._placed_state(
            {name: variables[name] for name in self._names}, self._velocity()
        )

    def probe(self, step: int) -> Probe:
        """Return inputs, scores, loss and gradients of the mini-batch of `step`."""
        batch = self._batch(step)
        inputs, scores, loss, gradients = self._programs.of(_probe, self._held, batch)(
            self._held, batch
        )
        return Probe(np.array(inputs), np.array(scores), float(loss), _named(gradients))

    # --- state -----------------------------------------------------------------------------------

    def _placed_state(
        self, variables: Mapping[str, np.ndarray], velocity: Mapping[str, np.ndarray]
    ) -> Held:
        """Return it on the device."""
        weights = {n: v for n, v in variables.items() if not is_statistic(n)}
        statistics = {n: v for n, v in variables.items() if is_statistic(n)}
        trees = [_tree(part, self._dtype) for part in (weights, statistics, velocity)]
        shapes = jax.eval_shape(optimizer_of(self._rules.optimizer).init, trees[0])
        state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        state = optax.tree.set(state, trace=trees[2])
        held: Held = jax.device_put(Held(trees[0], trees[1], state), self._device)
        return held

    def _velocity(self) -> dict[str, np.ndarray]:
        return _named(optax.tree.get(self._held.optimizer, "trace"))

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {f"variables/{name}": value for name, value in self.variables().items()}
        arrays |= {f"velocity/{name}": value for name, value in self._velocity().items()}
        return {**arrays, **self._plateau.arrays(), "step": np.array(self._step)}

    # --- data ------------------------------------------------------------------------------------

    def _batch(self, step: int) -> Batch:
        epoch, begin, end = position(self._task, step)
        if self._draws is None or self._draws.epoch != epoch:
            self._draws = draw(self._rules, self._seed, epoch)
        chosen = self._draws.order[begin:end]
        raw = augmented(self._task, self._inputs, chosen, self._draws)
        masks = {path: mask[chosen] for path, mask in self._draws.masks.items()}
        rate = learning_rate(
            self._rules.optimizer, step, self._task.steps_max, self._plateau.halvings
        )
        batch = Batch(raw, self._labels[chosen], masks, self._dtype.type(rate))
        placed: Batch = jax.device_put(batch, self._device)
        return placed

    def _parts(self, split: Split) -> list[Seen]:
        if split.name not in self._placed:
            self._placed[split.name] = self._cut(split.inputs)
        return self._placed[split.name]

    def _cut(self, inputs: np.ndarray, masks: Mapping[str, np.ndarray] | None = None) -> list[Seen]:
        """Return the examples on the device, in parts that are predicted at once."""
        inputs = centred(self._task, inputs)
        starts = range(0, max(len(inputs), 1), PREDICT_BATCH)
        parts = [slice(start, start + PREDICT_BATCH) for start in starts]
        kept = [{path: mask[part] for path, mask in (masks or {}).items()} for part in parts]
        seen = [Seen(inputs[part], drops) for part, drops in zip(parts, kept, strict=True)]
        placed: list[Seen] = jax.device_put(seen, self._device)
        return placed


def _name(path: Sequence[str]) -> str:
    """Return the rules' name of a Flax variable: its weights are called kernels."""
    return ".".join(path[:-1]) + "." + ("weight" if path[-1] == "kernel" else path[-1])


def _named(tree: Tree) -> dict[str, np.ndarray]:
    """Return copies by name."""
    return {_name(path): np.array(leaf) for path, leaf in flatten_dict(tree).items()}


def _tree(named: Mapping[str, np.ndarray], dtype: np.dtype) -> Tree:
    """Return copies of named arrays as Flax keeps them."""
    leaves = {}
    for name, value in named.items():
        *above, last = name.split(".")
        leaves[(*above, "kernel" if last == "weight" else last)] = np.array(value, dtype)
    return unflatten_dict(leaves)


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> JaxNetwork:
    """Build the JAX implementation."""
    return JaxNetwork(work, splits, lap)
