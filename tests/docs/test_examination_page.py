"""The page about adding an examination: its file is complete and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import ROOT, python_path, run_timetrial

PAGE = ROOT / "docs" / "add-an-examination.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What installing the page's package leaves."""
    folder = tmp_path_factory.mktemp("sorting")
    page = PAGE.read_text(encoding="utf-8")
    [module] = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    point = re.search(r'^    \[project\.entry-points\."(.*?)"\]\n    (.*)$', page, re.MULTILINE)
    assert point is not None
    info = folder / "sorting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sorting\nVersion: 1.0\n")
    line = point[2].replace('"', "")
    (info / "entry_points.txt").write_text(f"[{point[1]}]\n{line}\n")
    (folder / "sorting.py").write_text(module, encoding="utf-8")
    return folder


def test_its_examination_runs_and_has_a_row_for_all_that_it_seeks(package: Path) -> None:
    store = package / "runs"
    done = run_timetrial(
        "run", "sorting", "--store", store, "--json", env={"PYTHONPATH": python_path(package)}
    )

    assert done.code == 0, done.err
    rows = {row["measure"]: row for row in done.json()}
    assert set(rows) == {"sort_time", "stable", "gpu_sort_time", "time_of_time", "time_of_order"}
    assert rows["sort_time"]["low"] < rows["sort_time"]["value"] < rows["sort_time"]["high"]
    assert rows["sort_time"]["n"] == 10
    assert rows["stable"]["value"] == 1
    assert rows["gpu_sort_time"]["facts"]["reason"] == "Python's sort has no GPU"
    assert [path.name for path in store.glob("sorting-*/exhibits/*")] == ["numbers.txt"]
    table = (store / "sorting.md").read_text(encoding="utf-8")
    assert "Python's sort has no GPU" in table


def test_it_is_shown_by_its_name(package: Path) -> None:
    shown = run_timetrial("show", "sorting", "--markdown", env={"PYTHONPATH": python_path(package)})

    assert (shown.code, shown.err) == (0, "")
    assert "| `stable` | yes_no | equal ones stay in order |" in shown.out
