"""A user's own data, described from where they lie: a folder of images, or a CSV file.

The description holds the checksum of every byte, and goes through `prepare` like a registered
data set's; the decoded file that makes, named in the plan by its checksum, is all a worker reads.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from timetrial.datasets import REGISTRY
from timetrial.datasets._images import decode, layout
from timetrial.datasets._listing import list_images, listed
from timetrial.datasets.info import DataFile, DatasetInfo, Examples, SystemFolder
from timetrial.errors import DataError, UsageError

_NAME: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_UNKNOWN: Final = "not stated"


def image_folder(path: Path, *, name: str) -> DatasetInfo:
    """Return the description of path/{train,test}/<class>/<image>, PNG or JPEG, all of one shape.

    Labels follow the alphabetical order of the class folders. Without a folder test no test set
    is shipped, and the task cuts one. Reads every file once, for its checksum.

    Raises:
        UsageError: The name cannot be one of a data set, or there is no such folder.
        DataError: The folder is laid out otherwise, or its first image cannot be decoded.
        MissingExtraError: Pillow is not installed.
    """
    root = path.expanduser().absolute()
    _check(name, root, is_there=root.is_dir(), kind="folder")
    try:
        content = list_images(root)
        found = layout([row.name for row in listed(content)])
        first, _ = found.train[0]
        shape = decode((root / first).read_bytes(), str(root / first)).shape
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error}.") from error
    return DatasetInfo(
        name=name,
        title=f"images in {root.name}",
        licence=_UNKNOWN,
        homepage=_UNKNOWN,
        class_names=found.class_names,
        input_shape=shape,
        examples=len(found.train),
        test_examples=len(found.test) or None,
        files=(_data_file(root.name, content, folder=True),),
        places=(SystemFolder(folder=str(root.parent)),),
        reader="timetrial.datasets._images:read",
        decoder="pillow",
    )


def csv_table(path: Path, *, label: str, name: str) -> DatasetInfo:
    """Return the description of a CSV file: a line of column names, then numbers and a label.

    Comma-separated, UTF-8, quotes as spreadsheets write them. The column `label` holds the class,
    any text; labels follow the order of the classes, by number where all are whole numbers. All
    other columns are inputs, in their order. The task cuts the test set.

    Raises:
        UsageError: The name cannot be one of a data set, or there is no such file or column.
        DataError: The file is not such a table.
    """
    file = path.expanduser().absolute()
    _check(name, file, is_there=file.is_file(), kind="file")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    header, rows = _table(content, file.name)
    if label not in header:
        raise UsageError(
            f"{file} has no column {label!r}. Its columns: {', '.join(header)}. "
            "Name the one that holds the class."
        )
    at = header.index(label)
    info = DatasetInfo(
        name=name,
        title=f"table in {file.name}",
        licence=_UNKNOWN,
        homepage=_UNKNOWN,
        class_names=_classes([row[at] for row in rows], file.name),
        input_shape=(len(header) - 1,),
        examples=len(rows),
        test_examples=None,
        files=(_data_file(file.name, content, folder=False),),
        places=(SystemFolder(folder=str(file.parent)),),
        reader="timetrial.datasets.own:read_csv",
        reader_options={"label": label},
        decoder="numpy",
    )
    read_csv({file.name: content}, label=label)
    return info


def read_csv(contents: Mapping[str, bytes], *, label: str) -> Examples:
    """Return the inputs, float64 of shape (rows, columns), and labels of a CSV file.

    Raises:
        DataError: Not such a table, or a cell that is not a finite number.
    """
    ((name, content),) = contents.items()
    header, rows = _table(content, name)
    at = header.index(label)
    texts = [row.pop(at) for row in rows]
    columns = [column for column in header if column != label]
    classes = {text: number for number, text in enumerate(_classes(texts, name))}
    inputs = np.array(
        [
            [_number(cell, name, number, column) for cell, column in zip(row, columns, strict=True)]
            for number, row in enumerate(rows)
        ],
        dtype=np.float64,
    )
    return Examples(inputs, np.array([classes[text] for text in texts], dtype=np.int64), None, None)


def _table(content: bytes, name: str) -> tuple[list[str], list[list[str]]]:
    try:
        text = content.decode("utf-8-sig")
        header, *rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row
        ]
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(
            f"{name} is not a comma-separated table in UTF-8: {error}. Save it as one."
        ) from error
    odd = next((at for at, row in enumerate(rows) if len(row) != len(header)), None)
    if odd is not None:
        raise DataError(
            f"{name} has {len(rows[odd])} cells in row {odd + 1} below the column names; allowed: "
            f"{len(header)}, one a column. Correct the row."
        )
    if len(set(header)) != len(header) or len(header) < 2:
        raise DataError(
            f"The columns of {name} are {', '.join(header)}; allowed: two or more, of different "
            "names, in the first line. Add or correct that line."
        )
    return header, rows


def _classes(texts: list[str], name: str) -> tuple[str, ...]:
    found = set(texts)
    if len(found) < 2 or "" in found:
        raise DataError(
            f"The label column of {name} holds {len(found)} classes"
            f"{', one of them empty' if '' in found else ''}; allowed: two or more, none empty. "
            "Name another column, or complete it."
        )
    if all(re.fullmatch(r"[+-]?[0-9]+", text) for text in found):
        return tuple(sorted(found, key=lambda text: (int(text), text)))
    return tuple(sorted(found))


def _number(cell: str, name: str, row: int, column: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(
            f"{name} has {cell!r} in column {column!r}, row {row + 1} below the column names; "
            "allowed: a finite number. Fill the gap, encode the text, or take the column out."
        )
    return value


def _data_file(name: str, content: bytes, *, folder: bool) -> DataFile:
    return DataFile(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        kind="folder" if folder else "file",
    )


def _check(name: str, path: Path, *, is_there: bool, kind: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a data set. Allowed: small letters, digits, and "
            "single . _ - between them, such as my-photos."
        )
    if name in REGISTRY.names():
        raise UsageError(
            f"{name!r} is the name of another data set. Choose one that is not among: "
            f"{', '.join(REGISTRY.names())}."
        )
    if not is_there:
        raise UsageError(f"There is no {kind} {path}. Correct the path.")
