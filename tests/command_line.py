"""The real command line in a process of its own, for the tests of many folders."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Where cores can be restricted, tests take one: two runs then fit beside each other.
ONE_CORE = ["--cores=1"] if hasattr(os, "sched_getaffinity") else []

# whose turn it is; test processes beside each other begin with different CPUs
_TURNS = itertools.count(int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))

ROOT = Path(__file__).resolve().parent.parent


class Outcome(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as JSON: nothing else may stand there."""
        return json.loads(self.out)


class Ran(NamedTuple):
    """A store and what the command that filled it printed."""

    store: Path
    outcome: Outcome

    def rows(self) -> list[dict[str, Any]]:
        """The measured rows."""
        return [row for row in self.outcome.json() if row["origin"] == "measured"]


def environment(**more: str) -> dict[str, str]:
    """This environment in a terminal of 80 columns, without a default store of its own."""
    kept = {key: value for key, value in os.environ.items() if key != "TIMETRIAL_HOME"}
    return {**kept, "COLUMNS": "80", **more}


def python_path(folder: Path) -> str:
    """`folder` before what is on PYTHONPATH: the checkout tested there stays the one tested."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def timetrial_command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "timetrial", *map(str, arguments)]


def on_the_next_cpu() -> list[str]:
    """The prefix that gives a command one CPU, another one each time, where that can be done.

    `--cores=1` alone takes the first CPU there is: runs beside each other would share it, those of
    the test processes beside this one too.
    """
    if not ONE_CORE or shutil.which("taskset") is None:
        return []
    cpus = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(cpus[next(_TURNS) % len(cpus)])]


def run_timetrial(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Outcome:
    prefix = on_the_next_cpu() if set(ONE_CORE) & set(arguments) else []
    done = subprocess.run(
        [*prefix, *timetrial_command(*arguments)],
        cwd=cwd,
        env=environment(**(env or {})),
        capture_output=True,
        encoding="utf-8",
        timeout=250,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_side_by_side(*commands: Sequence[str | Path]) -> list[Outcome]:
    """Run several commands, two at a time: no test here asks how long something took."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda command: run_timetrial(*command), commands))
