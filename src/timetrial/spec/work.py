"""How much arithmetic and memory traffic a training step is, counted from the rules alone.

Arithmetic: two operations for each multiplication with an addition of convolutions and dense
layers, as PyTorch's FlopCounterMode and the usual papers count; all else (activations, pooling,
normalisation, loss, optimizer) is left out. Backward takes twice forward, the gradient of the first
layer's input left out: nobody needs it.

Memory traffic: the least that moves when every layer reads its input and parameters and writes its
output once, backward reads the saved input, the gradient of the output and the parameters and
writes both gradients, and the optimizer reads weights, gradients and velocities and writes weights
and velocities. Caches and fused kernels move less, temporary arrays more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from timetrial.spec.rules import (
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    MaxPool2d,
    Network,
    Precision,
    Record,
    Relu,
    Residual,
    Sgd,
    Task,
)
from timetrial.spec.shapes import Placed, encoded, placed

ACTIVATION_BYTES: Final = {"float32": 4, "float64": 8, "bfloat16": 2}
WEIGHT_BYTES: Final = {"float32": 4, "float64": 8, "bfloat16": 4}  # mixed precision


class Work(Record, frozen=True, kw_only=True):
    """What a training step, or the prediction of as many examples, comes to."""

    flops: float  # of forward and backward
    forward_flops: float
    bytes_: float
    operations: int  # calls of a framework that runs layer by layer; a compiled step is one


def step_work(task: Task, precision: Precision, examples: int | None = None) -> Work | None:
    """Return the work of a step on so many examples (None: the task's mini-batch).

    None where no step is told: a solver's fit goes on until it is content, trees grow with the
    data.
    """
    match task.model:
        case Network(layers=layers):
            rows = _flat(placed(encoded(task).dataset.input_shape, layers))
        case _:
            return None
    count = task.batch_size if examples is None else examples
    if count is None:
        return None
    forward = [_forward_flops(row) for row in rows]
    first = next((flops for flops in forward if flops), 0.0)
    momentum = isinstance(task.optimizer, Sgd) and task.optimizer.momentum != 0
    return Work(
        flops=count * (3 * math.fsum(forward) - first),
        forward_flops=count * math.fsum(forward),
        bytes_=_traffic(rows, count, precision, momentum=momentum),
        operations=_operations(rows, momentum=momentum),
    )


def _flat(rows: Sequence[Placed]) -> list[Placed]:
    """Return all layers that compute, in order; residual blocks are replaced by what is in them."""
    found: list[Placed] = []
    for row in rows:
        found.append(row)
        if isinstance(row.layer, Residual):
            found += _flat(placed(row.input_shape, row.layer.body, f"{row.path}.body."))
            found += _flat(placed(row.input_shape, row.layer.shortcut, f"{row.path}.shortcut."))
    return found


def _forward_flops(row: Placed) -> float:
    """Return the operations of one example."""
    match row.layer:
        case Conv2d(kernel=kernel):
            return 2.0 * math.prod(row.output_shape) * kernel * kernel * row.input_shape[2]
        case Dense(units=units):
            return 2.0 * row.input_shape[0] * units
        case _:
            return 0.0


def _traffic(rows: Sequence[Placed], count: int, precision: Precision, *, momentum: bool) -> float:
    """Return the bytes that a step moves at least, as the module's docstring says."""
    number, weight = ACTIVATION_BYTES[precision], WEIGHT_BYTES[precision]
    total = 0.0
    for row in rows:
        if isinstance(row.layer, Flatten):  # a view
            continue
        inner = math.prod(row.input_shape) * count * number
        outer = math.prod(row.output_shape) * count * number
        own = 0 if isinstance(row.layer, Residual) else row.parameters  # those inside count there
        forward = inner + outer + own * weight
        backward = inner + outer + inner + 2 * own * weight
        update = own * weight * (5 if momentum else 3)
        total += forward + backward + update
    return total


def _operations(rows: Sequence[Placed], *, momentum: bool) -> int:
    """Return the calls of a step: layers and activations there and back, loss, update per array."""
    total = 4  # loss: log-softmax and mean, there and back
    for row in rows:
        match row.layer:
            case Conv2d(activation=activation) | Dense(activation=activation):
                total += 2 * (1 + (activation == "relu")) + 2 * (3 if momentum else 1)
            case Residual(activation=activation):
                total += 2 * (1 + (activation == "relu"))
            case BatchNorm():
                total += 2 + 2 * (3 if momentum else 1)
            case Relu() | MaxPool2d() | GlobalAveragePool() | Dropout():
                total += 2
            case Flatten():
                total += 1
    return total
