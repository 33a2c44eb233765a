"""A launcher's connection to the far end (`far`) of one worker, on another machine.

`Link` is what a transport offers: one request out, one answer back. `PipeLink` is that over the
standard streams of a child process, such as `ssh`; `FarEnd` gives the requests their types.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Protocol, TypeVar, cast, final

import msgspec

from timetrial.errors import LaunchError
from timetrial.launch import far, frames, proctree
from timetrial.launch.frames import GREETING, frame
from timetrial.spec import MALFORMED, Record

LOST_S: Final = 20.0  # a far end that sends no byte for so long is lost
PIECE_BYTES: Final = 256 * 1024  # of a file, in one request: 20 s of a line of 100 kbit/s
_CLOSE_S: Final = 20.0  # far ends take two times KILL_S at most
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
for name in ("timetrial", "timetrial.launch"):
    sys.modules[name] = types.ModuleType(name)
for name, source in json.loads(text).items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""

T = TypeVar("T")


class LostError(LaunchError):
    """The connection to a machine, or the machine, is gone."""


class Link(Protocol):
    """One connection to one far end."""

    host: str  # as the user calls it

    def open(self) -> None:
        """Connect; return when the far end is there.

        Raises:
            LaunchError: It cannot be had, with the reason.
        """

    def call(self, head: Mapping[str, object], load: bytes) -> tuple[bytes, bytes]:
        """Return the head (JSON) and the load of the answer to one request.

        Raises:
            LostError: The far end is gone, or has sent nothing for `LOST_S`.
        """

    def close(self) -> None:
        """End the far end, which clears up, and the connection. For the thread that calls."""

    def abandon(self) -> None:
        """Give the connection up at once, for any thread: who waits for an answer is told."""


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


# --- over a child process ------------------------------------------------------------------------


@final
class PipeLink:
    """The far end behind the standard streams of a child process, such as `ssh`."""

    def __init__(
        self, host: str, words: Sequence[str], *, greeting_s: float, explain: Callable[[str], str]
    ) -> None:
        """Start nothing yet; `explain` makes an error of what the child says before it greets."""
        self.host = host
        self._words = words
        self._greeting_s = greeting_s
        self._explain = explain
        self._said = b""
        self._heard_s = time.monotonic()
        self._answers: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._abandoned = False

    def open(self) -> None:
        """Start the child and wait for the far end's greeting."""
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
        for work in (self._listen, self._overhear):
            self._threads.append(threading.Thread(target=work, args=(self._process,), daemon=True))
            self._threads[-1].start()
        try:
            self._write(far_text())
            self._await(self._greeting_s)
        except LostError as error:
            raise LaunchError(self._explain(self.said or str(error))) from error

    def call(self, head: Mapping[str, object], load: bytes) -> tuple[bytes, bytes]:
        """Return the answer to one request."""
        self._write(frame(head, load))
        return self._await(LOST_S)

    def close(self) -> None:
        """End the far end by the end of its input, and the child."""
        if self._process is None:
            return
        streams = [self._process.stdin, self._process.stdout, self._process.stderr]
        with contextlib.suppress(OSError):
            cast(IO[bytes], streams[0]).close()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in streams[1:]:
            cast(IO[bytes], stream).close()

    def abandon(self) -> None:
        """Kill the child; the far end sees the end of its input."""
        self._abandoned = True
        if self._process is not None:
            self._process.kill()

    @property
    def said(self) -> str:
        """The end of what the child wrote to its standard error."""
        return self._said.decode(errors="replace").strip()

    def _write(self, content: bytes) -> None:
        if self._process is None or self._abandoned:
            raise LostError(f"The connection to {self.host} was given up.")
        view = memoryview(content)
        try:
            while view:
                view = view[cast(IO[bytes], self._process.stdin).write(view) or 0 :]
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
                        f"{self.host} has not answered for {patience_s:g} s. {self.said}"
                    ) from None
                continue
            if answer is None:
                self._answers.put(None)  # for whoever asks next
                raise self._lost()
            return answer

    def _lost(self) -> LostError:
        self._threads[1].join(1.0)  # the last words may still be on their way
        return LostError(f"The connection to {self.host} is lost. {self.said}".strip())

    def _overhear(self, process: subprocess.Popen[bytes]) -> None:
        while more := _read(process.stderr, 4096):
            self._said = (self._said + more)[-_TAIL:]

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Read the greeting, then answers, until the end."""
        held = b""
        while GREETING not in held:
            more = self._more(process)
            held += more
            if not more or len(held) > _NOISE_BYTES:
                self._answers.put(None)
                return
        held = held.partition(GREETING)[2]
        self._answers.put((b"", b""))
        while True:
            while len(held) < 12 or len(held) < 12 + sum(_sizes(held)):
                more = self._more(process)
                if not more:
                    self._answers.put(None)
                    return
                held += more
            head, load = _sizes(held)
            if head:  # else a sign of life
                self._answers.put((held[12 : 12 + head], held[12 + head : 12 + head + load]))
            held = held[12 + head + load :]

    def _more(self, process: subprocess.Popen[bytes]) -> bytes:
        more = _read(process.stdout, 1 << 18)
        self._heard_s = time.monotonic()
        return more


def _read(stream: IO[bytes] | None, size: int) -> bytes:
    """Return what there is to be read; nothing at the end, or when closed meanwhile."""
    try:
        return os.read(cast(IO[bytes], stream).fileno(), size)
    except (OSError, ValueError):
        return b""


def _sizes(held: bytes) -> tuple[int, int]:
    return int.from_bytes(held[:4], "big"), int.from_bytes(held[4:12], "big")


# --- requests ------------------------------------------------------------------------------------


class Machine(Record, frozen=True, kw_only=True):
    """What a far end says of its machine."""

    host: str
    boot_id: str | None
    t_ns: int  # its monotonic clock
    python: str
    executable: str
    system: str
    cache: str


class Look(Record, frozen=True, kw_only=True):
    """What there is in the run directory, and how far the agent is."""

    files: Mapping[str, tuple[int, int]]  # name -> bytes, time of change
    pieces: tuple[tuple[str, int, int], ...]  # name, offset and length of what the load holds
    code: int | None  # of the agent that has ended; negative: the signal
    said: str  # the end of what the agent itself printed


class _Opened(Record, frozen=True, kw_only=True):
    run: str


class _Executed(Record, frozen=True, kw_only=True):
    code: int


class _Ports(Record, frozen=True, kw_only=True):
    ports: tuple[int, ...]


class _Begun(Record, frozen=True, kw_only=True):
    pid: int


class _Hashes(Record, frozen=True, kw_only=True):
    sha256: Mapping[str, str]


class _Nothing(Record, frozen=True, kw_only=True):
    pass


@final
class FarEnd:
    """The requests that a far end answers. Each may raise LostError, or LaunchError: refused."""

    def __init__(self, link: Link) -> None:
        """Ask over `link`."""
        self.link = link
        self.host = link.host

    def hello(self, environment: Mapping[str, str]) -> Machine:
        """Set variables there; return what the machine is."""
        return self._ask(Machine, "hello", environment=environment)[0]

    def open(self, run: str) -> str:
        """Make a run directory called `run`; return its path there."""
        return self._ask(_Opened, "open", run=run)[0].run

    def put(self, name: str, content: bytes, *, into_cache: bool = False) -> None:
        """Write a file into the run directory, or below the cache, checked by its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        for offset in range(0, max(len(content), 1), PIECE_BYTES):
            last = offset + PIECE_BYTES >= len(content)
            self._ask(
                _Nothing,
                "put",
                content[offset : offset + PIECE_BYTES],
                name=name,
                offset=offset,
                sha256=sha256 if last else None,
                place="cache" if into_cache else "run",
            )

    def execute(
        self,
        words: Sequence[str],
        *,
        timeout_s: float,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run a program there to its end; return its exit code and all it printed.

        The word "{run}" stands for the run directory.
        """
        told, said = self._ask(
            _Executed,
            "execute",
            words=words,
            environment=environment or {},
            timeout_s=timeout_s,
        )
        return told.code, said.decode(errors="replace")

    def free_port(self) -> int:
        """Return a port that is free there now."""
        return self._ask(_Ports, "port", count=1)[0].ports[0]

    def start(self, words: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start the agent; return its process id."""
        return self._ask(_Begun, "start", words=words, environment=environment)[0].pid

    def look(
        self, have: Mapping[str, int], *, wait_s: float, most_bytes: int
    ) -> tuple[Look, bytes]:
        """Return what there is, with new bytes of the files in `have` beyond those offsets."""
        return self._ask(Look, "look", have=have, wait_s=wait_s, most_bytes=most_bytes)

    def hashes(self) -> Mapping[str, str]:
        """Kill what still runs; return the SHA-256 of every file."""
        return self._ask(_Hashes, "hashes")[0].sha256

    def keep(self) -> str:
        """Keep the run directory when the connection ends; return where it is now."""
        return self._ask(_Opened, "keep")[0].run

    def signal(self, kind: str) -> None:
        """Pass on "stop" or "kill" to the worker."""
        self._ask(_Nothing, "signal", kind=kind)

    def _ask(
        self, record: type[T], what: str, load: bytes = b"", **named: object
    ) -> tuple[T, bytes]:
        head, answer = self.link.call({"do": what, **named}, load)
        try:
            told = msgspec.json.decode(head)
            if isinstance(told, dict) and "error" in told:
                raise LaunchError(f"{self.host} could not {what}: {told['error']}.")
            return msgspec.convert(told, record), answer
        except MALFORMED as error:
            raise LostError(f"{self.host} answered {head[:200]!r}: {error}.") from error
