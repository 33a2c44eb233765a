"""A real Ray cluster of several nodes on this machine's loopback: for tests, and to inject faults.

`ray start` once for each node, all in one folder of their own; stopped by process id, never by
name. Each node offers so many CPUs as it is told, which Ray counts and does not enforce.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Final, Self

import psutil

from timetrial.errors import LaunchError
from timetrial.launch.local import free_port

_START_S: Final = 180.0
_TRIES: Final = 3  # Ray gives a node 30 s, which a busy machine may exceed
_STORE_BYTES: Final = 100_000_000  # the least that Ray takes is 75 MB
_RAYLET: Final = "/raylet/raylet"


def reason_against() -> str | None:
    """Return why no cluster can be started here, with what to do; None where one can."""
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed: pip install 'timetrial[ray]'"
    return None


class RayCluster:
    """A cluster that runs inside the `with` block, at `address`."""

    def __init__(
        self, *, nodes: int = 2, cpus: int = 1, environment: Mapping[str, str] | None = None
    ) -> None:
        """Plan nodes with `cpus` each; what runs on them inherits `environment`."""
        self._nodes = nodes
        self._cpus = cpus
        self.environment = {
            **os.environ,
            **(environment or {}),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.address = ""
        self._folder = ""

    def __enter__(self) -> Self:
        """Start the nodes.

        Raises:
            LaunchError: They cannot be started here.
        """
        reason = reason_against()
        if reason is not None:
            raise LaunchError(f"No Ray cluster can be started here: {reason}.")
        self._folder = tempfile.mkdtemp(prefix="tt-ray-", dir="/tmp")  # paths of sockets are short
        try:
            for attempt in range(_TRIES):
                try:
                    self._start()
                    break
                except LaunchError:
                    self._kill()
                    if attempt == _TRIES - 1:
                        raise
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Kill every process of the cluster; remove the folder."""
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def raylets(self) -> list[psutil.Process]:
        """Return the process that is each node, that of the head first."""
        own = [process for process in self._processes() if _RAYLET in _command_line(process)]
        return sorted(own, key=lambda process: process.create_time())

    def _start(self) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        head = ["--head", f"--port={port}", f"--temp-dir={self._folder}", "--no-monitor"]
        head += ["--include-dashboard=false"]
        for place in [head, *[[f"--address={self.address}"]] * (self._nodes - 1)]:
            self._ray("start", *place)

    def _ray(self, *words: str) -> None:
        options = ["--node-ip-address=127.0.0.1", f"--num-cpus={self._cpus}", "--num-gpus=0"]
        options += [f"--object-store-memory={_STORE_BYTES}", "--disable-usage-stats"]
        options += ["--include-log-monitor=false"]
        try:
            subprocess.run(
                [sys.executable, "-m", "ray.scripts.scripts", *words, *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                timeout=_START_S,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise LaunchError(f"ray start failed: {error.stdout}{error.stderr}") from error
        except subprocess.TimeoutExpired as error:
            raise LaunchError(f"ray start took longer than {_START_S:g} s") from error

    def _kill(self) -> None:
        """Kill all processes, the nodes last: SIGTERM leaves them running."""
        deadline = time.monotonic() + 20.0
        while (left := self._processes()) and time.monotonic() < deadline:
            for process in sorted(left, key=lambda process: _RAYLET in _command_line(process)):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=1.0)

    def _processes(self) -> list[psutil.Process]:
        """Return the cluster's processes, told by its folder, and those below them."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            if self._folder and self._folder in _command_line(process):
                found[process.pid] = process
                with contextlib.suppress(psutil.Error):
                    below = process.children(recursive=True)
                    found.update((child.pid, child) for child in below)
        found.pop(os.getpid(), None)
        return [process for process in found.values() if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _command_line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
