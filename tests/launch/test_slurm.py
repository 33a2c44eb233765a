"""Workers as tasks of jobs on a real Slurm cluster of two nodes."""

from __future__ import annotations

import pytest
from slurm_cluster import cluster  # noqa: F401 - a fixture

from timetrial.launch.slurm import SlurmLauncher
from timetrial.testing.contracts import LauncherContract


@pytest.mark.usefixtures("cluster")
class TestSlurm(LauncherContract):
    elsewhere = True

    @pytest.fixture
    def launcher(self) -> SlurmLauncher:
        return SlurmLauncher()
