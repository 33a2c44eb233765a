"""One Slurm cluster of two virtual nodes for the tests of a file, where one can be started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from timetrial.testing import slurm


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm.SlurmCluster]:
    """The cluster, with one CPU in each node; its commands find it by the environment."""
    pytest.importorskip("submitit", reason="pip install 'timetrial[slurm]'")
    reason = slurm.reason_against()
    if reason is not None:
        pytest.skip(reason)
    with slurm.SlurmCluster() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running
