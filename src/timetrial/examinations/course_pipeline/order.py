"""The order of the rows in which document 002 computed its 94.5 %.

Its slides sort the table by diagnosis, descending, with pandas' default sort of that time, an
unstable quicksort. StratifiedShuffleSplit draws rows by their place, so another order of the same
rows tests on other ones. The order is kept beside this file; `computed_order` gives it again.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

import numpy as np

from timetrial.errors import DataError

FILE: Final = "document_order.txt"
SHA1: Final = "78da1152af0200c2ef9be365bde752652161ca0f"  # of the indices, joined by commas
SAMPLE_ROW: Final = 463  # of UCI's file, from 0: all 30 values are those that the slide prints ...
SAMPLE_PLACE: Final = 289  # ... as sample 289


def document_order() -> np.ndarray:
    """Return the kept order: the row of UCI's file, from 0, for each place; shape (569,).

    Raises:
        DataError: The file that is kept was changed.
    """
    text = files(__package__ or "").joinpath(FILE).read_text(encoding="ascii").strip()
    order = np.array([int(row) for row in text.split(",")])
    if digest(order) != SHA1:
        raise DataError(
            f"{FILE} has SHA-1 {digest(order)}, not {SHA1}: it was changed. Install timetrial "
            "again."
        )
    return order


def digest(order: np.ndarray) -> str:
    """Return the SHA-1 of the indices, joined by commas: the name that the order goes by."""
    text = ",".join(map(str, order.tolist()))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def computed_order(malignant: np.ndarray) -> np.ndarray:
    """Return the rows sorted by diagnosis, M first, as pandas sorts objects in descending order.

    It sorts the reversed column with NumPy's quicksort and reverses the places that come out. As
    objects, the diagnoses are compared one by one: no processor's own sort is used.

    Source: pandas 1.5.3, core/sorting.py, nargsort.
    """
    names = np.where(malignant.astype(bool), "M", "B").astype(object)
    backwards = np.argsort(names[::-1], kind="quicksort")
    return (len(names) - 1 - backwards)[::-1]


def stable_order(malignant: np.ndarray) -> np.ndarray:
    """Return the rows with M first, in each diagnosis as they were."""
    return np.argsort(1 - malignant, kind="stable")
