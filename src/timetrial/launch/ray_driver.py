"""The Ray driver of one run: python -m timetrial.launch.ray_driver, told what to do on its input.

A process of its own: Ray takes over a driver's signals, threads and log, and ends it when the
cluster is gone. It holds one placement group with an actor for each worker; an actor does no more
than carry bytes to and from the far end (`far`) that it starts on its node.

Input: one line (`Task`), then nothing until its end, which ends all. Output: one line (`Answer`).
The frames of each worker go over a socket that this process inherits.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, cast

import msgspec

from timetrial.errors import LaunchError
from timetrial.launch.ray import Answer, Node, Task
from timetrial.launch.remote.frames import GREETING, SIGN_OF_LIFE, GoneError, Inbox, frame
from timetrial.launch.remote.link import LOST_S
from timetrial.launch.remote.pipe import far_command, far_text

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

PENDING_S: Final = 60.0  # for cores that other jobs hold
_ACTOR_S: Final = 120.0  # a node may start a Python process first
_END_S: Final = 20.0
_ALIVE_S: Final = 2.0
_REACH_S: Final = 5.0
_FOREVER_S: Final = 1e8

# The far end shall not be a child of Ray's process, which kills its children before they can clear
# up: it is told by the end of its input.
_ADOPTED: Final = "import os\nif os.fork(): os._exit(0)\n"


def main() -> int:
    """Do one task."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever Ray prints
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    with contextlib.ExitStack() as stack:
        try:
            answer = _room(task, stack) if not task.sockets else _serve(task, stack)
        except Exception as error:  # noqa: BLE001 - the launcher tells it
            answer = Answer(error=f"{error}" or type(error).__name__)
        out.write(msgspec.json.encode(answer) + b"\n")
        sys.stdin.buffer.read()  # until the launcher has done
    return 0


# --- the cluster ---------------------------------------------------------------------------------


def _connect(task: Task, stack: contextlib.ExitStack) -> list[Mapping[str, float]]:
    """Connect; return what each living node has in all.

    Raises:
        LaunchError: No cluster, or one that could never hold the workers.
    """
    import ray

    host, _, port = task.address.removeprefix("ray://").rpartition(":")
    if host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
        except (OSError, ValueError) as error:
            raise LaunchError(
                f"No Ray cluster answers at {task.address}: {error}. Start one with `ray start "
                "--head`, or name another with --cluster HOST:PORT."
            ) from error
    ray.init(task.address, log_to_driver=False, configure_logging=False, namespace="timetrial")
    stack.callback(ray.shutdown)
    totals = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if sum(_fitting(total, task) for total in totals) < task.workers:
        largest = max((total.get("CPU", 0) for total in totals), default=0)
        raise LaunchError(
            f"The Ray cluster at {task.address} can never hold {task.workers} workers of "
            f"{_wanted(task)} each: its {len(totals)} nodes have {_told(totals)}, {largest:g} CPU "
            "at most. Use fewer --workers or --cores."
        )
    return totals


def _fitting(resources: Mapping[str, float], task: Task) -> int:
    """Return how many of the workers a node could hold."""
    by_gpu = int(resources.get("GPU", 0) // task.gpus) if task.gpus else task.workers
    return min(int(resources.get("CPU", 0) // task.cores), by_gpu)


def _wanted(task: Task) -> str:
    return f"{task.cores} CPU" + (f" and {task.gpus} GPU" if task.gpus else "")


def _told(nodes: Sequence[Mapping[str, float]]) -> str:
    cpus = sum(node.get("CPU", 0) for node in nodes)
    gpus = sum(node.get("GPU", 0) for node in nodes)
    return f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")


def _room(task: Task, stack: contextlib.ExitStack) -> Answer:
    """Return how many runs would find free cores now."""
    from ray._private.state import available_resources_per_node  # no public way by node

    _connect(task, stack)
    free = available_resources_per_node().values()
    return Answer(room=sum(_fitting(node, task) for node in free) // task.workers)


def _serve(task: Task, stack: contextlib.ExitStack) -> Answer:
    """Place the actors, begin to carry their bytes."""
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    _connect(task, stack)
    group = _place(task, stack)
    host: Any = ray.remote(_host_class())
    actors = [
        host.options(
            num_cpus=task.cores,
            num_gpus=task.gpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                group, placement_group_bundle_index=rank
            ),
        ).remote([*_far_words()], far_text(), GREETING)
        for rank in range(task.workers)
    ]
    nodes = ray.get([actor.where.remote() for actor in actors], timeout=_ACTOR_S)
    for actor, handle in zip(actors, task.sockets, strict=True):
        wire = socket.socket(fileno=handle)
        thread = threading.Thread(target=_carry, args=(wire, actor), daemon=True)
        stack.callback(thread.join, _END_S)
        stack.callback(_shut, wire)
        thread.start()
    return Answer(nodes=tuple(Node(address=address, node=node) for address, node in nodes))


def _far_words() -> list[str]:
    """Return the words after the Python of the node."""
    _, *options, text = far_command("python")
    return [*options, _ADOPTED + text]


def _place(task: Task, stack: contextlib.ExitStack) -> PlacementGroup:
    """Return a group that holds all workers' cores, on as few nodes as have them.

    Raises:
        LaunchError: Others hold them for too long.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    bundle = {"CPU": float(task.cores), **({"GPU": float(task.gpus)} if task.gpus else {})}
    group: PlacementGroup = placement_group([bundle] * task.workers, strategy="PACK")
    stack.callback(remove_placement_group, group)
    deadline = time.monotonic() + PENDING_S
    while not group.wait(1):
        if time.monotonic() > deadline:
            free = _told([ray.available_resources()])
            raise LaunchError(
                f"The Ray cluster at {task.address} has had no room for {task.workers} workers of "
                f"{_wanted(task)} each for {PENDING_S:g} s: {free} are free. Wait for its other "
                "jobs, or use fewer --workers or --cores."
            )
        if select.select([0], [], [], 0)[0]:
            raise LaunchError("The launcher has gone.")
    return group


# --- bytes ---------------------------------------------------------------------------------------


def _host_class() -> type:
    class Host:
        """An actor: it starts a far end on its node, and carries frames to it and back.

        Defined here, it travels by value: the node's Ray needs no timetrial.
        """

        def __init__(self, words: list[str], text: bytes, greeting: bytes) -> None:
            import os
            import subprocess
            import sys

            kept = {name: value for name, value in os.environ.items() if name[:4] != "RAY_"}
            started = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=kept,
                start_new_session=True,
            )
            started.wait()  # it goes on as a process of its own
            self.writer = cast(IO[bytes], started.stdin)
            self.reader = cast(IO[bytes], started.stdout)
            self.writer.write(text)
            held = b""
            while greeting not in held:
                more = self.reader.read(4096)
                if not more:
                    raise RuntimeError(f"{sys.executable} did not become a far end: {held!r}")
                held += more

        def where(self) -> tuple[str, str]:
            import ray

            return ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id()

        def exchange(self, content: bytes) -> bytes:
            """Return the answer to one frame; signs of life are left out."""
            view = memoryview(content)
            while view:
                view = view[self.writer.write(view) :]
            while True:
                sizes = self.take(12)
                head = self.take(int.from_bytes(sizes[:4], "big"))
                load = self.take(int.from_bytes(sizes[4:], "big"))
                if head:
                    return sizes + head + load

        def take(self, size: int) -> bytes:
            pieces: list[bytes] = []
            while size:
                more = self.reader.read(min(size, 1 << 20))
                if not more:
                    raise RuntimeError("the far end is gone")
                pieces.append(more)
                size -= len(more)
            return b"".join(pieces)

        def close(self) -> None:
            """End the far end; return when it has cleared up."""
            self.writer.close()
            while self.reader.read(4096):
                pass

    return Host


def _carry(wire: socket.socket, actor: Any) -> None:
    """Carry requests to an actor and answers back, until the launcher or the actor is gone."""
    import ray

    try:
        wire.sendall(GREETING)
        inbox = Inbox(wire.fileno())
        while True:
            head, load = inbox.read(_FOREVER_S)
            wire.sendall(_exchanged(wire, actor, head, frame(head, load), inbox))
    except (GoneError, OSError, ray.exceptions.RayError) as error:
        sys.stderr.write(f"{_short(error)}\n")
        sys.stderr.flush()
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(actor.close.remote(), timeout=_END_S)
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(actor)
    finally:
        _shut(wire)


def _exchanged(wire: socket.socket, actor: Any, head: Any, content: bytes, inbox: Inbox) -> bytes:
    """Return an actor's answer; a program may run for long, everything else may not."""
    import ray

    deadline = time.monotonic() + (float("inf") if head["do"] == "execute" else LOST_S)
    answer = actor.exchange.remote(content)
    while True:
        ready, _ = ray.wait([answer], timeout=_ALIVE_S)
        if ready:
            carried: bytes = ray.get(answer)
            return carried
        if time.monotonic() > deadline:
            raise GoneError(f"no answer for {LOST_S:g} s")
        if inbox.is_gone(0):
            raise GoneError
        if head["do"] == "execute":
            wire.sendall(SIGN_OF_LIFE)


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:600]


def _shut(wire: socket.socket) -> None:
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    sys.exit(main())
