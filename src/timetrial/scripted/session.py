"""One attempt of a command, inside the worker. The clock never pauses.

data    the splits are exported once as .npy files
train   from the start of the command to the end of its last process: loading, building, training
        and evaluating cannot be told apart from outside
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from timetrial.datasets.load import load_splits
from timetrial.engine.clock import SegmentClock
from timetrial.engine.events import Commanded, Ended, Environment, Status
from timetrial.engine.loop import Outcome
from timetrial.errors import AuditError
from timetrial.plan import Plan
from timetrial.rundir import LogWriter, RunDir, disk_errors, sha256
from timetrial.scripted import variables
from timetrial.scripted.claims import Claims
from timetrial.scripted.command import files_of
from timetrial.scripted.mllog import LineReader, quote
from timetrial.scripted.processes import Child, Piece
from timetrial.spec import Split, SplitName

GRACE_S: Final = 5.0  # from SIGTERM to SIGKILL
LOOK_S: Final = 0.05
TAIL_BYTES: Final = 4096
TAIL_LINES: Final = 3
NO_MEMORY: Final = ("MemoryError", "out of memory", "DefaultCPUAllocator", "Cannot allocate memory")
# of the worker's own place: a script that found them would take itself for one of several
_OURS: Final = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PARENT: Final = "TIMETRIAL_PARENT"


class Watched(NamedTuple):
    """How the command ended."""

    code: int
    asked: bool  # we were asked to stop
    late: bool  # the time budget ended it
    outlived: int


def run(
    run: RunDir,
    plan: Plan,
    log: LogWriter,
    clock: SegmentClock,
    *,
    spent_ns: int,
    stop_asked: Callable[[], bool],
) -> Outcome:
    """Run the command once from its beginning; return how it ended.

    `spent_ns` is what earlier attempts used of the budget.

    Raises:
        AuditError: The script is not the planned one.
        LaunchError: The command cannot be started.
        DiskError: The disk is full.
    """
    log.write(
        Environment(
            t_ns=time.monotonic_ns(),
            versions={},
            threads=plan.cores,
            settings={"command": shlex.join(plan.script), "folder": plan.script_folder},
            device_name=plan.device,
        )
    )
    data_ns = clock.enter("data", step=0)
    deadline_ns = float("inf")
    if plan.budget_s is not None:
        deadline_ns = data_ns - spent_ns + plan.budget_s * 1e9
    with _folders(run) as (data, handed_in):
        seen = _unchanged(plan)
        labels = _export(load_splits(plan.task.dataset, plan.data_files, seed=plan.seed), data)
        claims = Claims(
            labels=labels,
            classes=plan.task.dataset.classes,
            folder=handed_in,
            target=plan.target or plan.task.targets[-1],
            deadline_ns=deadline_ns,
        )
        begun_ns = clock.enter("train", step=0, sync=True)
        environment = _environment(plan, data, handed_in, (deadline_ns - begun_ns) / 1e9)
        child = Child(plan.script, Path(plan.script_folder), environment)
        log.write(Commanded(t_ns=begun_ns, pid=child.pid, sha256=seen))
        try:
            watched = _watch(child, claims, log, run, deadline_ns=deadline_ns, asked=stop_asked)
        except BaseException:
            child.kill()
            child.end_rest(settle_s=0)
            raise
    log.write(
        Ended(
            t_ns=time.monotonic_ns(),
            code=watched.code,
            lines=dict(claims.lines),
            malformed=claims.malformed,
            first_malformed=claims.first_malformed,
            refused=claims.refused,
            outlived=watched.outlived,
        )
    )
    clock.enter("teardown", step=claims.step, sync=True)
    return _outcome(claims, watched, _last_lines(run.stdout(0)))


@contextlib.contextmanager
def _folders(run: RunDir) -> Iterator[tuple[Path, Path]]:
    """Make the folders for data and predictions; they are gone afterwards."""
    shutil.rmtree(run.scratch, ignore_errors=True)  # of a killed attempt
    data, handed_in = run.scratch / "data", run.predictions
    with disk_errors(run.scratch):
        data.mkdir(parents=True)
        handed_in.mkdir()
    try:
        yield data, handed_in
    finally:
        shutil.rmtree(run.scratch, ignore_errors=True)


def _unchanged(plan: Plan) -> str | None:
    """Return the SHA-256 of the script.

    Raises:
        AuditError: A file of the command is not the one that was planned.
    """
    for path, planned in files_of(plan).items():
        file = Path(path)
        seen = sha256(file) if file.is_file() else None
        if seen != planned:
            state = "was changed" if seen else "is gone"
            raise AuditError(
                f"{file} {state} since the run was planned. A copy of what was planned is in the "
                "run directory; start a new run for another script. A file that the command "
                "itself writes must not be there when the run is planned."
            )
    return plan.script_sha256


def _export(splits: Mapping[SplitName, Split], folder: Path) -> dict[SplitName, np.ndarray]:
    """Write all splits as the data set stores them; return their labels."""
    with disk_errors(folder):
        for name, split in splits.items():
            np.save(folder / f"{name}_inputs.npy", split.inputs, allow_pickle=False)
            np.save(folder / f"{name}_labels.npy", split.labels, allow_pickle=False)
    return {name: split.labels for name, split in splits.items()}


def _environment(plan: Plan, data: Path, handed_in: Path, left_s: float) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in (*_OURS, _PARENT)}
    told = {
        variables.DATA: str(data),
        variables.PREDICTIONS: str(handed_in),
        variables.SEED: str(plan.seed),
        variables.CORES: str(plan.cores),
        variables.DEVICE: plan.device,
        variables.TASK: plan.task.name,
        variables.CLASSES: str(plan.task.dataset.classes),
    }
    if plan.budget_s is not None:
        told[variables.BUDGET_S] = f"{max(left_s, 0.0):.3f}"
    target = plan.target or plan.task.targets[-1]
    if target.metric == "accuracy":
        told[variables.TARGET] = str(target.threshold)
    elif target.metric == "error_rate":
        told[variables.TARGET] = f"{1 - target.threshold:.12g}"
    return {**kept, **told}


def _watch(
    child: Child,
    claims: Claims,
    log: LogWriter,
    run: RunDir,
    *,
    deadline_ns: float,
    asked: Callable[[], bool],
) -> Watched:
    """Read what the command prints until it has ended, by itself or by us, and all below it."""
    reader = LineReader()
    was_asked = late = False
    kill_at: float | None = None
    while (code := child.poll()) is None:
        _take(child.read(LOOK_S), reader, claims, log, run)
        if kill_at is None:
            was_asked = asked()
            late = time.monotonic_ns() > deadline_ns
            if was_asked or late:
                child.ask_to_end()
                kill_at = time.monotonic() + GRACE_S
        elif time.monotonic() > kill_at:
            child.kill()
    ours = kill_at is not None
    outlived = child.end_rest(settle_s=0) if ours else child.end_rest()
    for piece in child.rest():
        _take(piece, reader, claims, log, run)
    instant = time.monotonic_ns()
    for line in reader.close():
        event = claims.take(line, instant, utc_ns=time.time_ns())
        if event is not None:
            log.write(event)
    return Watched(code, was_asked, late, 0 if ours else outlived)


def _take(
    piece: Piece | None, reader: LineReader, claims: Claims, log: LogWriter, run: RunDir
) -> None:
    if piece is None:
        return
    with disk_errors(run.stdout(0)):
        sys.stdout.buffer.write(piece.content)
        sys.stdout.buffer.flush()
    for line in reader.feed(piece.content):
        event = claims.take(line, piece.t_ns, utc_ns=piece.utc_ns)
        if event is not None:
            log.write(event)


def _outcome(claims: Claims, watched: Watched, last: str) -> Outcome:
    code = watched.code
    ours = watched.asked or watched.late
    said = f"signal {-code}" if code < 0 else f"exit code {code}"
    if claims.reached:
        detail = "" if ours or code == 0 else f"reached, then the command ended with {said}: {last}"
        return Outcome("reached", claims.step, detail)
    if watched.asked:
        return Outcome(None, claims.step, "asked to stop; a script starts anew when it is resumed")
    if watched.late:
        return Outcome("budget", claims.step, "time budget")
    if code < 0:
        return Outcome("killed", claims.step, f"the command was ended by {said}: {last}")
    if code > 0:
        short = any(words in last for words in NO_MEMORY)
        status: Status = "out_of_memory" if short else "error"
        return Outcome(status, claims.step, f"the command ended with {said}: {last}")
    if not claims.counted:
        refused = f"{claims.refused} were refused" if claims.refused else "none was reported"
        return Outcome(
            "error",
            0,
            f"the command ended, and no accuracy counts: {refused}. Report with timetrial.record "
            "or :::MLLOG lines on standard output: docs/open-division.md",
        )
    return Outcome("budget", claims.step, "the command ended by itself before its target")


def _last_lines(log: Path) -> str:
    """Return the last lines that the command printed, for an error's message."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = [line for line in file.read().split(b"\n") if line.strip()]
    return " | ".join(quote(line) for line in lines[-TAIL_LINES:]) or "it printed nothing"
