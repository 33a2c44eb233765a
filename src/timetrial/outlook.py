"""Probe, predict, recommend, score: what the command line and notebooks call before they run."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

import timetrial
from timetrial import findings, machine, owntask, plan, prices, store
from timetrial.api import find_store
from timetrial.api import plans as planned
from timetrial.batch import Batch, SilentWatcher, Watcher, default_command, expand
from timetrial.errors import UsageError
from timetrial.forecast import (
    Limits,
    Prediction,
    Probed,
    Spreads,
    Wanted,
    front_of,
    keep,
    library,
    probed_systems,
    read_predictions,
    score_of,
    scored,
)
from timetrial.forecast import (
    predict as predicted,
)
from timetrial.forecast.ahead import Known, Line, lines_of, table_of
from timetrial.forecast.front import Choice, Offer
from timetrial.forecast.predict import Drawn
from timetrial.forecast.stored import ScoreCard, Scored
from timetrial.forecast.tables import (
    front_of_choices,
    prediction_table,
    probe_rows,
    probe_table,
    rows_of_choices,
    score_table,
)
from timetrial.plan import Request
from timetrial.prices import Book
from timetrial.results import Runs
from timetrial.rows import Findings, Front, Row, Table
from timetrial.spec import for_workers
from timetrial.spec.network import parse_network
from timetrial.stats.forecast import Rhythm
from timetrial.store import RunRecord

PROBE_S: Final = 60.0
_PROBE_MIN_S: Final = 0.5


# --- probes --------------------------------------------------------------------------------------


def probe(
    what: str | Path | Sequence[str | Path | Request],
    *,
    seconds: float = PROBE_S,
    store_dir: str | Path | None = None,
    watcher: Watcher | None = None,
    command: Sequence[str] = (),
    **choices: object,
) -> Runs:
    """Train for about so many seconds on each system asked for, only to measure speed.

    Options are those of `run`, lists are a grid. The probes are kept in the store as run
    directories of their own; reports leave them out, `predict` reads them.

    Raises:
        UsageError and its kind: Something asked for is not possible.
    """
    if not _PROBE_MIN_S <= seconds < 24 * 3600:
        raise UsageError(
            f"--seconds {seconds:g} is not possible. Allowed: {_PROBE_MIN_S:g} to 86400, such as "
            "60."
        )
    requests, _, file_store = expand(what, choices)
    for request in requests:
        if request.script or not plan.learns(request.task):
            raise UsageError(
                f"{request.task} cannot be probed: a probe trains a closed task. Name a task; "
                "`timetrial list` shows them."
            )
    requests = [msgspec.structs.replace(one, probe_s=seconds, suite=None) for one in requests]
    place = find_store(store_dir or file_store)
    batch = Batch(place, watcher or SilentWatcher(), command or default_command(what))
    batch.add(requests, 1)
    batch.work()
    return Runs(batch.records())


def probe_findings(runs: Sequence[RunRecord]) -> Findings:
    """Return rows and table of probes."""
    systems = [one for one in probed_systems(runs) if not one.shipped]
    rows = [row for system in systems for row in probe_rows(system)]
    return _findings(rows, [probe_table(systems)] if systems else [])


# --- predictions ---------------------------------------------------------------------------------


class Outlook(NamedTuple):
    """Predictions, and why some systems have none."""

    choices: Sequence[Choice]
    limits: Limits
    left_out: Sequence[str]

    @property
    def predictions(self) -> list[Prediction]:
        """The predictions alone."""
        return [choice.prediction for choice in self.choices]

    def findings(self, *, asked: bool = False) -> Findings:
        """Return rows, table and picture; `asked`: with the chance to keep the limits."""
        table = prediction_table(self.choices, self.limits if asked else None)
        notes = [*table.notes, *self.left_out]
        table = msgspec.structs.replace(table, notes=notes)
        front = front_of_choices(self.choices, self.limits)
        return _findings(rows_of_choices(self.choices), [table], [front] if front else [])


class Price(NamedTuple):
    """What a machine costs, ready to be applied to billed seconds of so many machines."""

    cost: Callable[[np.ndarray, int], np.ndarray]
    currency: str
    source: str


class Pricing(NamedTuple):
    """How systems find their price; nothing given: what was declared with the probe."""

    usd_per_h: float | None = None
    book: Book | None = None
    name: str | None = None  # price all systems as this one of the book
    at: datetime.date | None = None  # None: today


def predict(
    what: str | Path | Sequence[str | Path | Request],
    *,
    store_dir: str | Path | None = None,
    pricing: Pricing | None = None,
    limits: Limits | None = None,
    kept: bool = True,
    **choices: object,
) -> Outlook:
    """Predict time and cost of the next run on this and every probed system, with 95 % intervals.

    Options are those of `run`; framework, device, cores and precision choose among the probed
    systems, workers and network are applied to each. The predictions are stored unless `kept` is
    False.

    Raises:
        UsageError: No system was probed, or nobody knows how many steps it takes.
    """
    requests, _, file_store = expand(what, choices)
    place = find_store(store_dir or file_store)
    records = store.read_runs([place]) if place.is_dir() else []
    found, left_out = _drawn(requests, records)
    if kept:
        for one in found:
            keep(one.prediction, place)
    offers = [_offer(one, price_of(one.prediction.system, pricing, records)) for one in found]
    kept_to = limits or Limits()
    return Outlook(front_of(offers, kept_to), kept_to, left_out)


def _drawn(
    requests: Sequence[Request], records: Sequence[RunRecord]
) -> tuple[list[Drawn], list[str]]:
    """Return the predictions for all requests, and why some could not be made.

    Raises:
        UsageError: None could be made.
    """
    systems, curves, spreads = probed_systems(records), library(records), Spreads(records)
    found: dict[tuple[object, ...], Drawn] = {}
    left_out: list[str] = []
    for request in requests:
        wanted = wanted_of(request)
        fitting = [one for one in systems if _asked(one, request, wanted)]
        if not fitting:
            left_out.append(f"{request.task}: no system was probed that fits {_words(request)}")
        for system in fitting:
            key = (system.key, wanted.task.hash(), wanted.target, wanted.workers, request.network)
            if key in found:
                continue
            try:
                known = spreads.of(system.processor, system.precision)
                found[key] = predicted(system, wanted, curves=curves, varies=known)
            except UsageError as error:
                left_out.append(str(error))
    if not found:
        first = left_out[0] if left_out else "nothing was asked for"
        raise UsageError(
            f"Nothing can be predicted: {first}. Probe a system first: timetrial probe "
            f"{requests[0].task if requests else 'TASK'}"
        )
    return list(found.values()), list(dict.fromkeys(left_out))


def wanted_of(request: Request) -> Wanted:
    """Return what a request asks for, without its data: nothing is fetched.

    Raises:
        UsageError and its kind: It is not possible.
    """
    if not plan.learns(request.task):
        raise UsageError(
            f"{request.task} learns nothing: there is no time to a target. Name a task; `timetrial "
            "list` shows them."
        )
    task = owntask.find_task_or_file(request.task, os.environ, fetch=False).task
    plan.check_request(task, request)
    if request.division != "closed":
        raise UsageError(
            "--division open cannot be predicted: its steps to target are not those of the closed "
            "task. Leave it out."
        )
    task = plan.variant_of(task, dataset=request.dataset, eval_split=request.eval_split)
    _, rhythm = plan.apply_settings(task, request)
    return Wanted(
        task=task,
        target=plan.choose_target(task, request),
        steps_max=plan.light_steps(task, request),
        rhythm=Rhythm(rhythm.eval_every_steps, rhythm.checkpoint_every_s),
        workers=request.workers,
        network=parse_network(request.network) if request.network and request.workers > 1 else None,
    )


def _asked(system: Probed, request: Request, wanted: Wanted) -> bool:
    """Return whether a system is of these rules, and of those that were asked for."""
    rules = {wanted.task.hash(), for_workers(wanted.task, wanted.workers).hash()}
    return (
        system.task_hash in rules
        and request.framework in (None, system.framework)
        and request.cores in (None, system.cores)
        and request.precision in (None, system.precision)
        and request.memory_bytes in (None, system.memory_bytes)
        and (request.device in ("cpu", system.device))
    )


def _words(request: Request) -> str:
    said = {
        "framework": request.framework,
        "cores": request.cores,
        "precision": request.precision,
        "device": request.device if request.device != "cpu" else None,
    }
    parts = [f"{name} {value}" for name, value in said.items() if value is not None]
    return ", ".join(parts) or "its rules"


def price_of(system: Probed, pricing: Pricing | None, records: Sequence[RunRecord]) -> Price | None:
    """Return the price of a system's machine, None where it is not known.

    One given for all counts, then the book's for the machine of the probe, then what was declared
    with the probe.
    """
    chosen = pricing or Pricing()
    if chosen.usd_per_h is not None:
        return hourly(chosen.usd_per_h, "given on the command line")
    if chosen.book is not None:
        asked = findings.Wanted(chosen.at or datetime.date.today(), chosen.name)
        own = [one for one in records if one.run.path.name in system.evidence]
        found = findings.choice_of(own[-1], chosen.book, asked).price if own else None
        if not own and chosen.name is not None:
            named = chosen.book.named(chosen.name, at=asked.at)
            found = named if isinstance(named, prices.Price) else None
        if found is not None:
            return _of_book(found, asked.at)
    if system.price_usd_per_h is not None:
        return hourly(system.price_usd_per_h, "given with the probe")
    return None


def _of_book(price: prices.Price, at: datetime.date) -> Price:
    def cost(billed_s: np.ndarray, machines: int) -> np.ndarray:
        amounts = [
            prices.billed_cost(price, float(seconds), machines=machines).amount
            if math.isfinite(seconds)
            else math.inf
            for seconds in billed_s
        ]
        return np.array(amounts)

    old = prices.age_note(price, at)
    words = prices.words_of(price)
    return Price(cost, price.currency, f"{words}; {old}" if old else words)


def hourly(usd_per_h: float, source: str) -> Price:
    """Return a plain price per hour: no step, no minimum, no fees."""

    def cost(billed_s: np.ndarray, machines: int) -> np.ndarray:
        amounts: np.ndarray = billed_s * usd_per_h * machines / 3600
        return amounts

    return Price(cost, "USD", f"{usd_per_h:g} USD per hour, {source}")


def _offer(one: Drawn, price: Price | None) -> Offer:
    if price is None:
        return Offer(one, None, None, None)
    costs = price.cost(one.draws.billed_s, one.prediction.workers)
    return Offer(one, costs, price.currency, price.source)


# --- before anything is spent --------------------------------------------------------------------


class Ahead(NamedTuple):
    """The plans of a command, and what they will take and cost."""

    plans: Sequence[plan.Plan]
    table: Table
    rows: Sequence[Row]


def ahead(
    what: str | Path | Sequence[str | Path | Request] = "quick",
    *,
    seeds: int | Sequence[int] | None = None,
    store_dir: str | Path | None = None,
    pricing: Pricing | None = None,
    **choices: Any,
) -> Ahead:
    """Return what `run` would run, with predicted time and cost; asks nothing of the network.

    Raises:
        UsageError and its kind: Something asked for is not possible.
    """
    plans = planned(what, seeds=seeds, watcher=None, **choices)
    place = find_store(store_dir, what)
    records = store.read_runs([place]) if place.is_dir() else []
    here = machine.gather((), Path.cwd(), cloud_timeout_s=0)
    known = Known(probed_systems(records), library(records), Spreads(records), here)
    table, rows = table_of([_priced(line, pricing, records) for line in lines_of(plans, known)])
    return Ahead(plans, table, rows)


def _priced(line: Line, pricing: Pricing | None, records: Sequence[RunRecord]) -> Line:
    if line.drawn is None:
        return line
    declared = line.plans[0].price_usd_per_h
    chosen = Pricing(usd_per_h=declared) if declared is not None else pricing
    price = price_of(line.drawn.prediction.system, chosen, records)
    if price is None:
        return line
    costs = price.cost(line.drawn.draws.billed_s, line.plans[0].workers)
    return line._replace(costs=costs, currency=price.currency)


# --- scores --------------------------------------------------------------------------------------


class Score(NamedTuple):
    """Predictions beside the runs that followed."""

    found: Sequence[Scored]
    card: ScoreCard | None
    waiting: Sequence[Prediction]

    def findings(self) -> Findings:
        """Return the table, and the rows of both sides."""
        table = score_table(self.found, self.card, len(self.waiting))
        rows = [
            cell
            for line in table.lines
            for name in ("predicted", "measured")
            if isinstance(cell := line.cells[name], Row)
        ]
        return _findings(rows, [table])


def score(paths: Sequence[str | Path] = (), *, store_dir: str | Path | None = None) -> Score:
    """Compare the store's predictions with runs that began after them.

    `paths` name the runs (none: those of the store).

    Raises:
        UsageError: The store has no prediction.
    """
    place = find_store(store_dir)
    made = read_predictions(place)
    if not made:
        raise UsageError(
            f"{place} holds no prediction to score. Make some with: timetrial predict TASK --store "
            f"{place}"
        )
    records = store.read_runs([Path(path) for path in paths] or [place])
    found, waiting = scored(made, records)
    return Score(found, score_of(found), waiting)


def _findings(
    rows: Sequence[Row], tables: Sequence[Table], fronts: Sequence[Front] = ()
) -> Findings:
    return Findings(
        title="timetrial",
        command="",
        made_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=timetrial.__version__,
        rows=rows,
        curves=(),
        bars=(),
        verdicts=(),
        machines=(),
        runs=(),
        notes=(),
        tables=tables,
        fronts=fronts,
    )
