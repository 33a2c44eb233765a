"""The examples with the data they learn, as their documented commands make them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from command_line import ROOT


def copy_examples(folder: Path) -> Path:
    """Copy examples/ below `folder` and make its data; returns the folder to run commands in."""
    shutil.copytree(
        ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("own-data", "runs")
    )
    made = subprocess.run(
        [sys.executable, "examples/make_own_data.py"],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    return folder
