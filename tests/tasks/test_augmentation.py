"""What training sees of an image: crops and flips against a loop over pixels."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from small_data import small_splits, small_task

from timetrial.plan import find_task
from timetrial.spec import CropFlip, Inspectable, Task, Workload
from timetrial.tasks.networks import batches, reference, rules_of, with_torch

PADDING = 4


def built(module: ModuleType, task: Task) -> Any:
    work = Workload(task=task, seed=7, device="cpu", precision="float64")
    return module.build(work, small_splits(task), lambda part: None)


def cut_task(*, flip: bool = True) -> Task:
    base = small_task(find_task("cifar10-resnet20-v2"), train=60, batch=16)
    return msgspec.structs.replace(base, augmentation=CropFlip(padding=PADDING, flip=flip))


def by_loop(image: np.ndarray, corner: tuple[int, int], flip: bool) -> np.ndarray:
    """Return the crop pixel by pixel: what lies outside the image is black."""
    height, width, channels = image.shape
    out = np.zeros((height, width, channels), image.dtype)
    for row in range(height):
        for column in range(width):
            source_row = row + corner[0] - PADDING
            taken = width - 1 - column if flip else column
            source_column = taken + corner[1] - PADDING
            if 0 <= source_row < height and 0 <= source_column < width:
                out[row, column] = image[source_row, source_column]
    return out


@pytest.mark.parametrize("flip", [True, False])
def test_every_pixel_is_the_one_a_loop_takes(flip: bool):
    task = cut_task(flip=flip)
    raw = small_splits(task)["train"].inputs
    draws = batches.draw(rules_of(task), 7, 2)
    chosen = draws.order[:16]
    assert draws.corners is not None
    assert (draws.flips is not None) == flip
    seen = batches.augmented(task, raw, chosen, draws)
    for number, example in enumerate(chosen):
        exchanged = bool(draws.flips[example]) if draws.flips is not None else False
        corner = (int(draws.corners[example, 0]), int(draws.corners[example, 1]))
        np.testing.assert_array_equal(seen[number], by_loop(raw[example], corner, exchanged))


def test_what_the_network_gets_is_that_crop_normalised():
    """The timed implementation crops on its device by itself: its inputs are these numbers."""
    task = cut_task()
    splits = small_splits(task)
    made = built(with_torch, task)
    assert isinstance(made, Inspectable)
    step = 5  # of the second epoch: four batches in one
    epoch, begin, end = batches.position(task, step)
    assert (epoch, begin, end) == (1, 16, 32)
    draws = batches.draw(rules_of(task), 7, epoch)
    assert draws.corners is not None
    assert draws.flips is not None
    inputs = made.probe(step).inputs
    mean, std = np.array(task.dataset.mean), np.array(task.dataset.std)
    for number, example in enumerate(draws.order[begin:end]):
        corner = (int(draws.corners[example, 0]), int(draws.corners[example, 1]))
        image = by_loop(splits["train"].inputs[example], corner, bool(draws.flips[example]))
        np.testing.assert_allclose(inputs[number], (image / 255.0 - mean) / std, atol=1e-12)


def test_corners_reach_every_place_and_flips_are_half():
    task = msgspec.structs.replace(
        cut_task(),
        dataset=msgspec.structs.replace(cut_task().dataset, train_count=20_000),
    )
    draws = batches.draw(rules_of(task), 3, 0)
    assert draws.corners is not None
    assert draws.flips is not None
    places, counts = np.unique(draws.corners, axis=0, return_counts=True)
    assert len(places) == (2 * PADDING + 1) ** 2
    expected = 20_000 / 81
    assert np.all(np.abs(counts - expected) < 6 * np.sqrt(expected))
    assert abs(draws.flips.mean() - 0.5) < 6 * 0.5 / np.sqrt(20_000)


def test_every_epoch_and_seed_draws_anew():
    rules = rules_of(cut_task())
    one, same = batches.draw(rules, 7, 0), batches.draw(rules, 7, 0)
    np.testing.assert_array_equal(one.corners, same.corners)
    for other in (batches.draw(rules, 7, 1), batches.draw(rules, 8, 0)):
        assert not np.array_equal(one.corners, other.corners)
        assert not np.array_equal(one.flips, other.flips)
        assert not np.array_equal(one.order, other.order)


# --- dropout left on -----------------------------------------------------------------------------


def test_masks_of_a_test_with_dropout_keep_the_stated_share_and_are_their_own():
    task = find_task("mnist-cnn")
    rules = rules_of(task)
    masks = batches.test_masks(rules, 7, 2_000)
    layer = next(row for row in rules.chain if row.path in masks)
    mask = masks[layer.path]
    assert mask.shape == (2_000, *layer.input_shape)
    deviation = np.sqrt(0.2 * 0.8 / mask.size)
    assert abs(mask.mean() - 0.8) < 6 * deviation
    again = batches.test_masks(rules, 7, 2_000)[layer.path]
    np.testing.assert_array_equal(mask, again)
    assert not np.array_equal(mask, batches.test_masks(rules, 8, 2_000)[layer.path])


def test_dropout_left_on_gives_the_references_scores_and_is_off_again():
    task = small_task(find_task("mnist-cnn"))
    test = small_splits(task)["test"]
    fast, slow = built(with_torch, task), built(reference, task)
    plain, dropped = fast.predict(test), fast.predict_with_dropout(test)
    np.testing.assert_allclose(dropped, slow.predict_with_dropout(test), atol=1e-10)
    assert not np.allclose(plain, dropped)
    np.testing.assert_array_equal(plain, fast.predict(test))


def test_dropout_left_on_changes_nothing_where_there_is_none():
    task = small_task(find_task("cifar10-resnet20-v2"))
    test = small_splits(task)["test"]
    made = built(with_torch, task)
    np.testing.assert_allclose(made.predict(test), made.predict_with_dropout(test), atol=1e-12)
