"""Mini-batches: which examples, which crop, which dropout masks. The same for every framework.

`crop` and `preprocess` are also the NumPy reference of what an implementation does on its device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from timetrial.engine import seeds
from timetrial.spec import Dropout, Task, walk
from timetrial.tasks.networks import Rules


class Draws(NamedTuple):
    """The random numbers of one epoch; rows are examples, as in the train split."""

    epoch: int
    order: np.ndarray  # int64, (examples,): the order in which they are seen
    corners: np.ndarray | None  # int64, (examples, 2): row and column of the crop's corner
    flips: np.ndarray | None  # bool, (examples,)
    masks: dict[str, np.ndarray]  # dropout layer's path -> bool, (examples, *shape): True is kept


def draw(rules: Rules, seed: int, epoch: int, order: np.ndarray | None = None) -> Draws:
    """Return the random numbers of an epoch; `order` stands in for the common one."""
    count = rules.task.dataset.train_count
    corners = flips = None
    augmentation = rules.task.augmentation
    if augmentation is not None:
        places = 2 * augmentation.padding + 1
        corners = seeds.generator(seed, "crop", epoch).integers(0, places, size=(count, 2))
        if augmentation.flip:
            flips = seeds.generator(seed, "flip", epoch).integers(0, 2, size=count).astype(bool)
    masks = {
        row.path: seeds.keep_mask(
            seed, f"dropout/{row.path}", epoch, (count, *row.input_shape), row.layer.rate
        )
        for row in walk(rules.chain)
        if isinstance(row.layer, Dropout)
    }
    if order is None:
        order = seeds.order(seed, epoch, count)
    return Draws(epoch, order, corners, flips, masks)


def test_masks(rules: Rules, seed: int, count: int) -> dict[str, np.ndarray]:
    """Return dropout masks for `count` examples of a test with dropout on, by layer's path."""
    return {
        row.path: seeds.keep_mask(
            seed, f"test dropout/{row.path}", 0, (count, *row.input_shape), row.layer.rate
        )
        for row in walk(rules.chain)
        if isinstance(row.layer, Dropout)
    }


def position(task: Task, step: int) -> tuple[int, int, int]:
    """Return a step's epoch, and the first and one past the last place in the epoch's order."""
    assert task.batch_size is not None
    epoch, number = divmod(step, task.steps_per_epoch)
    begin = number * task.batch_size
    return epoch, begin, min(begin + task.batch_size, task.dataset.train_count)


def crop_indices(
    corners: np.ndarray, flips: np.ndarray | None, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (n, height) and columns (n, width) to take from the padded images."""
    rows = corners[:, :1] + np.arange(height)
    columns = corners[:, 1:] + np.arange(width)
    if flips is not None:
        columns = np.where(flips[:, None], columns[:, ::-1], columns)
    return rows, columns


def pad(images: np.ndarray, padding: int) -> np.ndarray:
    """Return images (n, height, width, channels) with `padding` black pixels on each side."""
    edge = (padding, padding)
    return np.pad(images, ((0, 0), edge, edge, (0, 0)))


def augmented(task: Task, raw: np.ndarray, chosen: np.ndarray, draws: Draws) -> np.ndarray:
    """Return the chosen training examples as stored, cropped and flipped where the task says so."""
    if task.augmentation is None or draws.corners is None:
        return np.ascontiguousarray(raw[chosen])
    height, width = raw.shape[1:3]
    flips = None if draws.flips is None else draws.flips[chosen]
    rows, columns = crop_indices(draws.corners[chosen], flips, height, width)
    images = pad(raw[chosen], task.augmentation.padding)
    numbers = np.arange(len(chosen))[:, None, None]
    return np.ascontiguousarray(images[numbers, rows[:, :, None], columns[:, None, :]])


def centred(task: Task, raw: np.ndarray) -> np.ndarray:
    """Return a table's raw inputs less divide_by * mean, in float64; images as they are stored.

    A column may lie far from zero, such as a time in seconds since 1970: in float32 its rows would
    be rounded to the same number before its mean is subtracted.
    """
    use = task.dataset
    if not _is_table(task) or not use.mean:
        return raw
    inputs: np.ndarray = raw.astype(np.float64) - use.divide_by * np.asarray(use.mean)
    return inputs


def _is_table(task: Task) -> bool:
    return len(task.dataset.input_shape) == 1


def preprocess(task: Task, raw: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return (raw / divide_by - mean) / std in `dtype`."""
    use = task.dataset
    inputs: np.ndarray = centred(task, raw).astype(dtype) / dtype.type(use.divide_by)
    if use.mean and not _is_table(task):
        inputs = inputs - np.asarray(use.mean, dtype)
    if use.std:
        inputs = inputs / np.asarray(use.std, dtype)
    return inputs


def scale_and_offset(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return a and b of inputs = a * centred(raw) + b in float64, of shape (channels,) or (1,)."""
    use = task.dataset
    std = np.asarray(use.std or (1.0,), np.float64)
    mean = np.asarray((not _is_table(task) and use.mean) or (0.0,), np.float64)
    return 1 / (use.divide_by * std), -mean / std
