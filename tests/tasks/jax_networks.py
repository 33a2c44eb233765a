"""Run by test_networks_in_jax.py: the JAX implementation, and what it compiles ahead of time."""

from __future__ import annotations

import pytest
from every_layer import every_layer
from framework_parity import NetworkParity
from small_data import small_splits

from timetrial.errors import UsageError
from timetrial.spec import Build, Compilable, Workload
from timetrial.tasks.networks import with_jax
from timetrial.testing.contracts import no_lap


class TestJaxNetwork(NetworkParity):
    @pytest.fixture
    def build(self) -> Build:
        return with_jax.build


def test_compile_makes_every_program_and_changes_no_number():
    task = every_layer()
    splits = small_splits(task)
    work = Workload(task=task, seed=3, device="cpu", precision="float32")
    with_jax.programs.programs_of.cache_clear()
    made = with_jax.build(work, splits, no_lap)
    before = made.state()
    assert isinstance(made, Compilable)
    made.compile()
    assert made.state() == before
    compiled = len(made._programs._made)
    made.advance(5)
    made.predict(splits["test"])
    assert len(made._programs._made) == compiled == 3  # full and last batch; the test split


def test_an_unknown_device_is_refused_by_name():
    task = every_layer()
    work = Workload(task=task, seed=3, device="abacus", precision="float32")
    with pytest.raises(UsageError, match="abacus"):
        with_jax.build(work, small_splits(task), no_lap)
