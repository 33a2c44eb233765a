"""imagenet-resnet50: its rules, and a copy of it on a tiny folder made here (never an accuracy)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from command_line import run_timetrial

from timetrial.datasets import _content, imagenet, sources
from timetrial.datasets.load import load_splits
from timetrial.engine import metrics, seeds
from timetrial.errors import DataError, UsageError
from timetrial.spec import (
    Conv2d,
    Dense,
    GlobalAveragePool,
    Network,
    Sgd,
    Split,
    SplitName,
    Task,
    Workload,
    parameter_count,
    placed,
)
from timetrial.tasks.imagenet_resnet50 import EPOCH, TASK, network
from timetrial.tasks.networks import batches
from timetrial.tasks.networks.decoding import AHEAD, Decoder
from timetrial.tasks.networks.schedules import learning_rate
from timetrial.tasks.networks.weights import initial_variables
from timetrial.tasks.networks.with_torch import TorchNetwork

Image = pytest.importorskip("PIL.Image")
CLASSES, TRAIN, VALIDATION = 7, 21, 14


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in the layout of ImageNet: a folder per class, images of many sizes."""
    rng = np.random.default_rng(5)
    above = tmp_path_factory.mktemp("data")
    for part, count in (("train", TRAIN), ("val", VALIDATION)):
        for number in range(count):
            folder = above / "imagenet-tiny" / part / f"n{number % CLASSES:08}"
            folder.mkdir(parents=True, exist_ok=True)
            height, width = rng.integers(60, 90, size=2)
            pixels = rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.JPEG")
    return above


@pytest.fixture(scope="module")
def task() -> Task:
    """The task with few classes and images; its network as it is, but for the outputs."""
    dataset = msgspec.structs.replace(
        TASK.dataset,
        name="imagenet-tiny",
        classes=CLASSES,
        train_count=TRAIN,
        test_count=VALIDATION,
    )
    return msgspec.structs.replace(
        TASK, dataset=dataset, model=network(CLASSES), batch_size=4, steps_max=12
    )


@pytest.fixture(scope="module")
def small(task: Task) -> Task:
    """The same with a network of two layers."""
    conv = Conv2d(
        filters=8, kernel=8, padding=0, activation="relu", init="he_normal", stride=8
    )  # fmt: skip
    head = Dense(units=CLASSES, activation="linear", init="uniform_fan_in")
    model = Network(layers=(conv, GlobalAveragePool(), head))
    return msgspec.structs.replace(task, model=model)


@pytest.fixture(scope="module")
def splits(data: Path) -> dict[SplitName, Split]:
    found = imagenet.read_folder(data / "imagenet-tiny")
    return {
        "train": Split("train", found.train, found.train_labels),
        "test": Split("test", found.validation, found.validation_labels),
    }


def built(task: Task, splits: dict[SplitName, Split], seed: int = 3) -> TorchNetwork:
    work = Workload(task=task, seed=seed, device="cpu", precision="float32")
    return TorchNetwork(work, splits, lambda part: None)


# --- the rules -----------------------------------------------------------------------------------


def test_the_network_is_torchvisions_resnet_50() -> None:
    assert parameter_count(TASK) == 25_557_032
    rows = placed(TASK.dataset.input_shape, TASK.model.layers)  # type: ignore[union-attr]
    shapes = [row.output_shape for row in rows]
    assert shapes[:4] == [(112, 112, 64), (112, 112, 64), (112, 112, 64), (56, 56, 64)]
    ends = [shapes[3 + blocks] for blocks in (3, 7, 13, 16)]
    assert ends == [(56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048)]
    assert shapes[-2:] == [(2048,), (1000,)]


def test_each_block_begins_as_its_shortcut() -> None:
    variables = initial_variables(TASK, seed=1)
    scales = {name: value for name, value in variables.items() if name.endswith(".scale")}
    silent = [name for name, value in scales.items() if not value.any()]
    assert len(scales) == 53
    assert len(silent) == 16
    assert all(name.endswith(".body.7.scale") for name in silent)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0.1), (29.99, 0.1), (30, 0.01), (59.99, 0.01), (60, 1e-3), (80, 1e-4), (89.99, 1e-4)],
)
def test_the_learning_rate_falls_after_30_60_and_80_epochs(epoch: float, rate: float) -> None:
    assert isinstance(TASK.optimizer, Sgd)
    step = int(epoch * EPOCH)
    assert learning_rate(TASK.optimizer, step, TASK.steps_max) == pytest.approx(rate, rel=1e-12)


def test_an_epoch_sees_every_training_image() -> None:
    assert TASK.steps_per_epoch == EPOCH
    assert batches.position(TASK, EPOCH - 1) == (0, 1_281_024, 1_281_167)
    assert batches.position(TASK, EPOCH) == (1, 0, 256)


# --- decoding ------------------------------------------------------------------------------------


def test_a_mini_batch_does_not_depend_on_what_was_decoded_before(
    task: Task, splits: dict[SplitName, Split]
) -> None:
    images = splits["train"].lazy
    assert images is not None
    one, other = Decoder(task, 3), Decoder(task, 3)
    in_turn = [one.mini_batch(images, step) for step in range(8)]
    for step in (7, 2, 6):
        np.testing.assert_array_equal(other.mini_batch(images, step), in_turn[step])
    assert len(one._begun) == AHEAD
    assert [len(batch) for batch in in_turn] == [4, 4, 4, 4, 4, 1, 4, 4]
    assert not np.array_equal(Decoder(task, 4).mini_batch(images, 0), in_turn[0])


def test_an_epoch_holds_every_image_once_as_the_shared_draws_say(
    task: Task, splits: dict[SplitName, Split]
) -> None:
    images = splits["train"].lazy
    assert images is not None
    decoder = Decoder(task, 3)
    seen = np.concatenate([decoder.mini_batch(images, step) for step in range(6, 12)])
    draws = seeds.generator(3, "crop", 1).random((TRAIN, imagenet.DRAWS))
    whole = images.augmented(np.arange(TRAIN), draws)
    np.testing.assert_array_equal(seen, whole[seeds.order(3, 1, TRAIN)])


@pytest.mark.parametrize("count", [5, 14, 50])
def test_evaluation_sees_every_image_once_in_order(
    count: int, task: Task, splits: dict[SplitName, Split]
) -> None:
    images = splits["test"].lazy
    assert images is not None
    parts = list(Decoder(task, 3).views(images, count))
    assert max(map(len, parts)) <= count
    np.testing.assert_array_equal(np.concatenate(parts), images[:])


def test_a_file_that_is_no_image_ends_the_run_with_its_name(task: Task, tmp_path: Path) -> None:
    broken = tmp_path / "broken.JPEG"
    broken.write_bytes(b"no image")
    images = imagenet.LazyImages([broken] * TRAIN)
    with pytest.raises(DataError, match=r"broken\.JPEG cannot be decoded"):
        Decoder(task, 3).mini_batch(images, 0)


def test_such_a_split_is_not_to_be_had_as_one_array(splits: dict[SplitName, Split]) -> None:
    with pytest.raises(UsageError, match="decoded when asked for"):
        _ = splits["train"].inputs


# --- training ------------------------------------------------------------------------------------


def test_the_network_gets_the_decoded_images_preprocessed(
    small: Task, splits: dict[SplitName, Split]
) -> None:
    images = splits["train"].lazy
    assert images is not None
    raw = Decoder(small, 3).mini_batch(images, 2)
    expected = batches.preprocess(small, raw, np.dtype(np.float64))
    np.testing.assert_allclose(built(small, splits).probe(2).inputs, expected, atol=1e-5)


def test_predictions_of_a_split_are_those_of_its_images(
    small: Task, splits: dict[SplitName, Split]
) -> None:
    images = splits["test"].lazy
    assert images is not None
    made = built(small, splits)
    scores = made.predict(splits["test"])
    np.testing.assert_array_equal(scores, made.predict(images[:]))
    labels = splits["test"].labels
    ranks = np.argsort(-scores, axis=1)[:, :5]
    own = np.mean([label in rank for label, rank in zip(labels, ranks, strict=True)])
    assert metrics.top5_accuracy(scores, labels) == pytest.approx(own)


def test_steps_at_once_single_steps_and_a_restored_state_agree(
    small: Task, splits: dict[SplitName, Split]
) -> None:
    at_once, single, restored = (built(small, splits) for _ in range(3))
    at_once.advance(8)
    for step in range(8):
        if step == 5:
            restored.restore(single.state())
        single.advance(1)
    restored.advance(3)
    assert at_once.state() == single.state() == restored.state()


def test_a_run_takes_its_steps_and_evaluates_top_5_on_every_image(
    data: Path, task: Task, tmp_path: Path
) -> None:
    plugin = tmp_path / "plugin"
    info = plugin / "imagenet_tiny-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: imagenet-tiny\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "[timetrial.datasets]\nimagenet-tiny = imagenet_tiny:DATASET\n"
        "[timetrial.tasks]\nimagenet-tiny = imagenet_tiny:TASK\n"
    )
    tiny = msgspec.structs.replace(task, name="imagenet-tiny", steps_max=2, eval_every_steps=2)
    (plugin / "task.json").write_bytes(msgspec.json.encode(tiny))
    (plugin / "imagenet_tiny.py").write_text(
        "import pathlib, msgspec\n"
        "from timetrial.datasets.imagenet import described\n"
        "from timetrial.spec import Task\n"
        f"DATASET = described('imagenet-tiny', classes={CLASSES}, train={TRAIN},"
        f" validation={VALIDATION})\n"
        "here = pathlib.Path(__file__).parent\n"
        "TASK = msgspec.json.decode((here / 'task.json').read_bytes(), type=Task)\n"
    )
    env = {"PYTHONPATH": str(plugin), "TIMETRIAL_DATA": str(data)}
    if inherited := os.environ.get("PYTHONPATH"):
        env["PYTHONPATH"] += f":{inherited}"
    store = tmp_path / "runs"
    done = run_timetrial("run", "imagenet-tiny", "--seeds=1", "--json", "--store", store, env=env)
    assert done.code == 0, done.err
    [log] = store.glob("*/events.0.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    [seen] = [event for event in events if event["event"] == "evaluated"]
    assert (seen["step"], seen["split"], seen["examples"]) == (2, "test", VALIDATION)
    assert 0 <= seen["top5"] <= 1


# --- the data ------------------------------------------------------------------------------------


def test_a_folder_with_other_counts_is_not_the_data_set(data: Path) -> None:
    path = sources.search_path({"TIMETRIAL_DATA": str(data), "HOME": str(data)})
    tiny = imagenet.described("imagenet-tiny", classes=CLASSES, train=TRAIN, validation=VALIDATION)
    located = sources.locate(tiny, path, fetch=False)
    assert located.files == {"imagenet-tiny": str(data / "imagenet-tiny")}
    more = msgspec.structs.replace(tiny, examples=TRAIN + 1)
    [row] = sources.check(more, path)
    assert row.status == "cut"
    assert row.detail.startswith(
        f"{TRAIN} training and {VALIDATION} validation images in 7 classes"
    )
    with pytest.raises(DataError, match="its owner brings it"):
        sources.locate(more, path, fetch=True)


def test_the_splits_are_the_folders(
    data: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = imagenet.described("imagenet-tiny", classes=CLASSES, train=TRAIN, validation=VALIDATION)
    monkeypatch.setattr("timetrial.datasets.get", lambda name: tiny)
    splits = load_splits(task.dataset, {"imagenet-tiny": str(data / "imagenet-tiny")})
    assert {name: len(split) for name, split in splits.items()} == {
        "train": TRAIN,
        "validation": 0,
        "test": VALIDATION,
    }
    assert splits["train"].labels.tolist() == sorted(splits["train"].labels.tolist())
    fewer = _content.read_copy(data / "nowhere", tiny.files[0])
    assert fewer.status == "missing"
