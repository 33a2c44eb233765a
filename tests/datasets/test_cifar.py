"""CIFAR-10: both published layouts give the same arrays, and nothing in a file is executed."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
from python_batches import pickled, python_batch
from tiny_dataset import searching

from timetrial import datasets
from timetrial.datasets._cifar import BATCHES, CLASS_NAMES
from timetrial.datasets._content import Contents, read_copy
from timetrial.datasets._python_batch import read_batch
from timetrial.datasets.info import DataFile, DatasetInfo, Examples
from timetrial.datasets.load import load_splits, read_examples, use_of
from timetrial.datasets.prepare import prepare
from timetrial.datasets.sources import check, is_whole, locate
from timetrial.errors import DataError
from timetrial.spec import SplitRule

SAMPLE = datasets.get("cifar10-sample")
AS_SHIPPED = SplitRule(test_fraction=None, validation_count=0, seed=0)


def as_tar(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def described(path: Path) -> DataFile:
    """Return the archive at `path` as a file of a data set."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return DataFile(name=path.name, sha256=digest, size_bytes=len(content), kind="tar")


@pytest.fixture(scope="module")
def binary(real_data: Path) -> dict[str, bytes]:
    """The members of the sample in the official binary layout."""
    (file,) = SAMPLE.files
    copy = read_copy(real_data / file.name, file)
    assert copy.content is not None, copy.detail
    contents = Contents()
    contents.add(file, real_data / file.name, copy.content)
    return dict(contents)


@pytest.fixture(scope="module")
def python(binary: dict[str, bytes]) -> dict[str, bytes]:
    """The same images in the official python layout."""
    members = {}
    for batch in BATCHES:
        rows = np.frombuffer(binary[f"cifar-10-batches-bin/{batch}.bin"], np.uint8)
        rows = rows.reshape(-1, 3073)
        members[f"cifar-10-batches-py/{batch}"] = python_batch(rows[:, 1:], rows[:, 0], batch)
    return members


def assert_equal(left: Examples, right: Examples) -> None:
    for one, other in zip(left, right, strict=True):
        assert one is not None
        np.testing.assert_array_equal(one, other)


def test_the_sample_is_read_pixel_for_pixel(real_data: Path, binary: dict[str, bytes]) -> None:
    examples = read_examples(SAMPLE, {SAMPLE.files[0].name: str(real_data / SAMPLE.files[0].name)})
    assert examples.inputs.shape == (1000, 32, 32, 3)
    assert examples.test_inputs is not None
    assert examples.test_inputs.shape == (200, 32, 32, 3)
    assert examples.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]  # as published
    third = binary["cifar-10-batches-bin/data_batch_3.bin"]
    row = 3073 * 17
    for channel in range(3):
        for y, x in ((0, 0), (5, 31), (31, 7)):
            seen = examples.inputs[2 * 200 + 17, y, x, channel]
            assert seen == third[row + 1 + 1024 * channel + 32 * y + x]
    assert examples.labels[2 * 200 + 17] == third[row]


def test_class_names_are_those_of_the_archive(binary: dict[str, bytes]) -> None:
    names = binary["cifar-10-batches-bin/batches.meta.txt"].decode().split()
    assert tuple(names) == CLASS_NAMES


def test_both_layouts_give_the_same_arrays(
    tmp_path: Path, binary: dict[str, bytes], python: dict[str, bytes]
) -> None:
    for name, members in (("binary.tar.gz", binary), ("python.tar.gz", python)):
        (tmp_path / name).write_bytes(as_tar(members))
    batches = []
    for name, content in python.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        batches.append(DataFile(name=name, sha256=digest, size_bytes=len(content)))
    sets = (
        (described(tmp_path / "binary.tar.gz"),),
        (described(tmp_path / "python.tar.gz"),),
        tuple(batches),
    )
    read = []
    for files in sets:
        info = msgspec.structs.replace(SAMPLE, files=files)
        located = locate(info, searching(tmp_path / "cache", tmp_path), fetch=False)
        read.append(read_examples(info, located.files))
    assert_equal(read[0], read[1])
    assert_equal(read[0], read[2])


def either(tmp_path: Path, binary: dict[str, bytes], python: dict[str, bytes]) -> DatasetInfo:
    """Return a data set of both layouts, whose archives lie in tmp_path/both."""
    (tmp_path / "both").mkdir()
    paths = [tmp_path / "both" / "binary.tar.gz", tmp_path / "both" / "python.tar.gz"]
    for path, members in zip(paths, (binary, python), strict=True):
        path.write_bytes(as_tar(members))
    return msgspec.structs.replace(
        SAMPLE,
        files=(described(paths[0]),),
        alternatives=((described(paths[1]),),),
        decoder="numpy",
    )


def test_either_archive_is_enough(
    tmp_path: Path, binary: dict[str, bytes], python: dict[str, bytes]
) -> None:
    info = either(tmp_path, binary, python)
    path = searching(tmp_path / "cache", tmp_path / "both")
    assert list(locate(info, path, fetch=False).files) == ["binary.tar.gz"]
    assert [row.file for row in check(info, path)] == ["binary.tar.gz", "python.tar.gz"]
    (tmp_path / "both" / "binary.tar.gz").unlink()
    assert list(locate(info, path, fetch=False).files) == ["python.tar.gz"]
    rows = check(info, path)
    assert [(row.file, row.status) for row in rows] == [
        ("binary.tar.gz", "missing"),
        ("python.tar.gz", "ok"),
    ]
    assert is_whole(info, rows)
    splits = load_splits(
        use_of(SAMPLE, AS_SHIPPED, divide_by=255.0), prepare(info, path, fetch=False).files
    )
    assert [len(split) for split in splits.values()] == [1000, 0, 200]
    (tmp_path / "both" / "python.tar.gz").unlink()
    assert not is_whole(info, check(info, path))
    with pytest.raises(DataError, match=r"\(instead of them: python.tar.gz\) into a folder"):
        locate(info, path, fetch=False)


def test_the_official_archives_are_described_as_published() -> None:
    info = datasets.get("cifar10")
    names = [[file.name for file in files] for files in info.file_sets]
    assert names[:2] == [["cifar-10-binary.tar.gz"], ["cifar-10-python.tar.gz"]]
    assert names[2] == [f"cifar-10-batches-py/{batch}" for batch in BATCHES]
    assert info.alternatives[1][0].size_bytes > 10_000 * 3072


def test_a_batch_made_here_is_one_for_pythons_own_reader_too(python: dict[str, bytes]) -> None:
    content = python["cifar-10-batches-py/test_batch"]
    theirs = pickle.loads(content, encoding="bytes")  # noqa: S301  # made by this test
    data, labels = read_batch(content, name="test_batch")
    np.testing.assert_array_equal(theirs[b"data"], data)
    assert theirs[b"labels"] == labels


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 / 0",)


GOOD = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickled({"data": _Runs(), "labels": []}), "the name '.* eval' is not allowed"),
        (pickled({**GOOD, "data": np.zeros((2, 3072), np.int8)}), "a call other than"),
        (pickled({**GOOD, "data": np.array([object()])}), "a call other than|is not allowed"),
        (pickled({**GOOD, "labels": [0]}), "2 images and 1 labels"),
        (pickled({**GOOD, "labels": [0, "x"]}), "2 images and 1 labels"),
        (pickled({"labels": [0]}), "KeyError: b'data'"),
        (pickled([1]), "not one dict"),
        (pickled(GOOD)[:-100], "ends too early"),
        (pickled(GOOD) + b"x", "not one dict"),
        (pickled(GOOD).replace(b"M\x00\x0c\x86", b"M\x01\x0c\x86"), "6144 bytes for an array of"),
        (pickle.dumps(GOOD, protocol=4), "protocol 4; allowed: up to 2"),
        (b"\x80\x02.", "not enough values"),
        (b"\x80\x02R.", "the stack is empty"),
        (b"", "ends too early"),
    ],
)
def test_a_batch_that_is_not_one_is_refused_and_nothing_in_it_runs(
    content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_batch(content, name="data_batch_1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cifar-10-batches-bin/data_batch_2.bin": b"\x00" * 3072}, "expected a multiple of 3073"),
        ({"cifar-10-batches-bin/data_batch_2.bin": b"\x0a" + b"\x00" * 3072}, "outside 0 to 9"),
        ({"cifar-10-batches-bin/data_batch_2.bin": None}, "Neither .*data_batch_2.bin nor"),
        ({"../escaped": b"x"}, "neither a file nor a folder inside it"),
    ],
)
def test_an_archive_of_another_content_is_refused(
    tmp_path: Path, binary: dict[str, bytes], change: dict[str, bytes | None], message: str
) -> None:
    members = {name: raw for name, raw in {**binary, **change}.items() if raw is not None}
    path = tmp_path / "odd.tar.gz"
    path.write_bytes(as_tar(members))
    info = msgspec.structs.replace(SAMPLE, files=(described(path),))
    with pytest.raises(DataError, match=message):
        read_examples(info, {path.name: str(path)})


def test_another_version_of_somebodys_reader_is_not_served_the_decoded_file_of_the_first(
    tmp_path: Path,
    binary: dict[str, bytes],
    python: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plug-in's 1.1 corrects its labels: what 1.0 decoded is not handed out again."""
    code = tmp_path / "code"
    code.mkdir()
    monkeypatch.syspath_prepend(str(code))
    own = SAMPLE.reader.partition(":")
    text = f"from {own[0]} import {own[2]} as read\n"
    info = either(tmp_path, binary, python)
    info = msgspec.structs.replace(info, reader="somebodys_reader:read")
    path = searching(tmp_path / "cache", tmp_path / "both")
    seen = []
    for comment in ("", "# 1.1\n"):
        (code / "somebodys_reader.py").write_text(text + comment)
        seen.append(prepare(info, path, fetch=False).files)
        assert prepare(info, path, fetch=False).files == seen[-1]
    assert seen[0] != seen[1]
