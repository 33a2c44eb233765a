"""Parts of other packages, found by their entry points."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Outcome, environment, python_path

from timetrial._registry import Registry, load_object
from timetrial.errors import UnknownNameError


def with_package(folder: Path, entry_points: str, *arguments: str) -> Outcome:
    """Run timetrial beside an installed package with these entry points."""
    info = folder / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    (folder / "other_tasks.py").write_text(
        "import msgspec\n"
        "from timetrial.tasks.digits_cnn import TASK\n"
        "MINE = msgspec.structs.replace(TASK, name='my-digits', title='Digits of mine')\n"
        "WRONG = 3\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "timetrial", *arguments],
        env=environment(PYTHONPATH=python_path(folder)),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_a_task_of_another_package_is_a_task_like_ours(tmp_path: Path) -> None:
    seen = with_package(tmp_path, "[timetrial.tasks]\nmy-digits = other_tasks:MINE\n", "list")

    assert seen.code == 0
    assert "Digits of mine" in seen.out


def test_a_name_that_is_taken_is_refused_with_both_places(tmp_path: Path) -> None:
    seen = with_package(tmp_path, "[timetrial.tasks]\ndigits-cnn = other_tasks:MINE\n", "list")

    assert seen.code == 1
    assert "timetrial.tasks.digits_cnn:TASK and other_tasks:MINE" in seen.err


def test_what_is_not_a_task_is_said_to_be_none(tmp_path: Path) -> None:
    entry = "[timetrial.tasks]\nwrong = other_tasks:WRONG\n"

    seen = with_package(tmp_path, entry, "show", "wrong")

    assert seen.code == 1
    assert "not a timetrial.spec.Task but a int" in seen.err


def test_names_are_sorted_and_objects_are_imported_when_asked_for() -> None:
    registry = Registry(
        "thing", group="timetrial.things", built_in={"pi": "math:pi", "e": "no.such.module:e"}
    )

    assert registry.names() == ["e", "pi"]
    assert registry.get("pi") == load_object("math:pi")
    with pytest.raises(UnknownNameError, match=r"Unknown thing 'po'.*'pi'.*e, pi"):
        registry.get("po")


def test_an_unknown_name_of_an_empty_family_says_none() -> None:
    with pytest.raises(UnknownNameError, match=r"Available: none\."):
        Registry("thing", group="timetrial.things", built_in={}).get("x")
