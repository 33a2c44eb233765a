"""States on disk: written atomically, the last two kept, found again by the log."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from timetrial.engine.events import Checkpointed, WorkerEvent
from timetrial.errors import FormatError
from timetrial.rundir import RunDir, disk_errors, sha256, write_atomically

KEPT: Final = 2
_DAMAGED: Final = (  # all that numpy.load and zipfile were seen to raise on damaged bytes
    ValueError, OSError, EOFError, KeyError, RuntimeError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return named arrays as the bytes of an .npz file (no pickle)."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(state: bytes, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of `pack`: names, shapes and types are those of `like`.

    Raises:
        FormatError: Not such bytes, or other names, shapes or types.
    """
    try:
        with np.load(io.BytesIO(state), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _DAMAGED as error:
        raise FormatError(
            f"The checkpoint is not a state: {error}. Resume from another."
        ) from error
    held, needed = _kinds(arrays), _kinds(like)
    if held != needed:
        raise FormatError(
            f"The checkpoint holds {held}, but this implementation needs {needed}. "
            "It belongs to another task or version."
        )
    return arrays


def _kinds(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {name: f"{arrays[name].dtype} {arrays[name].shape}" for name in sorted(arrays)}


def _name(step: int, rank: int) -> str:
    return f"step-{step:09d}.npz" if rank == 0 else f"step-{step:09d}.{rank}.npz"


def _states(run: RunDir, rank: int) -> list[Path]:
    """Return the files of one worker's states, by step."""
    found = run.checkpoints.glob("step-*.npz")
    return sorted(path for path in found if _rank_of(path) == rank)


def _rank_of(path: Path) -> int:
    _, *rank, _ = path.name.split(".")
    return int(rank[0]) if rank and rank[0].isdecimal() else 0


def save(run: RunDir, step: int, state: bytes, *, rank: int = 0) -> tuple[str, int, str]:
    """Write a state; return its file name, size in bytes and SHA-256."""
    name = _name(step, rank)
    path = run.checkpoints / name
    with disk_errors(run.checkpoints):
        run.checkpoints.mkdir(exist_ok=True)
    write_atomically(path, state)
    return name, len(state), sha256(path)


def prune(run: RunDir, *, rank: int = 0) -> None:
    """Delete all states of a worker but the last two."""
    for path in _states(run, rank)[:-KEPT]:
        path.unlink(missing_ok=True)


def tidy(run: RunDir, step: int, *, rank: int = 0) -> None:
    """Delete what a killed attempt left behind: half-written files and states after `step`.

    Without this, states that no log names could crowd out newer ones in `prune`.
    """
    for partial in run.checkpoints.glob(".*.part"):
        if _rank_of(partial.with_name(partial.name.lstrip("."))) == rank:
            partial.unlink(missing_ok=True)
    for path in _states(run, rank):
        if path.name > _name(step, rank):
            path.unlink(missing_ok=True)


def usable(run: RunDir, events: Sequence[WorkerEvent], *, rank: int = 0) -> dict[int, Checkpointed]:
    """Return the checkpoints that the log names and whose bytes are whole, by step, newest first.

    A name that is not the step's own is passed over: no log can point out of the directory.
    """
    found: dict[int, Checkpointed] = {}
    named = [event for event in events if isinstance(event, Checkpointed)]
    for event in reversed(named):
        path = run.checkpoints / event.file
        known = event.step in found or event.file != _name(event.step, rank)
        if not known and path.is_file() and sha256(path) == event.sha256:
            found[event.step] = event
    return found
