"""A few processes that learn together, for tests: gloo on this machine, told what to do by name.

    with Gang(2) as gang:
        found = gang.call("timetrial.testing.quadratic:train", algorithm="allreduce", steps=5)

calls the function in every process with its `rank` and `size` besides what is given, and returns
the named arrays that each returned, by rank. Starting costs an import of PyTorch, a call next to
nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast, final

import numpy as np

from timetrial._registry import load_object
from timetrial.launch.local import free_port

WAIT_S: Final = 120.0  # how long a call may take
Work = Callable[..., Mapping[str, np.ndarray]]


@final
class Gang:
    """So many processes; entering it starts them, leaving it ends them."""

    def __init__(self, size: int, *, folder: Path | None = None) -> None:
        """Keep the size; `folder` is one more place to find modules in."""
        self.size = size
        self._path = [str(folder)] if folder is not None else []
        self._members: list[subprocess.Popen[str]] = []
        self._outs = contextlib.ExitStack()
        self._out = ""
        self._calls = 0

    def __enter__(self) -> Self:
        """Start the processes."""
        self._out = self._outs.enter_context(tempfile.TemporaryDirectory())
        port = str(free_port())
        path = os.pathsep.join([*self._path, *filter(None, [os.environ.get("PYTHONPATH")])])
        for rank in range(self.size):
            told = {
                "RANK": str(rank), "WORLD_SIZE": str(self.size), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "PYTHONPATH": path,
            }  # fmt: skip
            member = subprocess.Popen(
                [sys.executable, "-m", "timetrial.testing.gang"],
                env={**os.environ, **told},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
            self._members.append(member)
        return self

    def call(self, path: str, **arguments: object) -> list[dict[str, np.ndarray]]:
        """Call the function at "module:function" in every process; return what each returned.

        Raises:
            RuntimeError: It raised in one of them, or did not return in time. The processes are
                ended: those that wait for the one would wait for ever.
        """
        self._calls += 1
        outs = [Path(self._out) / f"{self._calls}.{rank}.npz" for rank in range(self.size)]
        for member, out in zip(self._members, outs, strict=True):
            assert member.stdin is not None
            message = {"call": path, "arguments": arguments, "out": str(out)}
            member.stdin.write(json.dumps(message) + "\n")
            member.stdin.flush()
        deadline = time.monotonic() + WAIT_S
        waiting = dict(enumerate(self._members))
        while waiting:
            for rank, said in self._heard(waiting, deadline).items():
                del waiting[rank]
                if said != "done":
                    self.close()
                    raise RuntimeError(f"{path} in process {rank} of {self.size}: {said}")
        return [dict(np.load(out)) for out in outs]

    def close(self) -> None:
        """End the processes."""
        for member in self._members:
            member.kill()
        for member in self._members:
            member.communicate()
        self._members = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes."""
        self.close()
        self._outs.close()

    def _heard(
        self, waiting: Mapping[int, subprocess.Popen[str]], deadline: float
    ) -> dict[int, str]:
        """Return what those say that speak next."""
        streams = {member.stdout: rank for rank, member in waiting.items() if member.stdout}
        ready, _, _ = select.select(list(streams), [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return dict.fromkeys(waiting, f"did not return within {WAIT_S:g} s")
        return {
            streams[stream]: json.loads(line) if (line := stream.readline()) else "it died"
            for stream in ready
        }


def main() -> None:
    """Be one process of a gang: connect, then do what standard input says until it ends."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a function prints is no answer
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{os.environ['MASTER_PORT']}", rank=rank,
        world_size=size,
    )  # fmt: skip
    for line in sys.stdin:
        message = json.loads(line)
        try:
            work = cast("Work", load_object(message["call"]))
            found = work(rank=rank, size=size, **message["arguments"])
            np.savez(message["out"], allow_pickle=False, **found)
            said = "done"
        except Exception:  # noqa: BLE001 - told to the process that asked
            said = traceback.format_exc()
        answers.write(json.dumps(said) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
