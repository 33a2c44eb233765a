"""One copy of a data file on disk: is it the file? Its content, decompressed and checked.

And what a reader is given: the members of files, archives and folders under their names.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Literal, NamedTuple, TypeAlias

from timetrial.datasets._listing import list_images, listed
from timetrial.datasets.imagenet import read_folder
from timetrial.datasets.info import DataFile
from timetrial.errors import DataError

CopyStatus: TypeAlias = Literal["ok", "missing", "cut", "wrong checksum", "unreadable"]

_GZIP_MAGIC: Final = b"\x1f\x8b"


class Copy(NamedTuple):
    """What was found at a path. `content` is None unless the status is "ok"."""

    status: CopyStatus
    detail: str
    content: bytes | None


def read_copy(path: Path, file: DataFile) -> Copy:
    """Return the content at `path` where it is that of `file`, else what is wrong with it.

    Never reads more than the expected size (twice that for text), however well it is compressed.
    The content of a folder is its listing; that of a layout its path, and what is in it the detail.
    """
    if file.kind == "folder":
        return _read_folder(path, file)
    if file.kind == "layout":
        return _read_layout(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for without end
            return Copy("unreadable", "not a regular file", None)
        with path.open("rb") as raw:
            content = _decompressed(raw, file)
    except (FileNotFoundError, NotADirectoryError):
        return Copy("missing", "", None)
    except EOFError:
        return Copy("cut", "the gzip data end too early", None)
    except (gzip.BadGzipFile, zlib.error) as error:
        return Copy("wrong checksum", f"damaged gzip data: {error}", None)
    except OSError as error:
        return Copy("unreadable", error.strerror or str(error), None)
    return _judged(content, file)


def _read_folder(path: Path, file: DataFile) -> Copy:
    if not path.is_dir():
        return Copy("missing", "", None)
    try:
        content = list_images(path)
    except DataError as error:
        return Copy("unreadable", str(error), None)
    except OSError as error:
        return Copy("unreadable", error.strerror or str(error), None)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        detail = (
            f"{len(listed(content))} images; the SHA-256 of their listing is "
            f"{hashlib.sha256(content).hexdigest()}, expected {file.sha256}"
        )
        return Copy("wrong checksum", detail, None)
    return Copy("ok", "", content)


def _read_layout(path: Path) -> Copy:
    if not path.is_dir():
        return Copy("missing", "", None)
    try:
        return Copy("ok", read_folder(path).summary(), str(path).encode())
    except DataError as error:
        return Copy("unreadable", str(error), None)


def _decompressed(raw: BinaryIO, file: DataFile) -> bytes:
    limit_bytes = file.size_bytes * (2 if file.text else 1) + 1
    if file.kind == "tar":
        return raw.read(limit_bytes)
    compressed = raw.read(2) == _GZIP_MAGIC
    raw.seek(0)
    if compressed:
        with gzip.GzipFile(fileobj=raw) as stream:
            content = stream.read(limit_bytes)
    else:
        content = raw.read(limit_bytes)
    return content.replace(b"\r\n", b"\n") if file.text else content


def _judged(content: bytes, file: DataFile) -> Copy:
    if len(content) < file.size_bytes:
        detail = f"{len(content)} bytes of content, expected {file.size_bytes}"
        return Copy("cut", detail, None)
    if len(content) > file.size_bytes:
        return Copy("wrong checksum", f"more than the expected {file.size_bytes} bytes", None)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        detail = f"SHA-256 of the content is {sha256}, expected {file.sha256}"
        return Copy("wrong checksum", detail, None)
    return Copy("ok", "", content)


# --- what a reader is given ----------------------------------------------------------------------


class _OnDisk(NamedTuple):
    path: Path
    size_bytes: int
    sha256: str


class Contents(Mapping[str, bytes]):
    """Checked contents by name; those of a folder's files are read when asked for.

    `seen` is told the bytes handed out so far and the bytes in all.
    """

    def __init__(self, seen: Callable[[int, int], None] | None = None) -> None:
        """Begin with nothing."""
        self._members: dict[str, bytes | _OnDisk] = {}
        self._seen = seen
        self._total_bytes = 0
        self._done_bytes = 0

    def add(self, file: DataFile, path: Path, content: bytes) -> None:
        """Add a file as `read_copy` found it at `path`: an archive or a folder as its members.

        Raises:
            DataError: The archive is damaged, or holds anything but files and folders.
        """
        if file.kind in ("file", "layout"):
            self._members[file.name] = content
            self._total_bytes += len(content)
        elif file.kind == "tar":
            for name, member in _unpacked(file.name, content):
                self._members[name] = member
                self._total_bytes += len(member)
        else:
            for row in listed(content):
                there = _OnDisk(path / row.name, row.size_bytes, row.sha256)
                self._members[f"{file.name}/{row.name}"] = there
                self._total_bytes += row.size_bytes

    def __getitem__(self, name: str) -> bytes:
        """Return the content called `name`.

        Raises:
            DataError: A folder's file changed since the folder was checked.
        """
        member = self._members[name]
        content = member if isinstance(member, bytes) else _read_member(member)
        if self._seen is not None:
            self._done_bytes += len(content)
            self._seen(self._done_bytes, self._total_bytes)
        return content

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in their order."""
        return iter(self._members)

    def __len__(self) -> int:
        """Return the number of contents."""
        return len(self._members)


def _unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the archive's files in memory; nothing is written, no link is followed."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                where = PurePosixPath(member.name)
                if member.isdir():
                    continue
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None or where.is_absolute() or ".." in where.parts:
                    raise DataError(
                        f"{name} holds {member.name!r}, which is neither a file nor a folder "
                        "inside it. Next step: timetrial data check"
                    )
                yield str(where), stream.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(
            f"{name} is not a tar archive that can be read: {error}. "
            "Next step: timetrial data check"
        ) from error


def _read_member(member: _OnDisk) -> bytes:
    try:
        with member.path.open("rb") as stream:
            content = stream.read(member.size_bytes + 1)
    except OSError as error:
        raise DataError(
            f"{member.path} was there when its folder was checked and cannot be read now: "
            f"{error.strerror or error}. Next step: put it back, or begin again."
        ) from error
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise DataError(
            f"{member.path} changed after its folder was checked. "
            "Next step: begin again when nothing writes to the folder."
        )
    return content
