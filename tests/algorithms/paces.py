"""What members of a gang do in the tests of asynchronous SGD."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import distributed

from timetrial import algorithms
from timetrial.algorithms import Closes
from timetrial.errors import PeerLostError


def run(
    *, rank: int, size: int, staleness: int, steps: int, slow: int, pause_s: float
) -> dict[str, np.ndarray]:
    """Train, the worker `slow` pausing in every step; return when each step began and ended."""
    leaf = torch.zeros(100)
    made = algorithms.build(f"async-sgd:staleness={staleness}", [leaf], seed=1)
    distributed.barrier()
    begun, ended = [], []
    for step in range(steps):
        begun.append(time.monotonic_ns())
        given = made.reduce([torch.ones(100)])
        leaf.sub_(given[0])
        if rank == slow:
            time.sleep(pause_s)
        ended.append(time.monotonic_ns())
        made.mix([leaf], step)
    settled = made.settled([leaf])
    distributed.barrier()
    assert isinstance(made, Closes)
    made.close()
    total = leaf if settled is None else settled[0]
    return {"begun": np.array(begun), "ended": np.array(ended), "total": total.numpy()}


def lose(*, rank: int, size: int, gone: int) -> dict[str, np.ndarray]:
    """Train until the worker `gone` leaves after two steps; return what the others were told."""
    leaf = torch.zeros(100)
    made = algorithms.build("async-sgd:staleness=1", [leaf], seed=1)
    assert isinstance(made, Closes)
    told = ""
    try:
        for step in range(2 if rank == gone else 10):
            made.reduce([torch.ones(100)])
            made.mix([leaf], step)
    except PeerLostError as error:
        told = str(error)
    if rank == gone:
        made.close()
    distributed.barrier()
    made.close()
    return {"told": np.array(told)}
