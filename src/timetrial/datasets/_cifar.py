"""The two layouts in which CIFAR-10 is published, read to the same arrays.

Both: five training batches and a test batch; an image is 1,024 red, 1,024 green and 1,024 blue
bytes, row by row. Binary version: the label's byte before each image. Python version: see
_python_batch.

Source: A. Krizhevsky, "The CIFAR-10 dataset", sections "Python / Matlab versions" and "Binary
version", https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from timetrial.datasets._python_batch import read_batch
from timetrial.datasets.info import Examples
from timetrial.errors import DataError

CLASS_NAMES: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
BATCHES: Final = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
_PIXELS: Final = 3 * 32 * 32


def read(contents: Mapping[str, bytes]) -> Examples:
    """Return images (count, 32, 32, 3) uint8 and labels: the five batches in order, and the test's.

    Raises:
        DataError: A batch is missing, or is not in its layout.
    """
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for batch in BATCHES:
        binary = f"cifar-10-batches-bin/{batch}.bin"
        python = f"cifar-10-batches-py/{batch}"
        if binary in contents:
            pixels, numbers = _read_binary(contents[binary], binary)
        elif python in contents:
            pixels, listed = read_batch(contents[python], name=python)
            numbers = np.array(listed, dtype=np.int64)
        else:
            raise DataError(
                f"Neither {binary} nor {python} is in the data set's files. "
                "Next step: timetrial data check"
            )
        _check(pixels, numbers, batch)
        images.append(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(numbers)
    return Examples(
        np.concatenate(images[:5]),
        np.concatenate(labels[:5]),
        np.ascontiguousarray(images[5]),
        labels[5],
    )


def _read_binary(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    if not content or len(content) % (1 + _PIXELS):
        raise DataError(
            f"{name} has {len(content)} bytes; expected a multiple of {1 + _PIXELS}, a label and "
            "an image each. Next step: timetrial data check"
        )
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + _PIXELS)
    return rows[:, 1:], rows[:, 0].astype(np.int64)


def _check(pixels: np.ndarray, labels: np.ndarray, batch: str) -> None:
    if pixels.shape != (len(labels), _PIXELS):
        raise DataError(
            f"{batch} has images of shape {pixels.shape}; expected {(len(labels), _PIXELS)}. "
            "Next step: timetrial data check"
        )
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise DataError(
            f"{batch} has labels outside 0 to {len(CLASS_NAMES) - 1}, or none at all. "
            "Next step: timetrial data check"
        )
