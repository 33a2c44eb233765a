"""ImageNet's layout on a tiny folder made here: images of different sizes, decoded on demand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.datasets.imagenet import DRAWS, SIZE, LazyImages, crop_box, read_folder
from timetrial.engine.seeds import generator
from timetrial.errors import DataError

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three training and two validation images of each of two classes, no two of one size."""
    side = 230
    for part, count in (("train", 3), ("val", 2)):
        for wnid in ("n02", "n01"):
            for number in range(count):
                side += 17
                path = tmp_path / part / wnid / f"{wnid}_{number}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                ramp = np.linspace(0, 255, side).astype(np.uint8)
                pixels = np.stack([np.tile(ramp, (500 - side, 1))] * 3, axis=-1)
                mode = "L" if number == 1 else "RGB"
                Image.fromarray(pixels).convert(mode).save(path, quality=95)
    return tmp_path


def test_names_labels_and_counts_follow_the_folders(root: Path) -> None:
    found = read_folder(root)
    assert found.class_names == ("n01", "n02")
    assert found.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.validation_labels.tolist() == [0, 0, 1, 1]
    assert found.train.shape == (6, SIZE, SIZE, 3)
    assert found.summary() == "6 training and 4 validation images in 2 classes"


def test_evaluation_takes_the_centre_of_the_scaled_image(root: Path) -> None:
    found = read_folder(root)
    seen = found.validation[np.array([2, 0])]
    assert (seen.shape, seen.dtype) == ((2, SIZE, SIZE, 3), np.uint8)
    with Image.open(root / "val" / "n02" / "n02_0.JPEG") as image:
        width, height = image.size
    side = 256 / min(width, height)
    # the ramp goes from 0 to 255 across the width: the centre shows its middle part
    margin = (width * side - SIZE) / 2 / (width * side)
    row = seen[0, 112, :, 0].astype(float)
    np.testing.assert_allclose(row[[0, 223]], [255 * margin, 255 * (1 - margin)], atol=3)
    assert abs(row.mean() - 127.5) < 2
    np.testing.assert_array_equal(found.validation[:1], seen[1:])


def test_the_same_draws_give_the_same_crops_in_any_batch(root: Path) -> None:
    images = read_folder(root).train
    draws = generator(7, "crop", 3).random((len(images), DRAWS))
    rows = np.arange(len(images))
    whole = images.augmented(rows, draws)
    for row in (4, 1):
        alone = images.augmented(np.array([row]), draws[[row]])
        np.testing.assert_array_equal(alone[0], whole[row])
    other = draws.copy()
    other[:, -1] = np.where(draws[:, -1] < 0.5, 0.9, 0.1)
    np.testing.assert_array_equal(images.augmented(rows, other), whole[:, :, ::-1])
    with pytest.raises(ValueError, match="draws have the shape"):
        images.augmented(rows, draws[:, :-1])


@given(st.integers(1, 600), st.integers(1, 600), st.integers(0, 2**32 - 1))
def test_a_crop_lies_inside_its_image(width: int, height: int, seed: int) -> None:
    draws = np.random.default_rng(seed).random(DRAWS)
    left, top, right, bottom = crop_box((width, height), draws)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_areas_ratios_and_places_are_spread_as_the_rule_says() -> None:
    draws = generator(1, "crop").random((4000, DRAWS))
    boxes = np.array([crop_box((4000, 4000), row) for row in draws], dtype=float)
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, ratio = across * down / 4000**2, across / down
    assert 0.0799 < area.min() < 0.09
    assert area.max() > 0.95
    assert 0.749 < ratio.min() < 0.76
    assert 1.31 < ratio.max() < 1.335
    assert abs(np.log(ratio).mean()) < 0.02
    assert abs((boxes[:, 0] / (4000 - across + 1)).mean() - 0.5) < 0.02
    assert abs((boxes[:, 1] / (4000 - down + 1)).mean() - 0.5) < 0.02


def test_an_extreme_shape_gives_the_largest_crop_in_the_middle() -> None:
    draws = np.full(DRAWS, 0.999)  # all tries want nearly the whole area
    assert crop_box((600, 30), draws) == (280, 0, 320, 30)
    assert crop_box((30, 600), draws) == (0, 280, 30, 320)


def test_what_is_no_such_folder_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="Point TIMETRIAL_DATA at the folder above train and val"):
        read_folder(root / "train")
    (root / "val" / "n03").mkdir()
    with pytest.raises(DataError, match="class n03 is empty"):
        read_folder(root)
    (root / "val" / "n03" / "x.txt").write_text("x")
    with pytest.raises(DataError, match=r"x.txt is no image"):
        read_folder(root)
    (root / "val" / "n03" / "x.txt").rename(root / "val" / "n03" / "x.JPEG")
    with pytest.raises(DataError, match=r"1 classes are in only one of train and val \(n03\)"):
        read_folder(root)
    with pytest.raises(DataError, match=r"x.JPEG cannot be decoded"):
        LazyImages([root / "val" / "n03" / "x.JPEG"])[:]
