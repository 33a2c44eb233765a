"""How fast a disk is read, without the copies of files that the system keeps in memory.

A file of noise is written and synchronised, then each round reads a further part of it, once, in
blocks of 4 MiB one after the other. On Linux the reads go past the page cache (O_DIRECT); where the
file system refuses that, the file's pages are dropped first (posix_fadvise,
POSIX_FADV_DONTNEED). On macOS F_NOCACHE keeps them out. What lies below the system (the disk's own
cache, a hypervisor's) may still hold what was just written: no program inside can empty it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from timetrial.errors import UsageError

BLOCK: Final = 4 * 2**20
_WRITE_S: Final = 4.0  # a slow disk gets a smaller file
_IN_MEMORY: Final = ("tmpfs", "ramfs", "rootfs")


class Reading(NamedTuple):
    """An open file that is read past the page cache, and how."""

    handle: int
    how: str
    buffer: mmap.mmap  # whose address O_DIRECT can use: that of a page


@contextlib.contextmanager
def written_file(folder: Path, size: int) -> Iterator[tuple[Path, int]]:
    """Write a file of noise for as long as it is needed; give its path and its size.

    Raises:
        UsageError: The folder cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=".timetrial-disk-", dir=folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    path = Path(name)
    try:
        written, begun = 0, time.monotonic()
        with os.fdopen(handle, "wb", buffering=0) as file:
            while written < size and (not written or time.monotonic() - begun < _WRITE_S):
                written += file.write(secrets.token_bytes(BLOCK))
                os.fsync(file.fileno())
        yield path, written
    except OSError as error:
        raise UsageError(f"{path} cannot be written or read: {error.strerror}") from error
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(path: Path, file_system: str | None) -> Iterator[Reading]:
    """Open a file for reads past the page cache.

    Raises:
        UsageError: That is not possible here; the message says why.
    """
    if file_system in _IN_MEMORY:
        raise UsageError(f"{path.parent} lies in memory ({file_system}), not on a disk")
    handle, how = _open(path)
    try:
        with mmap.mmap(-1, BLOCK) as buffer:
            yield Reading(handle, how, buffer)
    finally:
        os.close(handle)


def _open(path: Path) -> tuple[int, str]:
    if hasattr(os, "O_DIRECT"):
        with contextlib.suppress(OSError):  # some file systems have no such reads
            return os.open(path, os.O_RDONLY | os.O_DIRECT), "O_DIRECT"
    handle = os.open(path, os.O_RDONLY)
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(handle, fcntl.F_NOCACHE, 1)
        return handle, "F_NOCACHE"
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        return handle, "the file's pages dropped with posix_fadvise(DONTNEED)"
    os.close(handle)
    raise UsageError(f"this system ({sys.platform}) has no read past its page cache")


def read_part(reading: Reading, start: int, size: int) -> float:
    """Return the seconds in which `size` bytes from `start` on are read, in whole blocks."""
    at = time.perf_counter()
    for place in range(start, start + size, BLOCK):
        got = 0
        while got < BLOCK:
            count = os.preadv(reading.handle, [memoryview(reading.buffer)[got:]], place + got)
            if count <= 0:
                raise OSError(5, "the file is shorter than it was written")
            got += count
    return time.perf_counter() - at
