"""Which part of the data each worker sees.

A step's mini-batch is a stretch of the epoch's order, and each worker takes its part of that
stretch (`part_of`). So a partition of the data is an order in which every worker's places hold its
own examples: each example is seen once an epoch, and all else works as with one common order.

shuffled           one common order per epoch: which worker sees an example changes each epoch
iid                drawn once per run: every worker an equal share of all examples, at random
dirichlet:alpha=A  drawn once per run: every worker as many, its mix of labels from a Dirichlet
                   distribution; the smaller A, the fewer labels a worker sees

With the last two a worker goes through its own examples in a new order each epoch. A worker's share
is what its parts of all mini-batches hold: shares differ by one at most where the number of workers
divides the mini-batch; else the first workers' parts, and shares, are larger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, final

import numpy as np

from timetrial.engine import seeds
from timetrial.errors import UnknownNameError, UsageError

Kind: TypeAlias = Literal["shuffled", "iid", "dirichlet"]

KINDS: Final[tuple[Kind, ...]] = ("shuffled", "iid", "dirichlet")
FRAMEWORKS: Final = ("torch",)  # whose implementations know more than "shuffled"


class Partition(NamedTuple):
    """How examples are divided among workers."""

    kind: Kind
    alpha: float | None = None

    @property
    def text(self) -> str:
        """The canonical text: "dirichlet:alpha=0.5"."""
        return self.kind if self.alpha is None else f"{self.kind}:alpha={self.alpha:.15g}"


def parse_partition(text: str) -> Partition:
    """Return the partition that "shuffled", "iid" or "dirichlet:alpha=0.5" means.

    Raises:
        UnknownNameError: No such partition.
        UsageError: No alpha where one is needed, or one that is not possible.
    """
    name, colon, said = text.partition(":")
    kind = next((known for known in KINDS if known == name), None)
    if kind is None:
        raise UnknownNameError("partition", name, KINDS)
    if kind != "dirichlet":
        if colon:
            raise UsageError(f"--partition {text} is not possible. Allowed: {kind} alone.")
        return Partition(kind)
    key, _, value = said.partition("=")
    try:
        alpha = float(value) if key == "alpha" else math.nan
    except ValueError:
        alpha = math.nan
    if not 0 < alpha < math.inf:
        raise UsageError(
            f"--partition {text} is not possible. Allowed: dirichlet:alpha=A with A above 0, such "
            "as dirichlet:alpha=0.5; the smaller A, the fewer labels a worker sees."
        )
    return Partition(kind, alpha)


def check_partition(partition: Partition, *, framework: str) -> None:
    """Refuse a partition that a framework's implementations do not know.

    Raises:
        UsageError: With what is allowed.
    """
    if partition.kind != "shuffled" and framework not in FRAMEWORKS:
        raise UsageError(
            f"--partition {partition.text} is not possible in {framework}. Allowed: shuffled, or "
            f"another framework: {', '.join(FRAMEWORKS)}."
        )


def part_of(begin: int, end: int, rank: int, workers: int) -> tuple[int, int]:
    """Return the places of worker `rank`'s part of begin … end - 1, in order.

    The parts are as equal as can be; where the number does not divide, the first are one longer.
    A part is empty where there are fewer places than workers.
    """
    count = end - begin
    size, longer = divmod(count, workers)
    start = begin + rank * size + min(rank, longer)
    return start, start + size + (1 if rank < longer else 0)


@final
class Shards:
    """The examples of each worker of one run."""

    def __init__(
        self,
        partition: Partition,
        labels: np.ndarray,
        *,
        seed: int,
        workers: int,
        batch_size: int,
    ) -> None:
        """Draw the parts; `labels` are those of all training examples."""
        self._seed = seed
        self._count = len(labels)
        self.parts: list[np.ndarray] | None = None  # of each worker; None: they change each epoch
        if partition.kind == "shuffled":
            return
        self._places = [_places(self._count, batch_size, rank, workers) for rank in range(workers)]
        sizes = [len(places) for places in self._places]
        rng = seeds.generator(seed, "partition")
        if partition.alpha is None:
            self.parts = np.split(rng.permutation(self._count), np.cumsum(sizes)[:-1])
        else:
            self.parts = label_skewed_parts(labels, sizes, alpha=partition.alpha, rng=rng)

    def order(self, epoch: int) -> np.ndarray:
        """Return an epoch's order of all examples: shape (examples,), int64."""
        if self.parts is None:
            return seeds.order(self._seed, epoch, self._count)
        order = np.empty(self._count, dtype=np.int64)
        for rank, (places, part) in enumerate(zip(self._places, self.parts, strict=True)):
            rng = seeds.generator(self._seed, f"order of worker {rank}", epoch)
            order[places] = rng.permutation(part)
        return order


def label_skewed_parts(
    labels: np.ndarray, sizes: Sequence[int], *, alpha: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return every worker's examples, `sizes` many, all examples exactly once.

    For each worker shares of the labels are drawn from a Dirichlet distribution with the parameters
    alpha p, where p are the shares of the labels among all examples. Then the workers are served
    one after another, in an order drawn at random: each draws labels by its shares. Draws of a
    label that has run out are repeated with the shares of those that are left; where these are all
    0, so small are they, with new ones drawn in the same way for the labels that are left, which
    has the same distribution. The last worker gets what the others left. Which examples of its
    labels a worker gets is drawn at random.

    Source: Hsu, Qi and Brown, Measuring the effects of non-identical data distribution for
    federated visual classification, arXiv 1909.06335, 2 (clients of equal size; the order of the
    workers, and what follows when a label runs out, are ours).
    """
    classes, counts = np.unique(labels, return_counts=True)
    stacks = [rng.permutation(np.flatnonzero(labels == each)) for each in classes]
    parameters = alpha * counts / counts.sum()
    left = counts.copy()
    parts = [np.empty(0, dtype=np.int64) for _ in sizes]
    for rank in rng.permutation(len(sizes)):
        taken = _draw(sizes[rank], left, parameters, rng)
        ends = zip(stacks, left, taken, strict=True)
        parts[rank] = np.concatenate([stack[end - many : end] for stack, end, many in ends])
        left -= taken
    return parts


def _draw(
    count: int, left: np.ndarray, parameters: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return how many of each label a worker draws: `count`, of no label more than are left."""
    shares = rng.dirichlet(parameters)
    taken = np.zeros_like(left)
    while count:
        rest = left - taken
        weights = np.where(rest > 0, shares, 0.0)
        if not weights.sum() > 0:
            shares[rest > 0] = rng.dirichlet(parameters[rest > 0])
            continue
        drawn = np.minimum(rng.multinomial(count, weights / weights.sum()), rest)
        taken += drawn
        count -= int(drawn.sum())
    return taken


def _places(count: int, batch_size: int, rank: int, workers: int) -> np.ndarray:
    """Return a worker's places in an epoch's order of `count` examples."""
    parts = [
        np.arange(*part_of(begin, min(begin + batch_size, count), rank, workers))
        for begin in range(0, count, batch_size)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
