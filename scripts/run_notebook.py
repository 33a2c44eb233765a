"""Run the notebooks of examples/ in a fresh kernel each and keep what they gave.

    .venv/bin/python scripts/run_notebook.py                 all of them
    .venv/bin/python scripts/run_notebook.py ml_course       one, by its file's name

On a quiet machine: the numbers they show are kept in the repository.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"


def main(names: Sequence[str]) -> int:
    """Run each in an empty folder: its store is not kept."""
    known = {path.stem: path for path in sorted(EXAMPLES.glob("*.ipynb"))}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no notebook {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        run(known[name])
        print(f"examples/{known[name].name}")
    return 0


def run(path: Path) -> None:
    """Run one, and write it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="timetrial-notebook-") as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of the execution
    nbformat.write(notebook, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
