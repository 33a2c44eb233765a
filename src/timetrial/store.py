"""Run directories -> records: what each run left, read back. Writes nothing."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from timetrial.engine.events import (
    LAUNCHER_LOG,
    WORKER_LOG,
    Allocated,
    Checkpointed,
    Environment,
    Evaluated,
    Exited,
    Fenced,
    Granted,
    LauncherEvent,
    Measured,
    Progress,
    Segment,
    SegmentName,
    Spawned,
    Started,
    Status,
    Stopped,
    WorkerEvent,
)
from timetrial.engine.team import EXIT_LOST
from timetrial.errors import FormatError, StoreError
from timetrial.machine import Ceilings, MachineRecord
from timetrial.machine.kept import read_ceilings
from timetrial.meter import records as meters
from timetrial.meter import together
from timetrial.plan import Plan, decode_plan
from timetrial.rundir import Done, RunDir, unseal
from timetrial.spec import MALFORMED

RunState = Literal["planned", "running", "unfinished", "finished"]


class Stretch(NamedTuple):
    """A stretch of a run's wall time, seconds since the first attempt was allocated."""

    name: SegmentName
    start_s: float
    stop_s: float
    attempt: int


class Evaluation(NamedTuple):
    """Metrics of one split, `at_s` seconds since the first attempt was allocated."""

    at_s: float
    step: int
    split: str
    examples: int
    accuracy: float
    loss: float | None
    scores_sha256: str
    recomputed: bool = True  # False: the word of a script
    top5: float | None = None
    auc: float | None = None


class RunRecord:
    """One run, read back. `stretches` tile its wall time; `evaluations` are of the way that counts.

    Where a run was killed and resumed, evaluations that the resumed attempt made again are taken
    from it; time spent twice, and time between attempts (`wait`), stays in the stretches.

    Of several workers the first decides and evaluates: stretches, evaluations and steps are its
    own. `others` holds the logs of the rest by rank.
    """

    def __init__(
        self,
        run: RunDir,
        plan: Plan,
        done: Done | None,
        launcher: Sequence[LauncherEvent],
        worker: Sequence[WorkerEvent],
        *,
        others: Mapping[int, Sequence[WorkerEvent]] | None = None,
        set_forward_ns: Mapping[int, int] | None = None,
    ) -> None:
        """Keep what `read_run` read."""
        self.run = run
        self.plan = plan
        self.done = done
        self.launcher = launcher
        self.worker = worker
        self.others = dict(others or {})
        self._set_forward_ns = dict(set_forward_ns or {})

    @property
    def workers_events(self) -> dict[int, Sequence[WorkerEvent]]:
        """The logs of all workers by rank; of a rank whose log is not there, none."""
        return {0: self.worker, **self.others}

    @property
    def attempts(self) -> int:
        """How many attempts were begun."""
        return sum(isinstance(event, Allocated) for event in self.launcher)

    @property
    def status(self) -> Status | None:
        """The status of a finished run; "killed" for one that lost a worker; else None."""
        if self.done is not None:
            return self.done.status  # type: ignore[return-value]
        begun = [event.attempt for event in self.launcher if isinstance(event, Allocated)]
        codes = [left.code for left in self.exits.values() if left.attempt == begun[-1]]
        return "killed" if any(code < 0 or code == EXIT_LOST for code in codes) else None

    @property
    def detail(self) -> str:
        """The last word of the worker that says why the run ended."""
        words = [
            stopped[-1]
            for events in self.workers_events.values()
            if (stopped := [event for event in events if isinstance(event, Stopped)])
        ]
        failed = [word for word in words if word.status not in (None, "reached", "budget")]
        if failed:  # the first of them: the others ended because of it
            return min(failed, key=lambda word: word.t_ns).detail
        return words[0].detail if words else ""

    @functools.cached_property
    def stretches(self) -> list[Stretch]:
        """All stretches in order, without gaps."""
        return _stretches(self.launcher, self.worker)

    @functools.cached_property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations of the way that counts, by step."""
        shifts = attempt_shifts_ns(self.launcher)
        kept: list[Evaluation] = []
        for attempt, events in by_attempt(self.launcher, self.worker).items():
            for event in events:
                if isinstance(event, Started):
                    # a script starts anew: nothing it reported before counts
                    kept = [s for s in kept if s.step <= event.step and not self.plan.script]
                elif isinstance(event, Evaluated):
                    kept = [k for k in kept if (k.step, k.split) != (event.step, event.split)]
                    kept.append(_evaluation(event, shifts.get(attempt, 0)))
        return kept

    def measured(self, name: str) -> Measured | None:
        """Return what the task's own measure came to at the end, None where it was not taken."""
        found = [e for e in self.worker if isinstance(e, Measured) and e.name == name]
        return found[-1] if found else None

    @property
    def steps(self) -> int:
        """The last step that the log knows of."""
        stepped = Progress | Evaluated | Checkpointed | Stopped
        return max((e.step for e in self.worker if isinstance(e, stepped)), default=0)

    @property
    def fenced(self) -> list[Fenced]:
        """The steps that were split into parts."""
        return [event for event in self.worker if isinstance(event, Fenced)]

    @property
    def environment(self) -> Environment | None:
        """Versions and settings of the last attempt's framework."""
        found = [event for event in self.worker if isinstance(event, Environment)]
        return found[-1] if found else None

    @functools.cached_property
    def exits(self) -> dict[int, Exited]:
        """How the workers ended, by rank, in the last attempt of which an end is known."""
        ended = [event for event in self.launcher if isinstance(event, Exited)]
        return {event.rank: event for event in ended if event.attempt == ended[-1].attempt}

    @property
    def last_exit(self) -> Exited | None:
        """How worker 0 of that attempt ended; None where its end is not known."""
        return self.exits.get(0)

    @functools.cached_property
    def machine(self) -> MachineRecord | None:
        """The machine of the last attempt's worker 0, None if it was not recorded."""
        files = self.run.machines()
        if not files:
            return None
        own = self.run.machine(self.places[0])
        file = own if own in files else files[-1]
        try:
            return msgspec.json.decode(file.read_bytes(), type=MachineRecord)
        except MALFORMED as error:
            raise FormatError(f"{file} is damaged: {error}. Restore it.") from error

    @functools.cached_property
    def ceilings(self) -> Ceilings | None:
        """What that machine can do at most, None if it was not known when the run began."""
        here = self.machine
        if here is None:
            return None
        file = self.run.ceilings(here.hostname)
        found = read_ceilings(file) if file.is_file() else None
        return found if found is not None and found.fits(here) else None

    @functools.cached_property
    def places(self) -> dict[int, str]:
        """The hosts of the last attempt's workers by rank; of worker 0 also before it began."""
        places: dict[int, str] = {0: ""}
        for event in self.launcher:
            if isinstance(event, Allocated):
                places, host = {0: event.host}, event.host
            elif isinstance(event, Spawned):
                places[event.rank] = event.host or host
        return places

    @property
    def hosts(self) -> int:
        """On how many machines the last attempt's workers ran."""
        return len(set(self.places.values()))

    @functools.cached_property
    def meter_logs(self) -> dict[int, meters.MeterLog]:
        """The samples of the last attempt by rank, without those that nothing was written to."""
        attempt = max((e.attempt for e in self.launcher if isinstance(e, Allocated)), default=0)
        files = {rank: self.run.meter(host, attempt, rank) for rank, host in self.places.items()}
        every = self.run.meters()
        if self.plan.workers == 1 and every and files[0] not in every:
            files[0] = every[-1]
        return {
            rank: meters.read(file)
            for rank, file in files.items()
            if file in every and file.stat().st_size > 0
        }

    def behind_s(self, rank: int) -> float:
        """Return what the events of a worker in its last attempt were set forward by.

        It is 0 on the launcher's machine; the samples of a worker elsewhere keep its own clock.
        """
        return self._set_forward_ns.get(rank, 0) / 1e9

    @functools.cached_property
    def meter(self) -> meters.MeterSummary | None:
        """The meters of the last attempt, None without a sampler's log.

        Of several workers, all together (`meter.together`).
        """
        each = [
            together.OfWorker(
                self.places[rank],
                meters.summary(log, rusage_cpu_s=cpu_seconds(self.exits.get(rank))),
            )
            for rank, log in self.meter_logs.items()
        ]
        if self.plan.workers == 1:
            return each[0].summary if each else None
        return together.combined(
            each, workers=self.plan.workers, own_network=self.plan.launcher == "shaped"
        )


def cpu_seconds(left: Exited | None) -> float | None:
    """Return the CPU seconds of a worker that ended, None where no counter told."""
    if left is None or left.user_s is None or left.system_s is None:
        return None
    return left.user_s + left.system_s


def _evaluation(event: Evaluated, shift_ns: int) -> Evaluation:
    return Evaluation(
        at_s=(event.t_ns + shift_ns) / 1e9,
        step=event.step,
        split=event.split,
        examples=event.examples,
        accuracy=event.accuracy,
        loss=event.loss,
        scores_sha256=event.scores_sha256,
        recomputed=event.recomputed,
        top5=event.top5,
        auc=event.auc,
    )


def _stretches(launcher: Sequence[LauncherEvent], worker: Sequence[WorkerEvent]) -> list[Stretch]:
    """Tile each attempt with its segments; what lies between attempts is `wait`."""
    rows: list[Stretch] = []
    shifts = attempt_shifts_ns(launcher)
    for attempt, events in by_attempt(launcher, worker).items():
        for name, start_ns, stop_ns in _tile(attempt, launcher, events):
            start_s, stop_s = ((ns + shifts[attempt]) / 1e9 for ns in (start_ns, stop_ns))
            if rows and attempt != rows[-1].attempt:
                rows.append(Stretch("wait", rows[-1].stop_s, start_s, rows[-1].attempt))
            if stop_s > start_s:
                rows.append(Stretch(name, start_s, stop_s, attempt))
    return rows


def attempt_shifts_ns(launcher: Sequence[LauncherEvent]) -> dict[int, int]:
    """Return what to add to each attempt's `t_ns` to count from the first attempt's allocation.

    The monotonic clock starts anew when a machine does; wall clocks then bridge the gap.
    """
    begun = [event for event in launcher if isinstance(event, Allocated)]
    shifts: dict[int, int] = {}
    for event in begun:
        first = begun[0]
        shifts[event.attempt] = -first.t_ns
        if (event.boot_id, event.host) != (first.boot_id, first.host):
            shifts[event.attempt] = event.utc_ns - first.utc_ns - event.t_ns
    return shifts


def by_attempt(
    launcher: Sequence[LauncherEvent], worker: Sequence[WorkerEvent]
) -> dict[int, list[WorkerEvent]]:
    """Return the worker's events of each attempt; an attempt may have none."""
    events: dict[int, list[WorkerEvent]] = {
        event.attempt: [] for event in launcher if isinstance(event, Allocated)
    }
    attempt = 0
    for event in worker:
        if isinstance(event, Started):
            attempt = event.attempt
        events.setdefault(attempt, []).append(event)
    return events


def _on_one_clock(
    launcher: Sequence[LauncherEvent], worker: Sequence[WorkerEvent]
) -> list[WorkerEvent]:
    """Return a worker's events with `t_ns` of the launcher's machine.

    Two machines agree as well as their wall clocks do.
    """
    shift_ns = 0
    events: list[WorkerEvent] = []
    for event in worker:
        if isinstance(event, Started):
            shift_ns = _shift_ns(launcher, event)
        if shift_ns and isinstance(event, Segment):
            event = msgspec.structs.replace(event, start_ns=event.start_ns + shift_ns)
        shifted = msgspec.structs.replace(event, t_ns=event.t_ns + shift_ns) if shift_ns else event
        events.append(shifted)
    return events


def _shift_ns(launcher: Sequence[LauncherEvent], started: Started) -> int:
    """Return what to add to the times of a worker's attempt to have those of the launcher."""
    begun = {event.attempt: event for event in launcher if isinstance(event, Allocated)}
    here = begun.get(started.attempt)
    if here is None or started.boot_id in (None, here.boot_id):
        return 0
    return (started.utc_ns - started.t_ns) - (here.utc_ns - here.t_ns)


def _last_shift_ns(launcher: Sequence[LauncherEvent], worker: Sequence[WorkerEvent]) -> int:
    started = [event for event in worker if isinstance(event, Started)]
    return _shift_ns(launcher, started[-1]) if started else 0


def _tile(
    attempt: int, launcher: Sequence[LauncherEvent], events: Sequence[WorkerEvent]
) -> Iterator[tuple[SegmentName, int, int]]:
    """Yield (name, start, stop) in the machine's nanoseconds, from allocation to release."""
    own = [event for event in launcher if event.attempt == attempt]
    if not own:
        return
    at = own[0].t_ns
    name: SegmentName = "provision"
    for event in own:
        if isinstance(event, Granted):
            yield "wait", at, event.t_ns
            at = event.t_ns
        if isinstance(event, Spawned) and event.rank == 0:
            yield name, at, event.t_ns
            at, name = event.t_ns, "environment"
            break
    for seen in events:
        if isinstance(seen, Started):
            yield name, at, seen.t_ns
            at, name = seen.t_ns, "imports"
        elif isinstance(seen, Segment):
            yield seen.name, seen.start_ns, seen.t_ns
            at, name = seen.t_ns, seen.next
    last = max([own[-1].t_ns, *(event.t_ns for event in events)])
    for event in own:
        if isinstance(event, Exited) and event.rank == 0:  # what was begun last went on till then
            yield name, at, event.t_ns
            at, name = event.t_ns, "teardown"
    yield name, at, last


# --- reading -------------------------------------------------------------------------------------


def read_run(path: Path) -> RunRecord:
    """Return the record of one run directory.

    Raises:
        StoreError: There is no plan.json in it.
        FormatError: A file is damaged, or was written by a newer version.
    """
    run = RunDir(path)
    if not run.plan.is_file():
        raise StoreError(
            f"{path} is not a run directory: it has no plan.json. Name a directory that "
            "timetrial run made; `timetrial list runs` shows them."
        )
    launcher = LAUNCHER_LOG.read(run.launcher_events)
    logs = {rank: WORKER_LOG.read(run.events(rank)) for rank in [0, *run.ranks()]}
    return RunRecord(
        run=run,
        plan=decode_plan(run.plan.read_bytes(), str(run.plan)),
        done=unseal(run.done.read_bytes(), str(run.done)) if run.done.exists() else None,
        launcher=launcher,
        worker=_on_one_clock(launcher, logs[0]),
        others={rank: _on_one_clock(launcher, log) for rank, log in logs.items() if rank > 0},
        set_forward_ns={rank: _last_shift_ns(launcher, log) for rank, log in logs.items()},
    )


def run_dirs(store: Path) -> list[Path]:
    """Return all run directories of a store; `store` may be one itself.

    One without its plan.json counts too, as long as another file of a run is left in it.
    """
    if _is_run(store):
        return [store]
    if not store.is_dir():
        raise StoreError(
            f"There is no store {store}. Make one with: timetrial run --store {store}, or name "
            "another with --store DIR."
        )
    return sorted(path for path in store.iterdir() if _is_run(path))


def _is_run(path: Path) -> bool:
    run = RunDir(path)
    return any(file.exists() for file in (run.plan, run.done, run.launcher_events))


def read_runs(paths: Sequence[Path]) -> list[RunRecord]:
    """Return the records of all runs below `paths` (run directories or stores), oldest first."""
    records = [read_run(path) for place in paths for path in run_dirs(place)]
    return sorted(records, key=_begun)


def _begun(record: RunRecord) -> tuple[str, int]:
    starts = [event.utc_ns for event in record.launcher if isinstance(event, Allocated)]
    return record.plan.batch, starts[0] if starts else 2**63
