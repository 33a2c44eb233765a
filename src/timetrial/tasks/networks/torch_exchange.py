"""How the workers' gradients become one in PyTorch: explicitly, or by DistributedDataParallel.

The loss of a worker's part is its share of the whole mini-batch's loss, so the sum over the workers
is the gradient of the whole, whatever the sizes of the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor, nn

from timetrial import algorithms
from timetrial.spec import Lap, Workload

Loss = Callable[[], Tensor]
"""Runs forward over a worker's part and returns its share of the loss."""


class Exchange(Protocol):
    """What stands between a worker's forward pass and its optimizer."""

    def gradients(self, loss: Loss | None) -> list[Tensor]:
        """Return the gradients for the optimizer; `loss` None: this worker's part is empty."""

    def mix(self, step: int, velocity: list[Tensor]) -> None:
        """Exchange weights, or momentum, after the update of `step`."""

    def settled(self) -> list[Tensor] | None:
        """Return the weights to evaluate, None: this worker's own. All workers call it."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state for a checkpoint."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from `arrays`."""


@final
class Alone:
    """One worker: forward and backward, nothing else."""

    def __init__(self, leaves: Sequence[Tensor], lap: Lap) -> None:
        """Keep the weights."""
        self._leaves = leaves
        self._lap = lap

    def gradients(self, loss: Loss | None) -> list[Tensor]:
        """Return the gradients."""
        assert loss is not None  # the mini-batch of one worker is never empty
        value = loss()
        self._lap("forward")

        found = list(torch.autograd.grad(value, self._leaves))
        self._lap("backward")
        return found

    def mix(self, step: int, velocity: list[Tensor]) -> None:
        """Do nothing."""

    def settled(self) -> list[Tensor] | None:
        """Return None."""
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing."""
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""


@final
class Explicit:
    """Forward, backward, then what the algorithm exchanges: each a part of its own."""

    def __init__(self, work: Workload, leaves: Sequence[Tensor], lap: Lap) -> None:
        """Build the algorithm."""
        self._algorithm = algorithms.build(work.algorithm, leaves, seed=work.seed)
        self._leaves = leaves
        self._lap = lap

    def gradients(self, loss: Loss | None) -> list[Tensor]:
        """Return what the algorithm makes of all workers' gradients."""
        if loss is None:
            found = [torch.zeros_like(leaf) for leaf in self._leaves]
            self._lap("forward")
        else:
            value = loss()
            self._lap("forward")
            found = list(torch.autograd.grad(value, self._leaves))
        self._lap("backward")

        found = self._algorithm.reduce(found)
        self._lap("communication")
        return found

    @torch.no_grad()
    def mix(self, step: int, velocity: list[Tensor]) -> None:
        """Let the algorithm exchange weights and momentum."""
        self._algorithm.mix([leaf.detach() for leaf in self._leaves], step)
        if isinstance(self._algorithm, algorithms.MixesMomentum):
            self._algorithm.mix_momentum(velocity, step)
        self._lap("communication")

    @torch.no_grad()
    def settled(self) -> list[Tensor] | None:
        """Return what the algorithm evaluates."""
        return self._algorithm.settled([leaf.detach() for leaf in self._leaves])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the algorithm's state."""
        return {f"algorithm/{name}": value for name, value in self._algorithm.arrays().items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Give the algorithm its state."""
        head = "algorithm/"
        own = {n.removeprefix(head): v for n, v in arrays.items() if n.startswith(head)}
        self._algorithm.restore(own)


class _Called(nn.Module):
    """A module that does what it is called with: DistributedDataParallel wants one."""

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        super().__init__()
        self.leaves = nn.ParameterList(leaves)

    def forward(self, loss: Loss) -> Tensor:
        """Return the loss."""
        return loss()


@final
class Ddp:
    """PyTorch's DistributedDataParallel: the exchange runs inside the backward pass."""

    def __init__(self, leaves: Sequence[Tensor], lap: Lap, *, workers: int) -> None:
        """Wrap the weights; buffers stay each worker's own."""
        self._leaves = leaves
        self._lap = lap
        self._workers = workers
        self._module = nn.parallel.DistributedDataParallel(
            _Called(leaves), broadcast_buffers=False, gradient_as_bucket_view=False
        )

    def gradients(self, loss: Loss | None) -> list[Tensor]:
        """Return the sum of all workers' gradients."""
        for leaf in self._leaves:
            leaf.grad = None
        value = self._module(loss if loss is not None else self._nothing)
        self._lap("forward")

        (value * self._workers).backward()  # it divides the sum by their number
        self._lap("fused")
        found = [leaf.grad for leaf in self._leaves]
        assert all(gradient is not None for gradient in found)
        return [gradient for gradient in found if gradient is not None]

    def _nothing(self) -> Tensor:
        """Return a loss of 0 that depends on every weight."""
        return torch.stack([leaf.sum() for leaf in self._leaves]).sum() * 0

    def mix(self, step: int, velocity: list[Tensor]) -> None:
        """Do nothing."""

    def settled(self) -> list[Tensor] | None:
        """Return None: all workers hold the same."""
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing."""
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""


def exchange_of(work: Workload, leaves: Sequence[Tensor], lap: Lap) -> Exchange:
    """Return the exchange that the workload asks for."""
    if work.workers == 1:
        return Alone(leaves, lap)
    if work.algorithm == "ddp":
        return Ddp(leaves, lap, workers=work.workers)
    return Explicit(work, leaves, lap)
