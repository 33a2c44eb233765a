"""A launcher's link over a pair of byte streams, such as those of a child process `ssh`.

`BOOT` is how a bare Python at the other end takes in the far end's text.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple, Protocol, cast, final

from timetrial.errors import LaunchError
from timetrial.launch import proctree
from timetrial.launch.remote import far, frames
from timetrial.launch.remote.frames import GREETING, frame
from timetrial.launch.remote.link import LOST_S, LostError

_CLOSE_S: Final = 20.0  # far ends take two times KILL_S at most
_ABANDONED_S: Final = 5.0  # what is asked to end may be frozen
_NOISE_BYTES: Final = 1 << 16  # of a login shell, before the greeting
_TAIL: Final = 2000  # characters of what a transport said

# How a bare Python takes in the far end: the length of a text (4 bytes), the text, then frames. The
# text is JSON: the modules by name, the last one with a function `main`.
BOOT: Final = """
import json, os, sys, types
if sys.version_info < (3, 11):
    sys.exit("timetrial needs Python 3.11 or newer; this is " + sys.version.split()[0])
def read(size):
    got = b""
    while len(got) < size:
        more = os.read(0, size - len(got))
        if not more:
            sys.exit(0)
        got += more
    return got
text = read(int.from_bytes(read(4), "big"))
for name in ("timetrial", "timetrial.launch", "timetrial.launch.remote"):
    sys.modules[name] = types.ModuleType(name)
for name, source in json.loads(text).items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""


def far_command(python: str) -> list[str]:
    """Return the words that run `BOOT`, without a character that any login shell could mistake."""
    return [python, "-I", "-c", f"exec(bytes.fromhex('{BOOT.encode().hex()}'))"]


def far_text() -> bytes:
    """Return what `BOOT` reads first."""
    modules = {
        m.__name__: Path(str(m.__file__)).read_text("utf-8") for m in (frames, proctree, far)
    }
    text = json.dumps(modules).encode()
    return len(text).to_bytes(4, "big") + text


class Streams(NamedTuple):
    """From and to the far end; unbuffered."""

    reader: IO[bytes]
    writer: IO[bytes]


class Wires(Protocol):
    """What carries the bytes of one link."""

    prelude: bytes  # what the other end reads first

    def start(self) -> Streams:
        """Connect.

        Raises:
            LaunchError: It cannot be tried.
        """

    def end(self, wait_s: float) -> None:
        """Wait for the other end, whose input has ended; give it up after `wait_s`."""

    def cut(self) -> None:
        """Begin to end the connection, from any thread: its reader will see the end."""

    def said(self) -> str:
        """Return the end of what the carrier itself had to say, waiting a moment for it."""

    def explain(self, said: str) -> str:
        """Return what is to be told of a connection that did not come about."""


@final
class PipeLink:
    """Requests and answers over a pair of streams."""

    def __init__(self, host: str, wires: Wires, *, greeting_s: float) -> None:
        """Start nothing yet."""
        self.host = host
        self._wires = wires
        self._greeting_s = greeting_s
        self._heard_s = time.monotonic()
        self._answers: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self._streams: Streams | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._abandoned = False

    def open(self) -> None:
        """Connect, and wait for the far end's greeting."""
        self._streams = self._wires.start()
        self._thread.start()
        try:
            self._write(self._wires.prelude)
            self._await(self._greeting_s)
        except LostError as error:
            raise LaunchError(self._wires.explain(self._wires.said() or str(error))) from error

    def call(self, head: Mapping[str, object], load: bytes) -> tuple[bytes, bytes]:
        """Return the answer to one request."""
        self._write(frame(head, load))
        return self._await(LOST_S)

    def close(self) -> None:
        """End the far end by the end of its input."""
        if self._streams is None:
            return
        with contextlib.suppress(OSError):
            self._streams.writer.close()
        self._wires.end(_ABANDONED_S if self._abandoned else _CLOSE_S)
        self._thread.join()
        self._streams.reader.close()

    def abandon(self) -> None:
        """Cut the connection; the far end sees the end of its input."""
        self._abandoned = True
        if self._streams is not None:
            self._wires.cut()

    def _write(self, content: bytes) -> None:
        if self._streams is None or self._abandoned:
            raise LostError(f"The connection to {self.host} was given up.")
        view = memoryview(content)
        try:
            while view:
                view = view[self._streams.writer.write(view) or 0 :]
        except (OSError, ValueError) as error:  # ValueError: closed meanwhile
            raise self._lost() from error

    def _await(self, patience_s: float) -> tuple[bytes, bytes]:
        asked_s = time.monotonic()
        while True:
            try:
                answer = self._answers.get(timeout=0.5)
            except queue.Empty:
                if time.monotonic() - max(asked_s, self._heard_s) > patience_s:
                    raise LostError(
                        f"{self.host} has not answered for {patience_s:g} s. {self._wires.said()}"
                    ) from None
                continue
            if answer is None:
                self._answers.put(None)  # for whoever asks next
                raise self._lost()
            return answer

    def _lost(self) -> LostError:
        return LostError(f"The connection to {self.host} is lost. {self._wires.said()}".strip())

    def _listen(self) -> None:
        """Read the greeting, then answers, until the end."""
        held = b""
        while GREETING not in held:
            more = self._more()
            held += more
            if not more or len(held) > _NOISE_BYTES:
                self._answers.put(None)
                return
        held = held.partition(GREETING)[2]
        self._answers.put((b"", b""))
        while True:
            while len(held) < 12 or len(held) < 12 + sum(_sizes(held)):
                more = self._more()
                if not more:
                    self._answers.put(None)
                    return
                held += more
            head, load = _sizes(held)
            if head:  # else a sign of life
                self._answers.put((held[12 : 12 + head], held[12 + head : 12 + head + load]))
            held = held[12 + head + load :]

    def _more(self) -> bytes:
        more = _read(cast(Streams, self._streams).reader, 1 << 18)
        self._heard_s = time.monotonic()
        return more


@final
class ChildWires:
    """The standard streams of a child process."""

    def __init__(self, words: Sequence[str], explain: Callable[[str], str]) -> None:
        """Start nothing yet."""
        self.prelude = far_text()
        self.explain = explain
        self._words = words
        self._said = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._overhear, daemon=True)

    def start(self) -> Streams:
        """Start the child."""
        try:
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C reaches the launcher alone
            )
        except OSError as error:
            raise LaunchError(f"{self._words[0]} cannot be started: {error.strerror}.") from error
        self._thread.start()
        return Streams(cast(IO[bytes], self._process.stdout), cast(IO[bytes], self._process.stdin))

    def end(self, wait_s: float) -> None:
        """Wait for the child; kill it after `wait_s`."""
        assert self._process is not None
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        cast(IO[bytes], self._process.stderr).close()

    def cut(self) -> None:
        """Ask the child to end."""
        assert self._process is not None
        self._process.terminate()

    def said(self) -> str:
        """Return the end of the child's standard error."""
        self._thread.join(0.5)  # the last words may still be on their way
        return self._said.decode(errors="replace").strip()

    def _overhear(self) -> None:
        process = cast("subprocess.Popen[bytes]", self._process)
        while more := _read(cast(IO[bytes], process.stderr), 4096):
            self._said = (self._said + more)[-_TAIL:]


def _read(stream: IO[bytes], size: int) -> bytes:
    """Return what there is to be read; nothing at the end, or when closed meanwhile."""
    try:
        return os.read(stream.fileno(), size)
    except (OSError, ValueError):
        return b""


def _sizes(held: bytes) -> tuple[int, int]:
    return int.from_bytes(held[:4], "big"), int.from_bytes(held[4:12], "big")
