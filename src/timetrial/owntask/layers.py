"""The network of a task file: a ready one by its name, or layers, each with its defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec

from timetrial.errors import UsageError
from timetrial.owntask.tables import Table, tagged
from timetrial.spec import (
    BatchNorm,
    Conv2d,
    DatasetUse,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool2d,
    Network,
    Relu,
    Residual,
    placed,
)
from timetrial.tasks.networks.ready import ready_network

LAYERS: Final = (
    Conv2d, BatchNorm, Relu, MaxPool2d, GlobalAveragePool, Dropout, Flatten, Dense, Residual,
)  # fmt: skip
LAYER_DEFAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    "conv2d": {"kernel": 3, "activation": "relu", "init": "he_normal"},  # padding: kernel // 2
    "batch_norm": {"epsilon": 1e-5, "momentum": 0.1},
    "max_pool2d": {"size": 2},
    "dense": {"activation": "relu", "init": "he_normal"},
    "residual": {"shortcut": [], "activation": "relu"},
}


def network_of(given: str | list[Table] | None, use: DatasetUse, where: str) -> Network:
    """Return the network asked for, the default one for None.

    Raises:
        UsageError: A layer that does not fit, or scores that are not one a class.
        UnknownNameError: No such network, type of layer or key.
    """
    images = len(use.input_shape) == 3
    if given == []:
        raise UsageError(
            f"{where}: network = [] has no layers. Allowed: a name, or a layer and more."
        )
    if given is None or isinstance(given, str):
        network = ready_network(given or ("small-cnn" if images else "mlp"), use)
    else:
        layers = [
            _layer(table, f"{where}, layer {at}", use.classes if at == len(given) - 1 else None)
            for at, table in enumerate(given)
        ]
        network = Network(layers=tuple(layers))
    end = check_chain(use.input_shape, network.layers, where)
    if end != (use.classes,):
        raise UsageError(
            f"{where}: the last layer gives {_shape(end)}. Allowed: {use.classes}, a score a class "
            f"of {use.name}. End in a dense layer without units."
        )
    return network


def _layer(table: Table, where: str, scores: int | None) -> Layer:
    """Return a layer with its defaults; `scores` is the number of classes for the last one."""
    defaults: dict[str, object] = dict(LAYER_DEFAULTS.get(str(table.get("type")), {}))
    if table.get("type") == "conv2d":
        kernel = table.get("kernel", defaults["kernel"])
        defaults["padding"] = kernel // 2 if isinstance(kernel, int) else 0
    if table.get("type") == "dense" and scores is not None:
        defaults = {"units": scores, "activation": "linear", "init": "glorot_uniform"}
    whole = {**defaults, **table}
    for way in ("body", "shortcut"):
        inner = whole.get(way)
        if table.get("type") == "residual" and isinstance(inner, list):
            whole[way] = [
                msgspec.to_builtins(_layer(part, f"{where}, {way} {at}", None))
                for at, part in enumerate(inner)
            ]
    return tagged(whole, cast(Sequence[type[Layer]], LAYERS), where)


def check_chain(
    input_shape: tuple[int, ...], layers: Sequence[Layer], where: str
) -> tuple[int, ...]:
    """Return the shape behind the layers, each checked to fit the one before it.

    Raises:
        UsageError: A layer does not fit, or has a number that no layer can have.
    """
    shape = input_shape
    for at, layer in enumerate(layers):
        tag = str(layer.__struct_config__.tag)
        place = f"{where}, layer {at} ({tag})"
        for field in layer.__struct_fields__:
            value = getattr(layer, field)
            if type(value) is int and value < (0 if field == "padding" else 1):
                raise UsageError(f"{place}: {field} = {value} is not possible. Allowed: 1 and more")
        if isinstance(layer, Dropout) and not 0 <= layer.rate < 1:
            raise UsageError(f"{place}: rate = {layer.rate:g}. Allowed: 0 to below 1.")
        images = isinstance(layer, Conv2d | MaxPool2d | GlobalAveragePool)
        if len(shape) != (3 if images else 1) and (images or isinstance(layer, Dense)):
            need = "images (height, width, channels)" if images else "a row of numbers"
            step = "Put it before flatten" if images else "Put a flatten layer before it"
            raise UsageError(f"{place} gets {_shape(shape)} and needs {need}. {step}.")
        if isinstance(layer, Flatten) and len(shape) == 1:
            raise UsageError(f"{place} gets {_shape(shape)}, a row of numbers. Leave it out.")
        if isinstance(layer, Residual):
            for way in ("body", "shortcut"):
                check_chain(shape, getattr(layer, way), f"{place}, {way}")
        before = shape
        (row,) = placed(shape, [layer])
        shape = row.output_shape
        if min(shape) < 1:
            raise UsageError(
                f"{place} leaves nothing of {_shape(before)}. Use fewer or smaller such layers, "
                "or padding."
            )
    return shape


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
