"""The JAX implementation computes what the NumPy reference does."""

from __future__ import annotations

import pytest
from own_process import run_tests


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_jax_is_the_reference():
    ended = run_tests("jax_networks.py")
    assert ended.returncode == 0, ended.stdout[-5000:]
