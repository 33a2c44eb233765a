"""What the agents of a run say to its launcher: small files in the run directory.

An agent writes `begun.<attempt>.<rank>.json` once its worker runs, and `exit.<attempt>.<rank>.json`
once it has ended. A launcher reads them where the run directory is on a file system of both, or
after it has copied them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from timetrial.errors import FormatError
from timetrial.launch import Exit
from timetrial.rundir import RunDir, pretty_json, write_atomically
from timetrial.spec import MALFORMED, Record

R = TypeVar("R", bound=Record)


class Begun(Record, frozen=True, kw_only=True):
    """A worker runs: where, and under which limits."""

    rank: int
    pid: int  # of the worker, on its machine
    host: str
    utc_ns: int  # when it was started, by its machine's wall clock
    limits: Mapping[str, str]  # what was restricted -> how


def write_begun(run: RunDir, attempt: int, begun: Begun) -> None:
    """Say that a worker runs.

    Raises:
        DiskError, StoreError: The disk refuses.
    """
    write_atomically(run.begun(attempt, begun.rank), pretty_json(begun))


def write_exit(run: RunDir, attempt: int, rank: int, exit_: Exit) -> None:
    """Say how a worker ended.

    Raises:
        DiskError, StoreError: The disk refuses.
    """
    write_atomically(run.exit(attempt, rank), pretty_json(exit_))


def read_begun(run: RunDir, attempt: int, ranks: Sequence[int]) -> dict[int, Begun]:
    """Return what is said so far of the workers that run or ran.

    Raises:
        FormatError: A file is not a report.
    """
    here = _names(run)
    wanted = {rank: run.begun(attempt, rank) for rank in ranks}
    return {
        rank: _decode(path.read_bytes(), Begun, str(path))
        for rank, path in wanted.items()
        if path.name in here
    }


def read_exits(run: RunDir, attempt: int, ranks: Sequence[int]) -> dict[int, Exit]:
    """Return how the workers ended that are said to have ended.

    Raises:
        FormatError: A file is not a report.
    """
    here = _names(run)
    wanted = {rank: run.exit(attempt, rank) for rank in ranks}
    return {
        rank: _decode(path.read_bytes(), Exit, str(path))
        for rank, path in wanted.items()
        if path.name in here
    }


def _names(run: RunDir) -> set[str]:
    """Return the names in the run directory.

    Opening a folder asks a file server anew; asking for a name that was not there a moment ago is
    answered from a cache, for up to a minute on NFS. Source: nfs(5), close-to-open consistency.
    """
    return {path.name for path in run.path.iterdir()}


def _decode(content: bytes, kind: type[R], where: str) -> R:
    try:
        return msgspec.json.decode(content, type=kind)
    except MALFORMED as error:
        raise FormatError(
            f"{where} is not a report of timetrial: {error}. It was damaged or is not ours; "
            "run again."
        ) from error
