"""What a task file may say: content and hash, what is refused, how a page tells of the test set."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from timetrial import api
from timetrial.datasets.load import load_splits
from timetrial.datasets.prepare import prepare
from timetrial.datasets.sources import search_path
from timetrial.errors import DataError, UnknownNameError, UsageError
from timetrial.owntask import Found, find_task_or_file
from timetrial.owntask.layers import check_chain
from timetrial.spec import DatasetUse, SplitRule, Task
from timetrial.tasks.networks.batches import preprocess
from timetrial.tasks.networks.ready import NETWORKS, ready_network

HEAD = "[task]\ntarget = 0.9\n"
DATA = 'data = { csv = "rows.csv", label = "kind" }\n'
PY = """
from pathlib import Path
from timetrial.datasets.load import use_of
from timetrial.datasets.own import csv_table
from timetrial.owntask import find_task_or_file
from timetrial.spec import SplitRule
import msgspec
HERE = Path(__file__).parent
DATA = csv_table(HERE / "rows.csv", label="kind", name="rows")
TASK = find_task_or_file(str(HERE / "base.toml"), {{}}, fetch=False).task
TASK = msgspec.structs.replace(TASK, name="in-python", {changes})
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMETRIAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of 60 rows and two classes: width and height, the second a thousand times larger."""
    rng = np.random.default_rng(1)
    lines = ["width,height,kind"]
    for number in range(60):
        at = number % 2
        lines.append(f"{rng.normal(at):.6f},{1000 * rng.normal(at):.3f},{'ab'[at]}")
    (tmp_path / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def found(folder: Path, text: str = HEAD + DATA, name: str = "mine.toml") -> Found:
    (folder / name).write_text(text, encoding="utf-8")
    return find_task_or_file(str(folder / name), os.environ, fetch=False)


def task(folder: Path, text: str = HEAD + DATA, name: str = "mine.toml") -> Task:
    return found(folder, text, name).task


# --- the data ------------------------------------------------------------------------------------


def test_counts_shape_and_classes_are_read_from_the_data(folder: Path) -> None:
    use = task(folder).dataset

    assert (use.name, use.input_shape, use.classes) == ("rows", (2,), 2)
    assert (use.train_count, use.validation_count, use.test_count) == (38, 10, 12)


def test_columns_are_standardised_by_the_training_part(folder: Path) -> None:
    here = found(folder)
    assert here.info is not None
    located = prepare(here.info, search_path(os.environ), fetch=False)
    train = load_splits(here.task.dataset, located.files)["train"].inputs

    assert np.allclose(here.task.dataset.mean, train.mean(0), rtol=1e-5)
    assert np.allclose(here.task.dataset.std, train.std(0), rtol=1e-5)


def test_a_constant_column_and_one_far_from_zero_are_standardised_too(folder: Path) -> None:
    """A constant's rounding is no deviation; float32 cannot hold a time in seconds since 1970."""
    rng = np.random.default_rng(2)
    lines = ["same,time,kind"]
    for number in range(60):
        lines.append(f"0.1,{1.7e9 + 3600 * rng.normal(number % 2):.6f},{'ab'[number % 2]}")
    (folder / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    here = found(folder)
    assert here.info is not None
    train = load_splits(
        here.task.dataset, prepare(here.info, search_path(os.environ), fetch=False).files
    )["train"].inputs

    assert here.task.dataset.std[0] == 1
    exact = (train - train.mean(0)) / np.where([True, False], 1, train.std(0))
    for kind in (np.float32, np.float64):
        seen = preprocess(here.task, train, np.dtype(kind))
        assert seen.dtype == kind
        assert np.allclose(seen, exact, atol=2e-5)


def test_the_hash_follows_the_content_and_not_the_place(folder: Path) -> None:
    before = task(folder)
    other = folder / "elsewhere"
    other.mkdir()
    shutil.copy(folder / "rows.csv", other)

    assert task(other).hash() == before.hash()
    plain = HEAD + DATA + "preprocess = { standardise = false }\n"
    unchanged = task(folder, plain).hash()
    text = (folder / "rows.csv").read_text(encoding="utf-8")
    (folder / "rows.csv").write_text(text.replace("width", "breadth"), encoding="utf-8")
    assert task(folder, plain).hash() != unchanged


def test_another_label_column_is_another_task(folder: Path) -> None:
    text = (folder / "rows.csv").read_text(encoding="utf-8").splitlines()
    both = [f"{line},{'same' if at == 0 else at % 2}" for at, line in enumerate(text)]
    both = [line.replace(",a,", ",0,").replace(",b,", ",1,") for line in both]
    (folder / "rows.csv").write_text("\n".join(both), encoding="utf-8")

    hashes = {task(folder, HEAD + DATA.replace("kind", label)).hash() for label in ("kind", "same")}

    assert len(hashes) == 2


def test_a_worker_refuses_data_of_another_content(folder: Path) -> None:
    planned = task(folder)
    with (folder / "rows.csv").open("a", encoding="utf-8") as stream:
        stream.write("\n0,0,a\n")
    info = found(folder).info
    assert info is not None
    files = prepare(info, search_path(os.environ), fetch=False).files

    with pytest.raises(DataError, match="the task's rules say"):
        load_splits(planned.dataset, files)


def test_a_registered_data_set_keeps_its_name_and_needs_no_content(folder: Path) -> None:
    made = task(folder, HEAD + 'data = { dataset = "digits" }\npreprocess = { divide_by = 16 }\n')

    assert (made.dataset.name, made.dataset.content_sha256) == ("digits", None)


# --- rules ---------------------------------------------------------------------------------------


def test_without_a_validation_part_the_page_says_that_it_stops_on_test(folder: Path) -> None:
    none = HEAD + DATA + "split = { validation_count = 0 }\n"

    stopping, running = task(folder, none), task(folder, none + "stops_at_target = false\n")

    assert stopping.eval_split == running.eval_split == "test"
    assert any("stops on test" in note for note in stopping.notes)
    assert any("stops on nothing" in note for note in running.notes)


def test_every_ready_network_ends_in_a_score_a_class() -> None:
    use = DatasetUse(
        name="pictures", input_shape=(64, 64, 3), classes=7, train_count=1, validation_count=0,
        test_count=1, split=SplitRule(test_fraction=None, validation_count=0, seed=0), divide_by=1,
    )  # fmt: skip

    ends = {
        name: check_chain(use.input_shape, ready_network(name, use).layers, name)
        for name in NETWORKS
    }

    assert set(ends.values()) == {(7,)}


def test_a_residual_block_is_written_as_two_lists_of_layers(folder: Path) -> None:
    block = '[[task.network]]\ntype = "residual"\nbody = [{ type = "dense", units = 2 }]\n'
    text = f'{HEAD}{DATA}{block}[[task.network]]\ntype = "dense"\n'

    model = task(folder, text).model

    assert "Residual(body=(Dense(units=2" in str(model)


LAYER = "[[task.network]]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds = 1\n", "names no runs|describes no task"),
        ("[task]\n" + DATA, r"\[task\].*target"),
        (HEAD, r"\[task\].*data"),
        (HEAD + DATA + "colour = 1\n", "Unknown key.*'colour'.*batch_size, class_weights"),
        (HEAD + DATA + "epoch = 1\n", "Did you mean 'epochs'"),
        (HEAD + DATA + "batch_size = 0\n", "batch_size = 0 is not possible.*>= 1"),
        (HEAD + DATA + 'epochs = "many"\n', "epochs = 'many'.*int"),
        (HEAD + DATA + "epochs = 2\nsteps_max = 3\n", "both say how long"),
        (HEAD + DATA + "class_weights = [1.0]\n", "names 1 numbers. Allowed: 2.*a, b"),
        (HEAD + DATA + 'name = "digits-cnn"\n', "'digits-cnn', as another is"),
        (HEAD + DATA + 'name = "My Task"\n', "Allowed: small letters"),
        (HEAD + 'data = { csv = "rows.csv" }\n', "label = None beside csv"),
        (HEAD + 'data = { images = "rows", label = "kind" }\n', "label = 'kind' beside images"),
        (HEAD + "data = {}\n", "names no data"),
        (HEAD + 'data = { images = "nowhere" }\n', "There is no folder"),
        (HEAD + 'data = { images = "~nosuchuser/x" }\n', "home folder that is not known"),
        (HEAD + 'data = { csv = "rows.csv", label = "sort" }\n', "no column 'sort'"),
        (HEAD + 'data = { csv = "rows.csv", label = "kind", name = "digits" }\n', "another data"),
        (HEAD + 'data = { dataset = "nothing" }\n', "Unknown dataset 'nothing'"),
        (HEAD + DATA + "split = { test_fraction = 2 }\n", "test_fraction = 2"),
        (HEAD + DATA + "split = { validation_count = 59 }\n", "train would hold -11"),
        (HEAD + DATA + "split = { share = 2 }\n", "Unknown key.*task.split.*'share'"),
        (HEAD + DATA + "preprocess = { mean = [1.0] }\n", "mean names 1 numbers. Allowed: 2"),
        (HEAD + DATA + "preprocess = { mean = [1, 2], standardise = true }\n", "standardise"),
        (HEAD + DATA + "preprocess = { augmentation = {} }\n", "for images"),
        ("[task]\ntarget = 90\n" + DATA, "90 is not possible for accuracy"),
        ("[task]\ntarget = []\n" + DATA, "names none"),
        ("[task]\ntarget = [0.9, 0.8]\n" + DATA, "the easiest first"),
        ("[task]\ntarget = { metric = 'speed', threshold = 1 }\n" + DATA, "metric = 'speed'"),
        (HEAD + DATA + "light_target = 0.95\n", "light_target, then target"),
        (HEAD + DATA + 'network = "vgg99"\n', "Unknown network 'vgg99'"),
        (HEAD + DATA + 'network = "small-cnn"\n', "gets 2 and needs images"),
        (HEAD + DATA + "network = []\n", "has no layers"),
        (HEAD + DATA + LAYER + "units = 3\n", "layer 0 has no type. Allowed: batch_norm"),
        (HEAD + DATA + LAYER + 'type = "lstm"\n', "Unknown type of.*'lstm'"),
        (HEAD + DATA + LAYER + 'type = "dense"\nwidth = 3\n', "Unknown key in .*layer 0 'width'"),
        (HEAD + DATA + LAYER + 'type = "dense"\nunits = 3\n', "last layer gives 3"),
        (HEAD + DATA + LAYER + 'type = "dense"\nunits = 0\n', "units = 0 is not possible"),
        (HEAD + DATA + LAYER + 'type = "flatten"\n', "Leave it out"),
        (HEAD + DATA + 'optimizer = { schedule = "cosine" }\n', "Unknown schedule.*'cosine'"),
        (HEAD + DATA + "optimizer = { schedule = { type = 'one_cycle' } }\n", "warmup_steps"),
        (HEAD + DATA + "optimizer = { momentum = 1 }\n", "momentum = 1 is not possible"),
        (HEAD + DATA + "optimizer = { learning_rate = inf }\n", "learning_rate = inf.*a finite"),
        (HEAD + DATA + "preprocess = { mean = [nan, 1.0] }\n", "mean = nan.*a finite"),
        (HEAD + DATA + "class_weights = [1.0, inf]\n", "class_weights = inf.*a finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_is_allowed(folder: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}") as seen:
        task(folder, text)

    if not isinstance(seen.value, UnknownNameError) or "key in" in str(seen.value):
        assert "mine.toml" in str(seen.value)


# --- Python files --------------------------------------------------------------------------------


def test_a_python_file_gives_the_task_with_its_content_and_notes(folder: Path) -> None:
    task(folder, HEAD + DATA, "base.toml")

    made = found(folder, PY.format(changes="notes=()"), "mine.py")

    assert made.info is not None
    assert made.task.name == "in-python"
    assert made.task.dataset.content_sha256 == made.info.content_sha256


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_the_kind\nTASK = 3", "cannot be executed: ModuleNotFoundError"),
        ("raise SystemExit(3)\nTASK = 3", "cannot be executed: SystemExit"),
        ("TASK = 3", "TASK as int.*--division open"),
        ("print", "defines no TASK: it is a script"),
        ("TASK = None", "TASK as NoneType"),
        (PY.format(changes='implementations={"torch": "my_code:build"}'), "installed package"),
        (PY.format(changes="dataset=msgspec.structs.replace(TASK.dataset, train_count=9)"),
         "train_count = 9, the data have 38"),
        (PY.format(changes="dataset=msgspec.structs.replace(TASK.dataset, content_sha256='0')"),
         "TASK says the content 0"),
        (PY.format(changes="dataset=msgspec.structs.replace("
                   "TASK.dataset, train_view='resized_crop_flip')"),
         "train_view = 'resized_crop_flip'.*decoded when asked for.*stored as arrays"),
        (PY.format(changes="version=2") + "DATA = 3\n", "DATA as int"),
        (PY.format(changes="version=2") + "DATA = 'nowhere'\n", "There is no folder"),
        (PY.format(changes="version=2") + "DATA = None\n", "Unknown dataset 'rows'"),
        (PY.format(changes="version=2").replace("in-python", "mnist-cnn"), "as another is"),
    ],
)  # fmt: skip
def test_a_python_file_that_is_no_task_is_refused(folder: Path, text: str, said: str) -> None:
    task(folder, HEAD + DATA, "base.toml")

    with pytest.raises(UsageError, match=f"(?s){said}"):
        found(folder, text, "mine.py")


def test_a_task_that_no_plan_can_hold_is_refused_before_it_spoils_the_store(folder: Path) -> None:
    task(folder, HEAD + DATA, "base.toml")
    endless = "optimizer=msgspec.structs.replace(TASK.optimizer, weight_decay=float('inf'))"
    (folder / "mine.py").write_text(PY.format(changes=endless), encoding="utf-8")

    with pytest.raises(UsageError, match=r"plan of in-python cannot be stored.*finite numbers"):
        api.run(folder / "mine.py", seeds=1, store_dir=folder / "runs")

    assert list((folder / "runs").glob("*")) == []


def test_a_view_of_images_that_are_decoded_when_asked_for_is_allowed_for_those(
    folder: Path,
) -> None:
    text = """
import msgspec
from timetrial.plan import find_task
TASK = msgspec.structs.replace(find_task("imagenet-resnet50"), name="in-python")
"""

    made = task(folder, text, "mine.py")

    assert made.dataset.train_view == "resized_crop_flip"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for name in ("none.py", "none.toml"):
        with pytest.raises(UsageError, match=name):
            find_task_or_file(str(tmp_path / name), os.environ, fetch=False)
