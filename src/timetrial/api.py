"""What the command line, notebooks and other programs call: run, load, compare, price, export."""

from __future__ import annotations

import datetime
import math
import os
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from timetrial import findings, interop, store
from timetrial.batch import (
    Batch,
    SilentWatcher,
    Watcher,
    default_command,
    default_seeds,
    expand,
    paired,
    uncapped,
)
from timetrial.ceilings import children, session
from timetrial.errors import UsageError
from timetrial.findings.ceilings import ceiling_rows
from timetrial.machine import Ceilings, kept
from timetrial.plan import Plan, Request, learns
from timetrial.prices import Book
from timetrial.results import Rows, Runs
from timetrial.rows import Verdict
from timetrial.rundir import RunDir, disk_errors, pretty_json, write_atomically
from timetrial.spec import Target
from timetrial.stats import clocks, sequential
from timetrial.store import RunRecord

DEFAULT_STORE: Final = "timetrial-runs"


def run(
    what: str | Path | Sequence[str | Path | Request] = "quick",
    *,
    seeds: int | Sequence[int] | None = None,
    until: float | None = None,
    at_most_s: float | None = None,
    calibrate: int = 0,
    store_dir: str | Path | None = None,
    watcher: Watcher | None = None,
    command: Sequence[str] = (),
    **choices: object,
) -> Runs:
    """Run tasks, suites or grid files (TOML), and return the finished runs.

    Day to day: `seeds` is the number of runs of each system (default 3), or the seeds themselves;
    `cores`, `framework` and the other fields of `plan.Request` are values or lists (a grid).
    Further: `until` adds runs until the time to target is known to ± that fraction with 95 %
    confidence, begins none later than `at_most_s` seconds from now, and makes at most RUNS_MAX;
    `calibrate` makes so many A/A pairs instead: two runs of the very same work each.

    Raises:
        UsageError and its kind: Something asked for is not possible.
        DataError: A data set cannot be had.
        LaunchError: A worker cannot be started.
    """
    deadline = time.monotonic() + at_most_s if at_most_s is not None else math.inf
    requests, file_seeds, file_store = expand(what, choices)
    place = find_store(store_dir or file_store)
    _check_numbers(seeds=seeds, until=until, at_most_s=at_most_s, calibrate=calibrate)
    _check_learned(requests, until=until, calibrate=calibrate)
    chosen = seeds if seeds is not None else file_seeds
    if chosen is not None or until is not None:
        requests = uncapped(requests)
    batch = Batch(place, watcher or SilentWatcher(), command or default_command(what))
    if calibrate:
        batch.add_calibration(requests, calibrate)
    else:
        first = sequential.MIN_RUNS if until is not None else chosen
        batch.add(requests, first if first is not None else default_seeds(what))
    batch.work()
    if until is not None:
        batch.work_until(requests, until, deadline)
    return Runs(batch.records(), command=shlex.join(batch.command))


def _check_numbers(
    *,
    seeds: int | Sequence[int] | None,
    until: float | None,
    at_most_s: float | None,
    calibrate: int,
) -> None:
    """Refuse two ways at once to say how many runs to make."""
    if until is not None and seeds is not None:
        raise UsageError("Choose --seeds or --until, not both: --until finds the number itself.")
    if calibrate and (seeds is not None or until is not None):
        raise UsageError(
            f"Choose --calibrate {calibrate} or --seeds or --until: a calibration makes its own "
            "pairs of runs."
        )
    if at_most_s is not None and until is None:
        raise UsageError("--at-most ends what --until adds. Add --until, such as --until 5%.")


def _check_learned(requests: Sequence[Request], *, until: float | None, calibrate: int) -> None:
    """Refuse what only runs with a target can do, for those that measure."""
    names = [request.task for request in requests if not learns(request.task)]
    if names and until is not None:
        raise UsageError(
            f"--until adds runs until a time to target is known, and {names[0]} has no target. "
            "Choose --seeds, the number of runs."
        )
    if names and calibrate:
        raise UsageError(
            f"--calibrate compares runs of one training, and {names[0]} trains nothing. Choose "
            "--seeds, the number of runs."
        )


def plans(
    what: str | Path | Sequence[str | Path | Request] = "quick",
    *,
    seeds: int | Sequence[int] | None = None,
    watcher: Watcher | None = None,
    **choices: object,
) -> list[Plan]:
    """Return the plans that `run` would run, without running any; nothing is fetched.

    A plan whose data are not on this machine names no files of them.
    """
    requests, file_seeds, _ = expand(what, choices)
    chosen = seeds if seeds is not None else file_seeds
    if chosen is not None:
        requests = uncapped(requests)
    told = watcher or SilentWatcher()
    batch = Batch(Path(DEFAULT_STORE), told, default_command(what), fetch=False)
    count = chosen if chosen is not None else default_seeds(what)
    return [batch.resolve(request, seed, "dry-run") for request, seed in paired(requests, count)]


def resume(
    paths: Sequence[str | Path] = (),
    *,
    store_dir: str | Path | None = None,
    watcher: Watcher | None = None,
) -> Runs:
    """Finish the runs below `paths` (run directories or stores; none: the default store).

    Runs that were stopped, killed or never begun go on from their last checkpoint; finished ones
    are left alone. Returns all runs below `paths`.

    Raises:
        UsageError: There are no runs.
        StoreError: No such directory.
    """
    places = [Path(path) for path in paths] or [find_store(store_dir)]
    records = store.read_runs(places)
    if not records:
        raise UsageError(
            f"There is no run in {', '.join(map(str, places))}: nothing to resume. Name a store "
            "with --store DIR, or run directories."
        )
    batch = Batch(places[0], watcher or SilentWatcher(), default_command("resume"))
    batch.adopt([record for record in records if record.done is None])
    batch.work()
    return Runs(store.read_runs(places))


def find_store(
    given: str | Path | None, what: str | Path | Sequence[str | Path | Request] = ()
) -> Path:
    """Return the store: the one given, a grid file's of `what`, $TIMETRIAL_HOME, ./timetrial-runs.

    Raises:
        UsageError: A grid file of `what` cannot be read.
    """
    named = given or (expand(what, {})[2] if what else None)
    return Path(named or os.environ.get("TIMETRIAL_HOME") or DEFAULT_STORE)


def load(*paths: str | Path) -> Runs:
    """Return the runs below these run directories or stores (none: the default store).

    Raises:
        StoreError: Not there, or not a run directory.
        FormatError: Damaged, or written by a newer version.
    """
    return Runs(store.read_runs([Path(path) for path in paths] or [find_store(None)]))


def machine(*, light: bool = False, store_dir: str | Path | None = None) -> Rows:
    """Measure what this machine can do at most; return a row per ceiling.

    It takes under a minute, with `light` a third of that for the most important ones. What cannot
    be measured has a row without a value, whose notes say why. The result is kept in the user's
    cache folder, from where runs on this machine take it along. The disk read is that of the store;
    where `store_dir` names one, the result is kept there too.

    Raises:
        DiskError, StoreError: The result cannot be kept.
    """
    return Rows(ceiling_rows(measure_machine(light=light, store_dir=store_dir)))


def measure_machine(
    *,
    light: bool = False,
    store_dir: str | Path | None = None,
    effort: session.Effort | None = None,
    say: children.Say = lambda _what, _where, _share: None,
) -> Ceilings:
    """Measure as `machine` does; return the record that is kept.

    `effort` overrides `light`; `say` is told what is measured, where, and the share that is done.
    """
    kept.make_folder(os.environ)  # an error comes before the minute, not after it
    if store_dir is not None:
        with disk_errors(Path(store_dir)):
            Path(store_dir).mkdir(parents=True, exist_ok=True)
    chosen = effort or (session.LIGHT if light else session.WHOLE)
    found = session.measure(find_store(store_dir), effort=chosen, say=say)
    kept.keep(found, os.environ)
    if store_dir is not None:
        place = RunDir(Path(store_dir)).ceilings(found.hostname)
        write_atomically(place, pretty_json(found))
    return found


def compare(a: Runs, b: Runs, *, clock: str = clocks.HEADLINE) -> list[Verdict]:
    """Return, for each task that both have, how their times to target compare.

    Sides that stopped at different targets are compared at the easier one, which both passed.

    Raises:
        UsageError: They share no task, or runs, or a side has several systems for one task.
    """
    shared = {record.plan.run for record in a} & {record.plan.run for record in b}
    if shared:
        raise UsageError(
            f"A and B share {len(shared)} runs, such as {min(shared)}: runs cannot be compared "
            "with themselves. Name disjoint sides, such as cores=1 and cores=2."
        )
    sides = [findings.group_runs(runs) for runs in (a, b)]
    verdicts = []
    for task in dict.fromkeys(group.system.task for group in sides[0]):
        left, right = (_only(name, side, task) for name, side in zip("AB", sides, strict=True))
        if left is not None and right is not None:
            target = _common_target(left, right)
            verdicts.append(findings.verdict_between(left, right, target, clock=clock))
    if not verdicts:
        tasks = [sorted({group.system.task for group in side}) for side in sides]
        raise UsageError(
            f"A has runs of {', '.join(tasks[0]) or 'nothing'}, B of "
            f"{', '.join(tasks[1]) or 'nothing'}: nothing to compare. Name finished runs of one "
            "task on both sides."
        )
    return verdicts


def price(
    runs: Runs,
    book: Book,
    *,
    at: datetime.date | None = None,
    name: str | None = None,
    spot: bool | None = None,
    currency: str | None = None,
    hours_per_month: float | None = None,
) -> findings.Repriced:
    """Return what runs cost by a book (`prices.read_book`), as rows and as a table.

    Each run finds the latest price, of `at` (default: today) or before, of the machine it says it
    ran on, or the one called `name`. `spot` is asked of the machine where it is not given;
    `currency` takes a rate of the book; `hours_per_month` is the use of a machine of one's own.

    Raises:
        UsageError: What is named is ambiguous or not there, or there is no rate to the currency.
    """
    day = at or datetime.datetime.now(datetime.UTC).date()
    return findings.reprice(runs, book, findings.Wanted(day, name, spot, currency, hours_per_month))


def export(
    runs: Sequence[RunRecord],
    *,
    to: str,
    into: str | Path,
    told: Callable[[interop.Receipt], None] = lambda _receipt: None,
) -> list[interop.Receipt]:
    """Hand runs that have ended to a tracking tool, such as "mlflow"; return a receipt of each.

    The run directories stay as they are. `into` is the tool's own place: a folder, or an address. A
    run that is there already is not written again; one that has not ended is left out, and its
    receipt says why. `told` gets each receipt as its run is done.

    Raises:
        UnknownNameError: No such exporter.
        MissingExtraError: The tool's library is not installed.
        UsageError: There is no run that could be exported, or the place is none of the tool's.
        StoreError: A run cannot be read, the place not be written, or the tool refuses.
    """
    exporter = interop.find_exporter(to)
    whys = [(record, interop.why_not(record)) for record in runs]
    ready = [record for record, why in whys if why is None]
    receipts = [
        interop.Receipt(
            run=record.plan.run, directory=str(record.run.path), state="left out", why=why
        )
        for record, why in whys
        if why is not None
    ]
    if not ready:
        seen = f": {receipts[0].run}, as {receipts[0].why}" if receipts else ""
        raise UsageError(
            f"None of {len(receipts)} runs can be exported{seen}. Name runs that have ended; "
            "`timetrial list runs` shows them."
        )
    for receipt in receipts:
        told(receipt)
    for receipt in exporter.export([interop.track(record) for record in ready], str(into)):
        told(receipt)
        receipts.append(receipt)
    return receipts


def _only(side: str, groups: Sequence[findings.Group], task: str) -> findings.Group | None:
    """Return the one system of a side that learned `task`, None where there is none."""
    found = [group for group in groups if group.system.task == task]
    if len(found) > 1:
        names = "; ".join(_describe(group, found) for group in found)
        raise UsageError(
            f"{side} has {len(found)} systems for {task}: {names}. Name one, such as "
            f"task={task},cores={found[0].system.cores},framework={found[0].system.framework}."
        )
    return found[0] if found else None


def _describe(group: findings.Group, among: Sequence[findings.Group]) -> str:
    """Return the fields in which the system differs from the others."""
    fields = [
        field
        for field in group.system._fields
        if field != "name" and len({getattr(other.system, field) for other in among}) > 1
    ]
    return ", ".join(f"{field}={getattr(group.system, field)}" for field in fields)


def _common_target(a: findings.Group, b: findings.Group) -> Target:
    """Return the last target of both, or of two that differ in the threshold the easier one.

    Raises:
        UsageError: The targets are of different metrics or splits.
    """
    left, right = (findings.targets_of(group)[-1] for group in (a, b))
    if (left.metric, left.split, left.direction) != (right.metric, right.split, right.direction):
        raise UsageError(
            f"A was run to {left}, B to {right}: not the same work. Run both to one target."
        )
    return right if right.met_by(left.threshold) else left
