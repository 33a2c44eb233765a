"""What a launcher starts workers on, started on this machine for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from timetrial.testing import raycluster, slurm, sshd


@contextlib.contextmanager
def started(launcher: str, *, cpus: int = 1) -> Iterator[str | None]:
    """Start what `launcher` needs and set the environment for it; yield what --cluster is to say.

    Two nodes of `cpus` cores each, by their own count: a Slurm, two SSH servers that look for data
    in TIMETRIAL_DATA, or a Ray. Other launchers need nothing.

    Raises:
        LaunchError, RuntimeError: A server does not start.
    """
    with contextlib.ExitStack() as stack:
        environment: Mapping[str, str] = {}
        cluster = None
        if launcher == "slurm":
            environment = stack.enter_context(slurm.SlurmCluster(cpus=cpus)).environment
        elif launcher == "ray":
            ray = stack.enter_context(raycluster.RayCluster(cpus=cpus))
            cluster, environment = ray.address, ray.environment
        elif launcher == "ssh":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            servers = stack.enter_context(sshd.SshServers(folder / "sshd"))
            data = {name: os.environ[name] for name in ("TIMETRIAL_DATA",) if name in os.environ}
            hosts = servers.write_hosts(
                folder / "hosts.toml", python=sys.executable, environment=data, slots=(cpus, cpus)
            )
            cluster = str(hosts)
        old = dict(os.environ)
        os.environ.update(environment)
        stack.callback(_restore, old)
        yield cluster


def _restore(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
