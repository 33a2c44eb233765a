"""Monitoring: a second process reads what the first one logs, while the first one goes on.

Both read one monotonic clock: a value's latency is from just before the call that logs it to the
end of the read that first had it. The second process reads again as soon as it has read, with a
pause of 5 ms; how long one read takes is told beside the latencies.

Source: Python documentation, time.monotonic: system-wide on Linux, macOS and Windows (3.3 on),
read 2026-11-23.
"""

from __future__ import annotations

import json
import math
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from timetrial.examinations.tools.probes import training
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling

READY_S: Final = 120.0  # the second process imports the tool anew
_PAUSE_S: Final = 0.005
_STORED_IN_FLOAT32: Final = 1e-6
_WATCHED: Final = training.Params(1.0, "l2")


def report(read: Reader, out: TextIO) -> None:
    """Read until standard input ends; print each step once, when it is first seen."""
    seen: set[int] = set()
    reads_ms: list[float] = []
    _say("ready", out)
    while not select.select([sys.stdin], [], [], _PAUSE_S)[0]:
        begun_ns = time.monotonic_ns()
        try:
            values = read()
        except NotThereYet:
            continue
        ended_ns = time.monotonic_ns()
        reads_ms.append((ended_ns - begun_ns) / 1e6)
        for step, value in values.items():
            if step not in seen:
                seen.add(step)
                _say(json.dumps([step, value, ended_ns]), out)
    _say(json.dumps(statistics.median(reads_ms) if reads_ms else 0.0), out)


def _say(line: str, out: TextIO) -> None:
    out.write(f"{line}\n")
    out.flush()


class Watcher:
    """The second process."""

    def __init__(self, place: Mapping[str, str], log: Path) -> None:
        """Start this program again, as the reader of that place; wait until it can read.

        Raises:
            RuntimeError: It ended; with the last line that it said, which is in `log`.
            TimeoutError: It was not ready in time.
        """
        self._log = log
        spec = sys.modules["__main__"].__spec__
        assert spec is not None  # started by -m
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", spec.name, "watch", json.dumps(dict(place))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
            )
        assert self._process.stdout is not None  # it is a pipe
        self._lines = self._process.stdout
        if not select.select([self._lines], [], [], READY_S)[0]:
            self._process.kill()
            raise TimeoutError(f"The reading process was not ready after {READY_S:.0f} s.")
        self._check(self._lines.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def stop(self) -> tuple[dict[int, tuple[float, int]], float]:
        """Return step -> value and the instant of its read, and the median read in ms."""
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.close()
        told = [json.loads(line) for line in self._lines]
        if self._process.wait() != 0 or not told:
            self._check("")
        *values, read_ms = told
        return {step: (value, instant) for step, value, instant in values}, read_ms

    def _check(self, line: str) -> None:
        if not line:
            code = self._process.wait()
            said = self._log.read_text(encoding="utf-8", errors="replace").strip()
            last = said.splitlines()[-1] if said else "nothing"
            raise RuntimeError(f"The reading process ended with exit code {code}: {last}")


def watched(
    order: Order,
    telling: Telling,
    place: Mapping[str, str],
    log: Callable[[training.Step], None],
    *,
    means: str,
    how: str,
) -> None:
    """Train, logging each step, with a second process that reads from `place`; tell what it saw."""
    logged: dict[int, tuple[float, int]] = {}
    with Watcher(place, order.folder / "watch.log") as watcher:
        for step in training.learn(_WATCHED, order.steps):
            begun_ns = time.monotonic_ns()
            log(step)
            logged[step.step] = step.loss, begun_ns
            time.sleep(order.pace_s)
        ended_ns = time.monotonic_ns()
        found, read_ms = watcher.stop()
    seen: list[dict[str, float]] = []
    wrong = 0
    for number, (value, instant) in found.items():
        if number not in logged or not math.isclose(
            value, logged[number][0], rel_tol=_STORED_IN_FLOAT32
        ):
            wrong += 1
        elif instant <= ended_ns:
            seen.append({"step": number, "latency_ms": (instant - logged[number][1]) / 1e6})
    telling.tell(
        "watched",
        steps=order.steps,
        pace_s=order.pace_s,
        seen=seen,
        wrong=wrong,
        late=max(0, order.steps - len(seen) - wrong),
        read_ms=read_ms,
        means=means,
        how=how,
    )
