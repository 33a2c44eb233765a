"""The page about adding an exporter: its file is complete, is found, and passes the contract."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT, Ran, environment, python_path

PAGE = ROOT / "docs" / "add-an-exporter.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What installing the page's package leaves, and its test."""
    folder = tmp_path_factory.mktemp("csvlog")
    page = PAGE.read_text(encoding="utf-8")
    module, test = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    point = re.search(r'^```toml\n\[project\.entry-points\."(.*?)"\]\n(.*?)^```', page,
                      flags=re.DOTALL | re.MULTILINE)  # fmt: skip
    assert point is not None
    info = folder / "csvlog-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: csvlog\nVersion: 1.0\n")
    line = point[2].replace('"', "")
    (info / "entry_points.txt").write_text(f"[{point[1]}]\n{line}")
    (folder / "csvlog.py").write_text(module, encoding="utf-8")
    (folder / "test_csvlog.py").write_text(test, encoding="utf-8")
    return folder


def ran(package: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=package,
        env=environment(PYTHONPATH=python_path(package)),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_its_exporter_is_listed_and_used(package: Path, logreg: Ran, tmp_path: Path) -> None:
    listed = ran(package, "-m", "timetrial", "list", "exporters")
    done = ran(
        package, "-m", "timetrial", "export", logreg.store, "--to=csv", "--into", tmp_path, "--json"
    )

    assert (listed.returncode, listed.stderr) == (0, "")
    assert "csv" in listed.stdout.split()
    assert done.returncode == 0, done.stderr
    [file, *others] = [Path(receipt["where"]) for receipt in json.loads(done.stdout)]
    assert len(others) == 2
    with file.open(newline="", encoding="utf-8") as lines:
        assert "test/accuracy" in {line[0] for line in csv.reader(lines)}


def test_its_exporter_passes_the_contract_as_the_page_says(package: Path) -> None:
    done = ran(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_csvlog.py")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
