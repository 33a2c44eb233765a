"""The page about adding an algorithm: its file is complete and passes the contract."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT, environment, python_path

PAGE = ROOT / "docs" / "add-an-algorithm.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What installing the page's package leaves, and its test."""
    folder = tmp_path_factory.mktemp("half")
    page = PAGE.read_text(encoding="utf-8")
    module, test = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    point = re.search(r'^```toml\n\[project\.entry-points\."(.*?)"\]\n(.*?)^```', page,
                      flags=re.DOTALL | re.MULTILINE)  # fmt: skip
    assert point is not None
    info = folder / "half-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half\nVersion: 1.0\n")
    line = point[2].replace('"', "")
    (info / "entry_points.txt").write_text(f"[{point[1]}]\n{line}")
    (folder / "half.py").write_text(module, encoding="utf-8")
    (folder / "test_half.py").write_text(test, encoding="utf-8")
    return folder


def ran(package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=package,
        env=environment(PYTHONPATH=python_path(package)),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_its_algorithm_is_listed_and_shown(package: Path) -> None:
    listed = ran(package, "-m", "timetrial", "list", "algorithms")
    shown = ran(package, "-m", "timetrial", "show", "half")

    assert (listed.returncode, listed.stderr) == (0, "")
    assert "half:scale=64" in listed.stdout
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "multiplied" in shown.stdout


def test_its_algorithm_passes_the_contract_as_the_page_says(package: Path) -> None:
    done = ran(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_half.py")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_a_run_trains_with_it(package: Path, tmp_path: Path) -> None:
    done = ran(
        package, "-m", "timetrial", "run", "digits-cnn", "--workers=2", "--cores=1", "--seeds=1",
        "--division=open", "--algorithm=half:scale=128", f"--store={tmp_path}", "--json",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert '"reached":1' in done.stdout.replace(" ", "")
