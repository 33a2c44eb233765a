"""Digits: 1,797 handwritten digits of 8 × 8 pixels, values 0 to 16; inside scikit-learn.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49; scikit-learn carries its test part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from timetrial.datasets._csv import read_table
from timetrial.datasets.info import DataFile, DatasetInfo, Examples, PackageFolder

DATASET: Final = DatasetInfo(
    name="digits",
    title="Handwritten digits, 8 × 8 pixels",
    licence="CC BY 4.0",
    homepage="https://archive.ics.uci.edu/dataset/80",
    class_names=tuple("0123456789"),
    input_shape=(8, 8, 1),
    examples=1797,
    test_examples=None,
    files=(
        DataFile(
            name="digits.csv.gz",
            # Computed from scikit-learn 1.6.0 and 1.9.1, wheels for Linux and Windows: all equal.
            sha256="6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
            size_bytes=264_712,
            text=True,
        ),
    ),
    places=(
        PackageFolder(
            module="sklearn",
            folder="datasets/data",
            distribution="scikit-learn",
            extra="sklearn",
        ),
    ),
    reader="timetrial.datasets.digits:read",
)


TABLE: Final = msgspec.structs.replace(
    DATASET,
    name="digits-tabular",
    title="Handwritten digits, 64 pixels as the columns of a table",
    input_shape=(64,),
    reader="timetrial.datasets.digits:read_as_table",
)


def read_as_table(contents: Mapping[str, bytes]) -> Examples:
    """Return inputs (1797, 64) float32 and labels.

    Raises:
        DataError: As `read`.
    """
    images = read(contents)
    return Examples(images.inputs.reshape(-1, 64).astype(np.float32), images.labels, None, None)


def read(contents: Mapping[str, bytes]) -> Examples:
    """Return inputs (1797, 8, 8, 1) uint8 and labels; a line is 64 pixels and the label.

    Raises:
        DataError: The content is not such a table.
    """
    table = read_table(contents["digits.csv.gz"], columns=65, name="digits.csv.gz")
    pixels, labels = table[:, :64], table[:, 64]
    return Examples(
        pixels.astype(np.uint8).reshape(-1, 8, 8, 1), labels.astype(np.int64), None, None
    )
