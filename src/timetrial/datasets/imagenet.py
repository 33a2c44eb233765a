"""ImageNet's folder layout, for owners of the data: images of many sizes, decoded when asked for.

root/train/<class>/*.JPEG and root/val/<class>/*.JPEG, a folder per class ("n01440764", …); labels
follow the alphabetical order of the folders. 1.3 million images are neither held in memory nor
hashed: what fixes them is their owner's care, and `summary` says what was found.

Source: O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015;
crops as in C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6: area 8 to
100 %, ratio 3/4 to 4/3; evaluation as in A. Krizhevsky et al., NIPS 2012: short side 256, centre.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import numpy as np

from timetrial.datasets.info import DataFile, DatasetInfo, Examples
from timetrial.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from PIL import Image

SIZE: Final = 224
SHORT_SIDE: Final = 256
_TRIES: Final = 10  # crops drawn before the largest one in the middle is taken
DRAWS: Final = 2 * _TRIES + 3  # numbers an example takes: area and ratio a try, top, left, flip
_SUFFIXES: Final = (".jpeg", ".jpg", ".png")


class LazyImages:
    """Images on disk that look like an array (count, 224, 224, 3) of uint8; holds their paths."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Keep the paths; opens nothing."""
        self._paths = tuple(paths)
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._paths)

    @property
    def draws(self) -> int:
        """How many uniform numbers `augmented` takes for each image."""
        return DRAWS

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of all images together."""
        return (len(self._paths), SIZE, SIZE, 3)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return the images of these rows for evaluation: short side 256, the centre 224 × 224.

        Raises:
            DataError: A file is gone, or is not an image.
            MissingExtraError: Pillow is not installed.
        """
        return self._decoded(np.arange(len(self))[rows], lambda image, _: _centre(image))

    def augmented(self, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return random crops of these rows, flipped or not, as `draws` says.

        Args:
            rows: shape (count,).
            draws: uniform numbers in [0, 1), shape (count, DRAWS): for an epoch, the rows of
                `generator(seed, "crop", epoch).random((len(images), DRAWS))`.

        Raises:
            DataError: A file is gone, or is not an image.
            MissingExtraError: Pillow is not installed.
        """
        if draws.shape != (len(rows), DRAWS):
            raise ValueError(f"draws have the shape {draws.shape}, not {(len(rows), DRAWS)}")
        return self._decoded(rows, lambda image, at: _random_crop(image, draws[at]))

    def _decoded(
        self, rows: np.ndarray, view: Callable[[Image.Image, int], Image.Image]
    ) -> np.ndarray:
        pixels = np.empty((len(rows), SIZE, SIZE, 3), dtype=np.uint8)
        for at, row in enumerate(rows):
            pixels[at] = _read(self._paths[row], lambda image, at=at: view(image, at))  # type: ignore[misc]
        return pixels


class ImagenetFolder(NamedTuple):
    """What lies in such a folder; labels are int64."""

    class_names: tuple[str, ...]
    train: LazyImages
    train_labels: np.ndarray
    validation: LazyImages
    validation_labels: np.ndarray

    def summary(self) -> str:
        """Return what was found, for the run's record."""
        return (
            f"{len(self.train)} training and {len(self.validation)} validation images in "
            f"{len(self.class_names)} classes"
        )


def read_folder(root: Path) -> ImagenetFolder:
    """Return the images below `root`; reads names, no image.

    Raises:
        DataError: A part is missing or empty, the classes differ, or a file is no image.
    """
    train, validation = _classes(root / "train"), _classes(root / "val")
    if list(train) != list(validation):
        odd = sorted(set(train) ^ set(validation))
        raise DataError(
            f"{root}: {len(odd)} classes are in only one of train and val ({', '.join(odd[:5])}); "
            "allowed: the same folders in both. Sort the validation images into class folders."
        )
    parts = []
    for found in (train, validation):
        counts = [len(paths) for paths in found.values()]
        paths = [path for paths in found.values() for path in paths]
        parts += [LazyImages(paths), np.repeat(np.arange(len(counts), dtype=np.int64), counts)]
    return ImagenetFolder(tuple(train), *parts)  # type: ignore[arg-type]  # two of each, in turn


def described(name: str, *, classes: int, train: int, validation: int) -> DatasetInfo:
    """Return the description of such a folder, called `name`, with so many classes and images.

    The validation images stand as test set: they are the only labelled ones beside train.
    """
    return DatasetInfo(
        name=name,
        title="ImageNet, ILSVRC 2012, as its owner brings it",
        licence="non-commercial research, by agreement with ImageNet",
        homepage="https://www.image-net.org/download.php",
        class_names=tuple(f"folder {number}" for number in range(1, classes + 1)),
        input_shape=(SIZE, SIZE, 3),
        examples=train,
        test_examples=validation,
        files=(DataFile(name=name, sha256="", size_bytes=0, kind="layout"),),
        places=(),
        reader="timetrial.datasets.imagenet:read",
    )


def read(contents: Mapping[str, bytes]) -> Examples:
    """Return the images of the one folder in `contents`, to be decoded when asked for.

    Raises:
        DataError: It is not laid out so.
    """
    [path] = (content.decode() for content in contents.values())
    found = read_folder(Path(path))
    return Examples(  # what stands for arrays here: see `Split.lazy`
        cast(np.ndarray, found.train),
        found.train_labels,
        cast(np.ndarray, found.validation),
        found.validation_labels,
    )


DATASET: Final = described("imagenet", classes=1000, train=1_281_167, validation=50_000)


def _classes(part: Path) -> dict[str, list[Path]]:
    try:
        folders = sorted(path for path in part.iterdir() if path.is_dir())
        found = {
            folder.name: sorted(p for p in folder.iterdir() if not p.name.startswith("."))
            for folder in folders
            if not folder.name.startswith(".")
        }
    except OSError as error:
        raise DataError(
            f"{part} cannot be read: {error.strerror or error}. Expected: a folder per class with "
            "its images. Point TIMETRIAL_DATA at the folder above train and val."
        ) from error
    odd = next((p for ps in found.values() for p in ps if p.suffix.lower() not in _SUFFIXES), None)
    empty = next((name for name, paths in found.items() if not paths), None)
    if odd is not None or empty is not None or len(found) < 2:
        seen = f"{odd} is no image" if odd else f"class {empty} is empty" if empty else "no classes"
        raise DataError(
            f"{part}: {seen}; allowed: two class folders or more, each with JPEG or PNG files. "
            "Move what is no image elsewhere."
        )
    return found


def _read(path: Path, view: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("Pillow, which decodes images,", extra="images") from error
    try:
        with Image.open(io.BytesIO(path.read_bytes()), formats=("JPEG", "PNG")) as image:
            return np.asarray(view(image.convert("RGB")))  # some are grey or CMYK, one is a PNG
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded: {error}. Replace it.") from error


def _centre(image: Image.Image) -> Image.Image:
    from PIL import Image

    short = min(image.size)
    width, height = (SHORT_SIDE * side // short for side in image.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    return scaled.crop((left, top, left + SIZE, top + SIZE))


def _random_crop(image: Image.Image, draws: np.ndarray) -> Image.Image:
    from PIL import Image

    box = crop_box(image.size, draws)
    scaled = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
    return scaled.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draws[-1] < 0.5 else scaled


def crop_box(size: tuple[int, int], draws: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the crop that `draws` makes of an image of this size.

    The first of ten tries that fits: area uniform in 8 to 100 %, ratio log-uniform in 3/4 to 4/3.
    Where none fits, the largest crop of an allowed ratio, in the middle.
    """
    width, height = size
    low, high = math.log(3 / 4), math.log(4 / 3)
    for area_draw, ratio_draw in draws[: 2 * _TRIES].reshape(_TRIES, 2):
        area = width * height * (0.08 + 0.92 * float(area_draw))
        ratio = math.exp(low + (high - low) * float(ratio_draw))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            top = int(float(draws[-3]) * (height - down + 1))
            left = int(float(draws[-2]) * (width - across + 1))
            return left, top, left + across, top + down
    across = min(width, max(1, round(height * 4 / 3)))
    down = min(height, max(1, round(width * 4 / 3)))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down
