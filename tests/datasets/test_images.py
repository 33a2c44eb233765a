"""Folders of images and CSV files: described from a path, decoded once, checked when read."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tiny_dataset import searching

from timetrial import datasets
from timetrial.datasets import _decoded
from timetrial.datasets._listing import list_images
from timetrial.datasets.info import DatasetInfo
from timetrial.datasets.load import load_splits, read_examples, use_of
from timetrial.datasets.own import csv_table, image_folder
from timetrial.datasets.prepare import prepare
from timetrial.datasets.sources import Located, available, locate
from timetrial.errors import DataError, MissingExtraError, UsageError
from timetrial.spec import SplitRule

Image = pytest.importorskip("PIL.Image")
CUT = SplitRule(test_fraction=0.25, validation_count=4, seed=3)
AS_SHIPPED = SplitRule(test_fraction=None, validation_count=0, seed=0)


def photos(root: Path, *, test: bool = True, suffix: str = "png", mode: str = "RGB") -> Path:
    """Write 12 training and 4 test images of each of two classes; cats are made before dogs."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4 if test else 0)):
        for kind in ("dog", "cat"):
            for number in range(count):
                pixels = random.integers(0, 256, (6, 5, 3), dtype=np.uint8)
                path = root / split / kind / f"{number:02}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).convert(mode).save(path)
    return root


def prepared(info: DatasetInfo, tmp_path: Path) -> Located:
    return prepare(info, searching(tmp_path / "cache", offline=True), fetch=False)


def test_a_folder_of_png_is_read_pixel_for_pixel_in_alphabetical_order(tmp_path: Path) -> None:
    info = image_folder(photos(tmp_path / "pets"), name="pets")
    assert (info.class_names, info.input_shape) == (("cat", "dog"), (6, 5, 3))
    assert (info.examples, info.test_examples) == (24, 8)
    splits = load_splits(use_of(info, AS_SHIPPED, divide_by=255.0), prepared(info, tmp_path).files)
    train = splits["train"]
    assert train.labels.tolist() == [0] * 12 + [1] * 12
    assert train.labels.dtype == np.int64
    with Image.open(tmp_path / "pets" / "train" / "dog" / "03.png") as image:
        np.testing.assert_array_equal(train.inputs[15], np.asarray(image))
    assert splits["test"].inputs.shape == (8, 6, 5, 3)


def test_without_a_test_folder_the_task_cuts_one(tmp_path: Path) -> None:
    info = image_folder(photos(tmp_path / "pets", test=False, suffix="jpg", mode="L"), name="pets")
    assert (info.input_shape, info.test_examples) == ((6, 5, 1), None)
    use = use_of(info, CUT, divide_by=255.0)
    assert (use.train_count, use.validation_count, use.test_count) == (14, 4, 6)
    splits = load_splits(use, prepared(info, tmp_path).files)
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 14, "validation": 4, "test": 6,
    }  # fmt: skip
    with pytest.raises(UsageError, match="ships no test set"):
        use_of(info, AS_SHIPPED, divide_by=255.0)


def test_a_palette_is_read_as_its_colours(tmp_path: Path) -> None:
    root = photos(tmp_path / "pets", mode="P")
    info = image_folder(root, name="pets")
    examples = read_examples(info, {"pets": str(root)})
    with Image.open(root / "train" / "cat" / "00.png") as image:
        np.testing.assert_array_equal(examples.inputs[0], np.asarray(image.convert("RGB")))


def test_a_worker_process_needs_the_plan_alone(tmp_path: Path) -> None:
    root = photos(tmp_path / "pets")
    info = image_folder(root, name="pets")
    files = prepared(info, tmp_path).files
    root.rename(tmp_path / "moved")  # neither the folder nor a registry is asked again
    use = use_of(info, AS_SHIPPED, divide_by=255.0)
    code = (
        "import json, sys\n"
        "import msgspec\n"
        "from timetrial.datasets.load import load_splits\n"
        "from timetrial.spec import DatasetUse\n"
        "use, files = json.load(sys.stdin)\n"
        "splits = load_splits(msgspec.convert(use, DatasetUse), files)\n"
        "print(splits['train'].inputs.sum(), 'PIL' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([msgspec.to_builtins(use), dict(files)]),
        capture_output=True,
        text=True,
        check=True,
    )
    total = load_splits(use, files)["train"].inputs.sum()
    assert done.stdout.split() == [str(total), "False"]


def test_decoding_is_done_once_and_told(tmp_path: Path) -> None:
    info = image_folder(photos(tmp_path / "pets"), name="pets")
    path = searching(tmp_path / "cache", offline=True)
    told: list[tuple[str, int, int | None]] = []
    first = prepare(info, path, fetch=False, progress=lambda *seen: told.append(seen))
    assert told[-1][0] == "decoding pets"
    assert told[-1][1] == told[-1][2] == sum(p.stat().st_size for p in tmp_path.rglob("*.png"))
    (kept,) = (tmp_path / "cache").rglob("*.arrays")
    written = kept.stat().st_mtime_ns
    count = len(told)
    again = prepare(info, path, fetch=False, progress=lambda *seen: told.append(seen))
    assert again == first
    assert (kept.stat().st_mtime_ns, len(told)) == (written, count)
    assert next(iter(first.places.values())).startswith("decoded by Pillow ")


@pytest.mark.parametrize("damage", ["bit", "cut", "longer", "empty", "header"])
def test_a_damaged_cache_is_refused_by_a_run_and_made_again_by_the_next_plan(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    info = image_folder(photos(tmp_path / "pets"), name="pets")
    use = use_of(info, AS_SHIPPED, divide_by=255.0)
    files = prepared(info, tmp_path).files
    (kept,) = (tmp_path / "cache").rglob("*.arrays")
    whole = kept.read_bytes()
    flipped = bytearray(whole)
    flipped[-100] ^= 1
    kept.write_bytes(
        {
            "bit": bytes(flipped),
            "cut": whole[:-1],
            "longer": whole + b"x",
            "empty": b"",
            "header": whole.replace(b'"pets"', b'"cats"', 1),
        }[damage]
    )
    with pytest.raises(DataError, match="Next step: timetrial data fetch pets, or make the plan"):
        load_splits(use, files)
    with caplog.at_level(logging.WARNING):
        assert prepared(info, tmp_path).files == files
    assert "pets: decoded again" in caplog.text
    assert kept.read_bytes() == whole


def test_a_missing_or_exchanged_cache_is_refused(tmp_path: Path) -> None:
    one = image_folder(photos(tmp_path / "pets"), name="pets")
    two = image_folder(photos(tmp_path / "grey", mode="L"), name="pets")
    use = use_of(one, AS_SHIPPED, divide_by=255.0)
    (key,), (other,) = prepared(one, tmp_path).files, prepared(two, tmp_path).files.values()
    with pytest.raises(DataError, match="the plan names 'pets' with"):
        load_splits(use, {key: other})
    with pytest.raises(DataError, match="is missing"):
        load_splits(use, {key: str(tmp_path / "none")})
    with pytest.raises(DataError, match="for the task's 'other'"):
        load_splits(msgspec.structs.replace(use, name="other"), prepared(one, tmp_path).files)


def test_a_changed_image_is_another_data_set(tmp_path: Path) -> None:
    root = photos(tmp_path / "pets")
    info = image_folder(root, name="pets")
    path = searching(tmp_path / "cache", offline=True)
    key = set(prepare(info, path, fetch=False).files)
    Image.new("RGB", (5, 6)).save(root / "train" / "cat" / "00.png")
    with pytest.raises(DataError, match="wrong checksum: 32 images; the SHA-256 of their listing"):
        prepare(info, path, fetch=False)
    changed = image_folder(root, name="pets")
    assert set(prepare(changed, path, fetch=False).files) != key


def spoil(root: Path, how: str) -> None:
    cat = root / "train" / "cat"
    if how == "size":
        Image.new("RGB", (6, 6)).save(cat / "07.png")
    elif how == "channels":
        Image.new("L", (5, 6)).save(root / "test" / "dog" / "02.png")
    elif how == "alpha":
        Image.new("RGBA", (5, 6)).save(cat / "07.png")
    elif how == "no image":
        (cat / "07.png").write_bytes(b"GIF89a")
    elif how == "cut":
        (cat / "07.png").write_bytes((cat / "07.png").read_bytes()[:-30])
    elif how == "suffix":
        (cat / "Thumbs.db").write_bytes(b"")
    elif how == "validation":
        (root / "val" / "cat").mkdir(parents=True)
    elif how == "class":
        (cat / "07.png").rename(root / "test" / "07.png")
        photos(root / "x").joinpath("train", "dog").rename(root / "test" / "ant")
        for path in sorted((root / "x").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (root / "x").rmdir()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("size", r"train/cat/07.png has the shape \(6, 6, 3\) .* has \(6, 5, 3\)"),
        ("channels", r"test/dog/02.png has the shape \(6, 5, 1\)"),
        ("alpha", r"train/cat/07.png has the colours 'RGBA'"),
        ("no image", "train/cat/07.png is not a PNG or JPEG image that can be decoded"),
        ("cut", "train/cat/07.png is not a PNG or JPEG image that can be decoded"),
        ("suffix", r"Thumbs.db is no image of a class; allowed: files ending in .png, .jpg"),
        ("validation", "holds a folder 'val'; allowed: train and test"),
        ("class", "of test alone: ant"),
    ],
)
def test_the_first_file_that_does_not_fit_is_named(tmp_path: Path, how: str, message: str) -> None:
    root = photos(tmp_path / "pets")
    spoil(root, how)
    with pytest.raises(DataError, match=message):
        prepared(image_folder(root, name="pets"), tmp_path)


def test_hidden_files_and_notes_beside_the_classes_are_left_out(tmp_path: Path) -> None:
    root = photos(tmp_path / "pets")
    before = list_images(root)
    (root / "train" / "cat" / ".DS_Store").write_bytes(b"x")
    (root / "README.txt").write_text("pets")
    (root / ".git").mkdir()
    assert list_images(root) == before


@pytest.mark.parametrize("name", ["", "Pets", "../pets", "a/b", "mnist", "pets."])
def test_a_name_that_cannot_be_a_data_sets_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"name of (a|another) data set"):
        image_folder(photos(tmp_path / "pets"), name=name)


def test_without_pillow_the_line_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "pets")
    info = image_folder(root, name="pets")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"timetrial\[images\]"):
        prepared(info, tmp_path)
    told = available(info, searching(tmp_path / "cache"))
    assert told.state == "unavailable"
    assert "timetrial[images]" in told.reason


# --- CSV -----------------------------------------------------------------------------------------

TABLE = 'width,"kind, or species",height\n' + "".join(
    f"{number / 4},{'iris' if number % 3 else 'aster'},{number}\r\n" for number in range(24)
)


def test_a_table_is_read_with_its_label_column_taken_out(tmp_path: Path) -> None:
    (tmp_path / "flowers.csv").write_bytes(b"\xef\xbb\xbf" + TABLE.encode())
    info = csv_table(tmp_path / "flowers.csv", label="kind, or species", name="flowers")
    assert (info.class_names, info.input_shape, info.examples) == (("aster", "iris"), (2,), 24)
    files = prepared(info, tmp_path).files
    splits = load_splits(use_of(info, CUT, divide_by=1.0), files)
    rows = np.concatenate([split.inputs for split in splits.values()])
    labels = np.concatenate([split.labels for split in splits.values()])
    order = np.argsort(rows[:, 0])
    np.testing.assert_array_equal(rows[order], [[n / 4, n] for n in range(24)])
    assert labels[order].tolist() == [int(n % 3 != 0) for n in range(24)]


def test_whole_numbers_as_classes_are_ordered_by_number(tmp_path: Path) -> None:
    lines = "".join(f"{n},{(n * 5) % 12}\n" for n in range(24))
    (tmp_path / "t.csv").write_text("x,y\n" + lines)
    info = csv_table(tmp_path / "t.csv", label="y", name="t")
    assert info.class_names == tuple(str(n) for n in range(12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y\n1,x\n,z\n", "has '' in column 'a', row 2"),
        ("a,y\n1,x\ninf,z\n", "has 'inf' in column 'a', row 2"),
        ("a,y\n1,x\n1,2,z\n", "3 cells in row 2"),
        ("a,y\n1,x\n2,x\n", "holds 1 classes"),
        ("a,y\n1,x\n2,\n", "one of them empty"),
        ("a,a\n1,x\n", "of different names"),
        ('a,y\n"1,x\n', "is not a comma-separated table"),
        ("", "is not a comma-separated table"),
        ("a,b\n1,2\n", "has no column 'y'. Its columns: a, b"),
    ],
)
def test_a_table_with_a_fault_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises((DataError, UsageError), match=message):
        csv_table(tmp_path / "t.csv", label="y", name="t")


# --- cifar10-jpeg --------------------------------------------------------------------------------


@pytest.mark.slow
def test_cifar10_jpeg_is_close_to_the_originals_and_not_equal(
    real_data: Path, tmp_path: Path
) -> None:
    path = searching(Path(os.environ.get("TIMETRIAL_CACHE", str(tmp_path))), real_data)
    located = prepare(datasets.get("cifar10-jpeg"), path, fetch=False)
    decoded = _decoded.named_in(located.files)
    assert decoded is not None
    _, jpeg = _decoded.read(decoded, name="cifar10-jpeg")
    sample = datasets.get("cifar10-sample")
    exact = read_examples(sample, locate(sample, path, fetch=False).files)
    assert (jpeg.inputs.shape, jpeg.inputs.dtype) == ((50_000, 32, 32, 3), np.uint8)
    assert jpeg.test_labels is not None
    assert np.bincount(jpeg.labels).tolist() == [5000] * 10
    assert np.bincount(jpeg.test_labels).tolist() == [1000] * 10
    for label in range(10):  # within a class the files keep the original order
        originals = exact.inputs[:200][exact.labels[:200] == label].astype(int)
        encoded = jpeg.inputs[jpeg.labels == label][: len(originals)].astype(int)
        assert 2 < np.abs(originals - encoded).mean() < 10


def test_the_unpacked_folder_of_cifar10_jpeg_is_told_from_another(tmp_path: Path) -> None:
    photos(tmp_path / "cifar10-jpeg")
    with pytest.raises(DataError, match="1 of its 1 files missing"):
        locate(datasets.get("cifar10-jpeg"), searching(tmp_path / "c", tmp_path), fetch=False)
