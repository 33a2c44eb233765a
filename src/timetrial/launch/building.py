"""Builds the environment of workers on another machine, once per content of its lock.

The standard library alone, like `far`: its text is run there by a bare Python, as
`python -c TEXT FOLDER CONSTRAINTS REQUIREMENT...`. It prints one line of JSON: the environment's
Python, whether it was built now, and the seconds that took.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> str:
    """Make the environment FOLDER unless it is whole; two at once make it once.

    Raises:
        SystemExit: A program failed; nothing half-made stays.
    """
    folder, constraints, *requirements = arguments
    place = Path(folder)
    python, whole = place / "bin" / "python", place / "whole"
    began_s = time.monotonic()
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("ab") as lock:
        _wait_for(lock.fileno())
        built = not whole.exists()
        if built:
            shutil.rmtree(place, ignore_errors=True)  # an earlier attempt was cut off
            install = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
            install += ["install", "--quiet", "--constraint", constraints, "--", *requirements]
            try:
                for words in ([sys.executable, "-m", "venv", folder], install):
                    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
            except (OSError, subprocess.CalledProcessError) as error:
                shutil.rmtree(place, ignore_errors=True)
                sys.exit(f"{' '.join(words[:4])} … failed: {error}")
            whole.write_text(json.dumps(requirements))
    seconds = round(time.monotonic() - began_s, 1) if built else 0.0
    return json.dumps({"python": str(python), "built": built, "seconds": seconds})


def _wait_for(handle: int) -> None:
    """Lock a file, however long another process holds it."""
    import fcntl  # not on Windows, where no far end runs

    fcntl.flock(handle, fcntl.LOCK_EX)


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)
