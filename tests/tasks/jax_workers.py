"""One of two workers in JAX, run by test_networks_in_jax.py: python jax_workers.py RANK PORT.

What the steps of two workers come to, test_synchronous_sgd.py tells; this is what else must hold.
"""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest
from framework_parity import farthest
from small_data import small_splits, small_task

from timetrial.errors import UsageError
from timetrial.frameworks import Place
from timetrial.frameworks.jax import Jax
from timetrial.plan import find_task
from timetrial.spec import BatchNorm, Dense, Flatten, Network, Task, Workload
from timetrial.tasks.networks import reference, with_jax
from timetrial.tasks.networks.with_jax.together import STEPS
from timetrial.testing.contracts import no_lap


def main(rank: int, port: int) -> None:
    """Connect, and check."""
    jax = Jax()
    place = Place(rank, 2, "127.0.0.1", port, "cpu")
    settings = jax.connect(place)
    assert settings == {"collectives": "gloo", "hostname": "127.0.0.1"}
    jax.setup(device="cpu", threads=1, precision="float64")
    with pytest.raises(UsageError, match="already runs"):
        jax.connect(place)

    work = Workload(task=tiny(), seed=3, device="cpu", precision="float64", rank=rank, workers=2)
    for algorithm in STEPS:
        this = msgspec.structs.replace(work, algorithm=algorithm)
        every_program_is_compiled_ahead(this)
        a_state_goes_on_with_the_same_bits(this)
        the_shares_of_a_probe_add_up(this)
    with pytest.raises(UsageError, match="3 workers are asked for, and JAX knows 2"):
        with_jax.build(msgspec.structs.replace(work, workers=3), small_splits(tiny()), no_lap)
    normed = msgspec.structs.replace(work, task=tiny(BatchNorm(epsilon=1e-5, momentum=0.1)))
    made = with_jax.build(normed, small_splits(normed.task), no_lap)
    with pytest.raises(UsageError, match="more than 1 number per channel"):
        made.compile()
    jax.disconnect()


def tiny(*layers: BatchNorm) -> Task:
    """Return a task that compiles at once: batches of 3, 3 and 1 examples, parts of 2, 1 and 0."""
    task = small_task(find_task("digits-cnn"), train=7, batch=3)
    head = Dense(units=10, activation="linear", init="glorot_uniform")
    return msgspec.structs.replace(task, model=Network(layers=(Flatten(), *layers, head)))


def every_program_is_compiled_ahead(work: Workload) -> None:
    """Compile; nothing changes by it, and training compiles no more. The parts are marked."""
    parts: list[str] = []
    with_jax.programs.programs_of.cache_clear()
    made = with_jax.build(work, small_splits(work.task), parts.append)
    before = made.state()
    made.compile()
    assert made.state() == before
    compiled = len(made._programs._made)
    made.advance(4)
    assert len(made._programs._made) == compiled
    explicit = ["data", "fused", "communication", "optimizer"]
    assert parts == (explicit if work.algorithm == "allreduce" else ["data", "fused"]) * 4


def a_state_goes_on_with_the_same_bits(work: Workload) -> None:
    """Train 4 steps, and go on from the state after 2."""
    first, second = (with_jax.build(work, small_splits(work.task), no_lap) for _ in range(2))
    first.advance(2)
    second.restore(first.state())
    first.advance(2)
    second.advance(2)
    assert first.state() == second.state()


def the_shares_of_a_probe_add_up(work: Workload) -> None:
    """Compare this worker's share and the other's, looked at here as well, with the reference."""
    alone = msgspec.structs.replace(work, rank=0, workers=1)
    whole = reference.build(alone, small_splits(work.task), no_lap).probe(0)
    shares = [
        with_jax.build(
            msgspec.structs.replace(work, rank=rank), small_splits(work.task), no_lap
        ).probe(0)
        for rank in (0, 1)
    ]
    assert [len(share.scores) for share in shares] == [2, 1]
    assert sum(share.loss for share in shares) == pytest.approx(whole.loss, rel=1e-10)
    summed = {n: np.add(shares[0].gradients[n], shares[1].gradients[n]) for n in whole.gradients}
    assert farthest(summed, whole.gradients) < 1e-10


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
