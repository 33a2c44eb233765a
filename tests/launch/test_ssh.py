"""Workers over a real SSH server on this machine's loopback."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from elsewhere_runs import At, placed, supervised

from timetrial.engine.events import WORKER_LOG
from timetrial.errors import LaunchError
from timetrial.launch import Launcher
from timetrial.launch.ssh import SshLauncher
from timetrial.testing import sshd
from timetrial.testing.contracts import LauncherContract
from timetrial.testing.sshd import SshServers


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServers]:
    reason = sshd.reason_against()
    if reason is not None:
        pytest.skip(reason)
    with SshServers(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def launcher(servers: SshServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launcher:
    told = {
        name: os.environ[name] for name in ("PYTHONPATH", "TIMETRIAL_DATA") if name in os.environ
    }
    hosts = servers.write_hosts(
        tmp_path / "hosts.toml", python=sys.executable, environment=told, slots=(1, 1)
    )
    return At(SshLauncher(), str(hosts))


class TestSsh(LauncherContract):
    elsewhere = True


class TestTwoHosts:
    @pytest.fixture(autouse=True)
    def _fakes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from timetrial.testing import fakes

        fakes.write_plugin(tmp_path / "plugin")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=os.pathsep)

    def test_two_workers_run_on_two_hosts(self, launcher: Launcher, tmp_path: Path) -> None:
        run, plan = placed(tmp_path / "store", workers=2)
        assert supervised(run, plan, launcher).status == "reached"
        for rank in range(2):
            assert run.events(rank).exists()
        assert run.done.exists()

    def test_a_host_whose_key_changed_is_refused(
        self, servers: SshServers, launcher: Launcher, tmp_path: Path
    ) -> None:
        servers.change_host_key("node2")
        run, plan = placed(tmp_path / "store", workers=2)
        with pytest.raises(LaunchError, match="node2"):
            supervised(run, plan, launcher)
        assert WORKER_LOG.read(run.events(0)) == []  # nor has the other one begun

    def test_a_host_that_does_not_answer_is_named(
        self, servers: SshServers, launcher: Launcher, tmp_path: Path
    ) -> None:
        servers.stop("node1")
        run, plan = placed(tmp_path / "store")
        begun = time.monotonic()
        with pytest.raises(LaunchError, match="node1"):
            supervised(run, plan, launcher)
        assert time.monotonic() - begun < 60  # it gives up; no matter how fast
        servers.start("node1")
