"""Networks in plain NumPy: slow, short; the timed implementations must agree with it.

Of several workers it does the work of all, one part of the mini-batch after the other: each part is
normalised by itself, the gradients are added up, and the running figures are those of worker 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from timetrial.engine import checkpoint
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
    Probe,
    Relu,
    Residual,
    Split,
    SplitName,
    Workload,
    placed,
)
from timetrial.tasks.networks import decayed, is_statistic, rules_of
from timetrial.tasks.networks.batches import (
    Draws,
    augmented,
    draw,
    position,
    preprocess,
    test_masks,
)
from timetrial.tasks.networks.schedules import Plateau, learning_rate
from timetrial.tasks.networks.shards import part_of
from timetrial.tasks.networks.weights import initial_variables


class _Pass:
    """What one way through the network needs to know, and what it leaves for the way back."""

    def __init__(self, masks: Mapping[str, np.ndarray], *, moves: bool) -> None:
        """`masks` of the dropout that is on, by path; `moves`: norms go by the batch."""
        self.masks = masks
        self.moves = moves
        self.caches: dict[str, Any] = {}
        self.moved: dict[str, np.ndarray] = {}  # running statistics after a training pass
        self.gradients: dict[str, np.ndarray] = {}


class _Part(NamedTuple):
    """What one worker has of a mini-batch."""

    x: np.ndarray
    chosen: np.ndarray
    way: _Pass


class NumpyNetwork:
    """Forward, backward and SGD as the rules say them, layer by layer, channels last."""

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Build from the seed; `lap` is called as in every implementation."""
        self._rules = rules_of(work.task)
        self._task = work.task
        self._seed = work.seed
        self._workers = work.workers
        self._lap = lap
        self._dtype = np.dtype(work.precision)
        self._inputs = splits["train"].inputs
        self._labels = splits["train"].labels
        self._variables = {
            name: value.astype(self._dtype)
            for name, value in initial_variables(work.task, work.seed).items()
        }
        self._names = [name for name in self._variables if not is_statistic(name)]
        self._velocity = {name: np.zeros_like(self._variables[name]) for name in self._names}
        self._plateau = Plateau(self._rules.optimizer)
        self._draws: Draws | None = None
        self._step = 0

    def advance(self, steps: int) -> None:
        """Train for `steps` mini-batches."""
        for _ in range(steps):
            whole, parts = self._batch(self._step)
            self._lap("data")
            ways = [way for _, _, way in parts]
            scores = [self._chain(self._rules.chain, x, way) for x, _, way in parts]
            self._lap("forward")
            for part, seen in zip(parts, scores, strict=True):
                slope = self._slope(seen, self._labels[part.chosen], self._labels[whole])[1]
                self._back(self._rules.chain, slope, part.way)
            self._lap("backward")
            self._variables |= ways[0].moved
            self._update({n: np.sum([w.gradients[n] for w in ways], axis=0) for n in self._names})
            self._lap("optimizer")
            self._step += 1

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return scores, shape (examples, classes)."""
        return self._scores(inputs.inputs if isinstance(inputs, Split) else inputs, {})

    def predict_with_dropout(self, split: Split) -> np.ndarray:
        """Return scores of a split with dropout on."""
        return self._scores(split.inputs, test_masks(self._rules, self._seed, len(split)))

    def _scores(self, raw: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        x = preprocess(self._task, raw, self._dtype)
        return self._chain(self._rules.chain, x, _Pass(masks, moves=False))

    def state(self) -> bytes:
        """Return variables, velocity and step."""
        return checkpoint.pack(self._arrays())

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        arrays = checkpoint.unpack(state, self._arrays())
        self._variables = {name: arrays[f"variables/{name}"] for name in self._variables}
        self._velocity = {name: arrays[f"velocity/{name}"] for name in self._velocity}
        self._step = int(arrays["step"])
        self._plateau.restore(arrays)

    def evaluated(self, step: int, loss: float) -> None:
        """Tell the schedule the evaluated loss."""
        self._plateau.evaluated(step, loss)

    def variables(self) -> dict[str, np.ndarray]:
        """Return parameters and running statistics."""
        return dict(self._variables)

    def assign(self, variables: Mapping[str, np.ndarray]) -> None:
        """Take these variables instead."""
        self._variables = {
            name: np.array(variables[name], dtype=self._dtype) for name in self._variables
        }

    def probe(self, step: int) -> Probe:
        """Return inputs, scores, loss and gradients of the mini-batch of `step`, of one worker."""
        whole, [(x, chosen, way)] = self._batch(step)
        scores = self._chain(self._rules.chain, x, way)
        loss, slope = self._slope(scores, self._labels[chosen], self._labels[whole])
        self._back(self._rules.chain, slope, way)
        return Probe(x, scores, loss, way.gradients)

    def _batch(self, step: int) -> tuple[np.ndarray, list[_Part]]:
        """Return the numbers of a mini-batch's examples, and each worker's part, if not empty."""
        epoch, begin, end = position(self._task, step)
        if self._draws is None or self._draws.epoch != epoch:
            self._draws = draw(self._rules, self._seed, epoch)
        draws = self._draws
        parts = []
        for rank in range(self._workers):
            first, last = part_of(begin, end, rank, self._workers)
            chosen = draws.order[first:last]
            if len(chosen):
                raw = augmented(self._task, self._inputs, chosen, draws)
                masks = {path: mask[chosen] for path, mask in draws.masks.items()}
                x = preprocess(self._task, raw, self._dtype)
                parts.append(_Part(x, chosen, _Pass(masks, moves=True)))
        return draws.order[begin:end], parts

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {f"variables/{name}": value for name, value in self._variables.items()}
        arrays |= {f"velocity/{name}": value for name, value in self._velocity.items()}
        return {**arrays, **self._plateau.arrays(), "step": np.array(self._step)}

    # --- forward ---------------------------------------------------------------------------------

    def _chain(self, rows: Sequence[Placed], x: np.ndarray, way: _Pass) -> np.ndarray:
        for row in rows:
            x = self._forward(row, x, way)
        return x

    def _forward(self, row: Placed, x: np.ndarray, way: _Pass) -> np.ndarray:
        path, layer = row.path, row.layer
        out: np.ndarray
        match layer:
            case Conv2d():
                windows = _windows(x, layer.kernel, layer.stride, layer.padding, 0.0)
                y = np.tensordot(
                    windows, self._variables[f"{path}.weight"], axes=([4, 5, 3], [0, 1, 2])
                )
                if layer.bias:
                    y = y + self._variables[f"{path}.bias"]
                way.caches[path] = (x.shape, windows, y)
                out = np.maximum(y, 0) if layer.activation == "relu" else y
                return out
            case Dense():
                y = x @ self._variables[f"{path}.weight"] + self._variables[f"{path}.bias"]
                way.caches[path] = (x, y)
                out = np.maximum(y, 0) if layer.activation == "relu" else y
                return out
            case BatchNorm():
                return self._normalise(path, layer, x, way)
            case Relu():
                way.caches[path] = x > 0
                out = np.maximum(x, 0)
                return out
            case MaxPool2d():
                stride = layer.stride or layer.size
                windows = _windows(x, layer.size, stride, layer.padding, -np.inf)
                flat = windows.reshape(*windows.shape[:4], -1)
                way.caches[path] = (x.shape, flat.argmax(axis=-1))
                out = flat.max(axis=-1)
                return out
            case GlobalAveragePool():
                way.caches[path] = x.shape
                out = x.mean(axis=(1, 2))
                return out
            case Dropout(rate=rate):
                if path not in way.masks:
                    return x
                way.caches[path] = way.masks[path].astype(self._dtype) / self._dtype.type(1 - rate)
                out = x * way.caches[path]
                return out
            case Flatten():
                way.caches[path] = x.shape
                out = x.reshape(len(x), -1)
                return out
            case Residual():
                body, shortcut = _ways(row)
                y = self._chain(body, x, way) + self._chain(shortcut, x, way)
                way.caches[path] = y > 0
                out = np.maximum(y, 0) if layer.activation == "relu" else y
                return out

    def _normalise(self, path: str, layer: BatchNorm, x: np.ndarray, way: _Pass) -> np.ndarray:
        running = [self._variables[f"{path}.{part}"] for part in ("mean", "variance")]
        axes = tuple(range(x.ndim - 1))
        if not way.moves:
            mean, variance = running
        else:
            mean, variance = x.mean(axis=axes), x.var(axis=axes)
            count = x.size // x.shape[-1]
            seen = (mean, variance * (count / (count - 1)))
            for part, old, new in zip(("mean", "variance"), running, seen, strict=True):
                way.moved[f"{path}.{part}"] = old + self._dtype.type(layer.momentum) * (new - old)
        scale = 1 / np.sqrt(variance + self._dtype.type(layer.epsilon))
        normal = (x - mean) * scale
        out: np.ndarray
        way.caches[path] = (normal, scale)
        out = normal * self._variables[f"{path}.scale"] + self._variables[f"{path}.shift"]
        return out

    # --- backward --------------------------------------------------------------------------------

    def _slope(
        self, scores: np.ndarray, labels: np.ndarray, whole: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return what these add to the loss of the `whole` (labels), and its derivative."""
        task = self._task
        weights = np.asarray(task.class_weights or (1.0,) * task.dataset.classes, self._dtype)
        share = weights[labels] / weights[whole].sum()
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(shifted).sum(axis=1))
        rows = np.arange(len(labels))
        loss = float((share * (log_sums - shifted[rows, labels])).sum())
        g = np.exp(shifted - log_sums[:, None])
        g[rows, labels] -= 1
        return loss, g * share[:, None]

    def _back(self, rows: Sequence[Placed], g: np.ndarray, way: _Pass) -> np.ndarray:
        for row in reversed(rows):
            g = self._backward(row, g, way)
        return g

    def _backward(self, row: Placed, g: np.ndarray, way: _Pass) -> np.ndarray:
        path, layer = row.path, row.layer
        out: np.ndarray
        cache: Any = way.caches.get(path)
        match layer:
            case Conv2d():
                shape, windows, y = cache
                g = g * (y > 0) if layer.activation == "relu" else g
                if layer.bias:
                    way.gradients[f"{path}.bias"] = g.sum(axis=(0, 1, 2))
                by_window = np.tensordot(windows, g, axes=([0, 1, 2], [0, 1, 2]))
                way.gradients[f"{path}.weight"] = by_window.transpose(1, 2, 0, 3)
                weight = self._variables[f"{path}.weight"]
                parts = np.tensordot(g, weight, axes=([3], [3]))  # (n, h, w, i, j, channels)
                return _gather(parts, shape, layer.stride, layer.padding)
            case Dense():
                x, y = cache
                g = g * (y > 0) if layer.activation == "relu" else g
                way.gradients[f"{path}.bias"] = g.sum(axis=0)
                way.gradients[f"{path}.weight"] = x.T @ g
                out = g @ self._variables[f"{path}.weight"].T
                return out
            case BatchNorm():
                normal, scale = cache
                axes = tuple(range(g.ndim - 1))
                way.gradients[f"{path}.shift"] = g.sum(axis=axes)
                way.gradients[f"{path}.scale"] = (g * normal).sum(axis=axes)
                g = g * self._variables[f"{path}.scale"]
                centred = g - g.mean(axis=axes) - normal * (g * normal).mean(axis=axes)
                out = centred * scale
                return out
            case Relu():
                out = g * cache
                return out
            case MaxPool2d(size=size):
                shape, winner = cache
                parts = np.zeros((*winner.shape, size * size), dtype=g.dtype)
                np.put_along_axis(parts, winner[..., None], g[..., None], axis=-1)
                parts = parts.reshape(*winner.shape, size, size).transpose(0, 1, 2, 4, 5, 3)
                return _gather(parts, shape, layer.stride or size, layer.padding)
            case GlobalAveragePool():
                area = cache[1] * cache[2]
                out = np.broadcast_to(g[:, None, None, :] / area, cache)
                return out
            case Dropout():
                out = g * cache
                return out
            case Flatten():
                out = g.reshape(cache)
                return out
            case Residual():
                g = g * cache if layer.activation == "relu" else g
                body, shortcut = _ways(row)
                out = self._back(body, g, way) + self._back(shortcut, g, way)
                return out

    # --- optimizer -------------------------------------------------------------------------------

    def _update(self, gradients: Mapping[str, np.ndarray]) -> None:
        rules = self._rules.optimizer
        rate = learning_rate(rules, self._step, self._task.steps_max, self._plateau.halvings)
        for name, decays in zip(self._names, decayed(rules, self._names), strict=True):
            weight = self._variables[name]
            g = gradients[name] + (rules.weight_decay * weight if decays else 0)
            if rules.rate_in_velocity:
                v = rules.momentum * self._velocity[name] - rate * g
                change = rules.momentum * v - rate * g if rules.nesterov else v
            else:
                v = rules.momentum * self._velocity[name] + g
                change = -rate * (g + rules.momentum * v if rules.nesterov else v)
            self._velocity[name] = v.astype(self._dtype)
            self._variables[name] = (weight + change).astype(self._dtype)


def _ways(row: Placed) -> tuple[list[Placed], list[Placed]]:
    assert isinstance(row.layer, Residual)
    return (
        placed(row.input_shape, row.layer.body, f"{row.path}.body."),
        placed(row.input_shape, row.layer.shortcut, f"{row.path}.shortcut."),
    )


def _windows(x: np.ndarray, size: int, stride: int, padding: int, fill: float) -> np.ndarray:
    """Return all windows, shape (n, height, width, channels, size, size)."""
    edge = (padding, padding)
    wide = np.pad(x, ((0, 0), edge, edge, (0, 0)), constant_values=fill)
    return sliding_window_view(wide, (size, size), axis=(1, 2))[:, ::stride, ::stride]


def _gather(parts: np.ndarray, shape: tuple[int, ...], stride: int, padding: int) -> np.ndarray:
    """Add up (n, h, w, i, j, channels), what each window gives back, in the places it came from."""
    n, height, width, channels = shape
    wide = np.zeros((n, height + 2 * padding, width + 2 * padding, channels), dtype=parts.dtype)
    h, w, size = parts.shape[1:4]
    for i in range(size):
        for j in range(size):
            wide[:, i : i + h * stride : stride, j : j + w * stride : stride] += parts[
                :, :, :, i, j
            ]
    return wide[:, padding : padding + height, padding : padding + width]


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> NumpyNetwork:
    """Build the reference implementation."""
    return NumpyNetwork(work, splits, lap)
