"""Checks that a result is unchanged, complete and possible. Changes nothing."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from timetrial import store
from timetrial.engine.events import (
    Allocated,
    Commanded,
    Evaluated,
    Exchanged,
    Exited,
    Fenced,
    Inferred,
    Released,
    Rescored,
    Segment,
    Started,
    WorkerEvent,
)
from timetrial.errors import FormatError, TimetrialError
from timetrial.examine import request as examining
from timetrial.examine.outcome import standing
from timetrial.exchange import request as measuring
from timetrial.plan import find_task, variant_of
from timetrial.rundir import RunDir, sha256, unseal
from timetrial.scripted import command
from timetrial.scripted.claims import largest_gap
from timetrial.spec import Examination, Exchange, Record, for_workers
from timetrial.stats import communication, inference, measures
from timetrial.store import RunRecord

TOLERANCE_S: Final = 0.05
TOLERANCE_SHARE: Final = 0.01


class Check(Record, frozen=True, kw_only=True):
    """The outcome of one check; `detail` names the file or the value where it failed."""

    name: str
    ok: bool
    detail: str


class Verification(Record, frozen=True, kw_only=True):
    """All checks of one run directory."""

    directory: str
    run: str | None
    status: str | None
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


def verify(paths: Sequence[Path]) -> list[Verification]:
    """Verify every run directory below `paths`: hashes first, then the audit of what it says.

    Raises:
        StoreError: A path is neither a store nor a run directory.
    """
    directories = [path for place in paths for path in store.run_dirs(place)]
    found: list[Verification] = []
    readable: list[RunRecord] = []
    for path in directories:
        hashes = check_hashes(RunDir(path))
        try:
            record = store.read_run(path)
            checks = [*hashes, *(check(record) for check in AUDIT)]
            readable.append(record)
            status, name = record.status, record.plan.run
        except TimetrialError as error:
            checks = [*hashes, Check(name="readable", ok=False, detail=str(error))]
            status = name = None
        found.append(
            Verification(directory=str(path), run=name, status=status, checks=tuple(checks))
        )
    seeds = repeated_seeds(readable)
    return [_with_seeds(verification, seeds) for verification in found]


def check_hashes(run: RunDir) -> list[Check]:
    """Compare every file with the closing record, and the record with its own hash."""
    if not run.done.exists():
        detail = "done.json is missing: unfinished; finish it with timetrial run --resume"
        return [Check(name="finished", ok=False, detail=detail)]
    try:
        done = unseal(run.done.read_bytes(), str(run.done))
    except FormatError as error:
        return [Check(name="hashes", ok=False, detail=str(error))]
    present = run.files()
    wrong = [f"{name} is missing" for name in done.sha256 if name not in present]
    wrong += [f"{name} was added" for name in present if name not in done.sha256]
    for name in present:
        path = run.path / name
        if path.is_symlink() or not path.is_file():
            wrong.append(f"{name} is no file of this directory but a link or a device")
        elif name in done.sha256 and sha256(path) != done.sha256[name]:
            wrong.append(f"{name} was changed")
    if run.done.is_symlink():
        wrong.append(f"{run.done.name} is a link")
    detail = "; ".join(wrong) or f"{len(present)} files as recorded"
    return [Check(name="hashes", ok=not wrong, detail=detail)]


# --- the audit: is what it says possible? --------------------------------------------------------


def segments_sum(record: RunRecord) -> Check:
    """The worker's segments and the launcher's wall clock agree within 1 % or 50 ms.

    The two come from different processes; the launcher's from the wall clock where it has it.
    """
    total = sum(measures.segment_seconds(record).values())
    begun = [event for event in record.launcher if isinstance(event, Allocated)]
    ended = [event for event in record.launcher if isinstance(event, Released)]
    if not begun or not ended or ended[-1].attempt != begun[-1].attempt:
        return Check(name="segments sum", ok=False, detail="the launcher's log has no end")
    wall = (ended[-1].utc_ns - begun[0].utc_ns) / 1e9
    allowed = max(TOLERANCE_S, TOLERANCE_SHARE * wall)
    detail = f"segments {total:.3f} s, wall clock {wall:.3f} s, allowed difference {allowed:.3f} s"
    return Check(name="segments sum", ok=abs(total - wall) <= allowed, detail=detail)


def segments_tile(record: RunRecord) -> Check:
    """Inside each worker a segment begins where the one before ended."""
    for where, events in _attempts(record):
        at: int | None = None
        for event in events:
            if isinstance(event, Started):
                at = event.t_ns
            if isinstance(event, Segment):
                if event.start_ns != at or event.t_ns < event.start_ns:
                    detail = f"{where}: {event.name} begins at {event.start_ns}, not {at}"
                    return Check(name="segments tile", ok=False, detail=detail)
                at = event.t_ns
    return Check(name="segments tile", ok=True, detail="no gap, no overlap")


def _attempts(record: RunRecord) -> Iterator[tuple[str, list[WorkerEvent]]]:
    """Yield the events of every attempt of every worker, and what to call it."""
    for rank, log in record.workers_events.items():
        whose = f"worker {rank}, " if record.plan.workers > 1 else ""
        for attempt, events in store.by_attempt(record.launcher, log).items():
            yield f"{whose}attempt {attempt}", events


def clock_monotonic(record: RunRecord) -> Check:
    """Times never go back within an attempt, in no log."""
    for where, events in _attempts(record):
        own_times = [event.t_ns for event in events]
        if own_times != sorted(own_times):
            detail = f"{where}: a time is before the one above it"
            return Check(name="clock monotonic", ok=False, detail=detail)
    for attempt, events in store.by_attempt(record.launcher, record.worker).items():
        own = [event for event in record.launcher if event.attempt == attempt]
        times = [event.t_ns for event in own]
        if times != sorted(times):
            detail = f"attempt {attempt}: a time is before the one above it"
            return Check(name="clock monotonic", ok=False, detail=detail)
        inside = not events or not own or own[0].t_ns <= events[0].t_ns
        exits = [event.t_ns for event in own if isinstance(event, Exited) and event.rank == 0]
        if not inside or (exits and events and events[-1].t_ns > exits[-1]):
            detail = f"attempt {attempt}: the worker wrote before its start or after its end"
            return Check(name="clock monotonic", ok=False, detail=detail)
    return Check(name="clock monotonic", ok=True, detail="times never go back")


def evaluation_counts(record: RunRecord) -> Check:
    """Every evaluation saw every example of its split, and accuracy is a whole number of them."""
    if record.plan.learned is None:
        return Check(name="evaluation counts", ok=True, detail="nothing is learned")
    use = record.plan.task.dataset
    sizes = {
        "train": use.train_count,
        "validation": use.validation_count,
        "test": use.test_count,
    }
    evaluations = [event for event in record.worker if isinstance(event, Evaluated)]
    for event in evaluations:
        if not event.recomputed:  # the check `claims` speaks of it
            continue
        right = event.accuracy * event.examples
        if event.examples != sizes[event.split] or abs(right - round(right)) > 1e-6:
            detail = (
                f"step {event.step}: {event.examples} examples of {event.split} give accuracy "
                f"{event.accuracy}; the split has {sizes[event.split]}"
            )
            return Check(name="evaluation counts", ok=False, detail=detail)
    return Check(name="evaluation counts", ok=True, detail=f"{len(evaluations)} evaluations whole")


def steps_possible(record: RunRecord) -> Check:
    """Steps never go back within an attempt of any worker and stay within the plan."""
    for where, events in _attempts(record):
        steps = [step for event in events if (step := getattr(event, "step", None)) is not None]
        most = float("inf") if record.plan.script else record.plan.steps_max
        if steps != sorted(steps) or (steps and steps[-1] > most):
            detail = f"{where}: steps go back or beyond {record.plan.steps_max}"
            return Check(name="steps possible", ok=False, detail=detail)
    return Check(name="steps possible", ok=True, detail=f"{record.steps} steps")


def repeats_agree(record: RunRecord) -> Check:
    """On a CPU, evaluations made again after a kill are bit-identical to those before it."""
    seen: dict[tuple[int, str], str] = {}
    if record.plan.script:
        return Check(name="repeats agree", ok=True, detail="a script starts anew")
    for event in record.worker:
        if not isinstance(event, Evaluated):
            continue
        key = (event.step, event.split)
        if seen.setdefault(key, event.scores_sha256) != event.scores_sha256:
            detail = f"step {event.step} on {event.split} was evaluated twice with other scores"
            return Check(name="repeats agree", ok=record.plan.device != "cpu", detail=detail)
    return Check(name="repeats agree", ok=True, detail="no evaluation contradicts another")


def rules_known(record: RunRecord) -> Check:
    """A closed task has the rules that its hash names, those of this version where it knows it."""
    plan = record.plan
    if plan.subject.hash() != plan.task_hash:
        return Check(name="rules", ok=False, detail="plan.json: the task's hash is not its rules'")
    if plan.exchange is not None:
        return _unlearned_known(plan.exchange, measuring.find)
    if plan.examination is not None:
        return _unlearned_known(plan.examination, examining.find)
    if plan.division == "open":
        return Check(name="rules", ok=True, detail="open division")
    try:
        here = find_task(plan.task.name)
        here = variant_of(here, dataset=plan.task.dataset.name, eval_split=plan.task.eval_split)
        here = for_workers(here, plan.workers)
    except TimetrialError:
        return Check(name="rules", ok=True, detail=f"task {plan.task.name} is not known here")
    if here.version == plan.task.version and here.hash() != plan.task_hash:
        detail = f"closed task {here.name} version {here.version} has other rules here"
        return Check(name="rules", ok=False, detail=detail)
    return Check(name="rules", ok=True, detail=f"hash {plan.task_hash[:12]}")


def target_claimed(record: RunRecord) -> Check:
    """A run that says `reached` has an evaluation that met its target, and only such a run."""
    if record.done is None:
        return Check(name="status", ok=True, detail="unfinished")
    if record.plan.exchange is not None:
        return _all_exchanged(record, record.plan.exchange)
    if record.plan.examination is not None:
        return _all_found(record, record.plan.examination)
    target = record.plan.target or record.plan.task.targets[-1]
    time = measures.time_to_target(record, target)
    met = time is not None and time.reached
    claimed = record.done.status == "reached"
    ok = met == claimed or (met and record.done.status not in ("reached", "budget"))
    detail = f"status {record.done.status}, target {'met' if met else 'not met'} on the curve"
    return Check(name="status", ok=ok, detail=detail)


def _unlearned_known(
    planned: Exchange | Examination, find: Callable[[str], Exchange | Examination | None]
) -> Check:
    try:
        here = find(planned.name)
    except TimetrialError:
        here = None
    if here is None:
        return Check(name="rules", ok=True, detail=f"{planned.name} is not known here")
    if here.version == planned.version and here.hash() != planned.hash():
        detail = f"{here.name} version {here.version} has other rules here"
        return Check(name="rules", ok=False, detail=detail)
    return Check(name="rules", ok=True, detail=f"hash {planned.hash()[:12]}")


def _all_exchanged(record: RunRecord, planned: Exchange) -> Check:
    """A measurement that says `reached` has every array in the log of every worker."""
    wanted = {(point.dtype, point.bytes) for point in planned.points(light=record.plan.light)}
    missing = 0
    for rank in range(record.plan.workers):
        events = record.workers_events.get(rank, ())
        seen = {(e.dtype, e.bytes) for e in events if isinstance(e, Exchanged)}
        missing += len(wanted - seen)
    claimed = record.done is not None and record.done.status == "reached"
    detail = f"{missing} arrays of {len(wanted) * record.plan.workers} are not in the logs"
    return Check(name="status", ok=not (claimed and missing), detail=detail)


def _all_found(record: RunRecord, planned: Examination) -> Check:
    """An examination that says `reached` did all its steps, and has a finding for all they seek.

    Its files are those that the log names, byte for byte.
    """
    stands = standing(record.worker)
    steps = planned.chosen(light=record.plan.light)
    wanted = [sought.measure for step in steps for sought in step.seeks]
    missing = [name for name in wanted if name not in stands.found]
    missing += [f"step {step.name}" for step in steps if step.name not in stands.completed]
    claimed = record.done is not None and record.done.status == "reached"
    if claimed and missing:
        return Check(name="status", ok=False, detail=f"not in the log: {', '.join(missing)}")
    for kept in stands.exhibited.values():
        file = record.run.exhibit(kept.file)
        if not file.is_file() or sha256(file) != kept.sha256:
            detail = f"exhibits/{kept.file} is not the file that step {kept.place} left"
            return Check(name="status", ok=False, detail=detail)
    detail = f"{len(stands.found)} of {len(wanted)} findings, {len(stands.exhibited)} files"
    return Check(name="status", ok=True, detail=detail)


def cpu_possible(record: RunRecord) -> Check:
    """The counters show no more CPU time than the cores can give in the wall time."""
    starts = [event for event in record.launcher if isinstance(event, Allocated)]
    details, possible = [], True
    for rank, left in record.exits.items():
        used = store.cpu_seconds(left)
        if used is None or not starts:
            continue
        most = (left.t_ns - starts[-1].t_ns) / 1e9 * record.plan.cores
        whose = f"worker {rank}: " if record.plan.workers > 1 else ""
        details.append(f"{whose}{used:.2f} of at most {most:.2f} CPU seconds")
        possible = possible and used <= most * 1.02 + 0.1
    detail = "; ".join(details) or "no counter"
    return Check(name="cpu possible", ok=possible, detail=detail)


def workers_complete(record: RunRecord) -> Check:
    """Of a run that came to its end, every worker has a log of its own and did the same steps."""
    workers = record.plan.workers
    if record.status not in ("reached", "budget"):
        return Check(name="workers", ok=True, detail="the run did not come to its end")
    logs = record.workers_events
    strange = [rank for rank in logs if rank >= workers]
    missing = [rank for rank in range(workers) if not logs.get(rank)]
    started = {
        rank: [e.rank for e in events if isinstance(e, Started)] for rank, events in logs.items()
    }
    foreign = [rank for rank, ranks in started.items() if set(ranks) - {rank}]
    for what, ranks in (("missing", missing), ("too many", strange), ("of another", foreign)):
        if ranks:
            detail = f"{workers} workers; logs {what}: {', '.join(map(str, ranks))}"
            return Check(name="workers", ok=False, detail=detail)
    ends = {rank: _last_step(events) for rank, events in logs.items()}
    detail = f"{workers} workers ended at step {', '.join(map(str, sorted(set(ends.values()))))}"
    return Check(name="workers", ok=len(set(ends.values())) == 1, detail=detail)


def _last_step(events: Sequence[WorkerEvent]) -> int:
    return max((step for e in events if (step := getattr(e, "step", None)) is not None), default=0)


def communication_possible(record: RunRecord) -> Check:
    """One worker exchanges nothing; several that do so explicitly spend time on it, each of them.

    Said of the steps that were split into parts.
    """
    plan = record.plan
    spent = {
        rank: [e.parts_ns.get(communication.PART, 0) for e in events if isinstance(e, Fenced)]
        for rank, events in record.workers_events.items()
    }
    name = "communication"
    if not any(spent.values()):
        return Check(name=name, ok=True, detail="no step was split")
    shares = {rank: f"{sum(ns) / 1e9:.3f} s" for rank, ns in spent.items()}
    detail = f"{plan.workers} workers: {', '.join(shares.values())} in the split steps"
    if plan.workers == 1:
        return Check(name=name, ok=not any(map(any, spent.values())), detail=detail)
    if plan.algorithm != communication.EXPLICIT:
        return Check(name=name, ok=True, detail=f"{detail}; algorithm {plan.algorithm}")
    silent = [rank for rank, ns in spent.items() if ns and not any(ns)]
    return Check(name=name, ok=not silent, detail=detail)


def claims_hold(record: RunRecord) -> Check:
    """What a script claimed is what its predictions say, within rounding to three digits."""
    evaluations = [event for event in record.worker if isinstance(event, Evaluated)]
    count, furthest = largest_gap(evaluations)
    if count:
        detail = f"{count} of {len(evaluations)} claims differ: {furthest}"
        return Check(name="claims", ok=False, detail=detail)
    believed = sum(not event.recomputed for event in evaluations)
    detail = "no claim contradicts its predictions"
    if believed:
        detail = f"{believed} of {len(evaluations)} accuracies as the script reported them"
    return Check(name="claims", ok=True, detail=detail)


def script_kept(record: RunRecord) -> Check:
    """The script that ran is the planned one, and so is the copy of it."""
    plan = record.plan
    if not plan.script or plan.script_file is None:
        return Check(name="script", ok=True, detail="no file of its own")
    ran = [event.sha256 for event in record.worker if isinstance(event, Commanded)]
    if any(seen != plan.script_sha256 for seen in ran):
        return Check(name="script", ok=False, detail="another script ran than was planned")
    copies: dict[Path, str] = {}
    for path, planned in command.files_of(plan).items():
        copies.setdefault(record.run.script(Path(path).name), planned)  # of one name: the first
    for copy, planned in copies.items():
        if copy.is_file() and sha256(copy) != planned:
            return Check(name="script", ok=False, detail=f"{copy.name} is not the script that ran")
    copy = record.run.script(Path(plan.script_file).name)
    kept = "a copy is kept" if copy.is_file() else "no copy: too large, or no text"
    return Check(name="script", ok=True, detail=f"{str(plan.script_sha256)[:12]}; {kept}")


def inference_holds(record: RunRecord) -> Check:
    """Predictions that were timed are the evaluated model's, and their times fit into the log.

    Calls are numbered without a gap, each took time, all of them no more than their segment.
    """
    name = "inference"
    asked = record.plan.inference_s is not None
    timed = [event for event in record.worker if isinstance(event, Inferred | Rescored)]
    if not asked:
        detail = f"{len(timed)} lines of it, not asked for" if timed else "not asked for"
        return Check(name=name, ok=not timed, detail=detail)
    for attempt, events in store.by_attempt(record.launcher, record.worker).items():
        wrong = _calls_wrong(events) or _longer_than_segment(events)
        if wrong is not None:
            return Check(name=name, ok=False, detail=f"attempt {attempt}: {wrong}")
    if record.status not in ("reached", "budget"):
        return Check(name=name, ok=True, detail="the run did not come to its end")
    seen = inference.inference_of(record)
    if seen is None or 1 not in seen.calls:
        return Check(name=name, ok=False, detail="no single example was timed, as was asked for")
    fault = inference.fault_of(record, seen)
    calls = ", ".join(f"{len(one.seconds)} of {batch}" for batch, one in seen.calls.items())
    return Check(name=name, ok=fault is None, detail=fault or f"calls with examples: {calls}")


def _calls_wrong(events: Sequence[WorkerEvent]) -> str | None:
    done: collections.Counter[tuple[int, bool]] = collections.Counter()
    for event in events:
        if not isinstance(event, Inferred):
            continue
        where = f"{event.batch} at a time, call {event.first}"
        if event.first != done[event.batch, event.warm_up]:
            return f"{where}: {done[event.batch, event.warm_up]} calls were before it"
        if any(ns <= 0 for ns in event.ns):
            return f"{where}: a call took no time"
        if bool(event.ns) == bool(event.left_out):
            return f"{where}: neither timed nor left out, or both"
        done[event.batch, event.warm_up] += len(event.ns)
    return None


def _longer_than_segment(events: Sequence[WorkerEvent]) -> str | None:
    """Say where the calls took longer than their segment, which one that was killed has not."""
    segments = [e.t_ns - e.start_ns for e in events if isinstance(e, Segment) and e.name == "infer"]
    calls = sum(sum(event.ns) for event in events if isinstance(event, Inferred))
    calls += sum(event.ns for event in events if isinstance(event, Rescored))
    if not segments or calls <= sum(segments):
        return None
    return f"the calls took {calls / 1e9:.3f} s in a segment of {sum(segments) / 1e9:.3f} s"


AUDIT: Final[tuple[Callable[[RunRecord], Check], ...]] = (
    segments_sum,
    segments_tile,
    clock_monotonic,
    evaluation_counts,
    steps_possible,
    repeats_agree,
    rules_known,
    target_claimed,
    cpu_possible,
    claims_hold,
    script_kept,
    workers_complete,
    communication_possible,
    inference_holds,
)


def repeated_seeds(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return, by run, why its seed is not unique among the runs it would be averaged with."""
    groups: dict[tuple[object, ...], list[RunRecord]] = collections.defaultdict(list)
    for record in records:
        plan = record.plan
        if plan.calibration is None:
            limits = (plan.cores, plan.memory_bytes, plan.device, plan.precision)
            team = (plan.workers, plan.network, plan.algorithm, plan.partition, plan.cluster)
            content = command.files_of(plan).items()
            files = tuple(sorted((Path(path).name, seen) for path, seen in content))
            who = (plan.framework, plan.script, files)
            groups[(plan.task_hash, *who, plan.launcher, *limits, *team, plan.seed)].append(record)
    return dict(_repeats(groups.values()))


def _repeats(groups: Iterable[list[RunRecord]]) -> Iterator[tuple[str, str]]:
    for runs in groups:
        for record in runs if len(runs) > 1 else ():
            others = ", ".join(o.plan.run for o in runs if o is not record)
            yield record.plan.run, f"seed {record.plan.seed} was used by {others} too"


def _with_seeds(verification: Verification, repeats: dict[str, str]) -> Verification:
    if verification.run is None:
        return verification
    detail = repeats.get(verification.run, "")
    check = Check(name="seed unique", ok=not detail, detail=detail or "used once")
    return Verification(
        directory=verification.directory,
        run=verification.run,
        status=verification.status,
        checks=(*verification.checks, check),
    )
