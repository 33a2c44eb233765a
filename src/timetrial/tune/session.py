"""A search from its first trial to its verdict, and on again after whatever stopped it.

Every run is a run directory of the store, planned and run as `timetrial run` does it. A run that
was cut off is not gone on with: its clock would count the time in between. Its settings are tried
again from the start, with another seed.
"""

from __future__ import annotations

import bisect
import math
import shlex
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, final

import msgspec

from timetrial import plan as plans
from timetrial import store
from timetrial.api import find_store
from timetrial.batch import Batch, SilentWatcher, Watcher, default_command
from timetrial.errors import LaunchError, RunLockedError, UsageError
from timetrial.launch import farm
from timetrial.plan import Request
from timetrial.rundir import RunDir, is_held
from timetrial.spec import Setting, Target
from timetrial.stats import measures
from timetrial.store import RunRecord
from timetrial.tune.asked import Amounts, Asked, check_amounts, check_name, read_request
from timetrial.tune.found import Found, Line, leaders_of, winner_of
from timetrial.tune.journal import Journal, journal_of
from timetrial.tune.objective import (
    Objective,
    Outcome,
    Point,
    outcome_of,
    parse_objective,
    reached_after_s,
    ticks,
)
from timetrial.tune.space import around, point_of, settings_of
from timetrial.tune.study import CAPPING, LEARNING, Study, Trial, check_names, open_study
from timetrial.tune.watching import SearchWatcher

_ACCURACY_TICKS: Final = 20  # at which runs of accuracy-after are compared
_ERRORS_MAX: Final = 3  # runs in error before any came to its end: it is not the settings
_LET_GO_S: Final = 60.0  # how long a worker whose launcher was killed may still save its state
_CAP: Final = 1.25  # of the time of the last leader: as one run varies, a leader may take longer
_SERIES: Final = "runs: "  # what the keys of further runs begin with


def search(
    task: str | Path,
    *,
    objective: str | Objective = "time-to-target",
    amounts: Amounts | None = None,
    space: str | Path | None = None,
    sampler: str = "tpe",
    pruner: str | None = None,
    name: str | None = None,
    store_dir: str | Path | None = None,
    watcher: Watcher | None = None,
    command: Sequence[str] = (),
    **choices: object,
) -> Found:
    """Search the settings of a task, or go on with the search of that name; return what is found.

    `amounts.trials` settings are tried in the open division, one run each; the best
    `amounts.leaders` are run `amounts.repeat` times more, and the best of them is compared with
    the task's own settings by `amounts.fresh` runs of each, all on seeds of their own. `choices`
    are options of `run`, one value each; settings may change the rhythm but not its evaluations.

    Raises:
        UsageError and its kind: Something asked for is not possible, or the search of that name
            was begun with other settings.
        MissingExtraError: Optuna is not installed.
        RunLockedError: Another process works on this search.
        LaunchError: The first runs all end with an error.
    """
    what = parse_objective(objective) if isinstance(objective, str) else objective
    much = amounts or Amounts()
    check_amounts(much)
    pruner = pruner or ("median" if what.larger_is_better else CAPPING)
    check_names(sampler, pruner)
    if pruner == CAPPING and what.larger_is_better:
        raise UsageError(
            f"--pruner capping is not possible with {what}: all its runs end at the same time. "
            "Allowed: median, hyperband, none."
        )
    told = watcher or SilentWatcher()
    asked = read_request(task, what, told, choices, space=space, sampler=sampler, pruner=pruner)
    place = find_store(store_dir or asked.store)
    called = check_name(name or f"{asked.settings.task}-{what.kind}")
    words = list(command) or default_command(str(task))
    file = journal_of(place, called)
    horizon = _horizon_of(asked)
    try:
        with Journal(file) as journal:
            study = open_study(
                journal, asked.settings, horizon=horizon, where=str(file), name=called
            )
            batch = _Batching(place, told, words)
            return _Session(study, asked, called, batch, much, horizon).work()
    except RunLockedError as error:
        if is_held(file):
            raise RunLockedError(
                f"Another process works on the search {called} ({file}). Wait for it to end, or "
                "begin another with --name NAME."
            ) from error
        raise


def _horizon_of(asked: Asked) -> int:
    """Return at how many ticks runs are compared at most: the evaluations of a whole run."""
    if asked.settings.objective.larger_is_better:
        return _ACCURACY_TICKS
    return math.ceil(asked.task.steps_max / asked.task.eval_every_steps)


class _Batching(NamedTuple):
    """Where runs are kept, who is told of them, and the command that asks for them."""

    store: Path
    watcher: Watcher
    command: Sequence[str]


class _Series(NamedTuple):
    """Runs of one kind with seeds of their own, kept under `key` in the journal."""

    key: str
    request: Request
    search: str | None


@final
class _Session:
    """One invocation: what is left to do of a search, done."""

    def __init__(
        self,
        study: Study,
        asked: Asked,
        name: str,
        batching: _Batching,
        much: Amounts,
        horizon: int,
    ) -> None:
        self._study = study
        self._task = asked.task
        self._settings = study.settings
        self._name = name
        self._place = batching.store
        self._command = batching.command
        self._much = much
        self._horizon = horizon
        self._asking = threading.RLock()  # of the study; taken after the batch's own locks
        self._watch = SearchWatcher(batching.watcher, self._settings.target, self._is_hopeless)
        self._batch = Batch(self._place, self._watch, self._command)
        least = 1 / much.jobs if much.jobs else 0.0
        self._share = max(self._batch.share(self._settings.request), least)
        self._deadline = math.inf
        if much.at_most_s is not None:
            self._deadline = time.monotonic() + much.at_most_s
        self._trial_of: dict[str, int] = {}  # run -> trial, of those that go on
        self._told: dict[int, set[int]] = {}  # trial -> ticks told, of those begun here
        self._longest = 0.0
        self._reached_s: list[float] = []  # of trials that reached the target, rising
        self._errors = self._ends = 0
        self._unfinished = 0
        self._seeds: set[int] = set()

    def work(self) -> Found:
        """Do all that is missing; return what there is then."""
        self._recover()
        slots = max(0, self._much.trials - self._tried())
        self._watch.total = slots + self._much.leaders * self._much.repeat + 2 * self._much.fresh
        farm.run_all(range(slots), [self._share] * slots, self._try_next)
        larger = self._settings.objective.larger_is_better
        leaders = leaders_of(self._lines(), self._much.leaders, larger_is_better=larger)
        if not leaders or self._unfinished:
            return self._found(leaders, None)
        self._ensure([self._repeats_of(line) for line in leaders], self._much.repeat)
        if self._unfinished:
            return self._found(leaders, None)
        winner = self._choose(leaders)
        if self._much.fresh:
            self._ensure(self._fresh_of(winner), self._much.fresh)
        return self._found(leaders, winner)

    # --- what was there before -------------------------------------------------------------------

    def _recover(self) -> None:
        """Take the results of runs that ended untold; have what was cut off tried again."""
        trials = self._study.trials()
        known = self._known_records(trials)
        self._wait_for_workers(known)
        self._seeds.update(record.plan.seed for record in known)
        if not trials:
            self._begin()
        for trial in trials:
            record = self._read(trial.run)
            outcome = self._outcome(record)
            if trial.state == "finished" and record is not None and outcome is not None:
                self._note_end(record, outcome)
        again = {trial.again for trial in trials}
        for trial in trials:
            if trial.state != "running":
                continue
            record = self._read(trial.run)
            if record is not None and _is_whole(record):
                self._end(trial.number, record)
                continue
            if trial.number not in again:
                self._study.enqueue(trial.point, again=trial.number, reference=trial.reference)
            self._study.finish(trial.number, None)

    def _begin(self) -> None:
        """Have the task's own point tried first, and its neighbours by a sampler that learns."""
        space = self._settings.space
        point, own = point_of(space, self._task)
        self._study.enqueue(point, reference=own)
        if self._settings.sampler in LEARNING:
            for other in around(space, point)[: self._much.trials // 2]:
                self._study.enqueue(other)

    def _known_records(self, trials: Sequence[Trial]) -> list[RunRecord]:
        """Return the records of all runs that the journal names."""
        found = [self._read(trial.run) for trial in trials]
        records = [record for record in found if record is not None]
        for key in self._study.keys(_SERIES):
            records += self._kept(key)
        return records

    def _wait_for_workers(self, records: Iterable[RunRecord]) -> None:
        """Wait for workers whose launcher was killed: they save their state and end.

        Raises:
            RunLockedError: One is still at work after a minute.
        """
        deadline = time.monotonic() + _LET_GO_S
        for record in records:
            while record.done is None and is_held(record.run.events(0)):
                if time.monotonic() > deadline:
                    raise RunLockedError(
                        f"A worker of an earlier attempt is still at work on {record.run.path}. "
                        "Wait for it to end, then go on with the same command."
                    )
                time.sleep(0.1)

    # --- trials ----------------------------------------------------------------------------------

    def _tried(self) -> int:
        """Return how many trials have ended, those that were cut off left out."""
        trials = self._study.trials()
        again = {trial.again for trial in trials}
        ended = ("finished", "pruned", "failed")
        return sum(trial.state in ended and trial.number not in again for trial in trials)

    def _try_next(self, _slot: int, hear: farm.Hear) -> None:
        """Try one point: what `farm.run_all` does as often as trials are missing."""
        if time.monotonic() > self._deadline:
            return
        with self._asking:
            trial = self._study.ask()
            self._told[trial.number] = set()

        def named(run: str) -> None:
            with self._asking:
                self._study.note_run(trial.number, run)
                self._trial_of[run] = trial.number

        request = self._open_request(settings_of(self._settings.space, self._task, trial.point))
        part = f"{self._name}: trial {trial.number}"
        run = self._batch.plan_one(request, self._new_seed(), search=part, named=named)
        self._batch.run_one(run, hear)
        with self._asking:
            del self._trial_of[run[1].run]
            self._end(trial.number, store.read_run(run[0].path))

    def _end(self, number: int, record: RunRecord) -> None:
        """Tell the study how the run of a trial ended; one whose worker was killed is left open."""
        if record.done is None:
            self._unfinished += 1
            return
        if record.status == "pruned":
            self._study.finish(number, None, pruned=True)
            return
        outcome = outcome_of(self._settings.objective, record, self._settings.target)
        if not outcome.usable:
            self._study.finish(number, None)
            self._errors += 1
            if self._errors >= _ERRORS_MAX and not self._ends:
                raise LaunchError(
                    f"{self._errors} runs of the search ended with an error and none came to its "
                    f"end: {record.detail}. All that the last one printed is in "
                    f"{record.run.stdout(0)}. Mend that, then go on with the same command."
                )
            return
        self._note_end(record, outcome)
        self._tell_whole(number, record)
        self._study.finish(number, outcome.score(self._longest))

    def _note_end(self, record: RunRecord, outcome: Outcome) -> None:
        """Take note of a trial that came to its end."""
        self._ends += 1
        self._longest = max(self._longest, outcome.watched)
        took_s = reached_after_s(record, self._settings.target)
        if took_s is not None:
            bisect.insort(self._reached_s, took_s)

    def _tell_whole(self, number: int, record: RunRecord) -> None:
        """Tell at which ticks a run of this invocation stood where, to the end of the horizon."""
        points = _points(record, self._settings.target)
        if number not in self._told or not points:
            return
        if self._tick_s() is None:
            self._study.keep("tick_s", points[-1].at_s / len(points))
        self._tell(number, points, last=self._horizon)

    def _tick_s(self) -> float | None:
        """Return the seconds between ticks; None before the first run of the search has ended.

        They are what lay between the evaluations of that run.
        """
        after_s = self._settings.objective.after_s
        if after_s is not None:
            return after_s / _ACCURACY_TICKS
        kept = self._study.kept("tick_s")
        return None if kept is None else float(kept)

    def _tell(self, number: int, points: Sequence[Point], *, last: int | None = None) -> bool:
        """Tell the ticks that are new; return whether there were any."""
        tick_s = self._tick_s()
        if tick_s is None:
            return False
        what, goal = self._settings.objective, self._settings.target
        seen = ticks(what, goal, points, tick_s=tick_s, last=last)
        known = self._told[number]
        new = {tick: value for tick, value in seen.items() if tick not in known}
        self._study.report(number, new)
        known.update(new)
        return bool(new)

    def _is_hopeless(self, run: str, points: Sequence[Point]) -> bool:
        """Say whether to give up a run, by its evaluations so far; only trials are given up."""
        with self._asking:
            number = self._trial_of.get(run)
            if number is None or self._settings.pruner == "none":
                return False
            new = self._tell(number, points)
            if self._settings.pruner == CAPPING:
                return points[-1].at_s > self._cap_s()
            return new and self._study.is_hopeless(number)

    def _cap_s(self) -> float:
        """Return how long a run may take and still be among the leaders.

        Source: the idea is adaptive capping, Hutter et al., ParamILS, J. Artif. Intell. Res. 36
        (2009), section 4, whose bound is also a multiple of the best time; its size is ours.
        """
        place = self._much.leaders - 1
        return _CAP * self._reached_s[place] if place < len(self._reached_s) else math.inf

    # --- further runs ----------------------------------------------------------------------------

    def _repeats_of(self, line: Line) -> _Series:
        request = self._open_request(line.settings)
        return _Series(
            f"{_SERIES}repeat {line.number}", request, f"{self._name}: trial {line.number} again"
        )

    def _fresh_of(self, winner: Line) -> list[_Series]:
        """Return the runs of winner and reference, by which nothing is chosen: no search's."""
        key = f"{_SERIES}fresh {winner.number}"
        return [
            _Series(f"{key} tuned", self._open_request(winner.settings), None),
            _Series(f"{key} reference", self._settings.request, None),
        ]

    def _ensure(self, series: Sequence[_Series], count: int) -> None:
        """Have `count` whole runs of each series, one of each in turn: a drift hits all alike."""
        there: dict[str, int] = {}
        for one in series:
            whole = self._whole(one.key)
            there[one.key] = len(whole)
            if len(whole) < len(self._study.kept(one.key) or ()):
                self._study.keep(one.key, [record.plan.run for record in whole])
        todo = [one for place in range(count) for one in series if place >= there[one.key]]
        later = 2 * self._much.fresh if series[0].search is not None else 0
        self._watch.total = self._watch.begun + len(todo) + later
        farm.run_all(todo, [self._share] * len(todo), self._run_of)

    def _run_of(self, one: _Series, hear: farm.Hear) -> None:
        def named(run: str) -> None:
            with self._asking:
                self._study.keep(one.key, [*(self._study.kept(one.key) or ()), run])

        run = self._batch.plan_one(one.request, self._new_seed(), search=one.search, named=named)
        self._batch.run_one(run, hear)
        if store.read_run(run[0].path).done is None:
            with self._asking:
                self._unfinished += 1

    def _choose(self, leaders: Sequence[Line]) -> Line:
        """Return the winner, and keep who it is."""
        what, goal = self._settings.objective, self._settings.target
        outcomes = {
            line.number: [
                outcome_of(what, record, goal) for record in self._whole(self._repeats_of(line).key)
            ]
            for line in leaders
        }
        winner = winner_of(leaders, outcomes, larger_is_better=what.larger_is_better)
        chosen = list(self._study.kept("winners") or ())
        if self._much.fresh and chosen[-1:] != [winner.number]:
            self._study.keep("winners", [*chosen, winner.number])
        return winner

    # --- reading back ----------------------------------------------------------------------------

    def _lines(self, leaders: Iterable[Line] = ()) -> list[Line]:
        """Return a line per trial that was not cut off, leaders with their further runs."""
        trials = self._study.trials()
        again = {trial.again for trial in trials}
        leading = {line.number for line in leaders}
        lines = []
        for trial in trials:
            if trial.state == "waiting" or trial.number in again:
                continue
            record = self._read(trial.run)
            settings = settings_of(self._settings.space, self._task, trial.point)
            line = Line(trial, settings, record, self._outcome(record))
            if trial.number in leading:
                line = line._replace(repeats=self._whole(self._repeats_of(line).key))
            lines.append(line)
        return lines

    def _found(self, leaders: Sequence[Line], winner: Line | None) -> Found:
        tuned: list[RunRecord] = []
        reference: list[RunRecord] = []
        if winner is not None:
            tuned, reference = (self._whole(one.key) for one in self._fresh_of(winner))
        return Found(
            name=self._name,
            store=self._place,
            task=self._task,
            settings=self._settings,
            lines=self._lines(leaders),
            leaders=[line.number for line in leaders],
            winner=None if winner is None else winner.number,
            tuned=tuned,
            reference=reference,
            winners=list(self._study.kept("winners") or ()),
            importances=self._study.importances(),
            unfinished=self._unfinished,
            cut_off=len({trial.again for trial in self._study.trials()} - {None}),
            command=shlex.join(self._command),
        )

    def _open_request(self, settings: Mapping[str, Setting]) -> Request:
        """Return the request of a run with these settings: open, and else as the reference."""
        base = self._settings.request
        own = {**base.settings, **settings}
        return msgspec.structs.replace(base, division="open", settings=own)

    def _outcome(self, record: RunRecord | None) -> Outcome | None:
        """Return what a run says, None where it has not ended."""
        if record is None or record.done is None:
            return None
        return outcome_of(self._settings.objective, record, self._settings.target)

    def _read(self, run: str | None) -> RunRecord | None:
        """Return the record of a run, None where its plan was never written."""
        if run is None or not RunDir(self._place / run).plan.is_file():
            return None
        return store.read_run(self._place / run)

    def _kept(self, key: str) -> list[RunRecord]:
        """Return the records of a series, in order."""
        found = [self._read(name) for name in self._study.kept(key) or ()]
        return [record for record in found if record is not None]

    def _whole(self, key: str) -> list[RunRecord]:
        """Return those of a series that came to their end in one attempt."""
        return [record for record in self._kept(key) if _is_whole(record)]

    def _new_seed(self) -> int:
        """Return a seed that no run of this search has had."""
        with self._asking:
            while (seed := plans.new_seed()) in self._seeds:
                pass
            self._seeds.add(seed)
            return seed


def _is_whole(record: RunRecord) -> bool:
    """Return whether a run ended in one attempt: else its clocks count what lay between."""
    return record.done is not None and record.attempts == 1


def _points(record: RunRecord, target: Target) -> list[Point]:
    curve = measures.curve(record, metric=target.metric, split=target.split) or ()
    return [Point(point.time_s, point.value) for point in curve]
