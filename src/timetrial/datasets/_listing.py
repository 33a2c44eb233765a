"""The listing of a folder of images: one line a file, like sha256sum's, sorted by name.

root/{train,test}/<class>/<file>: exactly these three levels, so that no link leads in a circle.
Hidden files are left out, and so are files outside a class (a README, a licence).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from timetrial.errors import DataError

SPLITS: Final = ("train", "test")
SUFFIXES: Final = (".png", ".jpg", ".jpeg")


class Listed(NamedTuple):
    """One line: the name is "split/class/file"."""

    name: str
    size_bytes: int
    sha256: str


def list_images(root: Path) -> bytes:
    """Return the listing: lines "sha256  bytes  split/class/file".

    Raises:
        DataError: A folder or file has no place in the layout, or there is no training image.
        OSError: A file cannot be read.
    """
    for folder in _folders(root):
        if folder.name not in SPLITS:
            raise DataError(
                f"{root} holds a folder {folder.name!r}; allowed: {' and '.join(SPLITS)}, each "
                "with a folder per class. A validation set is cut from train by the task: move "
                "its images there, or the folder elsewhere."
            )
    lines: list[str] = []
    for split in sorted(SPLITS):
        for folder in _folders(root / split):
            lines += [_line(root, path) for path in _images(folder)]
    if not any(row.name.startswith("train/") for row in map(_parsed, lines)):
        raise DataError(
            f"{root} holds no image as train/<class>/<file>; allowed: files ending in "
            f"{', '.join(SUFFIXES)}. Put them there, a folder per class."
        )
    return "".join(lines).encode()


def listed(content: bytes) -> list[Listed]:
    """Return the rows of a listing."""
    return [_parsed(line) for line in content.decode().splitlines()]


def _parsed(line: str) -> Listed:
    sha256, size, name = line.rstrip("\n").split("  ", 2)
    return Listed(name, int(size), sha256)


def _line(root: Path, path: Path) -> str:
    content = path.read_bytes()
    name = path.relative_to(root).as_posix()
    return f"{hashlib.sha256(content).hexdigest()}  {len(content)}  {name}\n"


def _folders(folder: Path) -> Iterator[Path]:
    """Yield the visible folders in `folder`, sorted by name; nothing where it does not exist."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_dir() and not path.name.startswith("."):
            yield path


def _images(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            raise DataError(
                f"{path} is no image of a class; allowed: files ending in {', '.join(SUFFIXES)}. "
                "Convert it, or move it elsewhere."
            )
        if not path.name.isprintable() or not folder.name.isprintable():
            raise DataError(
                f"The name {path.name!r} in {folder} holds a character that cannot be printed. "
                "Rename it."
            )
        yield path
