"""Asynchronous SGD with bounded staleness (SSP): nobody waits but for who is too far ahead.

Worker 0 holds the weights in a server (`parameter_server`), threads beside its own training. After
each step a worker sends the change that its optimizer made to its weights; the server adds a k-th
of it and returns the weights as they are then, others' changes included. A worker begins no step
while it is more than `staleness` steps ahead of the slowest; until then it waits for nobody. With a
staleness of 0 this is synchronous SGD (up to rounding), since the update rule is linear in the
gradients. Momentum stays each worker's own, and so is what the optimizer gets: k times the worker's
gradient, the mean over its own part of the mini-batch.

Which changes a worker has seen depends on who was faster: two runs with one seed differ, and so
does a resumed run. Worker 0 waits at an evaluation and at a checkpoint until all have done as many
steps as it has, so that no change is lost; nowhere else do all meet.

Sends n s bytes per step and worker to worker 0, and as much back; over TCP of its own, whatever the
group's backend, to the address in MASTER_ADDR.

Source: Ho et al., More effective distributed ML via a stale synchronous parallel parameter server,
NeurIPS 26 (2013), 2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from timetrial.algorithms.parameter_server import TOKEN_BYTES, Client, Server
from timetrial.algorithms.wire import Flat, Wire, scale, to_array

_PORT_BYTES: Final = 2


@final
class AsyncSgd:
    """A worker's exchange with the server; in worker 0 the server as well."""

    def __init__(
        self, weights: Sequence[Tensor], wire: Wire, *, staleness: int, address: str
    ) -> None:
        """Start the server, or find it: all workers do this together."""
        self._wire = wire
        self._weights = list(weights)
        self._before = Flat(weights)
        self._change = Flat(weights)
        kind = to_array(self._before.buffer[:1]).dtype
        count = self._before.buffer.numel()
        self._reply = np.empty(count, kind)
        self._server: Server | None = None
        self._client: Client | None = None
        message = torch.zeros(
            _PORT_BYTES + TOKEN_BYTES, dtype=torch.uint8, device=self._before.buffer.device
        )
        if wire.rank == 0:
            self._server = Server(count=count, dtype=kind, workers=wire.size, staleness=staleness)
            port = self._server.listen(address) if wire.size > 1 else 0
            said = port.to_bytes(_PORT_BYTES, "big") + self._server.token
            message.copy_(torch.tensor(list(said), dtype=torch.uint8))
        heard = bytes(wire.gather(message)[0].tolist())
        if wire.rank > 0:
            port, token = int.from_bytes(heard[:_PORT_BYTES], "big"), heard[_PORT_BYTES:]
            self._client = Client(address, port, token, rank=wire.rank)
            self._client.connect(count, kind)

    @torch.no_grad()
    def reduce(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return this worker's own gradient, as the mean over its part."""
        self._before.take(self._weights)
        if self._server is not None and not self._server.opened:
            self._server.open(self._before.array())
        return scale(gradients, self._wire.size)

    @torch.no_grad()
    def mix(self, weights: list[Tensor], step: int) -> None:
        """Send what the step changed; go on with the server's weights."""
        change = self._change.take(weights)
        change -= self._before.buffer
        if self._server is not None:
            reply = self._server.exchange(0, to_array(change))
        else:
            assert self._client is not None
            reply = self._reply
            self._client.exchange(to_array(change), reply)
        change.copy_(torch.from_numpy(reply))
        self._change.give(weights)

    @torch.no_grad()
    def settled(self, weights: list[Tensor]) -> list[Tensor] | None:
        """Return the server's weights after as many steps of every worker; in worker 0 only."""
        if self._server is None or not self._server.opened:
            return None
        self._change.buffer.copy_(torch.from_numpy(self._server.together()))
        return self._change.views

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the server's weights in worker 0, after as many steps of every worker."""
        if self._server is None:
            return {}
        if not self._server.opened:
            return {"server": to_array(self._before.take(self._weights))}
        return {"server": self._server.together()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Serve these weights."""
        if self._server is not None:
            self._server.open(arrays["server"])

    def close(self) -> None:
        """Close the connections."""
        for side in (self._server, self._client):
            if side is not None:
                side.close()


def build(
    weights: Sequence[Tensor], *, group: ProcessGroup | None, seed: int, staleness: int
) -> AsyncSgd:
    """Build it; no random numbers."""
    address = os.environ.get("MASTER_ADDR", "127.0.0.1")
    return AsyncSgd(weights, Wire(group), staleness=staleness, address=address)
