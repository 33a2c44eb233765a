"""The runs of one invocation: asked for, resolved into plans, run."""

from __future__ import annotations

import datetime
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

import msgspec

import timetrial
from timetrial import (
    algorithms,
    findings,
    frameworks,
    machine,
    owntask,
    plan,
    references,
    store,
    suites,
)
from timetrial.datasets import get as find_dataset
from timetrial.datasets import sources
from timetrial.datasets.info import DatasetInfo
from timetrial.datasets.prepare import prepare
from timetrial.engine.events import WorkerEvent
from timetrial.errors import DataError, FormatError, UnknownNameError, UsageError
from timetrial.examine import request as examining
from timetrial.exchange import request as measuring
from timetrial.gridfile import read_grid
from timetrial.launch import ON_THIS_MACHINE, Launcher, Settles, farm
from timetrial.launch import REGISTRY as LAUNCHERS
from timetrial.launch.supervise import Result, supervise
from timetrial.machine import MachineRecord, kept
from timetrial.plan import Plan, Request, Rhythm
from timetrial.rundir import RunDir, create_run_dir, pretty_json, write_atomically
from timetrial.scripted import command
from timetrial.spec import Examination, Exchange, Precision, Target, Task, for_workers
from timetrial.stats import clocks, intervals, measures, sequential
from timetrial.store import RunRecord
from timetrial.tasks.networks import shards

DEFAULT_SEEDS: Final = 3
_SET_BY_SUITES: Final = ("task", "suite", "light_steps", "seeds_max", "probe_s")
OPTIONS: Final = tuple(f for f in Request.__struct_fields__ if f not in _SET_BY_SUITES)
RUNS_MAX: Final = 50  # of one system with `until`


class Watcher(Protocol):
    """Is told how things go; the command line draws progress bars from it.

    Several runs may be between `begin` and `end` at once; it is told one thing at a time.
    """

    def begin(self, plan: Plan, *, number: int, of: int | None) -> None:
        """Run `number` (from 1) of `of` begins; None: as many as it takes."""

    def events(self, plan: Plan, events: Sequence[WorkerEvent]) -> bool | None:
        """The run's worker 0 wrote these; called about five times a second.

        Once it returns True the run is given up: it ends for good as `pruned`.
        """

    def end(self, plan: Plan, result: Result) -> None:
        """The run has ended."""

    def data(self, what: str, bytes_done: int, bytes_total: int | None) -> None:
        """A data set is being fetched."""


class SilentWatcher:
    """Watches without a word."""

    def begin(self, plan: Plan, *, number: int, of: int | None) -> None:
        """Say nothing."""

    def events(self, plan: Plan, events: Sequence[WorkerEvent]) -> None:
        """Say nothing."""

    def end(self, plan: Plan, result: Result) -> None:
        """Say nothing."""

    def data(self, what: str, bytes_done: int, bytes_total: int | None) -> None:
        """Say nothing."""


class _What(NamedTuple):
    """What a request asks to be learned or measured, resolved."""

    learned: Task | None
    hash: str
    framework: str
    implementation: str
    precision: Precision
    target: Target | None
    steps_max: int
    rhythm: Rhythm
    data_files: Mapping[str, str]
    data_sources: Mapping[str, str]
    algorithm: str = plan.CLOSED_ALGORITHMS[0]
    partition: str = plan.SHUFFLED


class Batch:
    """The runs of one invocation: planned ahead, each run in its own directory."""

    def __init__(
        self, place: Path, watcher: Watcher, command: Sequence[str], *, fetch: bool = True
    ) -> None:
        """Start with no runs; `fetch` False: nothing is asked of the network, data may lack."""
        self._fetch = fetch
        self._place = place
        self._watcher = watcher
        self.command = tuple(command)
        self._name = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        self._waiting: list[tuple[RunDir, Plan]] = []
        self._all: list[RunDir] = []
        self._asked: list[tuple[Request, RunDir]] = []
        self._machine: MachineRecord | None = None
        self._files: dict[str, sources.Located] = {}
        self._tasks: dict[str, owntask.Found] = {}
        self._begun = 0
        self._telling = threading.Lock()  # several runs at once have one watcher
        self._planning = threading.Lock()
        self._total: int | None = 0

    def add(self, requests: Sequence[Request], seeds: int | Sequence[int]) -> None:
        """Plan runs: the seeds one after the other, all systems in turn within each.

        A drift of the machine then falls on all systems alike.
        """
        planned = [
            (request, self.resolve(request, seed, "")) for request, seed in paired(requests, seeds)
        ]
        for request, draft in planned:
            self._waiting.append(self._create(draft))
            self._asked.append((request, self._waiting[-1][0]))

    def add_calibration(self, requests: Sequence[Request], pairs: int) -> None:
        """Plan pairs of runs of the very same work."""
        for number in range(pairs):
            for index, request in enumerate(requests):
                draft = self.resolve(request, plan.new_seed(), "")
                name = f"{self._name}-{index}-{number}"
                for _ in range(2):
                    self._waiting.append(
                        self._create(msgspec.structs.replace(draft, calibration=name))
                    )

    def plan_one(
        self, request: Request, seed: int, *, search: str | None, named: Callable[[str], None]
    ) -> tuple[RunDir, Plan]:
        """Plan one run beside those that wait, for `run_one`; several threads may do so.

        `named` is told the name of its directory before its plan is written: without a plan a
        directory is no run. `search` is what its plan says of the search that it is part of.

        Raises:
            UsageError and its kind: Something asked for is not possible.
        """
        with self._planning:
            draft = self.resolve(request, seed, "")
            return self._create(msgspec.structs.replace(draft, search=search), named)

    def share(self, request: Request) -> float:
        """Return which share of the free machines a run of the request takes; 1: it runs alone.

        Raises:
            UsageError and its kind: Something asked for is not possible.
        """
        todo = self.resolve(request, 0, "")
        return farm.share_of(_launcher(todo), todo)

    def adopt(self, records: Sequence[RunRecord]) -> None:
        """Take over runs that exist and are not finished."""
        for record in records:
            self._waiting.append((record.run, record.plan))
            self._all.append(record.run)
        self._total = len(self._waiting)

    def work(self) -> None:
        """Run what waits: several at once where a launcher has room for them, else in turn."""
        waiting, self._waiting = self._waiting, []
        rooms: dict[tuple[object, ...], float] = {}  # asked for while none of ours is running
        shares = []
        for _, todo in waiting:
            kind = (todo.launcher, todo.cluster, todo.workers, todo.cores, todo.memory_bytes)
            if kind not in rooms:
                rooms[kind] = farm.share_of(_launcher(todo), todo)
            shares.append(rooms[kind])
        farm.run_all(waiting, shares, self._run_waiting)

    def work_until(self, requests: Sequence[Request], width: float, deadline: float) -> None:
        """Add runs of each system until its time to target is known to ± `width`.

        No run begins after `deadline` (of time.monotonic). A system that has never reached its
        target gets no further runs: its time cannot become known.
        """
        self._total = None
        open_requests = list(requests)
        while open_requests:
            open_requests = [
                request for request in open_requests if self._worthwhile(request, width)
            ]
            for request in open_requests:
                if time.monotonic() > deadline:
                    return
                self.add([request], 1)
                self.work()

    def records(self) -> list[RunRecord]:
        """Return the records of all runs, read back from disk."""
        return [store.read_run(directory.path) for directory in self._all]

    def resolve(self, request: Request, seed: int, run_name: str) -> Plan:
        """Return the plan of one run: from here on nobody looks anything up.

        Raises:
            UsageError and its kind: Something asked for is not possible.
        """
        exchange = measuring.find(request.task)
        examination = examining.find(request.task)
        if exchange is not None:
            what = _measured(exchange, request)
        elif examination is not None:
            what = self._examined(examination, request)
        else:
            what = self._learned(request)
        if request.launcher not in LAUNCHERS.names():
            LAUNCHERS.get(request.launcher)
        cpus, cores = None, request.cores or 1  # elsewhere nobody knows how many there are
        if request.launcher in ON_THIS_MACHINE:
            cpus, cores = plan.restrict_workers(request.workers, request.cores)
        draft = Plan(
            format=plan.FORMAT,
            run=run_name,
            batch=self._name,
            created_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            timetrial=timetrial.__version__,
            learned=what.learned,
            task_hash=what.hash,
            division=request.division,
            framework=what.framework,
            implementation=what.implementation,
            device=request.device,
            precision=what.precision,
            cpus=cpus,
            cores=cores,
            cores_restricted=request.cores is not None,
            memory_bytes=request.memory_bytes,
            workers=request.workers,
            launcher=request.launcher,
            network=plan.network_of(request),
            seed=seed,
            target=what.target,
            steps_max=what.steps_max,
            budget_s=request.budget_s,
            rhythm=what.rhythm,
            data_files=what.data_files,
            data_sources=what.data_sources,
            calibration=None,
            command=self.command,
            light=request.light,
            suite=request.suite,
            price_usd_per_h=request.price_usd_per_h,
            provider=request.provider,
            region=request.region,
            image=request.image,
            algorithm=what.algorithm,
            partition=what.partition,
            cluster=request.cluster,
            exchange=exchange,
            examination=examination,
            probe_s=request.probe_s,
            inference_s=request.inference_s,
        )
        launcher = _launcher(draft)
        if isinstance(launcher, Settles):
            draft = launcher.settle(draft)
        return command.complete(draft, request, Path.cwd()) if request.script else draft

    def _learned(self, request: Request) -> _What:
        """Return what a request for a task means, its data set located."""
        found = self._find(request.task)
        task = found.task
        algorithm = algorithms.parse_algorithm(plan.algorithm_of(request))
        partition = shards.parse_partition(request.partition or plan.SHUFFLED)
        plan.check_request(task, request)
        task = plan.variant_of(task, dataset=request.dataset, eval_split=request.eval_split)
        task = for_workers(task, request.workers)
        if request.script:
            framework, implementation = command.check_request(request), ""
        else:
            references.refuse_retired(request.framework)
            framework = plan.choose_framework(task, request.framework)
            frameworks.require(framework, workers=request.workers)
            implementation = task.implementations[framework]
            if request.workers > 1:
                algorithms.check_algorithm(algorithm, workers=request.workers, framework=framework)
                shards.check_partition(partition, framework=framework)
        task, rhythm = plan.apply_settings(task, request)
        try:
            located = self._locate(found.info or find_dataset(task.dataset.name))
        except DataError as error:
            if self._fetch:
                raise _with_alternatives(error, found.task, request) from error
            name = task.dataset.name
            located = sources.Located(dataset=name, files={}, places={}, passed_over=())
        return _What(
            learned=task,
            hash=task.hash(),
            framework=framework,
            implementation=implementation,
            precision=plan.choose_precision(task, request.precision),
            target=plan.choose_target(task, request),
            steps_max=plan.light_steps(task, request),
            rhythm=rhythm,
            data_files=located.files,
            data_sources=located.places,
            algorithm=algorithm.text,
            partition=partition.text,
        )

    def _examined(self, examination: Examination, request: Request) -> _What:
        """Return what a request for an examination means, its data set located."""
        examining.check(examination, request)
        framework = measuring.choose_framework(examination, request.framework)
        if framework in frameworks.REGISTRY.names():  # else a tool, that the examiner looks for
            frameworks.require(framework)
        steps = len(examination.chosen(light=request.light))
        located = None
        if examination.dataset is not None:
            try:
                located = self._locate(find_dataset(examination.dataset))
            except DataError:
                if self._fetch:
                    raise
        return _What(
            learned=None,
            hash=examination.hash(),
            framework=framework,
            implementation=examination.implementations[framework],
            precision="float32",  # says nothing: each finding has its own
            target=None,
            steps_max=steps,
            rhythm=measuring.rhythm_of(
                examination, request, steps, timeout_s=examination.timeout_s
            ),
            data_files={} if located is None else located.files,
            data_sources={} if located is None else located.places,
        )

    def _find(self, name: str) -> owntask.Found:
        """Return a task, a file's as it was when first asked for: one batch, one set of rules."""
        if name not in self._tasks:
            self._tasks[name] = owntask.find_task_or_file(
                name, os.environ, fetch=self._fetch, progress=self._watcher.data
            )
        return self._tasks[name]

    def _locate(self, dataset: DatasetInfo) -> sources.Located:
        key = f"{dataset.name} {dataset.content_sha256}"
        if key not in self._files:
            self._files[key] = prepare(
                dataset,
                sources.search_path(os.environ),
                fetch=self._fetch,
                progress=self._watcher.data,
            )
        return self._files[key]

    def _create(
        self, draft: Plan, told: Callable[[str], None] = lambda name: None
    ) -> tuple[RunDir, Plan]:
        kind = "-light" if draft.light else "-probe" if draft.probe_s is not None else ""
        _check_readable(draft)
        directory = create_run_dir(self._place, f"{draft.subject.name}{kind}-{self._name}")
        named = msgspec.structs.replace(draft, run=directory.path.name)
        told(named.run)
        command.keep_copy(directory, named)
        write_atomically(directory.plan, pretty_json(named))
        self._all.append(directory)
        if self._total is not None:
            self._total += 1
        return directory, named

    def _run_waiting(self, run: tuple[RunDir, Plan], hear: farm.Hear) -> None:
        self.run_one(run, hear)

    def run_one(self, run: tuple[RunDir, Plan], hear: farm.Hear) -> Result:
        """Run one planned run to its end, in this thread; `hear` as `farm.run_all` hands it out."""
        directory, todo = run
        with self._telling:
            self._begun += 1
            self._watcher.begin(todo, number=self._begun, of=self._total)

        def watch(events: Sequence[WorkerEvent]) -> bool | None:
            hear()
            with self._telling:
                return self._watcher.events(todo, events)

        result = supervise(
            directory,
            todo,
            _launcher(todo),
            watch,
            prepare=lambda: self._describe_machine(directory, todo),
        )
        with self._telling:
            self._watcher.end(todo, result)
        return result

    def _describe_machine(self, directory: RunDir, todo: Plan) -> None:
        if todo.launcher not in ON_THIS_MACHINE:  # its machines are described by their agents
            return
        here = self._gather(directory)
        write_atomically(directory.machine(here.hostname), pretty_json(here))
        kept.carry(directory, here, os.environ)

    def _gather(self, directory: RunDir) -> MachineRecord:
        """Describe the machine before each run; the cloud's metadata is asked for once."""
        first = self._machine is None
        here = machine.gather(
            self.command,
            Path.cwd(),
            store=directory.path,
            cloud_timeout_s=0.3 if first else 0,
        )
        if self._machine is not None:
            # the load average still holds our own last run: what steals now is what counts
            load = msgspec.structs.replace(here.load, load_1min=None)
            here = msgspec.structs.replace(here, cloud=self._machine.cloud, load=load)
        self._machine = here
        return here

    def _worthwhile(self, request: Request, width: float) -> bool:
        """Return whether a further run can make the interval of this system narrow enough."""
        runs = [store.read_run(run.path) for asked, run in self._asked if asked == request]
        target = runs[0].plan.target or runs[0].plan.task.targets[-1]
        times = findings.times_of(runs, target, clocks.CLOCKS[clocks.HEADLINE])
        if len(runs) >= RUNS_MAX or times is None or not any(time.reached for time in times):
            return False
        estimate = intervals.restricted_mean(*measures.as_arrays(times))
        return not sequential.narrow_enough(estimate, width)


def _launcher(todo: Plan) -> Launcher:
    return cast(Callable[[], Launcher], LAUNCHERS.get(todo.launcher))()


def _measured(exchange: Exchange, request: Request) -> _What:
    """Return what a request for a measurement means: it needs no data."""
    measuring.check(exchange, request)
    framework = measuring.choose_framework(exchange, request.framework)
    frameworks.require(framework, workers=request.workers)
    steps = len(exchange.points(light=request.light))
    return _What(
        learned=None,
        hash=exchange.hash(),
        framework=framework,
        implementation=exchange.implementations[framework],
        precision="float32",  # of all but the arrays, which have their own
        target=None,
        steps_max=steps,
        rhythm=measuring.rhythm_of(exchange, request, steps),
        data_files={},
        data_sources={},
    )


def _check_readable(draft: Plan) -> None:
    """Refuse a plan that could not be read back: one such would make a whole store unreadable.

    Raises:
        UsageError: Its task holds what JSON does not, such as infinity.
    """
    try:
        plan.decode_plan(pretty_json(draft), "The plan")
    except (FormatError, TypeError, ValueError) as error:
        raise UsageError(
            f"The plan of {draft.subject.name} cannot be stored: {error.__cause__ or error}. "
            "Allowed: finite numbers and text. Correct the task's rules."
        ) from error


def _with_alternatives(error: DataError, task: Task, request: Request) -> DataError:
    """Return the error with the task's other data sets that are on this machine, if any."""
    path = sources.search_path(os.environ)
    here = [
        name
        for name in task.datasets
        if name != request.dataset and sources.available(find_dataset(name), path).state == "here"
    ]
    if not here:
        return error
    return DataError(
        f"{error}\nOr learn from another that is here, with rows of its own: --dataset {here[0]}"
    )


def paired(
    requests: Sequence[Request], seeds: int | Sequence[int]
) -> Iterator[tuple[Request, int]]:
    """Yield every request with every seed; a number of seeds draws new ones for each request.

    Of a request with `seeds_max` no more than so many are drawn.

    Raises:
        UsageError: Fewer than one run, or a seed that is given twice.
    """
    if isinstance(seeds, int):
        if seeds < 1:
            raise UsageError(f"--seeds {seeds} is not possible. Allowed: 1 and more.")
        for number in range(seeds):
            for request in requests:
                if request.seeds_max is None or number < request.seeds_max:
                    yield request, plan.new_seed()
        return
    if len(set(seeds)) != len(seeds):
        raise UsageError(f"Seeds must be unique, but these repeat: {list(seeds)}.")
    for seed in seeds:
        for request in requests:
            yield request, seed


def uncapped(requests: Sequence[Request]) -> list[Request]:
    """Return the requests for a user who says how many runs to make: no suite's cap holds."""
    return _unique([msgspec.structs.replace(request, seeds_max=None) for request in requests])


def expand(
    what: str | Path | Sequence[str | Path | Request], choices: Mapping[str, object]
) -> tuple[list[Request], int | Sequence[int] | None, Path | None]:
    """Return the requests that names, files and options amount to, with a file's seeds and store.

    Raises:
        UnknownNameError: A name is neither a task, a suite nor a file; an unknown option.
    """
    for field in choices:
        if field not in OPTIONS:
            raise UnknownNameError("option", field, OPTIONS)
    lists: dict[str, list[object]] = {
        name: list(value) if isinstance(value, list | tuple) else [value]
        for name, value in choices.items()
        if value is not None and name not in ("settings", "script")
    }
    for field, values in lists.items():
        if not values:
            raise UsageError(f"{field} = [] names nothing to run. Allowed: a value or several.")
    if choices.get("settings"):
        lists["settings"] = [choices["settings"]]
    if choices.get("script"):
        lists["script"] = [_words(choices["script"])]
    names = [what] if isinstance(what, str | Path) else list(what)
    light = choices.get("light") is True
    requests: list[Request] = []
    seeds: int | Sequence[int] | None = None
    place: Path | None = None
    for name in names:
        if isinstance(name, Request):
            requests.append(name)
            continue
        bases: Sequence[Request]
        if str(name).endswith(".toml"):
            file = read_grid(Path(name))
            bases, seeds, place = file.requests, file.seeds or seeds, file.store or place
        elif str(name).endswith(".py"):
            bases = (Request(task=str(name)),)
        else:
            bases = named_requests(str(name), light=light)
        shorter = light and str(name) in suites.REGISTRY.names() and _has_light_requests(str(name))
        asked = {key: value for key, value in lists.items() if not (shorter and key == "light")}
        combinations = plan.grid(asked)
        requests += [
            msgspec.structs.replace(base, **combination)
            for base in bases
            for combination in combinations
        ]
    if not requests:
        raise UsageError("Nothing to run was named. Name tasks, suites or files (.toml, .py).")
    for request in requests:
        _check_kinds(request)
    return _unique(requests), seeds, place


def _has_light_requests(suite: str) -> bool:
    return bool(suites.find_suite(suite).light_requests)


def _words(script: object) -> tuple[str, ...]:
    """Return a command as words; a single text is one word.

    Raises:
        UsageError: Not words.
    """
    words = [script] if isinstance(script, str | Path) else script
    if not isinstance(words, Sequence) or not all(isinstance(w, str | Path) for w in words):
        raise UsageError(f"script = {script!r} is no command. Allowed: a list of words.")
    return tuple(map(str, words))


def _check_kinds(request: Request) -> None:
    """Refuse values of the wrong kind; `plan` checks the closed choices itself and names them.

    Raises:
        UsageError: Names the option.
    """
    fields = msgspec.structs.asdict(request)
    try:
        msgspec.convert(
            {**fields, "precision": None, "division": "closed", "eval_split": None}, Request
        )
    except msgspec.ValidationError as error:
        raise UsageError(f"An option cannot be used: {error}.") from error


def _unique(requests: Sequence[Request]) -> list[Request]:
    seen: dict[bytes, Request] = {}
    for request in requests:
        seen.setdefault(msgspec.json.encode(request, order="deterministic"), request)
    return list(seen.values())


def named_requests(name: str, *, light: bool = False) -> Sequence[Request]:
    """Return what a task or suite name asks for.

    Raises:
        UnknownNameError: Neither a task nor a suite.
        UsageError: A suite that has nothing to run on this machine.
    """
    if name in suites.REGISTRY.names():
        suite = suites.find_suite(name)
        requests = suite.light_requests if light and suite.light_requests else suite.requests
        if not requests:
            raise UsageError(
                f"Suite {name} has nothing to run here: none of its frameworks is installed. "
                "`timetrial list frameworks` shows how to install them."
            )
        return [msgspec.structs.replace(request, suite=name) for request in requests]
    known = [*plan.TASKS.names(), *plan.MEASUREMENTS.names(), *plan.EXAMINATIONS.names()]
    if name not in known:
        raise UnknownNameError("task or suite", name, [*known, *suites.REGISTRY.names()])
    once = 1 if name in plan.EXAMINATIONS.names() else None  # its findings have intervals
    return (Request(task=name, workers=plan.usual_workers(name), seeds_max=once),)


def default_seeds(what: str | Path | Sequence[str | Path | Request]) -> int:
    """Return the suite's own number of runs, or three."""
    if isinstance(what, str) and what in suites.REGISTRY.names():
        return suites.find_suite(what).seeds
    return DEFAULT_SEEDS


def default_command(what: object) -> list[str]:
    """Return the command of this process, or for a notebook what stands for it."""
    if sys.argv and Path(sys.argv[0]).name == "timetrial":
        return ["timetrial", *sys.argv[1:]]
    return ["timetrial.run", str(what)]
