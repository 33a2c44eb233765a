"""Workers as children of this process, each in a network of its own between which rules are set."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

import msgspec

from timetrial.engine.events import LAUNCHER_LOG, Spawned
from timetrial.errors import LaunchError
from timetrial.launch import Exit
from timetrial.launch.child import Child, WorkerPlace, start_child
from timetrial.launch.local import ChildrenJob, start_children
from timetrial.launch.network import netns
from timetrial.launch.network.wires import INTERFACE, Wires, address, link_up
from timetrial.plan import Plan, decode_plan
from timetrial.rundir import RunDir, disk_errors, write_atomically
from timetrial.spec.network import Network, parse_network

PORT: Final = 29500  # any is free: nothing else runs in worker 0's network
_CONTROL: Final = Path("/proc/sys/net/ipv4/tcp_congestion_control")


@final
class ShapedJob:
    """The workers of one attempt and the network between them."""

    def __init__(self, workers: ChildrenJob, wires: Wires, network: str) -> None:
        """Keep the workers and what joins them."""
        self._workers = workers
        self._wires = wires
        self.pids: Mapping[int, int] = workers.pids
        self.spawned_ns: Mapping[int, int] = workers.spawned_ns
        self.limits: Mapping[int, Mapping[str, str]] = {
            rank: {**limits, "network": f"{network}; {address(rank)} on {INTERFACE}; TCP {_tcp()}"}
            for rank, limits in workers.limits.items()
        }

    def poll(self) -> Mapping[int, Exit]:
        """Return how those workers ended that have.

        Raises:
            LaunchError: The network has failed under them.
        """
        self._wires.check()
        return self._workers.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to every worker."""
        self._workers.ask_to_stop()

    def kill(self) -> None:
        """Send SIGKILL to every worker and to the processes of its group."""
        self._workers.kill()

    def __enter__(self) -> Self:
        """Return the job."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill what still runs, then drop the network."""
        self._workers.__exit__(kind, error, trace)


@final
class ShapedLauncher:
    """Starts each worker in a network namespace of its own.

    Without a network in the plan the namespaces are joined by a bridge and nothing is emulated.
    """

    def start(self, run: RunDir, plan: Plan, attempt: int) -> ShapedJob:
        """Make the network, start the workers and their samplers.

        Raises:
            LaunchError: The rights or the means to make the network are not there, or a limit
                cannot be enforced here.
        """
        network = parse_network(plan.network) if plan.network is not None else Network()
        with disk_errors(run.scratch):
            run.scratch.mkdir(exist_ok=True)
        wires = Wires(network, plan.workers, seed=plan.seed, folder=run.scratch)
        with contextlib.ExitStack() as made:
            made.callback(_tidy, run, wires, attempt)
            made.enter_context(wires)
            resources = made.pop_all()

        def starter(rank: int) -> Callable[[], Child]:
            place = WorkerPlace(rank, rank, plan.workers, address(0), PORT)
            return lambda: start_child(
                run, plan, attempt, place, prefix=wires.prefix(rank), variables=wires.environment()
            )

        workers = start_children([starter(rank) for rank in range(plan.workers)], resources)
        return ShapedJob(workers, wires, str(network))

    def cut(self, run: RunDir, rank: int) -> None:
        """Take down the link of a running worker, as if its cable were pulled.

        Any process with the launcher's rights may ask for it. The workers go on, and find that
        nothing comes through.

        Raises:
            LaunchError: No such worker runs in a network of its own.
        """
        _in_network_of(run, rank, [f"link set {INTERFACE} down"])

    def mend(self, run: RunDir, rank: int) -> None:
        """Bring the link of a running worker up again, with its rate, delay and loss.

        Raises:
            LaunchError: No such worker runs in a network of its own.
        """
        plan = decode_plan(run.plan.read_bytes(), str(run.plan))
        _in_network_of(run, rank, link_up(rank, plan.workers))


def _in_network_of(run: RunDir, rank: int, lines: list[str]) -> None:
    started = [
        event.pid
        for event in LAUNCHER_LOG.read(run.launcher_events)
        if isinstance(event, Spawned) and event.rank == rank
    ]
    if not started:
        raise LaunchError(f"No worker {rank} of {run.path} was ever started.")
    try:
        namespace = os.open(f"/proc/{started[-1]}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LaunchError(
            f"Worker {rank} of {run.path}, process {started[-1]}, does not run, or is not yours: "
            f"{error.strerror}."
        ) from error
    try:
        if os.fstat(namespace).st_ino == Path("/proc/self/ns/net").stat().st_ino:
            raise LaunchError(
                f"Worker {rank} of {run.path} has no network of its own. Start the run with "
                "--launcher shaped."
            )
        netns.inside(namespace, lambda: netns.run_program(["ip", "-batch", "-"], lines))
    finally:
        os.close(namespace)


def _tidy(run: RunDir, wires: Wires, attempt: int) -> None:
    """Keep what the switch has to say, and remove the empty folder."""
    if wires.account is not None:
        write_atomically(run.network(attempt), msgspec.json.encode(wires.account) + b"\n")
    with contextlib.suppress(OSError):
        run.scratch.rmdir()


def _tcp() -> str:
    """Return how TCP controls its rate here, which decides what delay and loss do to it."""
    return _CONTROL.read_text(encoding="ascii").strip() if _CONTROL.exists() else "unknown"
