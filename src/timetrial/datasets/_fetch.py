"""Brings files into the cache: from a web address, or out of a Debian package.

A file appears in the cache only whole and checked: temporary file in the same folder, check,
fsync, rename. Nothing here waits without a limit.
"""

from __future__ import annotations

import http.client
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from timetrial.datasets._content import read_copy
from timetrial.datasets.info import DataFile, DebianPackage
from timetrial.errors import DataError
from timetrial.spec import Record

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Told what is fetched, the bytes here, and the bytes in all (None: not known)."""

_PART: Final = ".part-"
_PLAIN: Final = ("env", "LC_ALL=C")  # error messages in English, whatever the user's language
_CHUNK_BYTES: Final = 1 << 16

# Ours is a private list in a private folder: the machine's hooks (Docker's images delete
# /var/cache/apt/archives in one, PackageKit is told in another) have nothing to do with it.
_APT_CONF: Final = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class Limits(Record, frozen=True, kw_only=True):
    """How long a source may keep us waiting."""

    answer_s: float = 5.0  # name look-up, connecting and the head of the answer, together
    silence_s: float = 20.0  # between two pieces of an answer
    total_s: float = 600.0  # per file of an address; for a Debian package, all its steps


def fetch_from_address(
    base_url: str, file: DataFile, folder: Path, *, limits: Limits, progress: Progress | None
) -> None:
    """Fetch `file` from below `base_url` into `folder`.

    Raises:
        DataError: No answer, a refusal, too slow, or not the right bytes.
        OSError: `folder` cannot be written.
    """
    # Deflate at worst adds a few bytes per block; text may come with CRLF.
    limit_bytes = file.size_bytes * (2 if file.text else 1) + file.size_bytes // 100 + (1 << 16)
    chunks = _download(f"{base_url.rstrip('/')}/{file.name}", limit_bytes, limits)
    keep(file, folder, _counted(file.name, chunks, progress))


def fetch_from_debian(
    source: DebianPackage,
    files: Sequence[DataFile],
    folder: Path,
    *,
    limits: Limits,
    progress: Progress | None,
) -> None:
    """Fetch a Debian package as any user, unpack it beside `folder`, keep `files` from it.

    The machine's package lists are asked first; where they do not know the package or are out of
    date, a private list is made (about 10 MB to fetch for Debian 12).

    Raises:
        DataError: No apt-get here, apt-get's own error, too slow, or not the right bytes.
        OSError: `folder` cannot be written.
    """
    for program in ("apt-get", "dpkg-deb", "env"):
        if shutil.which(program) is None:
            raise DataError(f"{program} is not on this machine")
    if progress is not None:
        progress(source.package, 0, None)
    _make_folder(folder)
    prefix, deadline = _PART + "apt-", time.monotonic() + limits.total_s
    with tempfile.TemporaryDirectory(
        prefix=prefix, dir=folder, ignore_cleanup_errors=True
    ) as scratch:
        package = _download_package(source.package, Path(scratch), limits, deadline)
        unpacked = Path(scratch) / "unpacked"
        command = [*_PLAIN, "dpkg-deb", "-x", str(package), str(unpacked)]
        _call(command, package.parent, deadline)
        for file in files:
            path = unpacked / source.folder.lstrip("/") / file.name
            if not path.is_file():
                raise DataError(f"{package.name} holds no {source.folder}/{file.name}")
            keep(file, folder, _counted(file.name, _pieces(path), progress))


def keep(file: DataFile, folder: Path, chunks: Iterable[bytes]) -> None:
    """Put the bytes into `folder` under the file's name, all of them and checked, or nothing.

    Raises:
        DataError: They are not the content of `file`.
        OSError: `folder` cannot be written.
    """

    def check(part: Path) -> None:
        copy = read_copy(part, file)
        if copy.content is None:
            raise DataError(f"{file.name} came with this fault: {copy.status}: {copy.detail}")

    write_whole(folder / file.name, chunks, check)


def write_whole(
    path: Path, chunks: Iterable[bytes | memoryview], check: Callable[[Path], None] | None = None
) -> None:
    """Write all the pieces to `path`, or nothing; `check` raises on what must not be kept.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = path.parent
    _make_folder(folder)
    handle, name = tempfile.mkstemp(prefix=_PART, dir=folder)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            for chunk in chunks:
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if check is not None:
            check(part)
        part.chmod(0o644)  # mkstemp's 0600 would shut others out of a shared cache
        part.replace(path)
        _sync_folder(folder)
    finally:
        part.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make the folder, and clear what killed fetches left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(_PART + "*"):
        try:
            if time.time() - left.stat().st_mtime < 3600:  # perhaps another process at work
                continue
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError:  # cleared by another process, or not ours: it harms nobody
            continue


def _sync_folder(folder: Path) -> None:
    """Make the rename durable; Windows cannot open a folder, and needs not."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _counted(
    what: str, chunks: Iterable[tuple[bytes, int | None]], progress: Progress | None
) -> Iterator[bytes]:
    done_bytes = 0
    for chunk, total_bytes in chunks:
        yield chunk
        done_bytes += len(chunk)
        if progress is not None:
            progress(what, done_bytes, total_bytes)


def _pieces(path: Path) -> Iterator[tuple[bytes, int | None]]:
    with path.open("rb") as stream:
        total_bytes = os.fstat(stream.fileno()).st_size
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk, total_bytes


# --- the web -------------------------------------------------------------------------------------


class _Head(NamedTuple):
    total_bytes: int | None


_Item: TypeAlias = _Head | bytes | Exception | None


def _download(url: str, limit_bytes: int, limits: Limits) -> Iterator[tuple[bytes, int | None]]:
    """Yield pieces and the total; a thread waits on the network, so that we never do.

    A socket's time limit covers neither the name look-up nor a server that drips single bytes.
    The thread only holds a socket: given up on, it ends at its next piece, or at the socket's
    limit, which is the longer one so that it is always here that the wait is ended and named.
    """
    items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
    given_up = threading.Event()
    threading.Thread(target=_pump, args=(url, limits, items, given_up), daemon=True).start()
    deadline = time.monotonic() + limits.total_s
    wait_s, total_bytes, done_bytes = limits.answer_s, None, 0
    try:
        while True:
            left_s = deadline - time.monotonic()
            try:
                item = items.get(timeout=max(0.0, min(wait_s, left_s)))
            except queue.Empty:
                raise DataError(_too_slow(done_bytes, left_s < wait_s, wait_s, limits)) from None
            wait_s = limits.silence_s
            match item:
                case _Head():
                    total_bytes = item.total_bytes
                case bytes():
                    done_bytes += len(item)
                    if done_bytes > limit_bytes:
                        raise DataError(f"more bytes than the {limit_bytes} the file can have")
                    yield item, total_bytes
                case Exception():
                    raise DataError(_reason(item)) from item
                case None:
                    return
    finally:
        given_up.set()


def _pump(
    url: str, limits: Limits, items: queue.SimpleQueue[_Item], given_up: threading.Event
) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "timetrial"})
    socket_s = max(limits.answer_s, limits.silence_s) + 1
    try:
        with urllib.request.urlopen(request, timeout=socket_s) as response:
            length = response.headers.get("Content-Length", "")
            items.put(_Head(int(length) if length.isdecimal() else None))
            while not given_up.is_set():
                chunk = response.read1(_CHUNK_BYTES)
                if not chunk:
                    items.put(None)
                    return
                items.put(chunk)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        items.put(error)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return f"{type(cause).__name__}: {cause}"


def _too_slow(done_bytes: int, out_of_time: bool, wait_s: float, limits: Limits) -> str:
    if out_of_time:
        return f"not done after {limits.total_s:g} s, with {done_bytes} bytes"
    return f"no answer for {wait_s:g} s, after {done_bytes} bytes"


# --- Debian --------------------------------------------------------------------------------------


def _download_package(package: str, scratch: Path, limits: Limits, deadline: float) -> Path:
    """Return the path of the downloaded .deb below `scratch`."""
    lists, into = scratch / "lists", scratch / "package"
    for made in (lists / "partial", scratch / "cache" / "archives" / "partial", into):
        made.mkdir(parents=True)
    conf = scratch / "apt.conf"
    conf.write_text(_APT_CONF, encoding="ascii")
    common = [*_PLAIN, "apt-get", "-q", "-c", str(conf)]
    for option in (
        f"Dir::Cache={scratch / 'cache'}",
        f"Acquire::http::Timeout={limits.answer_s:g}",
        f"Acquire::https::Timeout={limits.answer_s:g}",
        "Acquire::Retries=0",
        "Acquire::Languages=none",
    ):
        common += ["-o", option]
    private = [*common, "-o", f"Dir::State::Lists={lists}"]
    try:
        _call([*common, "download", package], into, deadline)
    except DataError as first:
        try:
            said = _call([*private, "update"], into, deadline)
            _call([*private, "download", package], into, deadline, before=_unfetched(said))
        except DataError as second:
            raise DataError(f"{first}; with a package list of our own: {second}") from second
    found = sorted(into.glob("*.deb"))
    if len(found) != 1:
        raise DataError(f"apt-get download left {len(found)} packages, expected 1")
    return found[0]


def _call(command: Sequence[str], folder: Path, deadline: float, *, before: str = "") -> str:
    """Run the command in `folder` and return what it said.

    The output goes to a file: a pipe could be kept open by a grandchild. `before` is put before
    the command's own error.

    Raises:
        DataError: It failed, or was not done at the deadline.
    """
    name = " ".join(word for word in command if word in _SAID)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise DataError(f"{name}: not done in time") from None
        finally:
            if process.poll() is None:  # out of time, or Ctrl-C: apt's own children go with it
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
    if code != 0:
        raise DataError(f"{before}{name}: {_last_error(text) or f'exit code {code}'}")
    return text


_SAID: Final = ("apt-get", "dpkg-deb", "update", "download", "-x")


def _last_error(text: str) -> str:
    """Return the last error line of apt-get or dpkg-deb, else their last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg-deb: error"))]
    return (errors or lines or [""])[-1]


def _unfetched(text: str) -> str:
    """Return the first list that `apt-get update` could not fetch: it ends with 0 all the same."""
    failed = [line.strip() for line in text.splitlines() if line.startswith("W: Failed to fetch")]
    return f"apt-get update: {failed[0]}; " if failed else ""
