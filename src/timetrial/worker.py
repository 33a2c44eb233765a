"""One worker of one run: python -m timetrial.worker RUN_DIR.

Reads plan.json and nothing else, trains in the one timed loop, and writes its log. It is told its
place among the workers by the environment (RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT),
the attempt by its arguments.

Exit code 0: ended by itself (see `stopped` in the log), 75: asked to stop, to be resumed,
70: an exception (its trace is in stdout.<rank>.log), 74: the disk refused, 76: another worker was
lost, to be resumed.
"""

from __future__ import annotations

import time

FIRST_LINE_NS = time.monotonic_ns()  # before the imports below: they are the worker's first cost

# ruff: noqa: E402
import argparse
import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast, final

import msgspec

from timetrial import plan as plans
from timetrial._registry import load_object
from timetrial.datasets.load import load_splits
from timetrial.engine import checkpoint, loop, metrics, probing
from timetrial.engine.clock import Laps, SegmentClock, boot_id
from timetrial.engine.encoding import encode
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
from timetrial.engine.team import DIES_VARIABLE, EXIT_LOST, PARENT_VARIABLE, Seat, Team
from timetrial.errors import DiskError, PeerLostError, TimetrialError, UsageError
from timetrial.frameworks import REGISTRY, Connects, Framework, Place
from timetrial.plan import Plan, cpus_of
from timetrial.rundir import LogWriter, RunDir
from timetrial.spec import (
    Bins,
    Build,
    BuildCollective,
    Compilable,
    Implementation,
    Workload,
    encoded,
)

if TYPE_CHECKING:
    from timetrial.examine.scene import BuildExaminer

NOTICE_S: Final = 2.0  # how long after an exception it may turn out that a worker is lost
EXIT_ERROR: Final = 70
EXIT_DISK: Final = 74
EXIT_ASKED: Final = 75
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


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

    def ignore(self) -> None:
        """Leave SIGTERM alone from now on: Python drops its handlers before a process has ended."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _handle(self, _number: int, _frame: object) -> None:
        self._asked = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one worker; return its exit code."""
    parser = argparse.ArgumentParser(prog="timetrial.worker", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--attempt", type=int, default=0)
    options = parser.parse_args(arguments)
    if os.environ.get(DIES_VARIABLE):
        _die_with_parent()
    stop = StopRequest()
    stop.listen()
    seat = Seat.of(os.environ)
    run = RunDir(options.run_dir)
    plan = plans.decode_plan(run.plan.read_bytes(), str(run.plan))
    if plan.cpus is not None:
        os.sched_setaffinity(0, cpus_of(plan, int(os.environ.get("LOCAL_RANK", "0"))))
    try:
        past = WORKER_LOG.read(run.events(seat.rank))
        wait_s = plan.rhythm.lost_after_s
        team = Team(seat, run=plan.run, attempt=options.attempt, lost_after_s=wait_s)
        with LogWriter(run.events(seat.rank)) as log:
            worker = Worker(run, plan, log, team, stop)
            return worker.work(past, options.attempt)
    except DiskError as error:
        _say(f"timetrial: {error}")
        return EXIT_DISK
    finally:
        stop.ignore()  # asked twice, as by a batch system and its agent, is asked once


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone, even where it is frozen."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@final
class Worker:
    """One worker of one run: its log, its team, its last word."""

    def __init__(
        self, run: RunDir, plan: Plan, log: LogWriter, team: Team, stop: StopRequest
    ) -> None:
        """Keep what `main` made."""
        self._run = run
        self._plan = plan
        self._log = log
        self._team = team
        self._stop = stop
        self._ending = threading.Lock()  # of the last word: there is one
        self._begun_at = 0

    def work(self, past: list[WorkerEvent], attempt: int) -> int:
        """Train, write the last word, return the exit code."""
        self._team.when_lost(self._lost_unnoticed)
        try:
            saved = self._meet(past, attempt)
            clock = SegmentClock(self._log, start_ns=FIRST_LINE_NS, first="imports")
            outcome = self._train(clock, past, saved)
        except DiskError:
            self._team.leave("its disk refuses to be written")
            raise
        except PeerLostError as error:
            return self._lost(str(error))
        except MemoryError:
            _say(traceback.format_exc())
            return self._fail("out_of_memory", "the system refused more memory", 0)
        except Exception as error:  # noqa: BLE001 - a failed run is data: its trace is kept
            _say(traceback.format_exc())
            lost = self._team.lost_within(NOTICE_S)  # the framework may see first that one is lost
            if lost is not None:
                return self._lost(lost)
            if "DefaultCPUAllocator" in str(error) or "out of memory" in str(error):
                return self._fail("out_of_memory", str(error).splitlines()[0], 0)
            kind = "" if isinstance(error, TimetrialError) else f"{type(error).__name__}: "
            return self._fail("error", f"{kind}{error}", EXIT_ERROR)
        self._team.leave()
        code = EXIT_ASKED if outcome.status is None else 0
        if outcome.status in (
            "error",
            "killed",
        ):  # of a script: the launcher knows if it was memory
            code = EXIT_ERROR
        return self._end(outcome.step, outcome.status, outcome.detail, code)

    # --- the last word ---------------------------------------------------------------------------

    def _fail(self, status: Status, detail: str, code: int) -> int:
        self._team.leave(detail)
        return self._end(self._last_step(), status, detail, code)

    def _lost(self, reason: str) -> int:
        self._team.leave(reason)
        return self._end(self._last_step(), None, reason, EXIT_LOST)

    def _lost_unnoticed(self, reason: str) -> None:
        """End the process from the team's thread: the main thread waits for a worker that is lost.

        Where the main thread has its last word at this very moment, it is left to end by itself.
        """
        if self._ending.acquire(blocking=False):
            with contextlib.suppress(DiskError):
                self._write_end(self._last_step(), None, reason)
            os._exit(EXIT_LOST)

    def _end(self, step: int, status: Status | None, detail: str, code: int) -> int:
        self._ending.acquire()  # never given back: if the other thread has it, it ends the process
        self._write_end(step, status, detail)
        return code

    def _write_end(self, step: int, status: Status | None, detail: str) -> None:
        event = Stopped(t_ns=time.monotonic_ns(), step=step, status=status, detail=detail)
        self._log.write(event, sync=True)

    def _last_step(self) -> int:
        """Return the step of this attempt's last event, or that from which it began."""
        step = self._begun_at
        for event in WORKER_LOG.read(self._run.events(self._team.rank)):
            begun = isinstance(event, Started)
            step = self._begun_at if begun else getattr(event, "step", step)
        return step

    # --- the work --------------------------------------------------------------------------------

    def _meet(self, past: list[WorkerEvent], attempt: int) -> Checkpointed | None:
        """Find the other workers; return the newest checkpoint that all have, None: none."""
        rank = self._team.rank
        states = checkpoint.usable(self._run, past, rank=rank)
        lost: PeerLostError | None = None
        step = max(states, default=0)
        try:
            self._team.join()
            held = self._team.gather(sorted(states))
            common = set.intersection(*map(set, held)) if held is not None else set()
            step = self._team.agree(max(common, default=0))
        except PeerLostError as error:
            lost = error
        saved = states.get(step)
        self._begun_at = step if saved else 0
        self._log.write(
            Started(
                t_ns=FIRST_LINE_NS,
                utc_ns=time.time_ns() - (time.monotonic_ns() - FIRST_LINE_NS),
                attempt=attempt,
                rank=rank,
                pid=os.getpid(),
                step=self._begun_at,
                checkpoint=saved.file if saved else None,
                boot_id=boot_id(),
            )
        )
        if lost is not None:
            raise lost
        return saved

    def _stop_asked(self) -> bool:
        if self._stop.asked:
            self._team.ask_to_stop()
        return self._stop.asked or self._team.stop_asked

    def _train(
        self, clock: SegmentClock, past: list[WorkerEvent], saved: Checkpointed | None
    ) -> loop.Outcome:
        if self._plan.script:
            from timetrial.scripted import session  # no closed run waits for its import

            return session.run(
                self._run,
                self._plan,
                self._log,
                clock,
                spent_ns=_busy_ns(past),
                stop_asked=self._stop_asked,
            )
        if self._plan.examination is not None:
            return self._examine(clock, past)
        framework = cast(type[Framework], REGISTRY.get(self._plan.framework))()
        with contextlib.ExitStack() as connections:
            settings = self._connect(framework, connections)
            if self._plan.exchange is not None:
                return self._measure(framework, settings, clock, past)
            return self._learn(framework, settings, clock, past, saved)

    def _connect(
        self, framework: Framework, connections: contextlib.ExitStack
    ) -> Mapping[str, str]:
        """Have the framework find the other workers; return what it set for that."""
        if self._team.size == 1:
            return {}
        if not isinstance(framework, Connects):
            raise UsageError(
                f"{self._team.size} workers cannot learn together in {self._plan.framework}. "
                "Allowed: 1 worker, or another framework."
            )
        address = os.environ.get("MASTER_ADDR", "127.0.0.1")
        port = self._team.agree(_free_port() if self._team.rank == 0 else None)
        place = Place(self._team.rank, self._team.size, address, port, _device_of(self._plan))
        settings = framework.connect(place)
        connections.callback(framework.disconnect)
        return settings

    def _measure(
        self,
        framework: Framework,
        settings: Mapping[str, str],
        clock: SegmentClock,
        past: Sequence[WorkerEvent],
    ) -> loop.Outcome:
        from timetrial.exchange import session  # no training run waits for its import

        plan = self._plan
        self._log.write(_environment(framework, plan, {**settings, **session.tcp_settings()}))
        clock.enter("build", step=0)
        build = cast(BuildCollective, load_object(plan.implementation))
        collective = build(_device_of(plan))
        measuring = session.Session(plan, self._log, clock, self._team, self._stop_asked)
        return session.measure(collective, measuring, past)

    def _examine(self, clock: SegmentClock, past: Sequence[WorkerEvent]) -> loop.Outcome:
        from timetrial.examine import session  # no training run waits for its import

        run, plan = self._run, self._plan
        environment = _surroundings(plan)
        clock.enter("build", step=0)
        examiner = cast("BuildExaminer", load_object(plan.implementation))()
        versions = {**environment.versions, **examiner.versions()}
        self._log.write(
            msgspec.structs.replace(environment, t_ns=time.monotonic_ns(), versions=versions)
        )
        examining = session.Session(run, plan, self._log, clock, self._stop_asked)
        return session.examine(examiner, examining, past)

    def _learn(
        self,
        framework: Framework,
        settings: Mapping[str, str],
        clock: SegmentClock,
        past: list[WorkerEvent],
        saved: Checkpointed | None,
    ) -> loop.Outcome:
        run, plan, log, team = self._run, self._plan, self._log, self._team
        step = saved.step if saved else 0
        environment = _environment(framework, plan, settings)
        build = cast(Build, load_object(plan.implementation))
        log.write(environment)

        data_ns = clock.enter("data", step=step)
        splits = load_splits(plan.task.dataset, plan.data_files, seed=plan.seed)

        if plan.task.dataset.encoding:
            clock.enter("encode", step=step)
            splits = encode(splits, plan.task.dataset.encoding)

        clock.enter("build", step=step)
        laps = Laps(framework.synchronise)
        implementation: Implementation = build(_workload(plan, team.rank), splits, laps)
        framework.synchronise()

        if isinstance(implementation, Bins):
            clock.enter("bin", step=step)
            implementation.bin()

        if isinstance(implementation, Compilable):
            clock.enter("compile", step=step)
            implementation.compile()
            framework.synchronise()

        clock.enter("checkpoint", step=step)
        checkpoint.tidy(run, step, rank=team.rank)
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
            stop_asked=self._stop_asked,
            budget_left_s=budget_left_s,
            team=team,
        )
        if plan.probe_s is not None:
            return probing.probe(implementation, session, plan.probe_s, step=step)
        reached = team.agree(_reached(plan, past, step))
        return loop.train(implementation, session, step=step, reached=reached)


def _environment(framework: Framework, plan: Plan, settings: Mapping[str, str]) -> Environment:
    """Set the framework up; return what it was set to, `settings` added."""
    setup = framework.setup(device=_device_of(plan), threads=plan.cores, precision=plan.precision)
    return Environment(
        t_ns=time.monotonic_ns(),
        versions=setup.versions,
        threads=setup.threads,
        settings={**setup.settings, **settings},
        device_name=setup.device_name,
    )


def _surroundings(plan: Plan) -> Environment:
    """Set up the framework of an examination; one that names a tool has none to be set up."""
    if plan.framework in REGISTRY.names():
        return _environment(cast(type[Framework], REGISTRY.get(plan.framework))(), plan, {})
    return Environment(
        t_ns=time.monotonic_ns(),
        versions={},
        threads=plan.cores,
        settings={},
        device_name=plan.device,
    )


def _workload(plan: Plan, rank: int) -> Workload:
    return Workload(
        task=encoded(plan.task),
        seed=plan.seed,
        device=_device_of(plan),
        precision=plan.precision,
        rank=rank,
        workers=plan.workers,
        algorithm=plan.algorithm,
        partition=plan.partition,
        threads=plan.cores,
    )


def _device_of(plan: Plan) -> str:
    """Return the device of this worker: accelerators are dealt out on each machine."""
    alone = plan.workers == 1 or ":" in plan.device or plan.device in ("cpu", "mps")
    return plan.device if alone else f"{plan.device}:{os.environ.get('LOCAL_RANK', '0')}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def _say(text: str) -> None:
    """Print to stdout.<rank>.log; on a full disk the exit code must do."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


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
