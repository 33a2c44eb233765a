"""Every complete example of the open division, run through the command line on digits-cnn."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ONE_CORE, ROOT, Outcome

NEEDS = {
    "open_with_timetrial": ("sklearn", "timetrial[sklearn]"),
    "open_without_import": ("numpy", "timetrial"),
    "open_lightning": ("pytorch_lightning", "timetrial[examples]"),
    "open_accelerate": ("accelerate", "timetrial[examples]"),
}


def test_there_is_a_test_for_each() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("open_*.py")} == set(NEEDS)


@pytest.mark.parametrize("name", ["open_with_timetrial", "open_without_import"])
def test_the_first_two_have_under_thirty_lines(name: str) -> None:
    assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) < 30


def test_one_of_them_does_without_importing_timetrial() -> None:
    text = (ROOT / "examples/open_without_import.py").read_text()

    assert "import timetrial" not in text
    assert "from timetrial" not in text


@pytest.mark.parametrize("name", ["open_lightning", "open_accelerate"])
def test_a_device_that_an_example_cannot_follow_is_an_error_and_not_another_device(
    name: str, timetrial: Callable[..., Outcome], tmp_path: Path
) -> None:
    module, extra = NEEDS[name]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install '{extra}'")
    asked = ["--division=open", "--task=digits-cnn", "--seeds=1", "--device=tpu", *ONE_CORE]

    seen = timetrial("run", ROOT / "examples" / f"{name}.py", *asked, "--store", tmp_path)

    assert seen.code == 3, seen.err
    [said] = [path.read_text(errors="replace") for path in tmp_path.glob("*/stdout.0.log")]
    assert "--device tpu cannot be followed" in said
    assert ":::MLLOG" not in said


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_reaches_its_target_by_its_own_predictions(
    name: str, timetrial: Callable[..., Outcome], call: Callable[..., Outcome], tmp_path: Path
) -> None:
    module, extra = NEEDS[name]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install '{extra}'")
    example = ROOT / "examples" / f"{name}.py"
    asked = ["--division=open", "--task=digits-cnn", "--target=0.9", "--seeds=1", *ONE_CORE]

    quiet = {"PYTHONWARNINGS": "ignore:The `srun` command"}  # Lightning's, beside a Slurm
    seen = timetrial("run", example, *asked, "--json", "--store", tmp_path, env=quiet)

    assert seen.code == 0, seen.err
    rows = [row for row in seen.json() if row["origin"] == "measured"]
    assert {row["division"] for row in rows} == {"open"}
    assert all(row["status_counts"] == {"reached": 1} for row in rows)
    assert not any("not recomputed" in note for row in rows for note in row["notes"])
    [said] = [path.read_text(errors="replace") for path in tmp_path.glob("*/stdout.0.log")]
    assert [line for line in said.splitlines() if not line.startswith(":::MLLOG ")] == []
    assert call("verify", tmp_path).code == 0
