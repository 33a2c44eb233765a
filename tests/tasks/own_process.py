"""Networks that are tested in a process of their own, where XLA compiles in a hurry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from xla_in_a_hurry import XLA_IN_A_HURRY

HERE: Final = Path(__file__).parent


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments beside this file, in one thread."""
    environment = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": XLA_IN_A_HURRY, **variables}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=HERE,
        capture_output=True,
        text=True,
    )


def run_tests(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of one file of this folder; it needs nothing of a conftest.py."""
    only = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--noconftest")
    return run("-m", "pytest", *only, *arguments, str(HERE / name), **variables)
