"""The child processes of a measurement: started, heard, let go on in turns, ended."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from timetrial.ceilings.orders import Answer, Order, Ready, Stepped
from timetrial.launch.child import environment_of

# told which measure is taken, where ("1 core", "cuda:0"), and what share of the whole is done
Say: TypeAlias = Callable[[str, str, float], None]

_PART_S: Final = 150.0  # then a child is stuck, and all of its part are ended


class Part(NamedTuple):
    """Children that run at one time: one, two workers of an all-reduce, or such that take turns."""

    orders: tuple[Order, ...]
    about_s: float  # it takes, for the progress bar


class Heard(NamedTuple):
    """What children of a part answered, and what the first one that failed said."""

    orders: tuple[Order, ...]
    answers: tuple[tuple[Answer, ...], ...]
    failure: str


def run(parts: Sequence[Part], say: Say, *, done: float, whole: float) -> list[Heard]:
    """Run the parts one after the other; `done` and `whole` are where they begin and end."""
    heard: list[Heard] = []
    total_s = sum(part.about_s for part in parts)
    for part in parts:
        width = (whole - done) * part.about_s / total_s if total_s else 0.0
        heard += run_part(part, say, done, width)
        done, total_s = done + width, total_s - part.about_s
    return heard


def run_part(part: Part, say: Say, begin: float, width: float) -> list[Heard]:
    """Run the children of a part; those that take turns are heard apart, others together."""
    children: list[_Child] = []
    timer = threading.Timer(_PART_S, _kill, [children])
    timer.daemon = True
    timer.start()
    try:
        if part.orders[0].in_turns:
            for order in part.orders:  # the next one starts when this one waits, not beside it
                children.append(_Child(order))
                _listen(children, children[-1], say, begin, width / len(part.orders))
            while any(child.waits for child in children):
                for child in children:
                    if child.waits:
                        child.go_on()
                        _listen(children, child, say, begin, width / len(part.orders))
        else:
            children += [_Child(order) for order in part.orders]
            for child in children:
                _listen(children, child, say, begin, width / len(children))
        together = [[child] for child in children] if part.orders[0].in_turns else [children]
        return [
            Heard(
                tuple(child.order for child in those),
                tuple(tuple(child.heard) for child in those),
                next(filter(None, (child.failure() for child in those)), ""),
            )
            for those in together
        ]
    finally:
        timer.cancel()
        _kill(children)
        for child in children:
            child.close()


class _Child:
    """A child process, and what it has answered so far."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.heard: list[Answer] = []
        self.waits = False  # for the next round
        self.share = 0.0  # of its order that is done
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 close() does
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "timetrial.ceilings.probe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment_of(order.threads),
            start_new_session=True,  # Ctrl-C reaches the parent alone
        )
        self._write(msgspec.json.encode(order))

    def _write(self, line: bytes) -> None:
        assert self.process.stdin is not None  # it is a pipe
        with contextlib.suppress(BrokenPipeError):  # it has ended: its exit code says how
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()

    def go_on(self) -> None:
        """Let its next round begin."""
        self.waits = False
        self._write(b"")

    def failure(self) -> str:
        """Return why it failed, in a line; empty where it did not."""
        code = self.process.wait()
        if code == 0:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "it said nothing"
        return f"its process ended with exit code {code}: {last}"

    def close(self) -> None:
        """Wait for it, and close its files."""
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self._errors):
            assert file is not None  # both are pipes
            with contextlib.suppress(BrokenPipeError):
                file.close()


def _listen(
    children: Sequence[_Child], child: _Child, say: Say, begin: float, width: float
) -> None:
    """Hear a child until it waits or ends; `width` is the share of the whole of each child."""
    assert child.process.stdout is not None  # it is a pipe
    order = child.order
    where = order.device
    if where == "cpu":
        where = "1 core" if order.threads == 1 else f"{order.threads} cores"
    for line in iter(child.process.stdout.readline, b""):
        answer = msgspec.json.decode(line, type=Answer)
        if isinstance(answer, Ready):
            child.waits = True
            return
        if isinstance(answer, Stepped):
            child.share = answer.share
            say(answer.what, where, begin + width * sum(other.share for other in children))
        else:
            child.heard.append(answer)


def _kill(children: Sequence[_Child]) -> None:
    for child in children:
        child.process.kill()
