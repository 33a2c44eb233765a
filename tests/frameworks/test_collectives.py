"""The all-reduce of every framework that measures keeps the contract."""

from __future__ import annotations

import pytest

from timetrial.exchange.allreduce import ALLREDUCE
from timetrial.testing.contracts import CollectiveContract


@pytest.mark.parametrize("name", list(ALLREDUCE.implementations))
class TestCollectives(CollectiveContract):
    @pytest.fixture
    def framework(self, name: str) -> str:
        return name
