"""A virtual environment for each tool: tools/<name>-<key> in the user's cache folder.

The key is made of all that decides what is installed: the ways of tools.toml, the constraints, this
Python and this kind of machine. An environment counts once its file ready.json is there; one that
was cut short is made anew, out of pip's own cache. Beside it lies <name>-<key>.lock, held by the
process that makes it.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from timetrial.datasets.sources import search_path
from timetrial.errors import CannotExamineError, StoreError
from timetrial.examinations.tools.records import Installed, Refused
from timetrial.examinations.tools.registry import Tool, Way, constraints
from timetrial.rundir import LogWriter, disk_errors, pretty_json, write_atomically
from timetrial.spec import MALFORMED

INSTALL_S: Final = 1500.0  # of one pip call
_VENV_S: Final = 300.0
_PACKAGES: Final = (
    "import importlib.metadata as m, json;"
    "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
)


class RunCommand(Protocol):
    """Runs a command to its end and returns its standard output."""

    def __call__(
        self,
        command: Sequence[str | Path],
        *,
        timeout_s: float,
        folder: Path,
        environment: Mapping[str, str],
    ) -> str:
        """Run it in that folder, with that environment alone.

        Raises:
            CannotExamineError: It took too long, or failed; the last line that it said is its end.
        """


def folder_of(tool: Tool, environ: Mapping[str, str]) -> Path:
    """Return where the tool's environment lies, there or not."""
    parts = [
        *(msgspec.json.encode([way.requirements, way.build, way.alone]) for way in tool.ways),
        *(constraints(way.without).encode() for way in tool.ways),
        sys.version.encode(),
        f"{sys.platform} {platform.machine()}".encode(),
    ]
    key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    return Path(search_path(environ).cache_dir) / "tools" / f"{tool.name}-{key[:16]}"


def python_of(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def prepare(
    tool: Tool, run: RunCommand, environ: Mapping[str, str], scratch: Path
) -> Installed | Refused:
    """Return the tool's environment, made where it is not there; or why it cannot be.

    Raises:
        RunLockedError: Another process makes it now.
        DiskError, StoreError: The cache folder cannot be written.
    """
    folder = folder_of(tool, environ)
    kept = _kept(folder)
    if kept is not None:
        return kept
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with LogWriter(folder.with_name(f"{folder.name}.lock")):
        kept = _kept(folder)  # by who held the lock
        return kept if kept is not None else _make(tool, folder, run, environ, scratch)


def _kept(folder: Path) -> Installed | None:
    """Return the environment that was made before; None where there is none that counts."""
    try:
        made = msgspec.json.decode((folder / "ready.json").read_bytes(), type=Installed)
    except (FileNotFoundError, NotADirectoryError, *MALFORMED):
        return None
    return made if python_of(folder).exists() else None


def _make(
    tool: Tool, folder: Path, run: RunCommand, environ: Mapping[str, str], scratch: Path
) -> Installed | Refused:
    begun = time.monotonic()
    _remove(folder)
    refused: list[str] = []
    for way in tool.ways:
        wanted = " ".join([*way.requirements, *way.alone])
        try:
            _install(way, folder, run, environ, scratch)
            packages = _packages(folder, run, environ, scratch)
        except CannotExamineError as error:
            refused.append(str(error))
            if way.alone:  # what pip refuses as a whole it has not begun with
                _remove(folder)
            continue
        made = Installed(
            python=platform.python_version(),
            packages=packages,
            main=tool.distribution,
            version=_version(tool, packages),
            bytes=_size(folder),
            seconds=round(time.monotonic() - begun, 1),
            made_utc=_now(),
            how=_how(tool, way, refused),
        )
        write_atomically(folder / "ready.json", pretty_json(made))
        return made
    _remove(folder)
    return Refused(step="pip install", line=refused[-1], wanted=wanted)


def _how(tool: Tool, way: Way, refused: Sequence[str]) -> str:
    """Say what was installed, and why not otherwise."""
    newer = [one for one in tool.way if not one.fits]
    words = [f"{one.requirements[0]} needs Python {one.python}" for one in newer]
    words += [way.why] if way.why else []
    words += [f"as it is published: {line}" for line in refused]
    wanted = " ".join([*way.requirements, *way.alone])
    return f"pip install {wanted}" + (f" ({'; '.join(words)})" if words else "")


def _install(
    way: Way, folder: Path, run: RunCommand, environ: Mapping[str, str], scratch: Path
) -> None:
    """Install in one way; make the environment where it is not there."""

    def do(command: Sequence[str | Path], timeout_s: float) -> None:
        run(command, timeout_s=timeout_s, folder=scratch, environment=environ)

    if not folder.exists():
        do([sys.executable, "-m", "venv", folder], _VENV_S)
    bound = scratch / "constraints.txt"
    bound.write_text(constraints(way.without), encoding="utf-8")
    pip: list[str | Path] = [
        *(python_of(folder), "-m", "pip", "--disable-pip-version-check", "--no-input"),
        *("install", "--quiet", "--constraint", bound),
    ]
    if way.build:
        do([*pip, *way.build], INSTALL_S)
    isolated = ["--no-build-isolation"] if way.build else []
    do([*pip, *isolated, *way.requirements], INSTALL_S)
    if way.alone:
        do([*pip, "--no-deps", *way.alone], INSTALL_S)


def _packages(
    folder: Path, run: RunCommand, environ: Mapping[str, str], scratch: Path
) -> dict[str, str]:
    command: list[str | Path] = [python_of(folder), "-I", "-c", _PACKAGES]
    told = run(command, timeout_s=60.0, folder=scratch, environment=environ)
    found = msgspec.json.decode(told, type=dict[str, str])
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _version(tool: Tool, packages: Mapping[str, str]) -> str:
    version = packages.get(tool.distribution) or packages.get(tool.distribution.replace("-", "_"))
    if version is None:
        raise StoreError(
            f"pip installed {tool.distribution}, and it is not among the environment's packages "
            f"({', '.join(packages)}). Report this."
        )
    return version


def _size(folder: Path) -> int:
    """Return the bytes of all files."""
    return sum(
        (Path(place) / name).lstat().st_size
        for place, _, names in os.walk(folder)
        for name in names
    )


def _remove(folder: Path) -> None:
    if folder.exists():
        with disk_errors(folder):
            shutil.rmtree(folder)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")[:19] + "Z"
