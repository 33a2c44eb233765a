"""Real environments, real programs: a wheel of nothing is installed, a file of lines examined."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tool_records import borrow_environment, made_tool

from timetrial.errors import CannotExamineError, FormatError
from timetrial.examinations.tools import environment, examining, judging
from timetrial.examinations.tools.examining import Effort
from timetrial.examinations.tools.records import (
    Absent,
    Column,
    Failed,
    Installed,
    Licensed,
    Observation,
    Page,
    Refused,
    Sealed,
)
from timetrial.examinations.tools.registry import Tool, Way

EFFORT = Effort(steps=10, pace_s=0.1, budget=40, searches=8, timeout_s=120.0)
SEEDS = list(range(8))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="probes need pipes to wait for")


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    folder: Path,
    environment: Mapping[str, str],
) -> str:
    """A command to its end, as a worker runs it."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise CannotExamineError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return done.stdout


def write_wheel(folder: Path) -> Path:
    """A distribution `lines` 1.0 of one module, ready to be installed without any index."""
    info = "lines-1.0.dist-info"
    files = {
        "lines.py": "def log(): ...\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: lines\nVersion: 1.0\nLicense: MIT\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / "lines-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
        wheel.writestr(f"{info}/RECORD", "".join(f"{n},,\n" for n in [*files, f"{info}/RECORD"]))
    return path


def offline(cache: Path) -> dict[str, str]:
    """An environment in which pip asks no index."""

    return {**os.environ, "TIMETRIAL_CACHE": str(cache), "PIP_NO_INDEX": "1"}


def test_an_environment_is_made_kept_and_made_anew_when_it_was_cut_short(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path)
    ways = (
        Way(requirements=("no-such-thing==1",)),
        Way(requirements=(str(wheel),), why="no index has it"),
    )
    tool = made_tool(way=ways)
    environ = offline(tmp_path / "cache")

    made = environment.prepare(tool, run, environ, tmp_path)

    assert isinstance(made, Installed)
    assert made.version == "1.0"
    assert "no index has it" in made.how
    assert "no-such-thing" in made.how  # the last line of pip's refusal
    folder = environment.folder_of(tool, environ)
    assert made.bytes > 1000

    again = environment.prepare(tool, _refuse, environ, tmp_path)
    assert again == made

    (folder / "ready.json").unlink()
    with pytest.raises(AssertionError, match="was asked to run"):
        environment.prepare(tool, _refuse, environ, tmp_path)


def _refuse(command: Sequence[str | Path], **more: object) -> str:
    raise AssertionError(f"was asked to run {command}")


def test_a_tool_that_no_way_installs_says_pips_last_line(tmp_path: Path) -> None:
    tool = made_tool(way=(Way(requirements=("lines==1",)), Way(requirements=("lines==2",))))
    environ = offline(tmp_path / "cache")

    def fail(command: Sequence[str | Path], **more: object) -> str:
        raise CannotExamineError(f"ERROR: no {command[-1]}")

    refused = environment.prepare(tool, fail, environ, tmp_path)

    assert isinstance(refused, Refused)
    assert (refused.wanted, refused.step) == ("lines==2", "pip install")
    assert refused.line.startswith("ERROR: no ")
    assert not environment.folder_of(tool, environ).exists()


@pytest.fixture
def borrowed(tmp_path: Path) -> tuple[Tool, dict[str, str]]:
    """The fake tool in an environment that is this one."""
    tool = made_tool(distribution="msgspec")
    environ = offline(tmp_path / "cache")
    borrow_environment(tool, environ)
    return tool, environ


def probed(
    borrowed: tuple[Tool, dict[str, str]], column: Column, scratch: Path
) -> list[Observation]:
    tool, environ = borrowed
    return examining.probe(tool, column, run, scratch, effort=EFFORT, seeds=SEEDS, environ=environ)


def test_licence_page_and_absence_are_told_by_programs(
    borrowed: tuple[Tool, dict[str, str]], tmp_path: Path
) -> None:
    licensed = probed(borrowed, "licence", tmp_path)[-1]
    assert isinstance(licensed, Licensed)
    assert judging.open_licence(licensed)

    seen = probed(borrowed, "page", tmp_path)  # type: ignore[arg-type]  # the fake has it besides
    page = next(item for item in seen if isinstance(item, Page))
    assert (page.status, page.content_type.partition(";")[0]) == (200, "text/html")
    absent = [item for item in seen if isinstance(item, Absent)]
    assert [(item.what, item.near) for item in absent] == [("tuning", ()), ("artefact", ())]
    assert all(item.names > 20 for item in absent)


def test_a_program_sees_no_variable_of_the_user_and_no_network(
    borrowed: tuple[Tool, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str] = {}

    def note(
        command: Sequence[str | Path],
        *,
        timeout_s: float,
        folder: Path,
        environment: Mapping[str, str],
    ) -> str:
        asked.update(environment)
        return run(command, timeout_s=timeout_s, folder=folder, environment=environment)

    tool, environ = borrowed
    secret = {**environ, "COMET_API_KEY": "secret", "https_proxy": "http://proxy"}
    seen = examining.probe(tool, "licence", note, tmp_path, effort=EFFORT, seeds=[1],
                           environ=secret)  # fmt: skip

    assert not {"COMET_API_KEY", "https_proxy", "PIP_NO_INDEX"} & set(asked)
    assert Path(asked["HOME"]).is_relative_to(tmp_path)
    assert isinstance(seen[0], Sealed)


def test_a_program_that_fails_is_an_observation_and_one_that_chatters_an_error(
    borrowed: tuple[Tool, dict[str, str]], tmp_path: Path
) -> None:
    tool, environ = borrowed
    python = environment.python_of(environment.folder_of(tool, environ))

    python.write_text("#!/bin/sh\necho 'ImportError: no such module' >&2\nexit 3\n")
    assert probed(borrowed, "monitoring", tmp_path / "a") == [
        Failed(column="monitoring", line="ImportError: no such module")
    ]

    python.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(FormatError, match="A probe printed 'hello'"):
        probed(borrowed, "monitoring", tmp_path / "b")
