"""Mini-batches of images that are decoded when asked for: a few ahead, in threads.

What a mini-batch holds depends on (seed, step) alone, whatever was decoded before. Memory holds at
most AHEAD mini-batches beyond the one in use, and the draws of two epochs. Threads suffice: the
decoder gives up Python's lock while it works.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np

from timetrial.engine import seeds
from timetrial.spec import LazyImages, Task
from timetrial.tasks.networks.batches import position
from timetrial.tasks.networks.shards import part_of

AHEAD: Final = 2  # mini-batches
PIECE: Final = 16  # images that one thread decodes in a row


class _Epoch(NamedTuple):
    number: int
    order: np.ndarray
    draws: np.ndarray


class Decoder:
    """Decodes the mini-batches of one run, or one worker's part of them."""

    def __init__(
        self,
        task: Task,
        seed: int,
        *,
        rank: int = 0,
        workers: int = 1,
        order: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        """Begin with nothing decoded; threads start with the first mini-batch.

        `order` gives each epoch's order of the examples, None: the common one.
        """
        self._rank, self._workers = rank, workers
        self._order = order
        self._task = task
        self._seed = seed
        if hasattr(os, "sched_getaffinity"):
            cores = len(os.sched_getaffinity(0))
        else:
            cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(cores, thread_name_prefix="decode")
        self._epochs: list[_Epoch] = []
        self._begun: dict[int, list[Future[np.ndarray]]] = {}

    def mini_batch(self, images: LazyImages, step: int) -> np.ndarray:
        """Return the images of a step as training sees them, uint8, in the epoch's order.

        Raises:
            DataError: A file is gone, or is not an image.
        """
        wanted = range(step, min(step + AHEAD + 1, max(self._task.steps_max, step + 1)))
        for other in [known for known in self._begun if known not in wanted]:
            for future in self._begun.pop(other):
                future.cancel()
        for near in wanted:
            if near not in self._begun:
                self._begun[near] = self._begin(images, near)
        return np.concatenate([piece.result() for piece in self._begun.pop(step)])

    def views(self, images: LazyImages, count: int) -> Iterator[np.ndarray]:
        """Yield all images as evaluation sees them, in order, `count` at a time.

        Raises:
            DataError: A file is gone, or is not an image.
        """
        starts = iter(range(0, len(images), count))
        waiting: deque[list[Future[np.ndarray]]] = deque()
        while True:
            while len(waiting) <= AHEAD and (start := next(starts, None)) is not None:
                rows = np.arange(start, min(start + count, len(images)))
                waiting.append(self._in_pieces(rows, images.__getitem__))
            if not waiting:
                return
            yield np.concatenate([piece.result() for piece in waiting.popleft()])

    def _begin(self, images: LazyImages, step: int) -> list[Future[np.ndarray]]:
        number, begin, end = position(self._task, step)
        epoch = self._epoch(images, number)
        first, last = part_of(begin, end, self._rank, self._workers)
        rows = epoch.order[first:last]
        return self._in_pieces(rows, lambda piece: images.augmented(piece, epoch.draws[piece]))

    def _in_pieces(
        self, rows: np.ndarray, decode: Callable[[np.ndarray], np.ndarray]
    ) -> list[Future[np.ndarray]]:
        pieces = [rows[at : at + PIECE] for at in range(0, len(rows), PIECE)]
        return [self._pool.submit(decode, piece) for piece in pieces]

    def _epoch(self, images: LazyImages, number: int) -> _Epoch:
        for epoch in self._epochs:
            if epoch.number == number:
                return epoch
        count = len(images)
        draws = seeds.generator(self._seed, "crop", number).random((count, images.draws))
        if self._order is None:
            order = seeds.order(self._seed, number, count)
        else:
            order = self._order(number)
        made = _Epoch(number, order, draws)
        self._epochs = [*self._epochs[-1:], made]
        return made
