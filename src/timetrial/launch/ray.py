"""Workers on the nodes of a Ray cluster, of which the user gives the address alone.

Ray core finds the cores: one placement group, an actor for each worker. The worker is a process of
its own with an interpreter of its own, started through an agent as everywhere, so nothing of Ray is
in what is metered. A driver process (`ray_driver`) stands between, one for each run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Final, Self, cast, final

import msgspec

from timetrial.errors import LaunchError, MissingExtraError, UsageError
from timetrial.launch.remote.elsewhere import Site, start_elsewhere
from timetrial.launch.remote.mirrored import MirroredJob
from timetrial.launch.remote.pipe import PipeLink, Streams
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.spec import MALFORMED, Record

ADDRESS_VARIABLE: Final = "RAY_ADDRESS"
_GREETING_S: Final = 30.0
_END_S: Final = 30.0
_TAIL: Final = 2000


class Task(Record, frozen=True, kw_only=True):
    """What a run wants of the cluster, for the driver."""

    address: str
    workers: int
    cores: int  # of each
    gpus: int  # of each
    sockets: tuple[int, ...] = ()  # file descriptors by rank; none: only the room is asked for


class Node(Record, frozen=True, kw_only=True):
    """Where a worker's actor is."""

    address: str
    node: str


class Answer(Record, frozen=True, kw_only=True):
    """What became of a task."""

    nodes: tuple[Node, ...] = ()
    room: int = 0  # how many runs like it would find free cores now
    error: str = ""


@final
class RayLauncher:
    """Runs each worker in an actor's cores; `plan.cluster` is the address, None: RAY_ADDRESS."""

    def settle(self, plan: Plan) -> Plan:
        """Return the plan with the cluster's address.

        Raises:
            MissingExtraError: Ray is not installed here.
            UsageError: No address.
        """
        return msgspec.structs.replace(plan, cluster=_task(plan).address)

    def start(self, run: RunDir, plan: Plan, attempt: int) -> MirroredJob:
        """Have Ray find the cores, then send and start everything.

        Raises:
            MissingExtraError: Ray is not installed here.
            UsageError: No address.
            LaunchError: No cluster there, or no room in it.
        """
        driver = _Driver(_task(plan), sockets=plan.workers)
        resources = contextlib.ExitStack()
        resources.enter_context(driver)
        return start_elsewhere(
            lambda: _sites(driver), run, plan, attempt, resources, give_up=driver.kill
        )

    def capacity(self, plan: Plan) -> int:
        """Return how many runs like `plan` find free cores at once, now; 0: it would wait.

        Raises:
            LaunchError, UsageError: It can never run there.
        """
        with _Driver(_task(plan), sockets=0) as driver:
            return driver.answer().room


def _task(plan: Plan) -> Task:
    address = plan.cluster or os.environ.get(ADDRESS_VARIABLE)
    if not address:
        raise UsageError(
            "Launcher ray needs a cluster: add --cluster HOST:PORT, or set "
            f"{ADDRESS_VARIABLE}. `ray start --head` starts one."
        )
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError("Launcher ray needs Ray, which", extra="ray")
    gpus = int(plan.device.startswith(("cuda", "rocm")))
    return Task(address=address, workers=plan.workers, cores=plan.cores, gpus=gpus)


def _sites(driver: _Driver) -> list[Site]:
    """Return the workers' places, once the actors are there."""
    nodes = driver.answer().nodes
    return [_site(driver, rank, node) for rank, node in enumerate(nodes)]


def _site(driver: _Driver, rank: int, node: Node) -> Site:
    wires = _SocketWires(driver, driver.sockets[rank], node)
    return Site(
        host=f"{node.address} ({node.node[:8]})",
        link=PipeLink(f"Ray node {node.address}", wires, greeting_s=_GREETING_S),
        address=lambda _: node.address,
        python=lambda machine: machine.executable,
        may_build=True,
        environment={},
    )


@final
class _Driver:
    """The driver process of one run."""

    def __init__(self, task: Task, *, sockets: int) -> None:
        self._pairs = [socket.socketpair() for _ in range(sockets)]
        self.sockets: Sequence[socket.socket] = [ours for ours, _ in self._pairs]
        handles = tuple(theirs.fileno() for _, theirs in self._pairs)
        self._said = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "timetrial.launch.ray_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=handles,
            env={"RAY_USAGE_STATS_ENABLED": "0", **os.environ},
            start_new_session=True,  # Ctrl-C reaches the launcher alone
        )
        for _, theirs in self._pairs:
            theirs.close()
        self._thread = threading.Thread(target=self._overhear, daemon=True)
        self._thread.start()
        wanted = msgspec.structs.replace(task, sockets=handles)
        with contextlib.suppress(BrokenPipeError):  # what it said is told by `answer`
            self._stream("stdin").write(msgspec.json.encode(wanted) + b"\n")
            self._stream("stdin").flush()

    def answer(self) -> Answer:
        """Return what became of the task; waits for it.

        Raises:
            LaunchError: No cluster, or no room in it.
        """
        line = self._stream("stdout").readline()
        try:
            told = msgspec.json.decode(line, type=Answer)
        except MALFORMED as error:
            raise LaunchError(f"The Ray driver ended without a word. {self.said()}") from error
        if told.error:
            raise LaunchError(told.error)
        return told

    def kill(self) -> None:
        """End it at once: Ray ends its actors, and they their far ends."""
        self._process.kill()

    def said(self) -> str:
        """Return the end of what it and Ray said."""
        self._thread.join(0.5)
        return self._said.decode(errors="replace").strip()

    def __enter__(self) -> Self:
        """Return the driver."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Have it give the cores back, and end."""
        with contextlib.suppress(BrokenPipeError):
            self._stream("stdin").close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        for name in ("stdout", "stderr"):
            self._stream(name).close()
        for ours in self.sockets:
            ours.close()

    def _stream(self, name: str) -> IO[bytes]:
        return cast(IO[bytes], getattr(self._process, name))

    def _overhear(self) -> None:
        while more := os.read(self._stream("stderr").fileno(), 4096):
            self._said = (self._said + more)[-_TAIL:]


@final
class _SocketWires:
    """One worker's socket to the driver."""

    prelude = b""  # the actor has told the far end already

    def __init__(self, driver: _Driver, wire: socket.socket, node: Node) -> None:
        self._driver = driver
        self._wire = wire
        self._node = node

    def start(self) -> Streams:
        """Return the socket as two streams."""
        return Streams(
            cast(IO[bytes], self._wire.makefile("rb", buffering=0)),
            cast(IO[bytes], self._wire.makefile("wb", buffering=0)),
        )

    def end(self, wait_s: float) -> None:
        """Tell the driver that nothing follows; wait until the far end has cleared up."""
        with contextlib.suppress(OSError):
            self._wire.shutdown(socket.SHUT_WR)
            self._wire.settimeout(wait_s)
            while self._wire.recv(4096):
                pass
        self.cut()

    def cut(self) -> None:
        """End both directions."""
        with contextlib.suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)

    def said(self) -> str:
        """Return what the driver said."""
        return self._driver.said()

    def explain(self, said: str) -> str:
        """Return what to do about an actor without a far end."""
        return f"The Ray node {self._node.address} cannot be used: {said}"
