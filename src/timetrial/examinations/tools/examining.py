"""One tool, column by column: its probe's program is run in its environment, and heard.

The program has an environment of its own making: no variable of the user's but the path and the
language, so that no account, server or proxy of theirs is used; HOME is its scratch folder.
"""

from __future__ import annotations

import importlib.resources
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from timetrial.errors import CannotExamineError
from timetrial.examinations.tools import environment
from timetrial.examinations.tools.environment import RunCommand
from timetrial.examinations.tools.records import (
    COLUMNS,
    Column,
    Failed,
    Installed,
    Observation,
    Refused,
    read_line,
)
from timetrial.examinations.tools.registry import Tool

_KEPT: Final = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TZ")
_FOLDERS: Final = (
    "timetrial",
    "timetrial/examinations",
    "timetrial/examinations/tools",
    "timetrial/examinations/tools/probes",
)


class Effort(NamedTuple):
    """How much is done in one examination."""

    steps: int  # of the run that is watched
    pace_s: float
    budget: int  # evaluations of one search
    searches: int
    timeout_s: float  # of the program that searches

    def limit_s(self, column: Column) -> float:
        """Return how long the program of a column may take; some clients lock themselves up."""
        return self.timeout_s if column == "tuning" else min(self.timeout_s, LOOK_S)


LOOK_S: Final = 300.0  # ClearML's second process, forked beside a thread that starts git, may hang
WHOLE: Final = Effort(steps=40, pace_s=0.5, budget=30, searches=12, timeout_s=1500.0)
LIGHT: Final = Effort(steps=20, pace_s=0.75, budget=20, searches=5, timeout_s=600.0)


def examine(
    tool: Tool,
    run: RunCommand,
    scratch: Path,
    *,
    effort: Effort,
    seeds: Sequence[int],
    environ: Mapping[str, str],
) -> Iterator[tuple[Column | None, Observation]]:
    """Yield all that is seen of a tool, with its column; None: its environment.

    Nothing but the environment where that cannot be made.

    Raises:
        RunLockedError, DiskError, StoreError: As `environment.prepare`.
    """
    made = environment.prepare(tool, run, environ, scratch)
    yield None, made
    if isinstance(made, Refused):
        return
    for column in COLUMNS:
        for seen in probe(tool, column, run, scratch, effort=effort, seeds=seeds, environ=environ):
            yield column, seen


def probe(
    tool: Tool,
    column: Column,
    run: RunCommand,
    scratch: Path,
    *,
    effort: Effort,
    seeds: Sequence[int],
    environ: Mapping[str, str],
) -> list[Observation]:
    """Return what one program told; its failure is the last of it.

    Raises:
        FormatError: It told what is no observation.
    """
    folder = scratch / column
    folder.mkdir(parents=True)
    code = _lay_out(scratch)
    module = "looking" if column == "licence" else tool.probe
    if column == "licence":
        (folder / "distribution").write_text(tool.distribution)
    order = {
        "folder": str(folder),
        "steps": effort.steps,
        "pace_s": effort.pace_s,
        "budget": effort.budget,
        "seeds": list(seeds[: effort.searches]),
    }
    python = environment.python_of(environment.folder_of(tool, environ))
    words = [column, msgspec.json.encode(order).decode()]
    try:
        told = run(
            [python, "-B", "-m", f"timetrial.examinations.tools.probes.{module}", *words],
            timeout_s=effort.limit_s(column),
            folder=folder,
            environment=_variables(tool, environ, python, folder, code),
        )
    except CannotExamineError as error:
        return [Failed(column=column, line=str(error))]
    return [read_line(line.encode()) for line in told.splitlines()]


def _lay_out(scratch: Path) -> Path:
    """Copy the probes to where the tool's interpreter finds them alone; return that folder."""
    code = scratch / "code"
    for name in _FOLDERS:
        place = code / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "__init__.py").touch()
    for file in importlib.resources.files("timetrial.examinations.tools.probes").iterdir():
        if file.name.endswith(".py"):
            (code / _FOLDERS[-1] / file.name).write_bytes(file.read_bytes())
    return code


def _variables(
    tool: Tool, environ: Mapping[str, str], python: Path, folder: Path, code: Path
) -> dict[str, str]:
    home = folder / "home"
    home.mkdir()
    kept = {name: environ[name] for name in _KEPT if name in environ}
    return {
        **kept,
        "PATH": os.pathsep.join([str(python.parent), kept.get("PATH", os.defpath)]),
        "HOME": str(home),
        "USERPROFILE": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": str(code),
        "PYTHONDONTWRITEBYTECODE": "1",
        **tool.variables,
    }


def versions_of(made: Installed | Refused, tool: Tool) -> str:
    """Return the version that was examined, or asked for."""
    return made.version if isinstance(made, Installed) else tool.pin


def runs_here() -> str | None:
    """Return why no probe can run on this system, None where it can."""
    if sys.platform == "win32":
        return (
            "The probes wait for pipes in a way that Windows does not have. "
            "Examine experiment tools on Linux or macOS."
        )
    return None
