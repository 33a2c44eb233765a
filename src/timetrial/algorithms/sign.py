"""Signs: one bit per entry of the gradient, eight of them packed into each byte that is sent.

`scaled` (EF-signSGD): a worker sends the signs of every tensor and one scale, the mean absolute
value; what the two together miss it adds to its gradient of the next step (`feedback`). Every
worker sums what all have sent. The source defines the scale for one vector and one worker; here it
is per tensor, and the decoded gradients are summed without a second compression.

`majority` (signSGD with majority vote): only signs; an entry becomes +size or -size as most workers
say, 0 in a tie. A worker's entry of exactly 0, as dead units have them, votes + in one step and -
in the next, and the other way round in the worker beside it. The source lets each worker send the
sign of its momentum; here the task's optimizer applies momentum to the votes.

Entries are added in the order of ranks: weights stay the same in all workers, bit for bit.
Sends (k-1) (n/8 + L s) bytes per step for L tensors; majority (k-1) n/8.

Source: Karimireddy et al., Error feedback fixes SignSGD, arXiv 1901.09847, Algorithm 1; Bernstein
et al., signSGD with majority vote, arXiv 1810.05291.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from timetrial.algorithms.wire import Flat, Wire, copy_array

BITS: Final = 8


@final
class Packing:
    """Signs to bits and back."""

    def __init__(self, like: Tensor) -> None:
        """Make the tables for vectors of this length, type and device."""
        self._count = like.numel()
        self._powers = (2 ** torch.arange(BITS, device=like.device)).to(torch.uint8)
        codes = torch.arange(2**BITS, device=like.device)[:, None]
        bits = (codes // 2 ** torch.arange(BITS, device=like.device)) % 2
        self._signs = (2 * bits - 1).to(like.dtype)  # of every byte

    def pack(self, positive: Tensor) -> Tensor:
        """Return booleans as bits, the last byte filled up with zeros."""
        spare = -self._count % BITS
        whole = torch.nn.functional.pad(positive.to(torch.uint8), (0, spare))
        return (whole.view(-1, BITS) * self._powers).sum(1, dtype=torch.uint8)

    def unpack(self, packed: Tensor) -> Tensor:
        """Return +1 and -1."""
        return self._signs[packed.long()].view(-1)[: self._count]


@final
class ScaledSigns:
    """The sum of all workers' scaled signs."""

    def __init__(self, weights: Sequence[Tensor], wire: Wire, *, feedback: bool) -> None:
        """Begin with nothing carried over."""
        self._wire = wire
        self._feedback = feedback
        self._carried = Flat(weights)
        self._sum = Flat(weights)
        self._packing = Packing(self._carried.buffer)
        self._sizes = torch.tensor(self._carried.sizes, device=self._carried.buffer.device)

    @torch.no_grad()
    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return the sum of what all workers send of their gradients."""
        whole = self._carried.add(gradients)
        norms = torch.stack(torch._foreach_norm(self._carried.segments, 1))
        scales = norms / self._sizes.clamp(min=1)
        bits = self._packing.pack(whole >= 0)
        if self._feedback:
            whole -= self._decode(scales, bits)
        else:
            whole.zero_()
        total = self._sum.buffer.zero_()
        head = scales.view(torch.uint8)
        for message in self._wire.gather(torch.cat([head, bits])):
            theirs = message[: head.numel()].view(scales.dtype)
            total += self._decode(theirs, message[head.numel() :])
        return self._sum.views

    def mix(self, weights: list[Tensor], step: int) -> None:
        """Leave the weights: they are the same everywhere."""

    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return None: the weights are the same everywhere."""
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what this worker carries over."""
        return {"carried": self._carried.array()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Carry the same over again."""
        copy_array(arrays, "carried", self._carried.buffer)

    def _decode(self, scales: Tensor, bits: Tensor) -> Tensor:
        signs = self._packing.unpack(bits)
        return signs * scales.repeat_interleave(self._sizes, output_size=signs.numel())


@final
class MajorityVote:
    """The sign of most workers' signs."""

    def __init__(self, weights: Sequence[Tensor], wire: Wire, *, size: float) -> None:
        """Begin with the first vote."""
        self._wire = wire
        self._size = size
        self._sum = Flat(weights)
        self._packing = Packing(self._sum.buffer)
        self._votes = 0

    @torch.no_grad()
    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return plus or minus `size`, as the vote goes."""
        mine = self._sum.take(gradients)
        zeros_count = (self._votes + self._wire.rank) % 2 == 0
        bits = self._packing.pack(mine >= 0 if zeros_count else mine > 0)
        total = self._sum.buffer.zero_()
        for message in self._wire.gather(bits):
            total += self._packing.unpack(message)
        total.sign_().mul_(self._size)
        self._votes += 1
        return self._sum.views

    def mix(self, weights: list[Tensor], step: int) -> None:
        """Leave the weights: they are the same everywhere."""

    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return None: the weights are the same everywhere."""
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the number of votes so far."""
        return {"votes": np.array(self._votes)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on with the next vote."""
        self._votes = int(arrays["votes"])


def build(
    weights: Sequence[Tensor],
    *,
    group: ProcessGroup | None,
    seed: int,
    form: str,
    feedback: bool,
    size: float,
) -> ScaledSigns | MajorityVote:
    """Build either form; no random numbers."""
    if form == "majority":
        return MajorityVote(weights, Wire(group), size=size)
    return ScaledSigns(weights, Wire(group), feedback=feedback)
