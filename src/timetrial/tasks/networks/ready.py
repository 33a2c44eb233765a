"""Networks that a task of one's own can ask for by name, each with an output a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from timetrial.errors import UnknownNameError
from timetrial.spec import Conv2d, DatasetUse, Dense, Flatten, MaxPool2d, Network
from timetrial.tasks import cifar10_resnet, cifar10_resnet18


def small_cnn(use: DatasetUse) -> Network:
    """Return digits-cnn's network: two convolutions, one pooling, for images of 8 to some 64."""
    first = Conv2d(filters=16, kernel=3, padding=1, activation="relu", init="he_normal")
    return Network(
        layers=(
            first,
            msgspec.structs.replace(first, filters=32),
            MaxPool2d(size=2),
            Flatten(),
            Dense(units=64, activation="relu", init="he_normal"),
            _scores(use),
        )
    )


def mlp(use: DatasetUse) -> Network:
    """Return two hidden layers of 64 units; images are flattened first."""
    hidden = Dense(units=64, activation="relu", init="he_normal")
    return Network(layers=(*_flat(use), hidden, hidden, _scores(use)))


def linear(use: DatasetUse) -> Network:
    """Return softmax regression: one layer."""
    return Network(layers=(*_flat(use), _scores(use)))


def _flat(use: DatasetUse) -> tuple[Flatten, ...]:
    return (Flatten(),) if len(use.input_shape) > 1 else ()


def _scores(use: DatasetUse) -> Dense:
    return Dense(units=use.classes, activation="linear", init="glorot_uniform")


def _resnet(depth: int, version: int) -> Callable[[DatasetUse], Network]:
    return lambda use: _with_head(cifar10_resnet.network(depth, version), use)


def _resnet18(use: DatasetUse) -> Network:
    return _with_head(cifar10_resnet18.network(), use)


def _with_head(network: Network, use: DatasetUse) -> Network:
    head = Dense(units=use.classes, activation="linear", init="uniform_fan_in")
    return Network(layers=(*network.layers[:-1], head))


NETWORKS: Final[Mapping[str, Callable[[DatasetUse], Network]]] = {
    "linear": linear,
    "mlp": mlp,
    "resnet18": _resnet18,  # torchvision's layout, for images of 64 and more
    **{
        f"resnet{depth}{'' if version == 1 else '-v2'}": _resnet(depth, version)
        for depth in cifar10_resnet.DEPTHS  # of CIFAR: 20, 32, 44, 56
        for version in cifar10_resnet.VERSIONS
    },
    "small-cnn": small_cnn,
}


def ready_network(name: str, use: DatasetUse) -> Network:
    """Return the network called `name`.

    Raises:
        UnknownNameError: No such network.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    return NETWORKS[name](use)
