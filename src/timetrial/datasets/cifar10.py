"""CIFAR-10: 60,000 photographs of 32 × 32 pixels in 10 classes, as shipped: 50,000 and 10,000.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html, which states the MD5 of both archives,
c32a1d4ab5d03f1284b67883e8d87530 (binary) and c58f30108f718f92721af3b95e74349a (python). The
SHA-256 here are those that public loaders pin for the same archives.
"""

from __future__ import annotations

from typing import Final

from timetrial.datasets._cifar import BATCHES, CLASS_NAMES
from timetrial.datasets.info import Address, DataFile, DatasetInfo

_SITE: Final = "https://www.cs.toronto.edu/~kriz/"

# Of each batch of the python version, unpacked: size and SHA-256.
_PYTHON_BATCHES: Final = (
    (31_035_704, "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd"),
    (31_035_320, "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8"),
    (31_035_999, "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9"),
    (31_035_696, "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b"),
    (31_035_623, "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154"),
    (31_035_526, "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831"),
)

DATASET: Final = DatasetInfo(
    name="cifar10",
    title="CIFAR-10 photographs",
    licence="none stated; the authors ask to cite the report",
    homepage=f"{_SITE}cifar.html",
    class_names=CLASS_NAMES,
    input_shape=(32, 32, 3),
    examples=50_000,
    test_examples=10_000,
    files=(
        DataFile(
            name="cifar-10-binary.tar.gz",
            # Pinned by TensorFlow Datasets (url_checksums/cifar10.txt), among others.
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            size_bytes=170_052_171,
            kind="tar",
        ),
    ),
    alternatives=(
        (
            DataFile(
                name="cifar-10-python.tar.gz",
                # Pinned by Keras (datasets/cifar10.py) and torchvision's prototype, among others.
                sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                size_bytes=170_498_071,
                kind="tar",
            ),
        ),
        tuple(
            DataFile(name=f"cifar-10-batches-py/{batch}", sha256=sha256, size_bytes=size_bytes)
            for batch, (size_bytes, sha256) in zip(BATCHES, _PYTHON_BATCHES, strict=True)
        ),
    ),
    places=(Address(base_url=_SITE),),
    reader="timetrial.datasets._cifar:read",
    decoder="numpy",
)

# 200 images of each official batch, exact pixels, in the official binary layout: for tests.
SAMPLE: Final = DatasetInfo(
    name="cifar10-sample",
    title="CIFAR-10, the first 200 images of each batch",
    licence="none stated; the authors ask to cite the report",
    homepage=f"{_SITE}cifar.html",
    class_names=CLASS_NAMES,
    input_shape=(32, 32, 3),
    examples=1000,
    test_examples=200,
    files=(
        DataFile(
            name="cifar-10-binary-sample.tar.gz",
            sha256="c5b94037bcf169ff45c653d3480c1e50f891e7e64c7bfc7b963ad37c93b82ce0",
            size_bytes=3_393_737,
            kind="tar",
        ),
    ),
    places=(),
    reader="timetrial.datasets._cifar:read",
)
