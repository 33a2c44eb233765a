"""A control group of its own for one run: exact CPU seconds, peak memory and a memory limit.

The group is made inside the group of this process, so that limits set from outside (a container,
a batch system) keep holding for the run. Where a group is not allowed, `Cgroup.refusal` says why,
its counters are all None, and the run goes on without one.

Source: Linux kernel documentation, admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/
(cpuacct.rst, memory.rst), kernel 6.18.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, final

from timetrial import units
from timetrial.errors import LaunchError, UsageError
from timetrial.meter.counters import Counters
from timetrial.meter.hierarchy import OwnGroup, Version, own_groups

JOIN_FAILED_EXIT: Final = 97
"""Exit code of a child that could not enter its group; it has executed nothing."""

# The paths are arguments, never part of the script: nothing in a name can be run.
_JOIN_SCRIPT: Final = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1" || exit 97; shift; n=$((n-1)); done; '
    'exec "$@"'
)
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_SWEEP_S: Final = 60.0  # a process of another container, which cannot be seen, is given that long
_REMOVAL_S: Final = 2.0  # exited processes leave their group a moment after they can be waited for

_log = logging.getLogger(__name__)


@final
class Cgroup:
    """The group of one run, or the reason why it has none; removed when closed."""

    def __init__(
        self, counters: Counters | None, *, refusal: str | None = None, notes: Sequence[str] = ()
    ) -> None:
        """Keep what `open_cgroup` made."""
        self.counters = counters
        self.refusal = refusal
        self.notes = tuple(notes)  # what the group cannot do, such as limiting swap

    @property
    def folders(self) -> list[Path]:
        """The folders of the group, one per hierarchy."""
        if self.counters is None:
            return []
        found = (self.counters.cpu, self.counters.memory)
        return list(dict.fromkeys(path for path in found if path is not None))

    def join_command_prefix(self) -> list[str]:
        """Return what to put before a command so that it starts inside the group.

        The child enters before it executes the command, so nothing of it goes uncounted. It keeps
        its process number, and exits with `JOIN_FAILED_EXIT` if it cannot enter. Empty without a
        group.
        """
        if not self.folders:
            return []
        files = [str(folder / "cgroup.procs") for folder in self.folders]
        return ["/bin/sh", "-c", _JOIN_SCRIPT, "sh", str(len(files)), *files]

    def sampler_arguments(self) -> list[str]:
        """Return the `--cgroup` arguments of the sampler; empty without a group."""
        if self.counters is None:
            return []
        pairs: list[tuple[str, Path | None]]
        if self.counters.version == 2:
            pairs = [("v2" if self.counters.memory else "v2-cpu", self.counters.cpu)]
        else:
            pairs = [("cpuacct", self.counters.cpu), ("memory", self.counters.memory)]
        named = [f"{name}={path}" for name, path in pairs if path is not None]
        return [word for pair in named for word in ("--cgroup", pair)]

    def processes(self) -> list[int]:
        """Return the numbers of the processes now in the group."""
        found: set[int] = set()
        for folder in self.folders:
            with suppress(OSError):
                found.update(int(pid) for pid in (folder / "cgroup.procs").read_text().split())
        return sorted(found)

    def close(self) -> None:
        """Remove the group; one that still holds processes after 2 s stays, with a warning."""
        deadline = time.monotonic() + _REMOVAL_S
        for folder in self.folders:
            while not _removed(folder):
                if time.monotonic() > deadline:
                    _log.warning("%s stays: processes %s run in it", folder, self.processes())
                    break
                time.sleep(0.02)

    def __enter__(self) -> Cgroup:
        """Return the group."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the group."""
        self.close()


def open_cgroup(
    name: str, *, memory_bytes: int | None = None, versions: Sequence[Version] = (2, 1)
) -> Cgroup:
    """Make a group of its own for one run; with `memory_bytes`, one that may not use more.

    The first version that offers CPU and memory counters is taken, else the first with a CPU
    counter. Without a limit a refusal is no error: see `Cgroup.refusal`.

    Raises:
        LaunchError: A memory limit was asked for and cannot be set here.
        UsageError: The name has characters other than letters, digits, ".", "_" and "-", or the
            limit is not positive.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"Not a group name: {name!r}. Allowed: letters, digits, '.', '_' and '-'.")
    if memory_bytes is not None and memory_bytes <= 0:
        raise UsageError(f"Not a memory limit: {memory_bytes}. Allowed: bytes above 0.")
    unique = f"timetrial-{name}-{os.getpid()}-{secrets.token_hex(3)}"
    groups = own_groups()
    tried: list[str] = []
    for with_memory in (True, False) if memory_bytes is None else (True,):
        for version in versions:
            for counters in _places(version, groups, unique, with_memory=with_memory):
                try:
                    _sweep(counters)
                    notes = _make(counters, memory_bytes)
                except OSError as error:
                    tried.append(f"{error.filename or unique}: {error.strerror or error}")
                else:
                    return Cgroup(counters, notes=notes)
    reason = "; ".join(dict.fromkeys(tried)) or "this system offers no cgroup counters"
    if memory_bytes is not None:
        raise LaunchError(
            f"A memory limit of {units.bytes_(memory_bytes)} cannot be set here. Tried: {reason}. "
            "Next step: run as root or under `systemd-run --user --scope -p Delegate=yes`, start "
            "inside a container with that limit, or leave out --memory."
        )
    return Cgroup(None, refusal=reason)


def _places(
    version: Version, groups: Sequence[OwnGroup], unique: str, *, with_memory: bool
) -> list[Counters]:
    """Return where a group could be made, best first."""
    if version == 1:
        return _v1_places(groups, unique, with_memory=with_memory)
    places: list[Counters] = []
    for group in groups:
        if group.version == 2 and (not with_memory or "memory" in group.controllers):
            for parent in (group.path, _roomier(group) if with_memory else None):
                if parent is not None:
                    path = parent / unique
                    memory = path if with_memory else None
                    places.append(Counters(version=2, cpu=path, memory=memory))
    return places


def _v1_places(groups: Sequence[OwnGroup], unique: str, *, with_memory: bool) -> list[Counters]:
    old = [group for group in groups if group.version == 1]
    cpu = next((group.path for group in old if "cpuacct" in group.controllers), None)
    memory = next((group.path for group in old if "memory" in group.controllers), None)
    if cpu is None or (with_memory and memory is None):
        return []
    place = memory / unique if memory is not None and with_memory else None
    return [Counters(version=1, cpu=cpu / unique, memory=place)]


def _roomier(group: OwnGroup) -> Path | None:
    """Return the parent of a v2 group, where a sibling escapes no limit of the group itself.

    A v2 group with processes of its own cannot hand the memory controller to a child, so beside
    it is where a delegated user can get one.
    """
    if group.path == group.mount:
        return None
    for name in ("memory.max", "memory.high", "memory.swap.max"):
        with suppress(OSError):
            if (group.path / name).read_text().strip() != "max":
                return None
    with suppress(OSError):
        if not (group.path / "cpu.max").read_text().startswith("max"):
            return None
    return group.path.parent


def _sweep(counters: Counters) -> None:
    """Remove the empty groups of processes that were killed before they could do it themselves."""
    for path in {counters.cpu, counters.memory} - {None}:
        assert path is not None
        for folder in path.parent.glob("timetrial-*-*-*"):
            pid = folder.name.rsplit("-", 2)[1]
            with suppress(OSError):
                old = time.time() - folder.stat().st_mtime > _SWEEP_S
                if old and pid.isdecimal() and not Path("/proc", pid).exists():
                    folder.rmdir()  # refused while processes are in it


def _make(counters: Counters, memory_bytes: int | None) -> list[str]:
    """Make the folders, set the limit, return notes; on an error nothing is left behind."""
    folders = dict.fromkeys(path for path in (counters.cpu, counters.memory) if path is not None)
    made: list[Path] = []
    try:
        for folder in folders:
            if counters.version == 2 and counters.memory is not None:
                _hand_down_memory(folder.parent)
            folder.mkdir()
            made.append(folder)
        _check(counters)
        return [] if memory_bytes is None else _limit(counters, memory_bytes)
    except OSError:
        for folder in made:
            _removed(folder)
        raise


def _hand_down_memory(parent: Path) -> None:
    control = parent / "cgroup.subtree_control"
    if "memory" not in control.read_text().split():
        _write(control, "+memory")


def _check(counters: Counters) -> None:
    for folder in (counters.cpu, counters.memory):
        if folder is not None and not os.access(folder / "cgroup.procs", os.W_OK):
            raise PermissionError(1, "its cgroup.procs cannot be written", str(folder))
    if counters.cpu_s() is None:
        raise OSError(2, "it has no CPU counter", str(counters.cpu))
    if counters.memory is not None and counters.memory_bytes() is None:
        raise OSError(2, "it has no memory counter", str(counters.memory))


def _limit(counters: Counters, memory_bytes: int) -> list[str]:
    """Set the limit for memory, and for swap where the kernel lets it; return what it does not."""
    folder = counters.memory
    assert folder is not None  # _places offers only groups with memory when a limit is asked for
    if counters.version == 1:
        _write(folder / "memory.limit_in_bytes", str(memory_bytes))
        swap = [("memory.memsw.limit_in_bytes", str(memory_bytes)), ("memory.swappiness", "0")]
    else:
        _write(folder / "memory.max", str(memory_bytes))
        swap = [("memory.swap.max", "0")]
    for name, value in swap:
        with suppress(OSError):
            _write(folder / name, value)
            if name != "memory.swappiness":
                return []
            return ["swap is discouraged (memory.swappiness 0), not limited"]
    return ["swap is not limited: this kernel offers no limit for it"]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:  # the failure comes at close, which names no file
        raise OSError(error.errno, error.strerror, str(path)) from error


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
