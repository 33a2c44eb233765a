"""Folders of PNG and JPEG images, decoded to arrays with Pillow.

Pixels as stored: no scaling, no turning by EXIF, no colour profile. Grey images have one channel,
RGB and palette images three.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from timetrial.datasets.info import Examples
from timetrial.errors import DataError, MissingExtraError


class Layout(NamedTuple):
    """The images of a folder: class names in their order, and (name, label) of every image."""

    class_names: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]


def layout(names: Sequence[str]) -> Layout:
    """Return what "…/split/class/file" names say; classes and files in alphabetical order.

    Raises:
        DataError: A class of the test set has no training image, or there is only one class.
    """
    rows = [(*name.rsplit("/", 3)[-3:-1], name) for name in sorted(names)]
    classes = sorted({folder for split, folder, _ in rows if split == "train"})
    unseen = sorted({folder for _, folder, _ in rows} - set(classes))
    if unseen or len(classes) < 2:
        raise DataError(
            f"The classes of train are {', '.join(classes) or 'none'}; of test alone: "
            f"{', '.join(unseen) or 'none'}. Allowed: two classes or more, each with training "
            "images. Add images, or take the class out of test."
        )
    label_of = {folder: label for label, folder in enumerate(classes)}
    train, test = (
        tuple((name, label_of[folder]) for part, folder, name in rows if part == split)
        for split in ("train", "test")
    )
    return Layout(tuple(classes), train, test)


def read(contents: Mapping[str, bytes]) -> Examples:
    """Return images (count, height, width, channels) uint8 and labels, train and test.

    Raises:
        DataError: A file is no PNG or JPEG image, or differs in size or channels from the first.
        MissingExtraError: Pillow is not installed.
    """
    found = layout(list(contents))
    first, _ = found.train[0]
    images, labels = _read_part(contents, found.train, first, None)
    if not found.test:
        return Examples(images, labels, None, None)
    return Examples(images, labels, *_read_part(contents, found.test, first, images.shape[1:]))


def decode(content: bytes, name: str) -> np.ndarray:
    """Return the pixels: uint8, shape (height, width, 1 or 3).

    Raises:
        DataError: Not a PNG or JPEG image, damaged, or in other colours than grey and RGB.
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("Pillow, which decodes images,", extra="images") from error
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            mode = image.mode
            if mode == "P" and "transparency" not in image.info:
                pixels = np.asarray(image.convert("RGB"))
            elif mode in ("L", "RGB"):
                pixels = np.asarray(image)
            else:
                raise DataError(
                    f"{name} has the colours {mode!r} of Pillow; allowed: L (grey), RGB, and P (a "
                    "palette) without transparency. Convert it first."
                )
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{name} is not a PNG or JPEG image that can be decoded: {error}. Replace or remove it."
        ) from error
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _read_part(
    contents: Mapping[str, bytes],
    part: Sequence[tuple[str, int]],
    first: str,
    shape: tuple[int, ...] | None,
) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty(0, dtype=np.uint8)
    for row, (name, _) in enumerate(part):
        pixels = decode(contents[name], name)
        shape = shape or pixels.shape
        if pixels.shape != shape:
            raise DataError(
                f"{name} has the shape {pixels.shape} (height, width, channels), {first} has "
                f"{shape}; allowed: one shape for all. Scale or convert the images first."
            )
        if row == 0:
            images = np.empty((len(part), *shape), dtype=np.uint8)
        images[row] = pixels
    return images, np.array([label for _, label in part], dtype=np.int64)
