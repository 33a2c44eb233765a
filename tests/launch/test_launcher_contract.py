"""Every launcher of the registry keeps the contract."""

from __future__ import annotations

from typing import cast

import pytest

from timetrial.launch import REGISTRY, Launcher
from timetrial.testing.contracts import LauncherContract

OWN_TESTS = ("kubernetes", "ray", "slurm", "ssh")  # need a cluster: asked in their own files
STARTS_NOTHING = ("skypilot",)  # it writes a file that another program starts


@pytest.mark.parametrize(
    "name", [name for name in REGISTRY.names() if name not in OWN_TESTS + STARTS_NOTHING]
)
class TestLaunchers(LauncherContract):
    @pytest.fixture
    def launcher(self, name: str) -> Launcher:
        return cast(type[Launcher], REGISTRY.get(name))()
