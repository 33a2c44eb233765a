"""The far end of a launcher's connection: a run directory on a machine that shares no files.

The standard library and two small modules beside it: their text is sent to a bare Python there and
runs before any timetrial does. It answers one request at a time, read from standard input. When
that ends, or is silent for long while a worker runs, it kills what it started, removes the run
directory, and ends: it is never detached from its connection, and nothing it starts outlives it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from timetrial.launch.proctree import (
    adopt_orphans,
    below,
    bury,
    die_with_parent,
    is_sampler,
    kill,
)
from timetrial.launch.remote.frames import GREETING, SIGN_OF_LIFE, GoneError, Inbox, frame

SILENT_S: Final = 30.0  # a launcher that is quiet for so long is gone; it asks every 0.2 s
IDLE_S: Final = 3600.0  # the same while no worker runs: another machine's build may take minutes
ALIVE_S: Final = 2.0  # between signs of life while a program runs
AGENT_LOG: Final = "agent.log"  # beside the run directory
TAIL_BYTES: Final = 2000
LEAVE: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
KILL_S: Final = 5.0  # what a process group has to be gone, its agent's record written


class Refusal(Exception):  # noqa: N818 - no error of this program, but its answer
    """A request that cannot be met; its text is the answer."""


class Far:
    """One worker's place on this machine: its run directory and its agent."""

    def __init__(self, inbox: Inbox) -> None:
        """Nothing is there yet."""
        self._inbox = inbox
        self._folder: Path | None = None  # of this connection, locked by it
        self._run: Path | None = None
        self._agent: subprocess.Popen[bytes] | None = None
        self._kill_by = float("inf")
        self._cores: list[IO[bytes]] = []  # lock files, held as long as this process lives
        self._answers: dict[str, Callable[..., tuple[dict[str, Any], bytes]]] = {
            "hello": self.hello,
            "open": self.open,
            "put": self.put,
            "cores": self.cores,
            "execute": self.execute,
            "port": self.port,
            "start": self.start,
            "look": self.look,
            "hashes": self.hashes,
            "keep": self.keep,
            "signal": self.signal,
        }

    @property
    def _agent_pid(self) -> int:
        return 0 if self._agent is None else self._agent.pid

    @property
    def silent_s(self) -> float:
        """How long the launcher may be silent."""
        return IDLE_S if self._agent is None else SILENT_S

    def answer(self, request: dict[str, Any], load: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the answer to one request, {"error": text} for one that cannot be met."""
        try:
            arguments = dict(request)
            handler = self._answers[arguments.pop("do")]
            return handler(load, **arguments)
        except (Refusal, OSError, KeyError, TypeError, ValueError) as error:
            return {"error": str(error) or type(error).__name__}, b""

    def hello(self, _: bytes, environment: dict[str, str]) -> tuple[dict[str, Any], bytes]:
        """Take over variables, and tell what this machine is."""
        os.environ.update(environment)
        boot = Path("/proc/sys/kernel/random/boot_id")
        return {
            "host": socket.gethostname(),
            "boot_id": boot.read_text().strip() if boot.exists() else None,
            "t_ns": time.monotonic_ns(),
            "python": platform.python_version(),
            "executable": sys.executable,
            "system": f"{platform.system()} {platform.machine()}",
            "cache": str(cache()),
        }, b""

    def open(self, _: bytes, run: str) -> tuple[dict[str, Any], bytes]:
        """Make an empty run directory, after removing those that nobody holds any more."""
        import fcntl  # not on Windows, where no far end runs

        runs = cache() / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        mine = f"{host_name()}."
        for lock in runs.glob(f"{mine}*.lock"):
            with contextlib.suppress(OSError), lock.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink()
        folder = runs / f"{mine}{secrets.token_hex(8)}"
        self._lock = folder.with_suffix(f"{folder.suffix}.lock").open("ab")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._folder = folder
        self._run = folder / inside(run)
        self._run.mkdir(parents=True)
        return {"run": str(self._run)}, b""

    def put(
        self, load: bytes, name: str, offset: int, sha256: str | None, place: str = "run"
    ) -> tuple[dict[str, Any], bytes]:
        """Write a piece of a file; with the last one comes the SHA-256 of the whole."""
        root = cache() if place == "cache" else self._opened()
        path = root / inside(name)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(load)
        if sha256 is not None:
            if digest(part) != sha256:
                part.unlink()
                raise Refusal(f"{name} arrived with another SHA-256 than {sha256}")
            part.replace(path)
        return {}, b""

    def cores(self, _: bytes, count: int) -> tuple[dict[str, Any], bytes]:
        """Take CPUs that no other far end of this user here has; null where there are too few."""
        import fcntl

        folder = cache() / "cores"
        folder.mkdir(parents=True, exist_ok=True)
        mine: dict[int, IO[bytes]] = {}
        for cpu in sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ():
            file: IO[bytes] = (folder / f"{host_name()}.{cpu}.lock").open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
            else:
                mine[cpu] = file
            if len(mine) == count:
                self._cores += mine.values()
                return {"cpus": [*mine]}, b""
        for held in mine.values():
            held.close()
        return {"cpus": None}, b""

    def execute(
        self, _: bytes, words: list[str], environment: dict[str, str], timeout_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """Run a program to its end; tell its exit code and what it printed."""
        code, said = self._finish(self._filled(words), environment, timeout_s=timeout_s)
        return {"code": code}, said.encode()

    def port(self, _: bytes, count: int) -> tuple[dict[str, Any], bytes]:
        """Tell ports that are free now."""
        with contextlib.ExitStack() as stack:
            made = [stack.enter_context(socket.socket()) for _ in range(count)]
            for one in made:
                one.bind(("", 0))
            return {"ports": [one.getsockname()[1] for one in made]}, b""

    def start(
        self, _: bytes, words: list[str], environment: dict[str, str]
    ) -> tuple[dict[str, Any], bytes]:
        """Start the agent."""
        with (self._opened().parent / AGENT_LOG).open("ab") as log:
            self._agent = subprocess.Popen(
                self._filled(words),
                cwd=self._opened(),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        return {"pid": self._agent.pid}, b""

    def look(
        self, _: bytes, have: dict[str, int], wait_s: float, most_bytes: int
    ) -> tuple[dict[str, Any], bytes]:
        """Tell sizes and new bytes of the files in `have`, in the order in which they stand there.

        Waits for `wait_s` unless the agent has ended.
        """
        run, agent = self._opened(), self._agent
        if agent is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                agent.wait(max(wait_s, 0))
            if agent.returncode is None and time.monotonic() > self._kill_by:
                self._kill_all()
        code = None if agent is None else agent.poll()
        bury(self._agent_pid)
        seen = stamps(run)  # after the code: with one, nothing is written any more
        pieces: list[tuple[str, int, int]] = []
        load: list[bytes] = []
        for name, offset in have.items():
            if name in seen and seen[name][0] > offset and most_bytes > 0:
                with contextlib.suppress(FileNotFoundError), (run / inside(name)).open("rb") as f:
                    f.seek(offset)
                    load.append(f.read(most_bytes))
                    most_bytes -= len(load[-1])
                    pieces.append((name, offset, len(load[-1])))
        return {"files": seen, "pieces": pieces, "code": code, "said": self._said()}, b"".join(load)

    def hashes(self, _: bytes) -> tuple[dict[str, Any], bytes]:
        """Tell the SHA-256 of every file, once nothing runs any more; what still does is killed."""
        self._kill_all()
        return {"sha256": {name: digest(path) for name, path in files(self._opened())}}, b""

    def keep(self, _: bytes) -> tuple[dict[str, Any], bytes]:
        """Put the run directory where nothing removes it; tell where that is."""
        run = self._opened()
        kept = cache() / "kept" / f"{run.name}.{secrets.token_hex(4)}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        run.rename(kept)
        return {"run": str(kept)}, b""

    def signal(self, _: bytes, kind: str) -> tuple[dict[str, Any], bytes]:
        """Pass on a wish: "stop" asks, "kill" ends the worker now and the agent if it lingers."""
        if self._agent is not None and self._agent.poll() is None:
            if kind == "stop":
                os.kill(self._agent.pid, signal.SIGTERM)
            else:
                self._kill_by = min(self._kill_by, time.monotonic() + KILL_S)
                for pid in below(self._agent.pid):
                    if not is_sampler(pid):
                        kill(pid)
        return {}, b""

    def end(self) -> None:
        """Leave nothing behind: no process, no folder but the cached environment."""
        for number in LEAVE:
            signal.signal(number, signal.SIG_IGN)  # it is being done
        agent = self._agent
        if agent is not None and agent.poll() is None:
            self.signal(b"", kind="kill")  # the agent has its control group to remove
            with contextlib.suppress(subprocess.TimeoutExpired):
                agent.wait(KILL_S)
        self._kill_all()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            Path(self._lock.name).unlink(missing_ok=True)
            self._lock.close()

    def _said(self) -> str:
        """Return the end of what the agent itself printed: its worker's words are in the run."""
        log = self._opened().parent / AGENT_LOG
        return log.read_bytes()[-TAIL_BYTES:].decode(errors="replace") if log.exists() else ""

    def _opened(self) -> Path:
        if self._run is None:
            raise Refusal("no run directory was opened")
        return self._run

    def _filled(self, words: list[str]) -> list[str]:
        return [str(self._opened()) if word == "{run}" else word for word in words]

    def _finish(
        self, words: list[str], environment: dict[str, str], *, timeout_s: float
    ) -> tuple[int, str]:
        """Run a program to its end, or to the launcher's."""
        deadline, alive_s = time.monotonic() + timeout_s, time.monotonic() + ALIVE_S
        with subprocess.Popen(
            words,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        ) as process:
            assert process.stdout is not None
            said = b""
            os.set_blocking(process.stdout.fileno(), False)
            try:
                while process.poll() is None:
                    if self._inbox.is_gone(0.05):
                        raise GoneError
                    if time.monotonic() > alive_s:
                        send(SIGN_OF_LIFE)
                        alive_s = time.monotonic() + ALIVE_S
                    said += process.stdout.read() or b""
                    if time.monotonic() > deadline:
                        raise Refusal(f"{words[0]} took longer than {timeout_s:g} s")
                said += process.stdout.read() or b""
            finally:
                if process.returncode is None:
                    for pid in [process.pid, *below(process.pid)]:
                        kill(pid)
        return process.returncode, said.decode(errors="replace").strip()

    def _kill_all(self) -> None:
        """Kill every process below this one; orphans among them are its children by now."""
        deadline = time.monotonic() + KILL_S
        while (left := below(os.getpid())) and time.monotonic() < deadline:
            for pid in left:
                kill(pid)
            if self._agent is not None:
                self._agent.poll()
            bury(self._agent_pid)
            time.sleep(0.01)


def host_name() -> str:
    """Return this machine's name as a part of a file's: a home may be on several machines."""
    return re.sub("[^A-Za-z0-9-]+", "-", socket.gethostname())


def cache() -> Path:
    """Return where environments and run directories are kept, as for timetrial's own data."""
    if chosen := os.environ.get("TIMETRIAL_CACHE"):
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "timetrial"
    return Path.home() / ".cache" / "timetrial"


def inside(name: str) -> str:
    """Return a relative name that stays where it is put.

    Raises:
        Refusal: It leads elsewhere.
    """
    if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise Refusal(f"not a name inside the run directory: {name!r}")
    return name


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield relative name and path of every plain file that is whole."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.endswith(".part"):
            yield path.relative_to(folder).as_posix(), path


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return relative name -> bytes and time of change; a file that goes meanwhile is left out."""
    found: dict[str, tuple[int, int]] = {}
    for name, path in files(folder):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found[name] = stat.st_size, stat.st_mtime_ns
    return found


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Answer requests until the launcher is gone."""
    for number in LEAVE:
        signal.signal(number, _leave)
    adopt_orphans()
    inbox = Inbox(0)
    far = Far(inbox)
    try:
        send(GREETING)
        while True:
            request, load = inbox.read(far.silent_s)
            send(frame(*far.answer(request, load)))
    except (GoneError, BrokenPipeError):
        pass
    finally:
        far.end()


def send(content: bytes) -> None:
    """Write to standard output, all of it."""
    while content:
        content = content[os.write(1, content) :]


def _leave(_number: int, _frame: object) -> None:
    raise GoneError
