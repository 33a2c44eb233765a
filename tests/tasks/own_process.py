"""Networks that are tested in a process of their own, where XLA compiles in a hurry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
# Small networks: compiling takes longer than computing, and XLA's optimisations are not on trial.
# A third of the time (314 s, then 91 and 126 s); ResNet-20 would be slower without them.
XLA_IN_A_HURRY: Final = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments beside this file."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "XLA_FLAGS": XLA_IN_A_HURRY, **variables},
        cwd=HERE,
        capture_output=True,
        text=True,
    )


def run_tests(name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of one file of this folder."""
    return run("-m", "pytest", "-p", "no:cacheprovider", str(HERE / name), **variables)
