"""A run directory: the only module that knows its file names, and the one writer of its logs.

plan.json                 the plan, before anything starts
machine.<host>.json       the machine, before anything starts
ceilings.<host>.json      its measured ceilings, likewise; only where they were kept
events.launcher.jsonl     the parent's log: allocated, spawned, exited, released
events.<rank>.jsonl       a worker's log
meter.<host>.jsonl        the sampler's log of worker 0; meter.<host>-w<rank>.jsonl of another
stdout.<rank>.log         what the worker printed, standard error included
begun.<attempt>.<rank>.json   an agent's word that its worker runs; only where agents start workers
exit.<attempt>.<rank>.json    likewise: how the worker ended
network.<attempt>.json    launcher shaped: what passed between the workers, and what it cost
checkpoints/              states to resume from
script.<name>             open division: the script as it was planned
exhibits/                 of an examination: pictures and other files that its steps leave
scratch/                  while it runs: a command's data and predictions (open division),
                          or what an examination works with
done.json                 last: status, exit codes, SHA-256 of each file
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

import msgspec

from timetrial.errors import DiskError, FormatError, RunLockedError, StoreError
from timetrial.spec import MALFORMED, Record

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

T = TypeVar("T")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_HOST: Final = re.compile(r"[^A-Za-z0-9_-]+")
_SCRIPT: Final = re.compile(r"[^A-Za-z0-9._-]+")
_EXHIBIT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Done(Record, frozen=True, kw_only=True):
    """The last file of a run: with it the directory is complete and read-only."""

    format: int
    run: str
    status: str
    exit_codes: Mapping[str, int]  # rank -> exit code of the last attempt, negative: signal
    finished_utc: str
    sha256: Mapping[str, str]  # relative path -> SHA-256 of every other file
    self_sha256: str = ""  # of this record's JSON with an empty self_sha256


class RunDir:
    """Names the files of one run directory."""

    def __init__(self, path: Path) -> None:
        """Name files under `path`; touches nothing."""
        self.path = path

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.path / "plan.json"

    @property
    def done(self) -> Path:
        """The closing record."""
        return self.path / "done.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of states to resume from."""
        return self.path / "checkpoints"

    @property
    def exhibits(self) -> Path:
        """The folder of what the steps of an examination leave: pictures and other files."""
        return self.path / "exhibits"

    def exhibit(self, name: str) -> Path:
        """Return the file in there that is called `name`.

        Raises:
            FormatError: The name leads elsewhere.
        """
        if not _EXHIBIT.fullmatch(name):
            raise FormatError(
                f"{name!r} is no name of an exhibit of {self.path.name}. Allowed: letters, digits "
                "and . _ - after one of the first two, such as accuracy.png."
            )
        return self.exhibits / name

    @property
    def scratch(self) -> Path:
        """The folder that a command or an examination works with; gone when the run has ended."""
        return self.path / "scratch"

    @property
    def predictions(self) -> Path:
        """The folder in there that takes a command's predictions."""
        return self.scratch / "predictions"

    def script(self, name: str) -> Path:
        """Return the file that keeps a copy of the script called `name`."""
        return self.path / f"script.{_SCRIPT.sub('-', name)}"

    @property
    def launcher_events(self) -> Path:
        """The parent's log."""
        return self.path / "events.launcher.jsonl"

    def events(self, rank: int) -> Path:
        """Return the log of one worker."""
        return self.path / f"events.{rank}.jsonl"

    def stdout(self, rank: int) -> Path:
        """Return the file that takes a worker's standard output and error."""
        return self.path / f"stdout.{rank}.log"

    def begun(self, attempt: int, rank: int) -> Path:
        """Return the file in which an agent says that its worker runs."""
        return self.path / f"begun.{attempt}.{rank}.json"

    def exit(self, attempt: int, rank: int) -> Path:
        """Return the file in which an agent says how its worker ended."""
        return self.path / f"exit.{attempt}.{rank}.json"

    def network(self, attempt: int) -> Path:
        """Return the account of an emulated network, for one attempt (from 0)."""
        return self.path / f"network.{attempt}.json"

    def machine(self, host: str) -> Path:
        """Return the file that describes one machine."""
        return self.path / f"machine.{host_in_name(host)}.json"

    def ceilings(self, host: str) -> Path:
        """Return the file of one machine's measured ceilings."""
        return self.path / f"ceilings.{host_in_name(host)}.json"

    def meter(self, host: str, attempt: int, rank: int = 0) -> Path:
        """Return the sampler's log of one machine, attempt (from 0) and worker."""
        whose = host_in_name(host) + (f"-w{rank}" if rank else "")
        suffix = "" if attempt == 0 else f".{attempt}"
        return self.path / f"meter.{whose}{suffix}.jsonl"

    def machines(self) -> list[Path]:
        """Return all machine files, sorted."""
        return sorted(self.path.glob("machine.*.json"))

    def meters(self) -> list[Path]:
        """Return all sampler logs, in order of attempt."""
        return sorted(self.path.glob("meter.*.jsonl"), key=_attempt_of_meter)

    def ranks(self) -> list[int]:
        """Return the ranks of the workers that have a log, sorted."""
        names = (path.name.split(".") for path in self.path.glob("events.*.jsonl"))
        return sorted(int(name[1]) for name in names if len(name) == 3 and name[1].isdecimal())

    def files(self) -> list[str]:
        """Return the relative paths of all but real folders and done.json, sorted."""
        found = (path for path in self.path.rglob("*") if path.is_symlink() or not path.is_dir())
        names = (path.relative_to(self.path).as_posix() for path in found)
        return sorted(name for name in names if name != self.done.name)

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every file but done.json, by relative path."""
        return {name: sha256(self.path / name) for name in self.files()}


def host_in_name(host: str) -> str:
    """Return a host's name as it stands in names of files."""
    return _HOST.sub("-", host)


def _attempt_of_meter(path: Path) -> tuple[int, str]:
    _, host, *attempt, _ = path.name.split(".")
    return int(attempt[0]) if attempt and attempt[0].isdecimal() else 0, host


def create_run_dir(store: Path, name: str) -> RunDir:
    """Make a new, empty run directory in `store` whose name starts with `name`.

    Two processes on one store cannot get the same one.

    Raises:
        DiskError, StoreError: The store cannot be written.
    """
    with disk_errors(store):
        store.mkdir(parents=True, exist_ok=True)
        while True:
            path = store / f"{name}-{secrets.token_hex(4)}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return RunDir(path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a disk's refusal into a clear error that names `path`.

    Raises:
        DiskError: The disk is full or read-only.
        StoreError: Anything else that the system refuses.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskError(
                f"Cannot write {path}: {error.strerror}. What was written before is kept. "
                "Free some space, then continue with: timetrial run --resume"
            ) from error
        raise StoreError(
            f"Cannot use {path}: {error.strerror}. Choose another place with --store DIR."
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file so that a reader sees all of it or nothing, also after a crash.

    Raises:
        DiskError, StoreError: The disk refuses.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with disk_errors(path):
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def pretty_json(record: object) -> bytes:
    """Return a record as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


# --- logs ----------------------------------------------------------------------------------------


class LogWriter:
    """Appends whole JSON lines to a log, alone: a second writer of the file is refused.

    A line counts once its newline is there. A torn last line, left by a kill, is cut on opening.
    """

    def __init__(self, path: Path) -> None:
        """Name the log; opens nothing yet."""
        self._path = path
        self._encoder = msgspec.json.Encoder()

    def __enter__(self) -> Self:
        """Open, lock and repair the log.

        Raises:
            RunLockedError: Another process has it open for writing.
            DiskError, StoreError: It cannot be opened.
        """
        with disk_errors(self._path):
            self._file = self._path.open("ab", buffering=0)
        try:
            _lock(self._file.fileno())
        except OSError as error:
            self._file.close()
            raise RunLockedError(
                f"Another process is working on {self._path.parent}. Wait for it to end."
            ) from error
        with disk_errors(self._path):
            whole = _whole_length(self._path)
            if whole != self._path.stat().st_size:
                os.truncate(self._path, whole)
        return self

    def write(self, event: object, *, sync: bool = False) -> None:
        """Append one event as a line; with `sync` return only when the disk has it.

        Raises:
            DiskError: The disk is full; the log ends with the last whole line.
        """
        with disk_errors(self._path):
            line = self._encoder.encode(event) + b"\n"
            written = self._file.write(line)
            if written != len(line):  # a nearly full disk takes a part: the next call raises
                os.truncate(self._path, self._path.stat().st_size - (written or 0))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(self._file.fileno())

    def __exit__(self, *exception: object) -> None:
        """Close and unlock."""
        self._file.close()


def is_held(path: Path) -> bool:
    """Return whether a `LogWriter` of another process has this log open; False if it is not there.

    Where a file system shares no locks between machines it is False for a log held elsewhere.
    """
    try:
        with path.open("rb") as file:
            _lock(file.fileno(), shared=True)  # NFS grants an exclusive lock to writers alone
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _lock(handle: int, *, shared: bool = False) -> None:
    if sys.platform == "win32":
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _whole_length(path: Path) -> int:
    content = path.read_bytes()
    return content.rfind(b"\n") + 1


class LogReader(Generic[T]):
    """Reads the whole lines of a log as records of one type."""

    def __init__(self, kind: type[T]) -> None:
        """Prepare a strict decoder of `kind` (a union of tagged records)."""
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def read(self, path: Path) -> list[T]:
        """Return the events of `path`, without a torn last line; none if there is no file.

        Raises:
            FormatError: A whole line is not an event; names the file and line.
        """
        if not path.exists():
            return []
        events, _ = self.read_from(path, 0)
        return events

    def read_from(self, path: Path, offset: int) -> tuple[list[T], int]:
        """Return the whole lines from byte `offset` on, and the offset after them."""
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read()
        end = content.rfind(b"\n") + 1
        events = []
        for number, line in enumerate(content[:end].split(b"\n")[:-1], start=1):
            try:
                events.append(self._decoder.decode(line))
            except MALFORMED as error:
                raise FormatError(
                    f"{path}, line {number} after byte {offset}, is not an event: {error}. "
                    "The file was damaged; restore it from a copy, or move the directory away."
                ) from error
        return events, offset + end


# --- the closing record --------------------------------------------------------------------------


def seal(done: Done) -> bytes:
    """Return the bytes of done.json, its own hash filled in."""
    blank = msgspec.structs.replace(done, self_sha256="")
    own = hashlib.sha256(pretty_json(blank)).hexdigest()
    return pretty_json(msgspec.structs.replace(blank, self_sha256=own))


def unseal(content: bytes, where: str) -> Done:
    """Return the closing record in `content`.

    Raises:
        FormatError: Not a closing record, or any byte of it was changed.
    """
    try:
        done = msgspec.json.decode(content, type=Done)
    except MALFORMED as error:
        raise FormatError(f"{where} is damaged: {error}. Restore it from a copy.") from error
    if seal(done) != content:
        raise FormatError(f"{where} was changed: its own SHA-256 does not fit. Restore it.")
    return done
