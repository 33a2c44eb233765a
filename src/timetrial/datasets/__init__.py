"""Data sets: one file each with their sources and checksums; read as NumPy arrays.

info says what a data set is, sources finds or fetches its files, prepare decodes what takes long
into the cache, load makes the splits of a task; own describes a user's folder of images or CSV.
"""

from __future__ import annotations

from typing import Final

from timetrial._registry import Registry
from timetrial.datasets.info import DatasetInfo
from timetrial.errors import UsageError

REGISTRY: Final = Registry(
    "dataset",
    group="timetrial.datasets",
    built_in={
        "breast-cancer": "timetrial.datasets.breast_cancer:DATASET",
        "cifar10": "timetrial.datasets.cifar10:DATASET",
        "cifar10-jpeg": "timetrial.datasets.cifar10_jpeg:DATASET",
        "cifar10-sample": "timetrial.datasets.cifar10:SAMPLE",
        "digits": "timetrial.datasets.digits:DATASET",
        "digits-tabular": "timetrial.datasets.digits:TABLE",
        "fashion-mnist": "timetrial.datasets.fashion_mnist:DATASET",
        "flights-actual": "timetrial.datasets.flights:ACTUAL",
        "flights-scheduled": "timetrial.datasets.flights:SCHEDULED",
        "imagenet": "timetrial.datasets.imagenet:DATASET",
        "mnist": "timetrial.datasets.mnist:DATASET",
    },
)


def get(name: str) -> DatasetInfo:
    """Return what is known of the data set called `name`.

    Raises:
        UnknownNameError: No data set has that name.
        UsageError: An installed package registers something else under that name.
    """
    found = REGISTRY.get(name)
    if not isinstance(found, DatasetInfo):
        raise UsageError(
            f"The entry point timetrial.datasets {name!r} names a {type(found).__name__}; "
            "allowed: a timetrial.datasets.info.DatasetInfo. Correct or uninstall its package."
        )
    return found
