"""Where each layer of a network stands: shapes and parameter counts, from the rules alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from timetrial.errors import UsageError
from timetrial.spec.rules import (
    BatchNorm,
    Boosting,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Forest,
    GlobalAveragePool,
    InputEncoding,
    Layer,
    LogisticRegression,
    MaxPool2d,
    Network,
    OneHot,
    PiecewiseLinear,
    Relu,
    Residual,
    Task,
)


class Placed(NamedTuple):
    """A layer in its place: its path ("3", "3.body.0"), and the shapes of one example."""

    path: str
    layer: Layer
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int  # its own and those of the layers inside it


def placed(input_shape: Sequence[int], layers: Sequence[Layer], above: str = "") -> list[Placed]:
    """Return the layers of one chain in their places; those inside a residual are not listed.

    Raises:
        UsageError: The two ways of a residual block do not end in one shape.
    """
    shape = tuple(input_shape)
    rows: list[Placed] = []
    for index, layer in enumerate(layers):
        path = f"{above}{index}"
        output, parameters = _output(path, layer, shape)
        rows.append(Placed(path, layer, shape, output, parameters))
        shape = output
    return rows


def _output(path: str, layer: Layer, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Return the shape of one example behind the layer, and the layer's parameter count."""
    match layer:
        case Conv2d(filters=filters, kernel=kernel, padding=padding, stride=stride, bias=bias):
            edge = [(side + 2 * padding - kernel) // stride + 1 for side in shape[:2]]
            return (*edge, filters), (kernel * kernel * shape[2] + bias) * filters
        case BatchNorm():
            return shape, 2 * shape[-1]
        case MaxPool2d(size=size, padding=padding):
            stride = layer.stride or size
            edge = [(side + 2 * padding - size) // stride + 1 for side in shape[:2]]
            return (*edge, shape[2]), 0
        case GlobalAveragePool():
            return shape[-1:], 0
        case Flatten():
            return (math.prod(shape),), 0
        case Dense(units=units):
            return (units,), (shape[0] + 1) * units
        case Residual():
            ways = [
                placed(shape, layer.body, f"{path}.body."),
                placed(shape, layer.shortcut, f"{path}.shortcut."),
            ]
            ends = [way[-1].output_shape if way else shape for way in ways]
            if ends[0] != ends[1]:
                raise UsageError(
                    f"Residual block {path}: the body ends in shape {ends[0]}, the shortcut in "
                    f"{ends[1]}. Give both the same filters and strides."
                )
            return ends[0], sum(row.parameters for way in ways for row in way)
        case Dropout() | Relu():
            return shape, 0


def walk(rows: Sequence[Placed]) -> Iterator[Placed]:
    """Yield the layers in order, those inside residual blocks (body first) after their block."""
    for row in rows:
        yield row
        if isinstance(row.layer, Residual):
            yield from walk(placed(row.input_shape, row.layer.body, f"{row.path}.body."))
            yield from walk(placed(row.input_shape, row.layer.shortcut, f"{row.path}.shortcut."))


def encoded(task: Task) -> Task:
    """Return the task as its implementations see it: inputs are encoded before they get them."""
    use = task.dataset
    if not use.encoding:
        return task
    changed = msgspec.structs.replace
    width = sum(width_of(encoding) for encoding in use.encoding)
    return changed(task, dataset=changed(use, input_shape=(width,), categories=(), encoding=()))


def width_of(encoding: InputEncoding) -> int:
    """Return how many inputs one input becomes."""
    match encoding:
        case OneHot(categories=categories):
            return categories
        case PiecewiseLinear(bins=bins):
            return bins
        case _:
            return 1


def parameter_count(task: Task) -> int | None:
    """Return how many numbers the task's model learns, None for trees: data decide their size."""
    shape = encoded(task).dataset.input_shape
    match task.model:
        case Network(layers=layers):
            return sum(row.parameters for row in placed(shape, layers))
        case LogisticRegression():
            classes = task.dataset.classes
            return (math.prod(shape) + 1) * (1 if classes == 2 else classes)
        case Forest() | Boosting():
            return None
