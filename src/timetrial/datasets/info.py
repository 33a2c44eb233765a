"""What is known of a data set before any of its bytes are here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np

from timetrial.spec import Record


class DataFile(Record, frozen=True, kw_only=True):
    """One file of a data set.

    Sources compress the same bytes differently, so size and checksum are those of the *content*:
    decompressed where the copy is gzip. With `text`, CRLF counts as LF: scikit-learn's Windows
    wheels carry breast_cancer.csv with CRLF (1.6.0 and 1.9.1 from PyPI), the others with LF.

    A `tar` is an archive whose publishers state the checksum of the file as it lies, compression
    and all. A `folder` holds images as <split>/<class>/<file>; its content is its listing, so the
    checksum of the listing fixes every byte of every image.

    A `layout` is a folder that only its owner can bring, too large to be read for a checksum: its
    files are counted, `sha256` is empty and `size_bytes` 0. Its content is its path.
    """

    name: str
    sha256: str
    size_bytes: int
    text: bool = False
    kind: Literal["file", "tar", "folder", "layout"] = "file"


class PackageFolder(Record, frozen=True, kw_only=True, tag="package_folder"):
    """A folder inside an installed Python package, found without importing the package."""

    module: str
    folder: str
    distribution: str  # its name for people and pip
    extra: str  # of timetrial, which installs it


class SystemFolder(Record, frozen=True, kw_only=True, tag="system_folder"):
    """A folder where the operating system's package puts the files."""

    folder: str


class Address(Record, frozen=True, kw_only=True, tag="address"):
    """A folder on the web; a file's name is appended to `base_url`."""

    base_url: str


class DebianPackage(Record, frozen=True, kw_only=True, tag="debian_package"):
    """A Debian package, fetched and unpacked without root; the files lie in its `folder`."""

    package: str
    folder: str


Place: TypeAlias = PackageFolder | SystemFolder | Address | DebianPackage


class Column(Record, frozen=True, kw_only=True):
    """One input of a table: a number, or the index of one of `categories`."""

    name: str
    categories: tuple[str, ...] = ()  # empty: a number


class DatasetInfo(Record, frozen=True, kw_only=True):
    """A data set: what it holds, where it comes from, and what reads it.

    `places` are tried in their order, those on this machine before those on the network, and all
    of them after the folders of the search path. Each of `alternatives` is a set of files that
    holds the same examples as `files`; one that is whole on this machine does, and only `files`
    are fetched. Where a `decoder` is named, reading takes seconds: what was read is kept in the
    cache, made again when the decoder's version changes. `columns` name the inputs of a table;
    where there are none, all inputs are numbers.
    """

    name: str
    title: str
    licence: str
    homepage: str
    class_names: tuple[str, ...]  # index = label
    input_shape: tuple[int, ...]  # of one example, channels last
    examples: int  # without the shipped test set
    test_examples: int | None  # None: no test set is shipped
    files: tuple[DataFile, ...]
    places: tuple[Place, ...]
    reader: str  # "module:attribute" of a Reader
    reader_options: Mapping[str, str] = msgspec.field(default_factory=dict)  # by keyword
    alternatives: tuple[tuple[DataFile, ...], ...] = ()
    decoder: Literal["none", "numpy", "pillow"] = "none"
    columns: tuple[Column, ...] = ()

    @property
    def file_sets(self) -> tuple[tuple[DataFile, ...], ...]:
        """The sets of files, each of which is the whole data set."""
        return (self.files, *self.alternatives)

    @property
    def content_sha256(self) -> str:
        """The SHA-256 of what decides every value read: all content, the reader and its options.

        Not of the name, nor of where the files lie.
        """
        files = [(file.kind, file.text, file.sha256) for file in self.files]
        decisive = (files, self.reader, self.reader_options)
        return hashlib.sha256(msgspec.json.encode(decisive, order="deterministic")).hexdigest()

    @property
    def is_brought(self) -> bool:
        """Whether only its owner can bring it: nothing fetches it, no checksum fixes it."""
        return any(file.kind == "layout" for file in self.files)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


class Examples(NamedTuple):
    """All examples in the order of the files; labels are int64, 0 … classes - 1."""

    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray | None
    test_labels: np.ndarray | None


Reader: TypeAlias = Callable[..., Examples]
"""Makes examples from checked contents (file name -> bytes); raises DataError, nothing else.

Called with the contents, and with the data set's `reader_options` by keyword. An archive and a
folder come as their members: "name/of/member" in the archive, "folder/name/of/member".
"""
