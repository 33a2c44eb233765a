"""Decoded examples kept in the cache: one file, checked whenever it is read.

A line of JSON (what it is, from which bytes, decoded by what, each array's shape and SHA-256),
then the arrays' values one after another. The SHA-256 of that line stands in the plan, and so
fixes every value: a worker needs neither the sources nor the registry, and a user's own data
travels like any other.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple, get_args

import msgspec
import numpy as np

from timetrial.datasets._fetch import write_whole
from timetrial.datasets.info import DatasetInfo, Examples
from timetrial.errors import DataError
from timetrial.spec import MALFORMED, Record

FORMAT: Final = 1
_KEY: Final = re.compile(r"(?P<name>.+)\.(?P<sha256>[0-9a-f]{64})\.arrays")
_LINE_BYTES: Final = 1 << 22  # a line is refused beyond; a thousand classes take some 30 kB
_Values = Literal["uint8", "int64", "float64"]


class StoredArray(Record, frozen=True, kw_only=True):
    """One array of the file; values in C order, little-endian."""

    values: _Values
    shape: tuple[int, ...]
    sha256: str

    @property
    def size_bytes(self) -> int:
        """The bytes of its values."""
        return math.prod(self.shape) * np.dtype(self.values).itemsize


class Origin(Record, frozen=True, kw_only=True):
    """What the examples were made of; another origin is another file."""

    format: int
    dataset: DatasetInfo
    sources: Mapping[str, str]  # file name -> SHA-256
    decoder: str  # with its version

    def file_name(self) -> str:
        """Return the name of the file in the cache."""
        digest = hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()
        return f"decoded-{digest[:16]}.arrays"


class Header(Record, frozen=True, kw_only=True):
    """The first line. Arrays: inputs, labels, then those of the test set where there is one."""

    origin: Origin
    arrays: tuple[StoredArray, ...]


class Decoded(NamedTuple):
    """A file of decoded examples, as the plan names it."""

    name: str
    sha256: str  # of the first line
    path: Path

    def key(self) -> str:
        """Return its name among the plan's data files."""
        return f"{self.name}.{self.sha256}.arrays"


def named_in(files: Mapping[str, str]) -> Decoded | None:
    """Return the decoded examples among a plan's data files, None where it names sources."""
    for key, path in files.items():
        if match := _KEY.fullmatch(key):
            return Decoded(match["name"], match["sha256"], Path(path))
    return None


def write(path: Path, origin: Origin, examples: Examples) -> Decoded:
    """Write the examples, all of them or nothing.

    Raises:
        DataError: The cache cannot be written, or a reader made arrays of another kind.
    """
    arrays = [np.ascontiguousarray(array) for array in examples if array is not None]
    for array in arrays:
        if array.dtype.name not in get_args(_Values) or array.dtype.byteorder == ">":
            raise DataError(
                f"{origin.dataset.reader} made an array of {array.dtype}; allowed: "
                f"{', '.join(get_args(_Values))}. Report this."
            )
    header = Header(
        origin=origin,
        arrays=tuple(
            StoredArray(
                values=array.dtype.name,  # type: ignore[arg-type]  # checked above
                shape=array.shape,
                sha256=hashlib.sha256(_bytes_of(array)).hexdigest(),
            )
            for array in arrays
        ),
    )
    line = msgspec.json.encode(header, order="deterministic") + b"\n"

    def pieces() -> Iterator[bytes | memoryview]:
        yield line
        for array in arrays:
            yield _bytes_of(array)

    try:
        write_whole(path, pieces())
    except OSError as error:
        raise DataError(
            f"Cannot keep the decoded data set {origin.dataset.name!r} in {path.parent}: "
            f"{error.strerror or error}. Next step: make room, or set TIMETRIAL_CACHE to a folder "
            "that can be written."
        ) from error
    return Decoded(origin.dataset.name, hashlib.sha256(line).hexdigest(), path)


def find(path: Path, origin: Origin) -> Decoded | None:
    """Return the file at `path` where it is whole and of this origin; None where there is none.

    Raises:
        DataError: It is damaged, or of another origin.
    """
    if not path.exists():
        return None
    line, header, _ = _read(path)
    if header.origin != origin:
        raise DataError(f"{path} was made of something else.")
    return Decoded(origin.dataset.name, hashlib.sha256(line).hexdigest(), path)


def read(decoded: Decoded, *, name: str) -> tuple[DatasetInfo, Examples]:
    """Return the data set's description and its examples, every value checked.

    Raises:
        DataError: The file is missing, damaged, or not the one that the plan names.
    """
    step = f"Next step: timetrial data fetch {name}, or make the plan again"
    try:
        line, header, arrays = _read(decoded.path)
    except DataError as error:
        raise DataError(f"{error} {step}.") from error
    sha256 = hashlib.sha256(line).hexdigest()
    info = header.origin.dataset
    if sha256 != decoded.sha256 or not name == decoded.name == info.name:
        raise DataError(
            f"{decoded.path} holds the data set {info.name!r} with SHA-256 {sha256}; the plan "
            f"names {decoded.name!r} with {decoded.sha256} for the task's {name!r}. {step}."
        )
    inputs, labels, *test = arrays
    test_inputs, test_labels = test or (None, None)
    return info, Examples(inputs, labels, test_inputs, test_labels)


def _read(path: Path) -> tuple[bytes, Header, list[np.ndarray]]:
    try:
        with path.open("rb") as stream:
            line = stream.readline(_LINE_BYTES)
            header = msgspec.json.decode(line, type=Header)
            if header.origin.format != FORMAT or len(header.arrays) not in (2, 4):
                raise DataError(f"{path} has another format than {FORMAT}.")
            arrays = [_read_array(stream, stored, path) for stored in header.arrays]
            if stream.read(1):
                raise DataError(f"{path} goes on after its last array.")
    except FileNotFoundError as error:
        raise DataError(f"{path}, the decoded data set, is missing.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except MALFORMED as error:
        raise DataError(f"{path} does not begin as a file of decoded examples: {error}.") from error
    return line, header, arrays


def _read_array(stream: BinaryIO, stored: StoredArray, path: Path) -> np.ndarray:
    left_bytes = path.stat().st_size - stream.tell()
    if min(stored.shape, default=0) < 0 or stored.size_bytes > left_bytes:
        raise DataError(f"{path} is cut: {left_bytes} bytes left for the shape {stored.shape}.")
    array = np.empty(stored.shape, dtype=stored.values)
    view = _bytes_of(array)
    stream.readinto(view)  # type: ignore[attr-defined]  # of any binary file
    if hashlib.sha256(view).hexdigest() != stored.sha256:
        raise DataError(f"{path} is damaged: the SHA-256 of an array is not the one it names.")
    return array


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
