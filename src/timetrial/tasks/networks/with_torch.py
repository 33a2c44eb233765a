"""Networks in PyTorch, fast on a CPU with the arithmetic of the rules.

What makes it fast and changes no value: channels-last memory, max-pooling before the ReLU (they
commute, and the ReLU then sees a quarter of the numbers), one gather per mini-batch from data kept
on the device (crop and flip are in its indices), dropout masks drawn per epoch, and the optimizer
as a few multi-tensor calls. bfloat16 is PyTorch's autocast: float32 weights, statistics and loss.
Measured figures: docs/results.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from timetrial.engine import checkpoint
from timetrial.frameworks.torch import find_device
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
    Placed,
    Probe,
    Relu,
    Residual,
    Split,
    SplitName,
    Workload,
    placed,
)
from timetrial.tasks.networks import PREDICT_BATCH, decayed, is_statistic, rules_of
from timetrial.tasks.networks.batches import (
    centred,
    crop_indices,
    draw,
    position,
    scale_and_offset,
    test_masks,
)
from timetrial.tasks.networks.decoding import Decoder
from timetrial.tasks.networks.schedules import Plateau, learning_rate
from timetrial.tasks.networks.shards import Shards, parse_partition, part_of
from timetrial.tasks.networks.torch_exchange import Loss, exchange_of
from timetrial.tasks.networks.weights import initial_variables


class Op(NamedTuple):
    """One operation of the program: a layer, or what is left of it after ReLUs were moved."""

    path: str
    layer: Layer
    body: tuple[Op, ...] = ()  # of a residual block
    shortcut: tuple[Op, ...] = ()


class _Way(NamedTuple):
    """What one way through the network needs to know."""

    training: bool = False
    moves: bool = False  # whether running statistics move
    masks: Mapping[str, Tensor] = {}  # by dropout layer; none: dropout is off
    weights: Mapping[str, Tensor] | None = None  # None: the worker's own


class TorchNetwork:
    """The timed implementation."""

    predict_batch = PREDICT_BATCH

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Build the weights from the seed and put the training data on the device."""
        self._task = work.task
        self._rules = rules_of(work.task)
        self._program = program(self._rules.chain)
        self._seed = work.seed
        self._lap = lap
        self._rank, self._workers = work.rank, work.workers
        self._device = find_device(work.device)
        self._mixed = work.precision == "bfloat16"
        self._dtype = torch.float32 if self._mixed else getattr(torch, work.precision)
        scale, offset = (self._constant(part) for part in scale_and_offset(work.task))
        self._scale, self._offset = scale, offset
        weights = self._task.class_weights
        self._class_weights = self._constant(np.array(weights)) if weights else None
        train = splits["train"]
        self._shards = Shards(
            parse_partition(work.partition),
            train.labels,
            seed=work.seed,
            workers=work.workers,
            batch_size=self._rules.batch_size,
        )
        self._pad = work.task.augmentation.padding if work.task.augmentation else 0
        self._decoder = Decoder(
            work.task, work.seed, rank=work.rank, workers=work.workers, order=self._shards.order
        )
        self._lazy = train.lazy
        if self._lazy is None:
            self._inputs = self._place(centred(work.task, train.inputs), self._pad)
        self._labels = torch.from_numpy(train.labels.astype(np.int64)).to(self._device)
        self._placed: dict[str, Tensor] = {}
        values = initial_variables(work.task, work.seed)
        self._weights = {n: self._leaf(v) for n, v in values.items() if not is_statistic(n)}
        self._running = {n: self._constant(v) for n, v in values.items() if is_statistic(n)}
        self._leaves = list(self._weights.values())
        self._exchange = exchange_of(work, self._leaves, lap)
        self._settled: dict[str, Tensor] | None = None
        self._decays = decayed(self._rules.optimizer, list(self._weights))
        self._velocity = [torch.zeros_like(leaf) for leaf in self._leaves]
        self._plateau = Plateau(self._rules.optimizer)
        self._step = 0
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self._rows = self._columns = self._order
        self._masks: dict[str, Tensor] = {}

    def advance(self, steps: int) -> None:
        """Train for `steps` mini-batches."""
        self._settled = None
        for _ in range(steps):
            loss = self._prepared(self._step)
            self._lap("data")

            gradients = self._exchange.gradients(loss)  # forward, backward, communication

            self._update(gradients)
            self._lap("optimizer")

            self._exchange.mix(self._step, self._velocity)
            self._step += 1
        self._synchronise()

    def settle(self) -> None:
        """Take the weights that all workers evaluate."""
        settled = self._exchange.settled()
        self._settled = None
        if settled is not None:
            self._settled = dict(zip(self._weights, settled, strict=True))

    @torch.inference_mode()
    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return scores, shape (examples, classes); a split stays on the device once seen."""
        if isinstance(inputs, Split) and inputs.lazy is not None:
            views = self._decoder.views(inputs.lazy, PREDICT_BATCH)
            way = _Way(weights=self._settled)
            seen = [self._scores(self._cast(self._place(part, 0)), way) for part in views]
            return torch.cat(seen).cpu().numpy()
        if isinstance(inputs, Split):
            if inputs.name not in self._placed:
                self._placed[inputs.name] = self._place(centred(self._task, inputs.inputs), 0)
            examples = self._placed[inputs.name]
        else:
            examples = self._place(centred(self._task, inputs), 0)
        way = _Way(weights=self._settled)
        parts = torch.split(examples, PREDICT_BATCH)
        return torch.cat([self._scores(self._cast(part), way) for part in parts]).cpu().numpy()

    @torch.inference_mode()
    def predict_with_dropout(self, split: Split) -> np.ndarray:
        """Return scores of a split with dropout on."""
        drawn = test_masks(self._rules, self._seed, len(split))
        masks = {path: self._mask(keep) for path, keep in drawn.items()}
        examples = self._place(centred(self._task, split.inputs), 0)
        scores = []
        for at in range(0, len(split), PREDICT_BATCH):
            part = slice(at, at + PREDICT_BATCH)
            kept = {path: mask[part] for path, mask in masks.items()}
            way = _Way(masks=kept, weights=self._settled)
            scores.append(self._scores(self._cast(examples[part]), way))
        return torch.cat(scores).cpu().numpy()

    def state(self) -> bytes:
        """Return variables, velocity and step."""
        return checkpoint.pack(self._arrays())

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        arrays = checkpoint.unpack(state, self._arrays())
        with torch.no_grad():
            for (name, leaf), v in zip(self._weights.items(), self._velocity, strict=True):
                leaf.copy_(torch.from_numpy(arrays[f"weights/{name}"]))
                v.copy_(torch.from_numpy(arrays[f"velocity/{name}"]))
            for name, value in self._running.items():
                value.copy_(torch.from_numpy(arrays[f"running/{name}"]))
        self._step = int(arrays["step"])
        self._plateau.restore(arrays)
        self._exchange.restore(arrays)
        self._settled = None
        self._epoch = -1

    def evaluated(self, step: int, loss: float) -> None:
        """Tell the schedule the evaluated loss."""
        self._plateau.evaluated(step, loss)

    def variables(self) -> dict[str, np.ndarray]:
        """Return parameters and running statistics in the reference's layout."""
        named = {}
        for name, leaf in [*self._weights.items(), *self._running.items()]:
            value = leaf.detach().cpu().numpy()
            value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
            named[name] = value.copy()  # the network goes on to change its own
        return named

    @torch.no_grad()
    def assign(self, variables: Mapping[str, np.ndarray]) -> None:
        """Take these variables instead."""
        for name, leaf in [*self._weights.items(), *self._running.items()]:
            value = torch.tensor(variables[name], dtype=self._dtype, device=self._device)
            leaf.copy_(value.permute(3, 2, 0, 1) if value.ndim == 4 else value)

    def probe(self, step: int) -> Probe:
        """Return inputs, scores, loss and gradients of the mini-batch of `step`."""
        x, y, chosen = self._batch(step)
        scores = self._scores(x, self._training(chosen, moves=False))
        loss = self._loss(scores, y)
        gradients = {}
        for name, g in zip(self._weights, torch.autograd.grad(loss, self._leaves), strict=True):
            value = g.cpu().numpy()
            gradients[name] = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        seen = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
        return Probe(
            seen.cpu().numpy(), scores.detach().cpu().numpy(), float(loss.detach()), gradients
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {f"weights/{n}": w.detach().cpu().numpy() for n, w in self._weights.items()}
        for name, v in zip(self._weights, self._velocity, strict=True):
            arrays[f"velocity/{name}"] = v.cpu().numpy()
        arrays |= {f"running/{n}": value.cpu().numpy() for n, value in self._running.items()}
        arrays |= self._exchange.arrays()
        return {**arrays, **self._plateau.arrays(), "step": np.array(self._step)}

    # --- data ------------------------------------------------------------------------------------

    def _place(self, inputs: np.ndarray, padding: int) -> Tensor:
        """Put examples on the device as they are, black pixels around images."""
        examples = torch.tensor(inputs, device=self._device)  # copies: the split is read-only
        if padding:
            return functional.pad(examples, (0, 0, padding, padding, padding, padding))
        return examples

    def _prepared(self, step: int) -> Loss | None:
        """Return what runs forward over this worker's part, its data prepared; None: no part."""
        epoch, begin, end = position(self._task, step)
        if epoch != self._epoch:
            self._begin_epoch(epoch)
        whole = self._order[begin:end]
        first, last = part_of(0, end - begin, self._rank, self._workers)
        if first == last:
            return None
        x, y, chosen = self._batch(step, whole[first:last])
        way = self._training(chosen, moves=True)
        if self._workers == 1:
            return lambda: self._loss(self._scores(x, way), y)
        return lambda: self._loss_of_part(self._scores(x, way), y, whole)

    def _batch(self, step: int, part: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return inputs, labels and numbers of a mini-batch, or of a worker's part of it."""
        epoch, begin, end = position(self._task, step)
        if epoch != self._epoch:
            self._begin_epoch(epoch)
        chosen = self._order[begin:end] if part is None else part
        if self._lazy is not None:
            raw = self._place(self._decoder.mini_batch(self._lazy, step), 0)
        elif self._task.augmentation is None:
            raw = self._inputs[chosen]
        else:
            rows, columns = self._rows[chosen], self._columns[chosen]
            raw = self._inputs[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        return self._cast(raw), self._labels[chosen], chosen

    def _cast(self, raw: Tensor) -> Tensor:
        """Return preprocessed inputs, images channels first in channels-last memory."""
        x = raw.to(self._dtype) * self._scale + self._offset
        return x.permute(0, 3, 1, 2) if x.ndim == 4 else x

    def _begin_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        draws = draw(self._rules, self._seed, epoch, self._shards.order(epoch))
        self._order = torch.from_numpy(draws.order).to(self._device)
        if draws.corners is not None:
            height, width, _ = self._task.dataset.input_shape
            indices = crop_indices(draws.corners, draws.flips, height, width)
            self._rows, self._columns = (torch.from_numpy(i).to(self._device) for i in indices)
        self._masks = {path: self._mask(keep) for path, keep in draws.masks.items()}

    def _mask(self, keep: np.ndarray) -> Tensor:
        mask = torch.from_numpy(keep).to(self._device)
        return mask.permute(0, 3, 1, 2) if mask.ndim == 4 else mask

    def _training(self, chosen: Tensor, *, moves: bool) -> _Way:
        masks = {path: mask[chosen] for path, mask in self._masks.items()}
        return _Way(training=True, moves=moves, masks=masks)

    # --- network ---------------------------------------------------------------------------------

    def _constant(self, value: np.ndarray) -> Tensor:
        return torch.tensor(value, dtype=self._dtype, device=self._device)

    def _leaf(self, value: np.ndarray) -> Tensor:
        leaf = self._constant(value)
        if leaf.ndim == 4:  # (height, width, channels, filters) -> (filters, channels, ...)
            leaf = leaf.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        return torch.nn.Parameter(leaf)

    def _scores(self, x: Tensor, way: _Way) -> Tensor:
        if not self._mixed:
            return self._chain(self._program, x, way)
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            return self._chain(self._program, x, way).float()

    def _chain(self, program: Sequence[Op], x: Tensor, way: _Way) -> Tensor:
        for op in program:
            x = self._apply(op, x, way)
        return x

    def _apply(self, op: Op, x: Tensor, way: _Way) -> Tensor:
        path = op.path
        weights = self._weights if way.weights is None else way.weights
        match op.layer:
            case Conv2d(stride=stride, padding=padding):
                bias = weights.get(f"{path}.bias")
                return functional.conv2d(x, weights[f"{path}.weight"], bias, stride, padding)
            case Dense():
                return functional.linear(x, weights[f"{path}.weight"].T, weights[f"{path}.bias"])
            case BatchNorm(epsilon=epsilon, momentum=momentum):
                held = not way.training or way.moves
                return functional.batch_norm(
                    x,
                    self._running[f"{path}.mean"] if held else None,
                    self._running[f"{path}.variance"] if held else None,
                    weights[f"{path}.scale"],
                    weights[f"{path}.shift"],
                    way.training,
                    momentum,
                    epsilon,
                )
            case Relu():
                return functional.relu(x)
            case MaxPool2d(size=size, stride=step, padding=padding):
                return functional.max_pool2d(x, size, step, padding)
            case GlobalAveragePool():
                return x.mean((2, 3))
            case Dropout(rate=rate):
                if path not in way.masks:
                    return x
                return x * (way.masks[path].to(x.dtype) / (1 - rate))
            case Flatten():
                return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x
            case Residual(activation=activation):
                y = self._chain(op.body, x, way) + self._chain(op.shortcut, x, way)
                return functional.relu(y) if activation == "relu" else y

    def _loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(scores, labels, self._class_weights)

    def _loss_of_part(self, scores: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        """Return what a part adds to the loss of the whole mini-batch."""
        weights = self._class_weights
        total = len(whole) if weights is None else weights[self._labels[whole]].sum()
        return functional.cross_entropy(scores, labels, weights, reduction="sum") / total

    # --- optimizer -------------------------------------------------------------------------------

    @torch.no_grad()
    def _update(self, gradients: list[Tensor]) -> None:
        rules = self._rules.optimizer
        rate = learning_rate(rules, self._step, self._task.steps_max, self._plateau.halvings)
        weights: list[Tensor] = [leaf.detach() for leaf in self._leaves]
        if any(self._decays):
            some = [pair for pair, d in zip(zip(gradients, weights, strict=True), self._decays,
                                            strict=True) if d]  # fmt: skip
            torch._foreach_add_(
                [g for g, _ in some], [w for _, w in some], alpha=rules.weight_decay
            )
        torch._foreach_mul_(self._velocity, rules.momentum)
        scale = -rate if rules.rate_in_velocity else 1.0
        torch._foreach_add_(self._velocity, gradients, alpha=scale)
        change = self._velocity
        if rules.nesterov:
            torch._foreach_mul_(gradients, scale)
            torch._foreach_add_(gradients, self._velocity, alpha=rules.momentum)
            change = gradients
        torch._foreach_add_(weights, change, alpha=1.0 if rules.rate_in_velocity else -rate)

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()


def program(rows: Sequence[Placed]) -> tuple[Op, ...]:
    """Return the layers as operations, each ReLU of its own, behind a pooling that follows it.

    max(relu(x)) = relu(max(x)): the values are the same, bit for bit; the ReLU has less to do.
    """
    ops: list[Op] = []
    waiting = False
    for row in rows:
        if waiting and not isinstance(row.layer, MaxPool2d):
            ops.append(Op("", Relu()))
            waiting = False
        match row.layer:
            case Residual(body=body, shortcut=shortcut):
                inner = placed(row.input_shape, body, f"{row.path}.body.")
                around = placed(row.input_shape, shortcut, f"{row.path}.shortcut.")
                ops.append(Op(row.path, row.layer, program(inner), program(around)))
            case Relu():
                waiting = True
            case layer:
                ops.append(Op(row.path, layer))
                waiting = waiting or getattr(layer, "activation", "linear") == "relu"
    if waiting:
        ops.append(Op("", Relu()))
    return tuple(ops)


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> TorchNetwork:
    """Build the PyTorch implementation."""
    return TorchNetwork(work, splits, lap)
