"""CIFAR-10 re-encoded as JPEG files: a data set of its own, whose pixels are not CIFAR-10's.

cifar10-jpeg/{train,test}/<class>/NNNN.jpg, 5,000 and 1,000 a class. JPEG changed the pixels (mean
absolute difference to the originals about 4 to 7 of 255), so its figures are never CIFAR-10's.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; checksums
computed from the archive.
"""

from __future__ import annotations

from typing import Final

from timetrial.datasets._cifar import CLASS_NAMES
from timetrial.datasets.info import DataFile, DatasetInfo

DATASET: Final = DatasetInfo(
    name="cifar10-jpeg",
    title="CIFAR-10 re-encoded as JPEG",
    licence="none stated; the authors of CIFAR-10 ask to cite the report",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    class_names=CLASS_NAMES,  # in alphabetical order, that of the folders
    input_shape=(32, 32, 3),
    examples=50_000,
    test_examples=10_000,
    files=(
        DataFile(
            name="cifar10-jpeg.tar.gz",
            sha256="6f6249838d384c314c891460dbbd5493202a0a141a3a93611bdfdd890c3d9839",
            size_bytes=19_436_791,
            kind="tar",
        ),
    ),
    alternatives=(
        (
            DataFile(
                name="cifar10-jpeg",
                sha256="13681a5ef9f21da5b408e5fdb08d3af1c0b70e33ba6d92328a6db934e77611d1",
                size_bytes=5_513_533,
                kind="folder",
            ),
        ),
    ),
    places=(),
    reader="timetrial.datasets._images:read",
    decoder="pillow",
)
