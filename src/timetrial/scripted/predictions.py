"""Files of predictions: read strictly, since whoever wrote them is not to be trusted.

Only a plain file inside the folder, of at most the size that the split's scores can have, is read;
its header is checked before memory is taken for its numbers; nothing is unpickled.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from timetrial.engine import metrics
from timetrial.errors import AuditError

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}\.npy")
_HEADER_MAX: Final = 4096
GRAIN_NS: Final = 20_000_000  # by which files are dated: a tick of the kernel, 4 to 16 ms
_KINDS: Final = {"f": "numbers", "i": "whole numbers", "u": "whole numbers"}


class Judged(NamedTuple):
    """What predictions amount to. `loss` is None for class indices, or where it is not finite."""

    accuracy: float
    loss: float | None
    sha256: str


def judge(predictions: np.ndarray, labels: np.ndarray, classes: int) -> Judged:
    """Return accuracy and loss of scores (examples, classes) or class indices (examples,).

    Raises:
        AuditError: Another shape, NaN, or a class that does not exist.
    """
    count = len(labels)
    if predictions.shape == (count, classes) and predictions.dtype.kind in _KINDS:
        if np.isnan(predictions).any():
            raise AuditError("they hold NaN")
        with np.errstate(over="ignore", invalid="ignore"):
            loss = metrics.cross_entropy(predictions, labels)
        accuracy = metrics.accuracy(predictions, labels)
        kept = loss if math.isfinite(loss) else None
        return Judged(accuracy, kept, metrics.digest(predictions))
    if predictions.shape == (count,) and predictions.dtype.kind in "iu":
        if predictions.min(initial=0) < 0 or predictions.max(initial=0) >= classes:
            raise AuditError(
                f"they hold classes {predictions.min()} to {predictions.max()}; "
                f"allowed: 0 to {classes - 1}"
            )
        right = float(np.mean(predictions.astype(np.int64) == labels))
        return Judged(right, None, metrics.digest(predictions))
    raise AuditError(
        f"they have shape {predictions.shape} and type {predictions.dtype}; allowed: scores of "
        f"shape ({count}, {classes}), or whole numbers of shape ({count},)"
    )


def read(folder: Path, name: object, *, examples: int, classes: int, latest_ns: int) -> np.ndarray:
    """Return the array of an .npy file in `folder`, and delete the file.

    `latest_ns` (since 1970) is when the line that names it was read: a file that was changed later
    would be judged with a time that it had not earned.

    Raises:
        AuditError: Not a plain file of that folder, too large, too young, or not such an array.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise AuditError("their file must be named by its name alone, such as step-5.npy")
    largest = _HEADER_MAX + examples * classes * 8
    try:
        content, changed_ns = _content(folder / name, largest)
    except OSError as error:
        raise AuditError(f"their file {name} cannot be read: {error.strerror}") from error
    if changed_ns > latest_ns + GRAIN_NS:  # kept: a later line may name it again
        raise AuditError(
            f"their file {name} was written after the line that names it. Write the file before "
            "its line, and use a new name for each evaluation"
        )
    (folder / name).unlink(missing_ok=True)
    return _array(content, name, {(examples, classes), (examples,)})


def _content(path: Path, largest: int) -> tuple[bytes, int]:
    """Return what a file holds, and when it was last changed, in ns since 1970."""
    handle = os.open(
        path,
        os.O_RDONLY
        | getattr(os, "O_NOFOLLOW", 0)
        | getattr(os, "O_NONBLOCK", 0)  # a pipe would be waited for
        | getattr(os, "O_BINARY", 0),
    )
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1 or path.is_symlink():
            raise AuditError(f"their file {path.name} is a link or no plain file")
        content = file.read(largest + 1) if facts.st_size <= largest else b""
        if facts.st_size > largest or len(content) > largest:
            raise AuditError(
                f"their file {path.name} has {max(facts.st_size, len(content))} bytes; at most "
                f"{largest} are possible"
            )
        facts = os.fstat(handle)  # once more: it may have been changed while it was read
    return content, _changed_ns(facts)


def ahead_ns(folder: Path) -> int:
    """Return by how much files in `folder` are dated ahead of this clock, 0 where they are not.

    The clock of its file system may be that of a server.
    """
    os.utime(folder)
    return max(0, _changed_ns(folder.stat()) - time.time_ns())


def _changed_ns(facts: os.stat_result) -> int:
    """Return when a file was last changed; where the system keeps that, nobody can set it."""
    return facts.st_mtime_ns if sys.platform == "win32" else facts.st_ctime_ns


def _array(content: bytes, name: str, shapes: set[tuple[int, ...]]) -> np.ndarray:
    """Return the array in `content`; the header is judged before anything is made of it."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(stream, max_header_size=_HEADER_MAX)
    except (ValueError, KeyError, EOFError, TypeError, SyntaxError) as error:
        raise AuditError(f"their file {name} is not an .npy file") from error
    if dtype.hasobject or dtype.kind not in _KINDS or dtype.itemsize > 8 or shape not in shapes:
        allowed = " or ".join(str(shape) for shape in sorted(shapes))
        raise AuditError(
            f"their file {name} has shape {shape} and type {dtype}; allowed: numbers of shape "
            f"{allowed}"
        )
    numbers = content[stream.tell() :]
    if len(numbers) != math.prod(shape) * dtype.itemsize:
        raise AuditError(f"their file {name} is cut off or has bytes too many")
    return np.frombuffer(numbers, dtype).reshape(shape, order="F" if fortran else "C")
