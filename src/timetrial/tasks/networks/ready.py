"""Networks that a task of one's own can ask for by name; `classes` outputs each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from timetrial.errors import UnknownNameError
from timetrial.spec import Conv2d, Dense, Flatten, MaxPool2d, Network
from timetrial.tasks import cifar10_resnet, cifar10_resnet18


def small_cnn(classes: int) -> Network:
    """Return digits-cnn's network: two convolutions, one pooling, for images of 8 to some 64."""
    first = Conv2d(filters=16, kernel=3, padding=1, activation="relu", init="he_normal")
    return Network(
        layers=(
            first,
            msgspec.structs.replace(first, filters=32),
            MaxPool2d(size=2),
            Flatten(),
            Dense(units=64, activation="relu", init="he_normal"),
            _scores(classes),
        )
    )


def mlp(classes: int) -> Network:
    """Return two hidden layers of 64 units; images are flattened."""
    hidden = Dense(units=64, activation="relu", init="he_normal")
    return Network(layers=(Flatten(), hidden, hidden, _scores(classes)))


def linear(classes: int) -> Network:
    """Return softmax regression: one layer."""
    return Network(layers=(Flatten(), _scores(classes)))


def _scores(classes: int) -> Dense:
    return Dense(units=classes, activation="linear", init="glorot_uniform")


def _resnet(depth: int, version: int) -> Callable[[int], Network]:
    return lambda classes: _with_head(cifar10_resnet.network(depth, version), classes)


def _resnet18(classes: int) -> Network:
    return _with_head(cifar10_resnet18.network(), classes)


def _with_head(network: Network, classes: int) -> Network:
    head = Dense(units=classes, activation="linear", init="uniform_fan_in")
    return Network(layers=(*network.layers[:-1], head))


NETWORKS: Final[Mapping[str, Callable[[int], Network]]] = {
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


def ready_network(name: str, classes: int) -> Network:
    """Return the network called `name`.

    Raises:
        UnknownNameError: No such network.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    return NETWORKS[name](classes)
