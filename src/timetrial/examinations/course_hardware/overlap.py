"""What preparing a batch and computing one are here: plain work, as long as asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np

BATCH: Final = (64, 40, 40, 3)  # images of a batch before the crop
CROP: Final = 32


def prepare(batch: int, times: int) -> np.ndarray:
    """Return a batch of images, cropped, mirrored and normalised: done `times` times over.

    Source: the usual augmentation of CIFAR-10, He et al., CVPR 2016, section 4.2.
    """
    draw = np.random.default_rng(batch)
    images = draw.integers(0, 256, BATCH, dtype=np.uint8)
    out = np.empty((BATCH[0], 3, CROP, CROP), dtype=np.float32)
    for _ in range(times):
        corners = draw.integers(0, BATCH[1] - CROP + 1, (BATCH[0], 2))
        mirrored = draw.random(BATCH[0]) < 0.5
        for place, ((top, left), mirror) in enumerate(zip(corners, mirrored, strict=True)):
            crop = images[place, top : top + CROP, left : left + CROP]
            crop = crop[:, ::-1] if mirror else crop
            out[place] = (crop.transpose(2, 0, 1).astype(np.float32) / 255 - 0.5) / 0.25
    return out


def times_for(work: Callable[[int], object], seconds: float) -> int:
    """Return how many times work is to be repeated to take about so many seconds; at least once."""
    times = 1
    while True:
        begun = time.perf_counter()
        work(times)
        took = time.perf_counter() - begun
        if took >= seconds / 4:
            return max(1, round(times * seconds / took))
        times *= 2


def median_s(work: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of a call."""
    return float(np.median(timed(work, repeats)))


def timed(work: Callable[[], object], repeats: int) -> np.ndarray:
    """Return the seconds of each of so many calls, after one that is not counted."""
    work()
    seconds = np.empty(repeats)
    for place in range(repeats):
        begun = time.perf_counter()
        work()
        seconds[place] = time.perf_counter() - begun
    return seconds
