"""PowerSGD: every gradient matrix travels as two thin matrices, by one step of power iteration.

A tensor of two or more dimensions is a matrix M of its first dimension by the rest (of its
outermost one in memory). P is the sum over workers of M Q, its columns made orthonormal; the new Q
is the sum of transposed M times P; all workers continue with P times transposed Q. Q is kept for
the next step, and begins with normal random numbers, the same in all workers. Vectors are summed as
they are, in the same call as P. What a worker's own part lost, M - P (its own Q)', it adds to its
next gradient (`feedback`). With the rank of the matrix nothing is lost.

Columns are made orthonormal by QR (Householder) in place of the source's Gram-Schmidt: it stays
orthonormal where columns are nearly parallel or zero.

Sends 2 (k-1)/k s bytes per step for every number of: rank times (rows + columns) of each matrix,
and all vectors. As in the source every matrix is compressed, also where the thin ones are no
smaller.

Source: Vogels, Karimireddy and Jaggi, PowerSGD: practical low-rank gradient compression for
distributed optimization, arXiv 1905.13727, Algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from timetrial.algorithms.catalogue import rank_of
from timetrial.algorithms.wire import Flat, Wire, copy_array
from timetrial.engine import seeds


class _Matrix(NamedTuple):
    """One matrix; all are views that stay."""

    whole: Tensor  # M, then what is carried over: rows x columns
    left: Tensor  # P: rows x rank
    right: Tensor  # Q: columns x rank
    total: Tensor  # what the optimizer gets: rows x columns


@final
class PowerSgd:
    """The sum of all gradients, at low rank."""

    def __init__(
        self, weights: Sequence[Tensor], wire: Wire, *, seed: int, rank: int, feedback: bool
    ) -> None:
        """Begin with nothing carried over, and random Q."""
        self._wire = wire
        self._feedback = feedback
        self._carried = Flat(weights)
        self._sum = Flat(weights)
        vectors = [n for n, leaf in enumerate(weights) if leaf.ndim < 2]
        self._vectors = [self._carried.segments[n] for n in vectors]
        self._vector_sums = [self._sum.segments[n] for n in vectors]
        lefts, rights, wholes, totals = [], [], [], []
        for leaf, whole, total in zip(
            weights, self._carried.segments, self._sum.segments, strict=True
        ):
            if leaf.ndim >= 2:
                wholes.append(whole.view(_rows(leaf), -1))
                totals.append(total.view(_rows(leaf), -1))
                rows, columns = wholes[-1].shape
                lefts.append(leaf.new_zeros(rows, rank_of(rank, rows, columns)))
                rights.append(leaf.new_zeros(columns, rank_of(rank, rows, columns)))
        self._first = Flat([*lefts, *self._vectors])
        self._second = Flat(rights) if rights else None
        self._matrices = [
            _Matrix(whole, left, right, total)
            for whole, left, right, total in zip(
                wholes,
                self._first.views[: len(lefts)],
                self._second.views if self._second else [],
                totals,
                strict=True,
            )
        ]
        for number, matrix in enumerate(self._matrices):
            drawn = seeds.generator(seed, f"powersgd/{number}").normal(size=matrix.right.shape)
            matrix.right.copy_(torch.from_numpy(drawn))

    @torch.no_grad()
    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return the sum over all workers, at low rank."""
        self._carried.add(gradients)
        for matrix in self._matrices:
            torch.mm(matrix.whole, matrix.right, out=matrix.left)
        plain = self._first.views[len(self._matrices) :]
        for vector, mine in zip(plain, self._vectors, strict=True):
            vector.copy_(mine)
        self._wire.sum(self._first.buffer)

        for matrix in self._matrices:
            matrix.left.copy_(torch.linalg.qr(matrix.left).Q)
            torch.mm(matrix.whole.T, matrix.left, out=matrix.right)
            if self._feedback:
                matrix.whole.addmm_(matrix.left, matrix.right.T, alpha=-1)
        if self._second is not None:
            self._wire.sum(self._second.buffer)

        for matrix in self._matrices:
            torch.mm(matrix.left, matrix.right.T, out=matrix.total)
        for vector, mine, total in zip(plain, self._vectors, self._vector_sums, strict=True):
            total.copy_(vector)
            mine.zero_()
        if not self._feedback:
            self._carried.buffer.zero_()
        return self._sum.views

    def mix(self, weights: list[Tensor], step: int) -> None:
        """Leave the weights: they are the same everywhere."""

    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return None: the weights are the same everywhere."""
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what this worker carries over, and Q."""
        found = {"carried": self._carried.array()}
        return found if self._second is None else {**found, "right": self._second.array()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on with the same."""
        copy_array(arrays, "carried", self._carried.buffer)
        if self._second is not None:
            copy_array(arrays, "right", self._second.buffer)


def _rows(leaf: Tensor) -> int:
    """Return the size of the dimension that is outermost in memory."""
    strides = torch.empty_like(leaf).stride()
    outermost = max(range(leaf.ndim), key=lambda axis: (strides[axis], -axis))
    return int(leaf.shape[outermost])


def build(
    weights: Sequence[Tensor],
    *,
    group: ProcessGroup | None,
    seed: int,
    rank: int,
    feedback: bool,
) -> PowerSgd:
    """Build it; the seed draws the first Q."""
    return PowerSgd(weights, Wire(group), seed=seed, rank=rank, feedback=feedback)
