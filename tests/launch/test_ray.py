"""Workers on a real Ray cluster of two nodes on this machine's loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from elsewhere_runs import At, placed, supervised

from timetrial.errors import LaunchError, UsageError
from timetrial.launch import Launcher
from timetrial.launch.ray import RayLauncher
from timetrial.plan import Plan
from timetrial.testing import fakes, raycluster
from timetrial.testing.contracts import LauncherContract
from timetrial.testing.raycluster import RayCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the cluster takes half a minute


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    reason = raycluster.reason_against()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("plugin") / "plugin"
    fakes.write_plugin(folder)
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (
        RayCluster(environment={"PYTHONPATH": paths}) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield running


class TestRay(LauncherContract):
    elsewhere = True

    @pytest.fixture
    def launcher(self, cluster: RayCluster) -> Launcher:
        return At(RayLauncher(), cluster.address)


def test_two_workers_run_on_two_nodes(cluster: RayCluster, tmp_path: Path) -> None:
    run, plan = placed(tmp_path, workers=2)
    assert supervised(run, plan, At(RayLauncher(), cluster.address)).status == "reached"
    assert all(run.events(rank).exists() for rank in range(2))
    assert RayLauncher().capacity(plan_at(cluster, tmp_path)) == 2


def test_more_cores_than_the_cluster_has_are_an_error_at_once(
    cluster: RayCluster, tmp_path: Path
) -> None:
    run, plan = placed(tmp_path, workers=3)
    with pytest.raises((LaunchError, UsageError), match="3"):
        supervised(run, plan, At(RayLauncher(), cluster.address))


def plan_at(cluster: RayCluster, folder: Path) -> Plan:
    return placed(folder, cluster=cluster.address)[1]
