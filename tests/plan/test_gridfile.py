"""Grid files: every combination of their lists, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from timetrial.errors import UnknownNameError, UsageError
from timetrial.gridfile import read_grid
from timetrial.plan import Request

WHOLE = """
store = "runs/here"
seeds = [1, 2]

[[run]]
task = ["digits-cnn", "mnist-cnn"]
framework = "torch"
cores = [1, 2]
memory = "2GiB"
budget = "5min"
inference = "10s"
target = 0.9
light = true
division = "open"
set = { steps_max = 10, checkpoint_every_s = 0.5 }

[[run]]
task = "breast-cancer-logreg"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_lists_are_a_grid_the_last_key_varies_fastest(tmp_path: Path) -> None:
    file = read_grid(write(tmp_path, WHOLE))

    chosen = [(request.task, request.cores) for request in file.requests]
    assert chosen == [
        ("digits-cnn", 1),
        ("digits-cnn", 2),
        ("mnist-cnn", 1),
        ("mnist-cnn", 2),
        ("breast-cancer-logreg", None),
    ]
    first = file.requests[0]
    assert (first.memory_bytes, first.budget_s, first.target) == (2 * 2**30, 300, 0.9)
    assert first.inference_s == 10
    assert (first.light, first.division) == (True, "open")
    assert first.settings == {"steps_max": 10, "checkpoint_every_s": 0.5}
    assert file.requests[-1] == Request(task="breast-cancer-logreg")


def test_the_store_is_relative_to_the_file(tmp_path: Path) -> None:
    file = read_grid(write(tmp_path, WHOLE))

    assert file.store == tmp_path / "runs/here"
    assert file.seeds == [1, 2]


RUN = '[[run]]\ntask = "digits-cnn"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run = [", "is not TOML"),
        ("", "names no runs"),
        ("run = []", "names no runs"),
        ("run = [1]", "names no runs"),
        ('[run]\ntask = "digits-cnn"', r"names no runs.*\[\[run\]\]"),
        ("[[run]]\ncores = 1", "names no task"),
        ("[[run]]\ntask = []", r"task = \[\]"),
        (f"{RUN}cores = []", r"cores = \[\]"),
        (f'{RUN}cores = "two"', "cores = 'two'.*int"),
        (f"{RUN}cores = [1, 2.5]", "cores = 2.5.*int"),
        (f"{RUN}cores = true", "cores = True.*int"),
        ("[[run]]\ntask = 3", "task = 3.*str"),
        (f'{RUN}target = "high"', "target = 'high'.*number"),
        (f"{RUN}light = 1", "light = 1.*bool"),
        (f'{RUN}memory = "much"', "memory = 'much'.*4GiB"),
        (f"{RUN}budget = true", "budget = True.*60s"),
        (f"{RUN}set = 3", "set = 3"),
        (f"seeds = 0\n{RUN}", "seeds = 0"),
        (f"seeds = true\n{RUN}", "seeds = True"),
        (f"seeds = []\n{RUN}", r"seeds = \[\]"),
        (f"seeds = [1, 1]\n{RUN}", r"seeds = \[1, 1\]"),
        (f"seeds = [true]\n{RUN}", r"seeds = \[True\]"),
        (f"seeds = [-1]\n{RUN}", r"seeds = \[-1\]"),
        (f'seeds = "3"\n{RUN}', "seeds = '3'"),
        (f"store = 3\n{RUN}", "store = 3"),
    ],
)
def test_a_file_that_says_nothing_possible_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)

    with pytest.raises(UsageError, match=said) as error:
        read_grid(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [(f"sedes = 3\n{RUN}", "seeds"), (f"{RUN}corse = 2", "cores"), (f"{RUN}Set = 2", "set")],
)
def test_an_unknown_key_gives_the_nearest(text: str, nearest: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{nearest}'"):
        read_grid(write(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .*none.toml"):
        read_grid(tmp_path / "none.toml")


def test_bytes_that_are_no_text_are_no_toml(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(UsageError, match="is not TOML"):
        read_grid(tmp_path / "grid.toml")
