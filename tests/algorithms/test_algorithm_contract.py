"""Every algorithm of the registry passes the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from timetrial.algorithms import REGISTRY, describe
from timetrial.testing.algorithms import AlgorithmContract
from timetrial.testing.gang import Gang

ALGORITHMS = {
    "allreduce": 2,
    "async-sgd:staleness=2": 3,
    "gossip": 4,
    "gossip:topology=torus": 4,
    "local-sgd": 3,
    "local-sgd:period=3:momentum=averaged": 2,
    "powersgd:rank=1": 3,
    "sign": 2,
    "sign:form=majority:size=0.3": 3,
    "top-k:ratio=0.1": 4,
}


def test_every_algorithm_with_a_file_is_checked() -> None:
    built = {name for name in REGISTRY.names() if describe(name).build is not None}

    assert {text.partition(":")[0] for text in ALGORITHMS} == built


@pytest.mark.parametrize("algorithm", ALGORITHMS)
class TestEveryAlgorithm(AlgorithmContract):
    @pytest.fixture
    def gang(self, algorithm: str, gangs: Callable[[int], Gang]) -> Gang:
        return gangs(ALGORITHMS[algorithm])
