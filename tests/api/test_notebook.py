"""The example notebooks: one executed in a real kernel of this environment, all kept as run."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from command_line import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
NOTEBOOK = ROOT / "examples" / "first_result.ipynb"
COURSE = ROOT / "examples" / "ml_course.ipynb"


def test_the_kernel_is_that_of_this_environment() -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec("python3")

    assert Path(spec.resource_dir).is_relative_to(sys.prefix)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the notebook's machinery, not ours
def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbclient import NotebookClient

    monkeypatch.delenv("TIMETRIAL_HOME", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )

    client.execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = str(outputs)
    assert "reached" in text
    assert "time_to_target" in text
    assert "image/png" in text
    assert len(list(tmp_path.glob("timetrial-runs/*/done.json"))) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_what_it_really_gave(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    for cell in cells:
        assert cell.outputs, cell.source
        assert not any(output.output_type == "error" for output in cell.outputs)


def test_the_course_in_the_notebook_gives_its_figures_and_three_pictures() -> None:
    notebook = nbformat.read(COURSE, as_version=4)

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = str(outputs)
    assert "96.0% (546/569)" in text
    assert "94.5% (94.5419)" in text
    assert "78da1152af0200c2ef9be365bde752652161ca0f" in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
