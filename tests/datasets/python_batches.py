"""Writes batches of CIFAR's python version as Python 2 with an old NumPy wrote them."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np


class _Python2Pickler(pickle._Pickler):  # type: ignore[misc,name-defined]  # the one written in Python
    """Text and bytes are one type, written with Python 2's instructions."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, text: str | bytes) -> None:
        raw = text.encode("ascii") if isinstance(text, str) else text
        head = b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + struct.pack("<I", len(raw))
        self.write(head + raw)
        self.memoize(text)

    dispatch[str] = save_string
    dispatch[bytes] = save_string


def pickled(value: Any) -> bytes:
    """Return the value as Python 2 wrote it, NumPy's functions under their old name."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.", b"numpy.core.")


def python_batch(pixels: np.ndarray, labels: Sequence[int], title: str) -> bytes:
    """Return a batch: pixels of shape (count, 3072), uint8."""
    return pickled(
        {
            "batch_label": title,
            "labels": [int(label) for label in labels],
            "data": np.ascontiguousarray(pixels),
            "filenames": [f"image_s_{number:06}.png" for number in range(len(labels))],
        }
    )
