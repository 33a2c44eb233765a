"""One worker of one run: python -m timetrial.worker RUN_DIR.

Reads plan.json and nothing else, trains in the one timed loop, and writes its log. It is told its
rank by the environment (RANK), the attempt by its arguments.

Exit code 0: ended by itself (see `stopped` in the log), 75: asked to stop, to be resumed,
70: an exception (its trace is in stdout.<rank>.log), 74: the disk refused.
"""

from __future__ import annotations

import time

FIRST_LINE_NS = time.monotonic_ns()  # before the imports below: they are the worker's first cost

# ruff: noqa: E402
import argparse
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from timetrial import plan as plans
from timetrial._registry import load_object
from timetrial.datasets.load import load_splits
from timetrial.engine import checkpoint, loop, metrics
from timetrial.engine.clock import Laps, SegmentClock
from timetrial.engine.events import (
    WORKER_LOG,
    Checkpointed,
    Environment,
    Evaluated,
    Segment,
    Started,
    Status,
    Stopped,
    WorkerEvent,
)
from timetrial.errors import DiskError, TimetrialError
from timetrial.frameworks import REGISTRY, Framework
from timetrial.plan import Plan
from timetrial.rundir import LogWriter, RunDir
from timetrial.spec import Build, Compilable, Implementation, Workload

PARENT_VARIABLE: Final = "TIMETRIAL_PARENT"  # process id of a launcher on the same machine
EXIT_ERROR: Final = 70
EXIT_DISK: Final = 74
EXIT_ASKED: Final = 75


class StopRequest:
    """Becomes true when the launcher sends SIGTERM, or is gone itself."""

    def __init__(self) -> None:
        """Not asked yet; `listen` installs the handler."""
        self._asked = False
        # as told: a launcher that died while this process began is no longer its parent
        self._parent = int(os.environ.get(PARENT_VARIABLE, os.getppid()))

    @property
    def asked(self) -> bool:
        """Whether to save the state and end."""
        return self._asked or os.getppid() != self._parent

    def listen(self) -> None:
        """Handle SIGTERM from now on."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

    def _handle(self, _number: int, _frame: object) -> None:
        self._asked = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one worker; return its exit code."""
    parser = argparse.ArgumentParser(prog="timetrial.worker", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--attempt", type=int, default=0)
    options = parser.parse_args(arguments)
    stop = StopRequest()
    stop.listen()
    rank = int(os.environ.get("RANK", "0"))
    run = RunDir(options.run_dir)
    plan = plans.decode_plan(run.plan.read_bytes(), str(run.plan))
    if plan.cpus is not None:
        os.sched_setaffinity(0, plan.cpus)
    try:
        past = WORKER_LOG.read(run.events(rank))
        with LogWriter(run.events(rank)) as log:
            return _run(run, plan, log, past=past, attempt=options.attempt, rank=rank, stop=stop)
    except DiskError as error:
        _say(f"timetrial: {error}")
        return EXIT_DISK


def _run(
    run: RunDir,
    plan: Plan,
    log: LogWriter,
    *,
    past: list[WorkerEvent],
    attempt: int,
    rank: int,
    stop: StopRequest,
) -> int:
    saved = checkpoint.latest(run, past)
    step = saved.step if saved else 0
    log.write(
        Started(
            t_ns=FIRST_LINE_NS,
            utc_ns=time.time_ns() - (time.monotonic_ns() - FIRST_LINE_NS),
            attempt=attempt,
            rank=rank,
            pid=os.getpid(),
            step=step,
            checkpoint=saved.file if saved else None,
        )
    )
    clock = SegmentClock(log, start_ns=FIRST_LINE_NS, first="imports")
    try:
        outcome = _train(run, plan, log, clock, past=past, saved=saved, stop=stop)
    except DiskError:
        raise
    except MemoryError:
        _say(traceback.format_exc())
        step = _last_step(run.events(rank), step)
        return _end(log, step, "out_of_memory", "the system refused more memory", 0)
    except Exception as error:  # noqa: BLE001 - a failed run is data: its trace is kept
        _say(traceback.format_exc())
        step = _last_step(run.events(rank), step)
        if "DefaultCPUAllocator" in str(error) or "out of memory" in str(error):
            return _end(log, step, "out_of_memory", str(error).splitlines()[0], 0)
        kind = "" if isinstance(error, TimetrialError) else f"{type(error).__name__}: "
        return _end(log, step, "error", f"{kind}{error}", EXIT_ERROR)
    code = EXIT_ASKED if outcome.status is None else 0
    return _end(log, outcome.step, outcome.status, outcome.detail, code)


def _end(log: LogWriter, step: int, status: Status | None, detail: str, code: int) -> int:
    log.write(Stopped(t_ns=time.monotonic_ns(), step=step, status=status, detail=detail), sync=True)
    return code


def _say(text: str) -> None:
    """Print to stdout.<rank>.log; on a full disk the exit code must do."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _last_step(log: Path, begun_at: int) -> int:
    """Return the step of this attempt's last event, `begun_at` or later."""
    step = begun_at
    for event in WORKER_LOG.read(log):
        step = begun_at if isinstance(event, Started) else getattr(event, "step", step)
    return step


def _train(
    run: RunDir,
    plan: Plan,
    log: LogWriter,
    clock: SegmentClock,
    *,
    past: Sequence[WorkerEvent],
    saved: Checkpointed | None,
    stop: StopRequest,
) -> loop.Outcome:
    step = saved.step if saved else 0
    framework = cast(type[Framework], REGISTRY.get(plan.framework))()
    setup = framework.setup(device=plan.device, threads=plan.cores, precision=plan.precision)
    build = cast(Build, load_object(plan.implementation))
    log.write(
        Environment(
            t_ns=time.monotonic_ns(),
            versions=setup.versions,
            threads=setup.threads,
            settings=setup.settings,
            device_name=setup.device_name,
        )
    )

    data_ns = clock.enter("data", step=step)
    splits = load_splits(plan.task.dataset, plan.data_files)

    clock.enter("build", step=step)
    laps = Laps(framework.synchronise)
    work = Workload(task=plan.task, seed=plan.seed, device=plan.device, precision=plan.precision)
    implementation: Implementation = build(work, splits, laps)
    framework.synchronise()

    if isinstance(implementation, Compilable):
        clock.enter("compile", step=step)
        implementation.compile()
        framework.synchronise()

    clock.enter("checkpoint", step=step)
    checkpoint.tidy(run, step)
    if saved is not None:
        implementation.restore((run.checkpoints / saved.file).read_bytes())

    spent_ns = _busy_ns(past)

    def budget_left_s() -> float:
        if plan.budget_s is None:
            return float("inf")
        return plan.budget_s - (time.monotonic_ns() - data_ns + spent_ns) / 1e9

    session = loop.Session(
        plan=plan,
        run=run,
        splits=splits,
        log=log,
        clock=clock,
        laps=laps,
        stop_asked=lambda: stop.asked,
        budget_left_s=budget_left_s,
    )
    return loop.train(implementation, session, step=step, reached=_reached(plan, past, step))


def _busy_ns(past: Sequence[WorkerEvent]) -> int:
    """Return the time from each earlier attempt's first touch of the data to its last event."""
    spent = 0
    at: int | None = None
    for event in past:
        if isinstance(event, Started):
            at = None
        if at is not None:
            spent += event.t_ns - at
            at = event.t_ns
        elif isinstance(event, Segment) and event.next == "data":
            at = event.t_ns
    return spent


def _reached(plan: Plan, past: Sequence[WorkerEvent], step: int) -> bool:
    target = plan.target or plan.task.targets[-1]
    return any(
        isinstance(event, Evaluated)
        and event.step <= step
        and event.split == target.split
        and target.met_by(metrics.metric_value(target.metric, event))
        for event in past
    )


if __name__ == "__main__":
    sys.exit(main())
