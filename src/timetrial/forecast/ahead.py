"""What a plan of many runs takes and costs, before any of it is spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from timetrial import frameworks, machine, units
from timetrial.errors import UsageError
from timetrial.forecast.predict import Drawn, Wanted, predict, row_of
from timetrial.forecast.systems import Probed, Spreads
from timetrial.launch import ON_THIS_MACHINE
from timetrial.machine import MachineRecord
from timetrial.plan import Plan
from timetrial.references.convergence import CurveSet
from timetrial.rows import Row, Table, TableColumn, TableLine
from timetrial.spec.network import parse_network
from timetrial.stats import forecast
from timetrial.stats.forecast import Rhythm
from timetrial.stats.intervals import Estimate

UNKNOWN: Final = "unknown"


class Known(NamedTuple):
    """What predictions are made from."""

    systems: Sequence[Probed]
    curves: Sequence[CurveSet]
    spreads: Spreads
    here: MachineRecord


class Line(NamedTuple):
    """The runs of one system: predicted, or why not."""

    plans: Sequence[Plan]
    drawn: Drawn | None
    why: str  # not, where it is not
    costs: np.ndarray | None = None  # draws of one run
    currency: str | None = None


def lines_of(plans: Sequence[Plan], known: Known) -> list[Line]:
    """Return the plans by system, in order, each with the prediction of one of its runs."""
    groups: dict[bytes, list[Plan]] = {}
    for plan in plans:
        alike = msgspec.structs.replace(plan, seed=0, created_utc="", run="")
        groups.setdefault(msgspec.json.encode(alike, order="deterministic"), []).append(plan)
    return [_line(group, known) for group in groups.values()]


def _line(plans: Sequence[Plan], known: Known) -> Line:
    plan = plans[0]
    if plan.script:
        return Line(plans, None, "a script's steps are its own")
    if plan.learned is None:
        return Line(plans, None, "a measurement, nothing is learned")
    if plan.division != "closed":
        return Line(plans, None, "open division: its steps are not those of the closed task")
    if plan.launcher not in ON_THIS_MACHINE:
        return Line(plans, None, f"launcher {plan.launcher}: it runs on machines not known here")
    there = known.here.cpu.allowed_cores
    if plan.workers > 1 and there is not None and plan.workers * plan.cores > there:
        return Line(plans, None, f"{plan.workers} workers would share {there} cores")
    system = next((one for one in known.systems if _fits(one, plan, known.here)), None)
    if system is None:
        return Line(plans, None, f"not probed: timetrial probe {_probe_words(plan)}")
    wanted = Wanted(
        task=plan.task,
        target=plan.target,
        steps_max=plan.steps_max,
        rhythm=Rhythm(plan.rhythm.eval_every_steps, plan.rhythm.checkpoint_every_s),
        workers=plan.workers,
        network=parse_network(plan.network) if plan.network else None,
    )
    try:
        noise = known.spreads.of(system.processor, system.precision)
        drawn = predict(system, wanted, curves=known.curves, varies=noise)
    except UsageError as error:
        return Line(plans, None, str(error))
    if plan.budget_s is not None:
        drawn = _within(drawn, plan.budget_s)
    if plan.inference_s is not None:  # warm-up and what lies between calls come on top
        billed = drawn.draws.billed_s + plan.inference_s
        drawn = drawn._replace(draws=drawn.draws._replace(billed_s=billed))
    return Line(plans, drawn, "")


def _within(drawn: Drawn, budget_s: float) -> Drawn:
    """Return draws that end with the run's time budget; what comes before and after stays."""
    rest = np.where(np.isfinite(drawn.draws.billed_s), drawn.draws.billed_s, 0.0)
    rest = rest - np.where(np.isfinite(drawn.draws.seconds), drawn.draws.seconds, 0.0)
    seconds = np.minimum(drawn.draws.seconds, budget_s)
    return drawn._replace(
        draws=drawn.draws._replace(seconds=seconds, billed_s=seconds + np.maximum(rest, 0.0))
    )


def _fits(system: Probed, plan: Plan, here: MachineRecord) -> bool:
    """Return whether a probe is of this machine, this software and these choices."""
    version = frameworks.version(plan.framework, here.software.packages)
    software = f"{plan.framework} {version}".strip()
    name = machine.system_name(here, cores=plan.cores, device=plan.device, software=software)
    return (
        not system.shipped  # made elsewhere, though it may have this machine's name
        and system.task_hash == plan.task_hash
        and (system.framework, system.device, system.cores, system.precision)
        == (plan.framework, plan.device, plan.cores, plan.precision)
        and system.memory_bytes == plan.memory_bytes
        and (system.machine == name or system.machine.endswith(f", {name}"))
    )


def _probe_words(plan: Plan) -> str:
    words = [plan.task.name, f"--framework {plan.framework}"]
    words += [f"--cores {plan.cores}"] if plan.cores_restricted else []
    words += [f"--precision {plan.precision}"] if plan.precision != "float32" else []
    words += [f"--device {plan.device}"] if plan.device != "cpu" else []
    return " ".join(words)


# --- the table -----------------------------------------------------------------------------------


def table_of(lines: Sequence[Line]) -> tuple[Table, list[Row]]:
    """Return the table of a plan with its total, and the rows in it."""
    rows: list[Row] = []
    shown: list[TableLine] = []
    for line in lines:
        cells = _cells(line)
        rows += [cell for cell in cells.values() if isinstance(cell, Row)]
        plan = line.plans[0]
        notes = [line.why] if line.why else list(line.drawn.prediction.notes if line.drawn else ())
        shown.append(
            TableLine(
                group=plan.subject.name,
                origin="predicted" if line.drawn else None,
                date=plan.created_utc[:10],
                source="",
                n=len(line.plans),
                cells=cells,
                notes=notes,
            )
        )
    total, words = _total(lines)
    columns = (
        TableColumn(name="system", heading="System", text=True),
        TableColumn(name="each", heading="A run", about="billed time of one, 95 % interval"),
        TableColumn(name="all", heading="All", about="of them, one after the other"),
        TableColumn(name="cost", heading="Cost", about="of all of them"),
    )
    if total is not None:
        shown.append(total)
        rows += [cell for cell in total.cells.values() if isinstance(cell, Row)]
    title = f"{units.count(sum(len(line.plans) for line in lines), 'run')} planned, none begun"
    return Table(suite="dry run", title=title, columns=columns, lines=shown, notes=words), rows


def _cells(line: Line) -> dict[str, Row | str]:
    plan = line.plans[0]
    if line.drawn is None:
        name = f"{plan.framework}, {units.count(plan.cores, 'core')}, {plan.precision}"
        return {"system": name, "each": UNKNOWN, "all": UNKNOWN, "cost": UNKNOWN}
    made, billed = line.drawn.prediction, line.drawn.draws.billed_s
    count = len(line.plans)
    row = msgspec.structs.replace(row_of(made), clock="billed", target=None, split=None)
    cells: dict[str, Row | str] = {
        "system": row.system,
        "each": _of(row, "run_time", "s", forecast.summarise(billed, made.steps_n)),
        "all": _of(row, "total_time", "s", forecast.summarise(count * billed, made.steps_n)),
        "cost": UNKNOWN,
    }
    if line.costs is not None:
        cost = forecast.summarise(count * line.costs, made.steps_n)
        cells["cost"] = _of(row, "total_cost", line.currency or "USD", cost)
    return cells


def _of(row: Row, measure: str, unit: str, estimate: Estimate) -> Row:
    return msgspec.structs.replace(
        row,
        measure=measure,
        unit=unit,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
    )


def _total(lines: Sequence[Line]) -> tuple[TableLine | None, list[str]]:
    """Return the line of all runs together, and what is not in it.

    Draws of systems are independent of each other, those of one system's runs move together.
    """
    known = [line for line in lines if line.drawn is not None]
    missing = sum(len(line.plans) for line in lines if line.drawn is None)
    words = [f"{missing} runs are not in the total: nobody knows how long they take"] * bool(
        missing
    )
    unpriced = sum(len(line.plans) for line in known if line.costs is None)
    words += [f"{unpriced} runs have no price: their cost is unknown"] * bool(unpriced)
    if not known:
        return None, words
    generator = np.random.default_rng(2)
    billed = np.zeros(forecast.DRAWS)
    costs = np.zeros(forecast.DRAWS)
    for line in known:
        assert line.drawn is not None
        order = generator.permutation(forecast.DRAWS)
        billed += len(line.plans) * line.drawn.draws.billed_s[order]
        if line.costs is not None:
            costs += len(line.plans) * line.costs[order]
    first = known[0].drawn
    assert first is not None
    runs = sum(len(line.plans) for line in known)
    row = msgspec.structs.replace(
        row_of(first.prediction),
        task="all",
        framework="",
        system=f"{runs} runs",
        clock="billed",
        target=None,
        split=None,
        notes=[],
        evidence=[],
        facts={},
    )
    cells: dict[str, Row | str] = {
        "system": f"{runs} runs",
        "all": _of(row, "total_time", "s", forecast.summarise(billed, runs)),
        "cost": UNKNOWN,
    }
    currencies = {line.currency for line in known if line.costs is not None}
    if not unpriced and len(currencies) == 1:
        currency = currencies.pop() or "USD"
        cells["cost"] = _of(row, "total_cost", currency, forecast.summarise(costs, runs))
    return TableLine(
        group="in all", origin="predicted", date=row.date, source="", n=runs, cells=cells
    ), words
