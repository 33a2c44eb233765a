"""What the times of two workers say of the link between them."""

from __future__ import annotations

import numpy as np
import pytest

from timetrial.ceilings import pair
from timetrial.ceilings.orders import Summed

LATENCY_S, S_PER_BYTE = 1e-4, 1e-9


def side(shift: float) -> list[Summed]:
    """8 rounds of 3 repetitions, of which the second is undisturbed."""
    noise = np.random.default_rng(0).uniform(1, 1.02, (8, 1))
    rounds = {
        size: (LATENCY_S + S_PER_BYTE * size) * (1 + shift) * noise * np.array([1.5, 1.0, 1.8])
        for size in pair.REPETITIONS
    }
    return [
        Summed(bytes=size, rounds=tuple(map(tuple, seconds.tolist())))
        for size, seconds in rounds.items()
    ]


def test_bandwidth_and_latency_are_those_of_the_undisturbed_line() -> None:
    bandwidth, latency = pair.bandwidth_and_latency([side(0.1), side(-0.1)])

    assert bandwidth.n == latency.n == 8
    assert bandwidth.value == pytest.approx(8 / S_PER_BYTE, rel=0.03)
    assert latency.value == pytest.approx(LATENCY_S, rel=0.03)
    for found in (bandwidth, latency):
        assert found.low is not None
        assert found.value is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
