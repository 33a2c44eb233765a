"""Builds the environment of workers on another machine, once per content of its lock.

The standard library alone, like `far`: its text is run there by a bare Python, as
`python -c TEXT FOLDER CONSTRAINTS WHEEL REQUIREMENT`. The last line that it prints is what became
of it; where the files are to be sent first, nothing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Built(NamedTuple):
    """An environment, or what is missing for it."""

    python: str
    built: bool  # now
    seconds: float
    needs_files: bool


def main(arguments: Sequence[str]) -> Built:
    """Make the environment FOLDER unless it is whole; of two at once, one makes it.

    Raises:
        SystemExit: A program failed; nothing half-made stays.
    """
    folder, constraints, wheel, requirement = arguments
    place = Path(folder)
    python, whole = place / "bin" / "python", place / "whole"
    began_s = time.monotonic()
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("ab") as lock:
        _wait_for(lock.fileno())
        if whole.exists():
            return Built(str(python), False, 0.0, False)
        if not Path(wheel).exists() or not Path(constraints).exists():
            return Built(str(python), False, 0.0, True)
        shutil.rmtree(place, ignore_errors=True)  # an earlier attempt was cut off
        install = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        install += ["install", "--quiet", "--constraint", constraints, "--", requirement]
        for words in ([sys.executable, "-m", "venv", folder], install):
            try:
                subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
            except (OSError, subprocess.CalledProcessError) as error:
                shutil.rmtree(place, ignore_errors=True)
                sys.exit(f"{' '.join(words[:4])} … failed: {error}")
        whole.touch()
    return Built(str(python), True, round(time.monotonic() - began_s, 1), False)


def _wait_for(handle: int) -> None:
    """Lock a file, however long another process holds it."""
    import fcntl  # not on Windows, where no far end runs

    fcntl.flock(handle, fcntl.LOCK_EX)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])._asdict()) + "\n")
