"""Networks in Keras 3, on whichever backend Keras was started with.

A functional model, trained through `train_on_batch` as Keras compiles it: XLA on TensorFlow and
JAX, eager on PyTorch. What Keras has no layer for, or one of other rules, is a layer here:
preprocessing, given dropout masks, batch normalisation with the unbiased running variance.
bfloat16 is Keras' policy `mixed_bfloat16`: weights, statistics, optimizer and loss are float32.
The backend is chosen before Keras is imported (KERAS_BACKEND): frameworks/keras.py does.
Measured figures: docs/results.md.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from timetrial.engine import checkpoint
from timetrial.errors import UsageError
from timetrial.frameworks.keras import set_keras
from timetrial.spec import (
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Lap,
    MaxPool2d,
    Placed,
    Precision,
    Probe,
    Relu,
    Residual,
    Sgd,
    Split,
    SplitName,
    Workload,
    placed,
    walk,
)
from timetrial.tasks.networks import (
    PREDICT_BATCH,
    Rules,
    decayed,
    is_statistic,
    rules_of,
)
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

BACKENDS: Final = ("tensorflow", "jax", "torch")


# --- layers --------------------------------------------------------------------------------------


class Prepare(layers.Layer):  # type: ignore[misc]
    """scale * raw + offset, in the type of the weights."""

    def __init__(self, scale: np.ndarray, offset: np.ndarray, dtype: str) -> None:
        """Take a number per channel, or one for all."""
        super().__init__(dtype=dtype, autocast=False)
        self._scale, self._offset = scale.astype(dtype), offset.astype(dtype)

    def call(self, raw: Any) -> Any:
        """Return what the network gets."""
        scale, offset = ops.convert_to_tensor(self._scale), ops.convert_to_tensor(self._offset)
        return ops.cast(raw, self.compute_dtype) * scale + offset


class Masked(layers.Layer):  # type: ignore[misc]
    """Inverted dropout by a mask that is handed in."""

    def __init__(self, rate: float, dtype: str) -> None:
        """Take the probability of being dropped."""
        super().__init__(dtype=dtype)
        self._keep = 1 - rate

    def call(self, x: Any, mask: Any) -> Any:
        """Return x where the mask is true, divided by what is kept on average."""
        return x * ops.cast(ops.cast(mask, x.dtype) / self._keep, x.dtype)


class Norm(layers.Layer):  # type: ignore[misc]
    """Batch normalisation whose running variance is the unbiased one; Keras' own keeps the biased.

    Computes in the type of the weights: under bfloat16 too, means and variances are float32.
    """

    def __init__(self, rules: BatchNorm, name: str, dtype: str) -> None:
        """Take the rules."""
        super().__init__(name=name, dtype=dtype, autocast=False)
        self._rules = rules

    def build(self, shape: Sequence[int]) -> None:
        """Make a number per channel of each kind."""
        self.scale = self._numbers("scale", shape, "ones", learned=True)
        self.shift = self._numbers("shift", shape, "zeros", learned=True)
        self.mean = self._numbers("mean", shape, "zeros", learned=False)
        self.variance = self._numbers("variance", shape, "ones", learned=False)

    def _numbers(self, name: str, shape: Sequence[int], initial: str, *, learned: bool) -> Any:
        return self.add_weight(
            shape=(shape[-1],),
            initializer=initial,
            name=name,
            trainable=learned,
            autocast=False,  # else mixed_bfloat16 rounds them whenever they are read
        )

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Normalise by the batch and move the running figures, or by these."""
        kind = self.variable_dtype
        wide = ops.cast(x, kind)
        mean, variance = ops.convert_to_tensor(self.mean), ops.convert_to_tensor(self.variance)
        if training:
            axes = list(range(len(x.shape) - 1))
            running = ((self.mean, mean), (self.variance, variance))
            mean, variance = ops.mean(wide, axis=axes), ops.var(wide, axis=axes)
            shape = ops.shape(x)
            count = shape[0]
            for axis in axes[1:]:
                count = count * shape[axis]
            count = ops.cast(count, kind)
            seen = (mean, variance * (count / (count - 1)))
            for (kept, old), new in zip(running, seen, strict=True):
                kept.assign(old + self._rules.momentum * (new - old))
        factor = self.scale * ops.rsqrt(variance + self._rules.epsilon)
        return ops.cast((wide - mean) * factor + self.shift, self.compute_dtype)


# --- the optimizer -------------------------------------------------------------------------------


class CoupledSgd(keras.optimizers.SGD):  # type: ignore[misc]
    """SGD with weight decay inside the gradient, in PyTorch's form or in Keras'.

    Keras' own `weight_decay` is decoupled: it goes past the velocity.
    """

    def __init__(self, rules: Sgd, decays: Sequence[bool]) -> None:
        """Take the rules and, in the order of the model's variables, which of them decay."""
        super().__init__(rules.learning_rate, np.float64(rules.momentum), rules.nesterov)
        self._rules = rules
        self._decays = tuple(decays)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change one variable."""
        index = self._get_variable_index(variable)
        if self._decays[index]:
            gradient = gradient + self._rules.weight_decay * ops.convert_to_tensor(variable)
        if self._rules.rate_in_velocity or not self._rules.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        kept = self.momentums[index]
        velocity = self._rules.momentum * ops.convert_to_tensor(kept) + gradient
        self.assign(kept, velocity)
        change = gradient + self._rules.momentum * velocity if self._rules.nesterov else velocity
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * change)


class Gradients(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Changes no variable: keeps the gradients, to be looked at."""

    def build(self, variables: Sequence[Any]) -> None:
        """Make room for them."""
        super().build(variables)
        self.kept = self.add_optimizer_variables(variables, "gradient")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Keep one."""
        self.assign(self.kept[self._get_variable_index(variable)], gradient)


def optimizer_of(rules: Sgd, decays: Sequence[bool]) -> Any:
    """Return Keras' own SGD where its rules are these, else ours."""
    if rules.rate_in_velocity and not any(decays):
        # of NumPy's type: TensorFlow rounds Python's floats to float32, in float64 too
        momentum = np.float64(rules.momentum)
        return keras.optimizers.SGD(rules.learning_rate, momentum, rules.nesterov)
    return CoupledSgd(rules, decays)


# --- the model -----------------------------------------------------------------------------------


class _Way(NamedTuple):
    """In which mode the layers are put together."""

    masks: Mapping[str, Any]  # of dropout that is on, by path
    moves: bool  # norms normalise by the batch and move their running figures


class Parts:
    """The layers of a network, shared by the model that trains and the one that predicts."""

    def __init__(self, rules: Rules, precision: Precision, stored: np.dtype) -> None:
        """Make both models."""
        kind = weights_type(precision)
        self.policy = "mixed_bfloat16" if precision == "bfloat16" else kind
        self.layers: dict[str, Any] = {}
        self.prepare = Prepare(*scale_and_offset(rules.task), dtype=kind)
        self._rules = rules
        self._raw = keras.Input(rules.task.dataset.input_shape, dtype=stored.name, name="raw")
        drops = [row for row in walk(rules.chain) if isinstance(row.layer, Dropout)]
        self._masks = {
            row.path: keras.Input(row.input_shape, dtype="bool", name=f"mask_{row.path}")
            for row in drops
        }
        self._last = layers.Activation("linear", dtype=kind)  # scores and loss in the weights' type
        self.training = self._model(self._masks, moves=True)
        self.evaluating = self._model({}, moves=False)

    @functools.cached_property
    def with_dropout(self) -> Any:
        """The model that predicts with dropout on."""
        return self._model(self._masks, moves=False)

    def _model(self, masks: Mapping[str, Any], *, moves: bool) -> Any:
        x = self._chain(self._rules.chain, self.prepare(self._raw), _Way(masks, moves))
        return keras.Model([self._raw, *masks.values()], self._last(x))

    def named(self) -> dict[str, Any]:
        """Return the variables by the rules' names."""
        names = {}
        for path, layer in self.layers.items():
            for variable in layer.variables:
                last = "weight" if variable.name == "kernel" else variable.name
                names[f"{path}.{last}"] = variable
        return names

    def _chain(self, rows: Sequence[Placed], x: Any, way: _Way) -> Any:
        for row in rows:
            x = self._apply(row, x, way)
        return x

    def _apply(self, row: Placed, x: Any, way: _Way) -> Any:
        path, layer = row.path, row.layer
        match layer:
            case Residual(activation=activation):
                body = placed(row.input_shape, layer.body, f"{path}.body.")
                shortcut = placed(row.input_shape, layer.shortcut, f"{path}.shortcut.")
                y = layers.Add(dtype=self.policy)(
                    [self._chain(body, x, way), self._chain(shortcut, x, way)]
                )
                return ops.relu(y) if activation == "relu" else y
            case BatchNorm():
                return self._layer(row)(x, **({} if way.moves else {"training": False}))
            case Dropout():
                return self._layer(row)(x, way.masks[path]) if path in way.masks else x
            case Conv2d(padding=padding):
                x = layers.ZeroPadding2D(padding, dtype=self.policy)(x) if padding else x
                return self._layer(row)(x)
            case MaxPool2d(padding=padding) if padding:
                edge = ((0, 0), (padding, padding), (padding, padding), (0, 0))
                x = ops.pad(x, edge, constant_values=float("-inf"))
                return self._layer(row)(x)
            case _:
                return self._layer(row)(x)

    def _layer(self, row: Placed) -> Any:
        if row.path not in self.layers:
            self.layers[row.path] = self._made(row)
        return self.layers[row.path]

    def _made(self, row: Placed) -> Any:
        name, policy = row.path.replace(".", "_"), self.policy
        match row.layer:
            case Conv2d(filters=filters, kernel=kernel, stride=stride, bias=bias) as layer:
                return layers.Conv2D(
                    filters,
                    kernel,
                    strides=stride,
                    activation=layer.activation,
                    use_bias=bias,
                    name=f"conv_{name}",
                    dtype=policy,
                )
            case Dense(units=units, activation=activation):
                return layers.Dense(
                    units, activation=activation, name=f"dense_{name}", dtype=policy
                )
            case BatchNorm() as rules:
                return Norm(rules, name=f"norm_{name}", dtype=policy)
            case Relu():
                return layers.ReLU(dtype=policy)
            case MaxPool2d(size=size, stride=stride):
                return layers.MaxPooling2D(size, strides=stride or size, dtype=policy)
            case GlobalAveragePool():
                return layers.GlobalAveragePooling2D(dtype=policy)
            case Dropout(rate=rate):
                return Masked(rate, dtype=policy)
            case Flatten():
                return layers.Flatten(dtype=policy)
            case Residual():
                raise AssertionError("a block is no layer of Keras")


def weights_type(precision: Precision) -> str:
    """Return the type of weights, statistics, optimizer and loss."""
    return "float64" if precision == "float64" else "float32"


# --- the implementation --------------------------------------------------------------------------


class KerasNetwork:
    """The timed implementation."""

    predict_batch = PREDICT_BATCH

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Build the models and set the weights from the seed."""
        _check_backend()
        set_keras(keras, work.precision)
        self._task = work.task
        self._rules = rules_of(work.task)
        self._seed = work.seed
        self._lap = lap
        self._dtype = np.dtype(weights_type(work.precision))
        self._splits = splits
        self._inputs = centred(work.task, splits["train"].inputs)
        self._labels = splits["train"].labels.astype(np.int32)
        weights = work.task.class_weights
        self._class_weights = np.array(weights, self._dtype) if weights else None
        self._parts = Parts(self._rules, work.precision, self._inputs.dtype)
        values = initial_variables(work.task, work.seed)
        found = self._parts.named()
        self._variables = {name: found[name] for name in values}
        self._learned = [name for name in values if not is_statistic(name)]
        self.assign(values)
        self._loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True,
            reduction="mean_with_sample_weight" if weights else "sum_over_batch_size",
            dtype=self._dtype.name,
        )
        self._model = self._parts.training
        names = {variable.path: name for name, variable in self._variables.items()}
        self._order = [names[variable.path] for variable in self._model.trainable_variables]
        self._optimizer = optimizer_of(
            self._rules.optimizer, decayed(self._rules.optimizer, self._order)
        )
        self._optimizer.build(self._model.trainable_variables)
        self._model.compile(optimizer=self._optimizer, loss=self._loss)
        self._prober: Any = None
        self._plateau = Plateau(self._rules.optimizer)
        self._placed: dict[str, list[Any]] = {}
        self._draws: Draws | None = None
        self._step = 0

    def compile(self) -> None:
        """Have Keras compile for all shapes by running them once; everything is then put back.

        Keras compiles a function only when it is called. On PyTorch it compiles nothing.
        """
        if keras.backend.backend() == "torch":
            return
        kept = {n: np.array(v) for n, v in self._state().items()}
        for step in {0, self._task.steps_per_epoch - 1}:
            self._train(*self._batch(step))
        for name in {self._task.eval_split, "test"}:
            self.predict(self._splits[name])
        self._put(kept)

    def advance(self, steps: int) -> None:
        """Train for `steps` mini-batches."""
        for _ in range(steps):
            batch = self._batch(self._step)
            self._lap("data")
            self._train(*batch)
            self._lap("fused")
            self._step += 1

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return scores, shape (examples, classes); a split stays on the device once seen."""
        if not isinstance(inputs, Split):
            parts = self._cut(centred(self._task, inputs))
        else:
            if inputs.name not in self._placed:
                self._placed[inputs.name] = self._cut(centred(self._task, inputs.inputs))
            parts = self._placed[inputs.name]
        return np.concatenate([self._parts.evaluating.predict_on_batch([part]) for part in parts])

    def predict_with_dropout(self, split: Split) -> np.ndarray:
        """Return scores of a split with dropout on."""
        masks = test_masks(self._rules, self._seed, len(split)).values()
        inputs = centred(self._task, split.inputs)
        parts = zip(*(self._cut(array) for array in (inputs, *masks)), strict=True)
        model = self._parts.with_dropout
        return np.concatenate([model.predict_on_batch(list(part)) for part in parts])

    def state(self) -> bytes:
        """Return variables, velocity and step."""
        return checkpoint.pack(self._arrays())

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        arrays = checkpoint.unpack(state, self._arrays())
        self._put(arrays)
        self._step = int(arrays["step"])
        self._plateau.restore(arrays)

    def evaluated(self, step: int, loss: float) -> None:
        """Tell the schedule the evaluated loss."""
        self._plateau.evaluated(step, loss)

    def variables(self) -> dict[str, np.ndarray]:
        """Return parameters and running statistics in the reference's layout."""
        return {name: _array(variable) for name, variable in self._variables.items()}

    def assign(self, variables: Mapping[str, np.ndarray]) -> None:
        """Take these variables instead."""
        for name, variable in self._variables.items():
            variable.assign(np.array(variables[name], self._dtype))

    def probe(self, step: int) -> Probe:
        """Return inputs, scores, loss and gradients of the mini-batch of `step`.

        The gradients come out of the same compiled step, by an optimizer that only keeps them.
        """
        inputs, labels, weights, _ = self._batch(step)
        before = {name: value for name, value in self.variables().items() if is_statistic(name)}
        if self._prober is None:
            self._prober = keras.Model(self._model.inputs, self._model.outputs)
            self._prober.compile(optimizer=Gradients(0.0), loss=self._loss)
        self._prober.train_on_batch(inputs, labels, sample_weight=weights)
        kept = dict(zip(self._order, self._prober.optimizer.kept, strict=True))
        scores = self._model(inputs, training=True)
        loss = self._loss(labels, scores, sample_weight=weights)
        for name, value in before.items():
            self._variables[name].assign(value)
        return Probe(
            _array(self._parts.prepare(inputs[0])),
            _array(scores),
            float(_array(loss)),
            {name: _array(kept[name]) for name in self._learned},
        )

    # --- state -----------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        """Return what training changes, by its name in a checkpoint."""
        found = {f"variables/{name}": variable for name, variable in self._variables.items()}
        if self._rules.optimizer.momentum:
            velocity = dict(zip(self._order, self._optimizer.momentums, strict=True))
            found |= {f"velocity/{name}": velocity[name] for name in self._learned}
        return found

    def _put(self, arrays: Mapping[str, np.ndarray]) -> None:
        for name, variable in self._state().items():
            variable.assign(arrays[name])

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: _array(variable) for name, variable in self._state().items()}
        return {**arrays, **self._plateau.arrays(), "step": np.array(self._step)}

    # --- data ------------------------------------------------------------------------------------

    def _batch(self, step: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None, float]:
        """Return inputs with masks, labels, weights of the examples, and the learning rate."""
        epoch, begin, end = position(self._task, step)
        if self._draws is None or self._draws.epoch != epoch:
            self._draws = draw(self._rules, self._seed, epoch)
        chosen = self._draws.order[begin:end]
        raw = augmented(self._task, self._inputs, chosen, self._draws)
        masks = [mask[chosen] for mask in self._draws.masks.values()]
        labels = self._labels[chosen]
        weights = None if self._class_weights is None else self._class_weights[labels]
        rate = learning_rate(
            self._rules.optimizer, step, self._task.steps_max, self._plateau.halvings
        )
        return [raw, *masks], labels, weights, rate

    def _train(
        self, inputs: list[np.ndarray], labels: np.ndarray, weights: np.ndarray | None, rate: float
    ) -> None:
        self._optimizer.learning_rate = rate
        self._model.train_on_batch(inputs, labels, sample_weight=weights)

    def _cut(self, inputs: np.ndarray) -> list[Any]:
        starts = range(0, max(len(inputs), 1), PREDICT_BATCH)
        return [ops.convert_to_tensor(inputs[start : start + PREDICT_BATCH]) for start in starts]


def _check_backend() -> None:
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise UsageError(
            f"Keras runs on {backend}, which cannot train here. Allowed: {', '.join(BACKENDS)}. "
            "Ask for --framework keras-tensorflow, or set KERAS_BACKEND before Keras is imported."
        )


def _array(value: Any) -> np.ndarray:
    """Return a copy in NumPy."""
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(value)))


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> KerasNetwork:
    """Build the Keras implementation on the backend that Keras runs on."""
    return KerasNetwork(work, splits, lap)
