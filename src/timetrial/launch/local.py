"""Workers as child processes on this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, final

from timetrial.launch import Exit
from timetrial.launch.child import Child, WorkerPlace, start_child
from timetrial.plan import Plan
from timetrial.rundir import RunDir

LOOPBACK = "127.0.0.1"


@final
class ChildrenJob:
    """The workers of one attempt, all children of this process."""

    def __init__(self, children: Sequence[Child], resources: contextlib.ExitStack) -> None:
        """Keep the entered children, by rank, and what is closed after them."""
        self._children = children
        self._resources = resources
        self._exits: dict[int, Exit] = {}
        self.pids: Mapping[int, int] = {rank: child.pid for rank, child in enumerate(children)}
        self.spawned_ns: Mapping[int, int] = {
            rank: child.spawned_ns for rank, child in enumerate(children)
        }
        self.limits: Mapping[int, Mapping[str, str]] = {
            rank: child.limits for rank, child in enumerate(children)
        }

    def poll(self) -> Mapping[int, Exit]:
        """Return how those workers ended that have."""
        for rank, child in enumerate(self._children):
            left = child.poll()
            if left is not None:
                self._exits[rank] = left
        return dict(self._exits)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to every worker."""
        for child in self._children:
            child.ask_to_stop()

    def kill(self) -> None:
        """Send SIGKILL to every worker and to the processes of its group."""
        for child in self._children:
            child.kill()

    def __enter__(self) -> Self:
        """Return the job."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill what still runs, close groups and samplers."""
        self.kill()
        self._resources.close()


def start_children(
    starts: Sequence[Callable[[], Child]], resources: contextlib.ExitStack
) -> ChildrenJob:
    """Start all workers, or none: where one cannot be started, the others are ended.

    `resources` is closed at the end of the job, after the workers.
    """
    try:
        children = [resources.enter_context(start()) for start in starts]
    except BaseException:
        resources.close()
        raise
    return ChildrenJob(children, resources)


def free_port(address: str = LOOPBACK) -> int:
    """Return a port that is free now at an address of this machine."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


@final
class LocalLauncher:
    """Starts the workers as children of this process."""

    def start(self, run: RunDir, plan: Plan, attempt: int) -> ChildrenJob:
        """Start the workers and their samplers.

        Raises:
            LaunchError: A limit asked for cannot be enforced here.
        """
        port = free_port()
        places = [
            WorkerPlace(rank, rank, plan.workers, LOOPBACK, port) for rank in range(plan.workers)
        ]

        def starter(place: WorkerPlace) -> Callable[[], Child]:
            return lambda: start_child(run, plan, attempt, place)

        return start_children([starter(place) for place in places], contextlib.ExitStack())
