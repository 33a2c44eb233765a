"""The bare package, as `pip install timetrial` gives it: rules can be read, nothing can be run."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest
from command_line import ROOT, Outcome, environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a fresh environment with the wheel and its core dependencies."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv")
    python = folder / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", f"--python={python}", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    built = subprocess.run(wheel, capture_output=True, encoding="utf-8", check=False)
    if "ConnectionError" in built.stderr or "No matching distribution" in built.stderr:
        pytest.skip("no package index")
    assert built.returncode == 0, built.stderr
    install = [
        *pip,
        "install",
        "--quiet",
        "--no-compile",
        *map(str, folder.glob("timetrial-*.whl")),
    ]
    subprocess.run(install, check=True, capture_output=True)
    return python.parent


def run(bare: Path, folder: Path, *arguments: str) -> Outcome:
    done = subprocess.run(
        [bare / "timetrial", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("list",), ("list", "references"), ("show", "mnist-cnn"), ("doctor",)],
    ids=" ".join,
)
def test_what_needs_no_framework_works(
    arguments: tuple[str, ...], bare: Path, tmp_path: Path
) -> None:
    seen = run(bare, tmp_path, *arguments)

    assert (seen.code, seen.err) == (0, "")
    assert seen.out


def test_running_says_which_line_installs_the_framework(bare: Path, tmp_path: Path) -> None:
    seen = run(bare, tmp_path, "run", "digits-cnn")

    assert (seen.code, seen.out) == (1, "")
    assert "pip install 'timetrial[torch]'" in seen.err
    assert seen.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
