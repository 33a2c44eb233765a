"""What a search found, as rows, tables and a picture that every report can show."""

from __future__ import annotations

import datetime
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

import timetrial
from timetrial import findings, units
from timetrial.plan import Request
from timetrial.results import Runs
from timetrial.rows import (
    Findings,
    Row,
    Search,
    SearchAxis,
    SearchPoint,
    Table,
    TableColumn,
    TableLine,
    Verdict,
)
from timetrial.spec import Setting
from timetrial.store import RunRecord
from timetrial.tune.found import REFERENCE, TUNED, Found, Line
from timetrial.tune.objective import PENALTY
from timetrial.tune.space import Parameter
from timetrial.tune.study import CAPPING

_BEHIND: Final = {CAPPING: "had taken longer than the leaders of their time and a quarter more"}
_EDGE: Final = 0.02  # of a range, on its own scale: what lies so near to an end lies at it
_OPTIONS: Final = {
    # field of a request -> option of `timetrial run`, and what it is where nobody says
    "framework": ("--framework", None),
    "device": ("--device", "cpu"),
    "cores": ("--cores", None),
    "memory_bytes": ("--memory", None),
    "precision": ("--precision", None),
    "workers": ("--workers", 1),
    "launcher": ("--launcher", "local"),
    "network": ("--network", None),
    "algorithm": ("--algorithm", None),
    "partition": ("--partition", None),
    "cluster": ("--cluster", None),
    "dataset": ("--dataset", None),
    "eval_split": ("--eval-split", None),
    "target": ("--target", None),
    "price_usd_per_h": ("--price-per-hour", None),
}


def findings_of(found: Found) -> Findings:
    """Return what a report of the search shows: its verdict, its tables, its picture, its runs."""
    fresh = [*found.tuned, *found.reference]
    title = f"timetrial tune {found.settings.task}"
    verdict = found.verdict()
    base = Runs(fresh, command=found.command).findings(title=title) if fresh else _blank(title)
    records = [line.record for line in found.lines if line.record is not None]
    records += [record for line in found.lines for record in line.repeats]
    return msgspec.structs.replace(
        base,
        command=found.command,
        verdicts=[] if verdict is None else [verdict],
        tables=tables_of(found),
        searches=[search_of(found)],
        runs=[*base.runs, *(findings.line_of(record) for record in records)],
    )


def rows_of(found: Found) -> list[Row]:
    """Return all rows: those of the fresh runs, the ratio, then a row per trial that has one."""
    shown = findings_of(found)
    rows = list(shown.rows)
    verdict = found.verdict()
    if verdict is not None:
        rows.append(_ratio_row(found, verdict))
    for table in shown.tables:
        for line in table.lines:
            rows += [cell for cell in line.cells.values() if isinstance(cell, Row)]
    return list({msgspec.json.encode(row): row for row in rows}.values())


def tables_of(found: Found) -> list[Table]:
    """Return the trials, best first, and winner and reference on fresh seeds where there are."""
    tables = [_trials(found)]
    if found.tuned and found.reference:
        tables.append(_fresh(found))
    return tables


def _blank(title: str) -> Findings:
    return Findings(
        title=title,
        command="",
        made_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=timetrial.__version__,
        rows=(),
        curves=(),
        bars=(),
        verdicts=(),
        machines=(),
        runs=(),
        notes=(),
    )


# --- trials --------------------------------------------------------------------------------------


def _trials(found: Found) -> Table:
    objective = found.settings.objective
    heading = {
        "time-to-target": "Time to target",
        "cost-to-target": "Cost to target",
        "accuracy-after": "Accuracy",
    }[objective.kind]
    counts = {len(line.repeats) for line in found.lines if line.repeats}
    again = f"Again, n = {max(counts)}" if counts else "Again"
    return Table(
        suite="tune",
        title=f"{found.settings.task}, {objective}, {units.count(len(found.lines), 'trial')}",
        columns=(
            TableColumn(name="trial", heading="Trial", text=True),
            TableColumn(name="chosen", heading="Chosen", text=True),
            TableColumn(name="own", heading=heading, about="one run, by which leaders are chosen"),
            *(
                [TableColumn(name="again", heading=again,
                             about="on other seeds; by it the winner is chosen")]
                if counts
                else []
            ),
        ),
        lines=[_line(found, line) for line in found.best_first()],
        notes=_notes(found),
    )  # fmt: skip


def _line(found: Found, line: Line) -> TableLine:
    record = line.record
    own = _own_cell(found, line)
    cells: dict[str, Row | str] = {
        "trial": f"trial {line.number}" + (", winner" if line.number == found.winner else ""),
        "chosen": chosen_words(found, line.settings),
        "own": own,
    }
    if line.repeats:
        cells["again"] = _objective_row(found, line.repeats, trial=line.number, part="again")
    runs = [record, *line.repeats] if record is not None else []
    return TableLine(
        group=_group_of(found, line),
        origin="measured" if record is not None else None,
        date=record.plan.created_utc[:10] if record is not None else "",
        source="",
        n=1 if record is not None else None,
        cells=cells,
        notes=["the task's own settings"] if line.trial.reference else [],
        evidence=[run.plan.run for run in runs],
    )


def _group_of(found: Found, line: Line) -> str:
    if line.number in found.leaders:
        return "Leaders"
    if line.trial.state == "running":
        return "Cut off: the same command goes on"
    if line.trial.state == "failed":
        return "Failed"
    if line.trial.state == "pruned":
        return "Given up: others were better by then"
    reached = line.outcome is not None and line.outcome.value is not None
    return "Others" if reached else "Missed the target"


def _own_cell(found: Found, line: Line) -> Row | str:
    """Return the objective of a trial's own run, or what became of it."""
    record, outcome = line.record, line.outcome
    if record is None or outcome is None:
        return "not ended"
    if not outcome.usable:
        return f"{record.status}: {record.detail}"
    if outcome.value is not None and record.status != "pruned":
        return _objective_row(found, [record], trial=line.number, part="search")
    return words_of(found, line)


def words_of(found: Found, line: Line) -> str:
    """Return what became of a trial without a value, such as "missed in 110 s at 98.40 %"."""
    record, outcome = line.record, line.outcome
    if record is None or outcome is None:
        return "not ended"
    if not outcome.usable:
        return str(record.status)
    verb = "given up" if record.status == "pruned" else "missed"
    if record.status not in ("pruned", "budget"):
        verb = str(record.status).replace("_", " ")
    seen = [point for point in record.evaluations if point.split == found.settings.target.split]
    at = f" at {units.percent(seen[-1].accuracy)}" if seen else ""
    if found.settings.objective.larger_is_better:
        return f"{verb}{at}"
    return f"{verb} in {units.quantity(outcome.watched, found.settings.objective.unit)}{at}"


def _objective_row(
    found: Found, records: Sequence[RunRecord], *, trial: int | None, part: str
) -> Row:
    """Return the row of the objective over some runs of one system."""
    settings = found.settings
    objective, plan = settings.objective, records[0].plan
    group = findings.Group(findings.system_of(records[0]), plan.task, list(records))
    if objective.larger_is_better:
        assert objective.after_s is not None
        split = settings.target.split
        after = findings.accuracy_after_row(group, objective.after_s, objective.clock, split)
        if after is None:
            nothing = findings.time_row(group, settings.target, objective.clock)
            after = msgspec.structs.replace(
                nothing, measure=objective.measure, unit=objective.unit, value=None, low=None,
                high=None, facts={},
            )  # fmt: skip
        row = after
    else:
        row = findings.time_row(group, settings.target, objective.clock)
    if objective.kind == "cost-to-target":
        row = _as_cost(row, records[0])
    told = {"part": part} if trial is None else {"part": part, "trial": str(trial)}
    return msgspec.structs.replace(row, facts={**row.facts, **told})


def _as_cost(row: Row, record: RunRecord) -> Row:
    """Return a row of billed seconds as what they cost."""
    price = record.plan.price_usd_per_h
    assert price is not None
    per_s = price * record.hosts / 3600
    value, low, high = (None if x is None else x * per_s for x in (row.value, row.low, row.high))
    note = f"at {price:g} USD per hour, given on the command line; no fees"
    return msgspec.structs.replace(
        row, measure="cost_to_target", unit="USD", value=value, low=low, high=high, facts={},
        notes=[*row.notes, note],
    )  # fmt: skip


def chosen_words(found: Found, settings: Mapping[str, Setting]) -> str:
    """Return the rules that the search chose, by the last part of their names."""
    names = found.settings.space.chosen
    return ", ".join(f"{name.rpartition('.')[2]} {settings[name]}" for name in names)


def _notes(found: Found) -> list[str]:
    """Say what a reader must know of the trials."""
    settings = found.settings
    space = settings.space
    read_on = f", read {space.read_on}" if space.read_on else ""
    notes = [
        f"search space {settings.space_name}: {space.title}; {space.source}{read_on}",
        *space.notes,
        f"sampler {settings.sampler}, pruner {settings.pruner}, Optuna; every run has a seed of "
        "its own, none is shared between trials, further runs of leaders and fresh runs",
    ]
    same = [f"{name} {one.choices[0]}" for name, one in space.parameters.items() if one.fixed]
    if same:
        notes.append(f"the same in all trials: {', '.join(same)}")
    if "batch_size" in space.parameters:
        notes.append(
            "with another mini-batch, what is counted in steps (evaluations, the end, a warm-up, a "
            "decay by step) covers the same examples as the task's own"
        )
    states = [line.trial.state for line in found.lines]
    missed = sum(
        line.trial.state == "finished" and line.outcome is not None and line.outcome.value is None
        for line in found.lines
    )
    if missed:
        notes.append(
            f"{missed} of {len(states)} trials missed the target: the search was told at least "
            f"{PENALTY:g} times the longest that any run was watched"
        )
    if states.count("pruned"):
        notes.append(
            f"{states.count('pruned')} of {len(states)} trials were given up before their end: by "
            f"then they {_BEHIND.get(settings.pruner, 'were behind others at the same time')}"
        )
    if found.cut_off:
        notes.append(
            f"{units.count(found.cut_off, 'trial')} cut off, and tried again from the start with "
            "another seed"
        )
    if found.task.eval_split == "test":
        notes.append(
            f"{settings.task} is evaluated on test: settings were chosen by test accuracy too, "
            "times to it are of hindsight on both sides"
        )
    if found.winner is not None:
        notes += _edges(found)
    return notes


def _edges(found: Found) -> list[str]:
    """Say where the winner lies at the end of a range: better settings may lie beyond."""
    assert found.winner is not None
    winner = found.line(found.winner)
    notes = []
    for name, one in found.settings.space.chosen.items():
        share = None if one.choices else _share(one, float(winner.trial.point[name]))
        if share is not None and not _EDGE <= share <= 1 - _EDGE:
            end = "lower" if share < 0.5 else "upper"
            notes.append(f"the winner's {name} lies at the {end} end of its range")
    return notes


def _share(one: Parameter, value: float) -> float:
    """Return where a value lies in its range on its scale, 0 to 1."""
    assert one.low is not None
    assert one.high is not None
    low, high = float(one.low), float(one.high)
    if one.scale == "log":
        return math.log(value / low) / math.log(high / low)
    if one.scale == "log-one-minus":
        return math.log((1 - low) / (1 - value)) / math.log((1 - low) / (1 - high))
    return (value - low) / (high - low)


# --- winner and reference ------------------------------------------------------------------------


def _fresh(found: Found) -> Table:
    heading = {
        "time-to-target": "Time to target",
        "cost-to-target": "Cost to target",
        "accuracy-after": "Accuracy",
    }[found.settings.objective.kind]
    sides = ((TUNED, found.tuned), (REFERENCE, found.reference))
    notes = [
        "fresh seeds: no setting was chosen by these runs, and they alone are in the verdict",
    ]
    if len(found.winners) > 1:
        tried = ", ".join(map(str, found.winners))
        notes.append(
            f"this search has compared {len(found.winners)} winners in turn (trials {tried}): who "
            "goes on until a verdict pleases has chosen it"
        )
    return Table(
        suite="tune",
        title=f"{found.settings.task}, trial {found.winner} on fresh seeds",
        columns=(
            TableColumn(name="side", heading="Settings", text=True),
            TableColumn(name="objective", heading=heading),
            TableColumn(name="epochs", heading="Epochs to target"),
            TableColumn(name="speed", heading="Examples per second"),
            TableColumn(name="accuracy", heading="Test accuracy"),
        ),
        lines=[_side(found, name, records) for name, records in sides],
        notes=notes,
    )


def _side(found: Found, name: str, records: Sequence[RunRecord]) -> TableLine:
    part = "tuned" if name == TUNED else "reference"
    group = findings.Group(findings.system_of(records[0]), records[0].plan.task, list(records))
    cells: dict[str, Row | str | None] = {
        "side": name,
        "objective": _objective_row(found, records, trial=None, part=part),
        "speed": findings.per_run_row_of(group, "examples_per_s"),
        "accuracy": findings.per_run_row_of(group, "final_test_accuracy"),
    }
    if not found.settings.objective.larger_is_better:
        cells["epochs"] = findings.epochs_row(group, found.settings.target)
    row = cells["objective"]
    assert isinstance(row, Row)
    return TableLine(
        group=found.settings.task,
        origin="measured",
        date=row.date,
        source=row.source,
        n=len(records),
        cells={key: cell for key, cell in cells.items() if cell is not None},
        notes=list(row.notes),
        evidence=[record.plan.run for record in records],
    )


def _ratio_row(found: Found, verdict: Verdict) -> Row:
    """Return the ratio of winner over reference as a row."""
    row = _objective_row(found, found.tuned, trial=None, part="tuned")
    return msgspec.structs.replace(
        row,
        measure="tuned_over_reference",
        unit="1",
        value=verdict.ratio,
        low=verdict.low,
        high=verdict.high,
        n=verdict.n_a,
        notes=[f"{verdict.measure}: {verdict.verdict} (A tuned, B reference)", *verdict.notes],
        evidence=[record.plan.run for record in (*found.tuned, *found.reference)],
        facts={"part": "verdict", "verdict": verdict.verdict, "n_reference": str(verdict.n_b)},
    )


# --- picture -------------------------------------------------------------------------------------


def search_of(found: Found) -> Search:
    """Return the trials for the picture of value by rule."""
    settings = found.settings
    chosen = settings.space.chosen
    axes = [
        SearchAxis(
            name=name,
            scale=one.scale,
            low=float(one.low if one.low is not None else 0),
            high=float(one.high if one.high is not None else len(one.choices) - 1),
            choices=[str(choice) for choice in one.choices],
            importance=found.importances.get(name),
        )
        for name, one in chosen.items()
    ]
    points = [_point(found, line) for line in found.lines if line.trial.point]
    return Search(
        title=settings.task,
        task=settings.task,
        measure=settings.objective.measure,
        unit=settings.objective.unit,
        axes=axes,
        points=points,
    )


def _point(found: Found, line: Line) -> SearchPoint:
    part: Literal["winner", "leader", "reference", "trial"] = "trial"
    if line.trial.reference:
        part = "reference"
    if line.number in found.leaders:
        part = "winner" if line.number == found.winner else "leader"
    known = line.outcome is not None and line.outcome.usable and line.trial.state == "finished"
    at = []
    for name, one in found.settings.space.chosen.items():
        value = line.trial.point[name]
        at.append(float(one.choices.index(value)) if one.choices else float(value))
    return SearchPoint(
        trial=line.number,
        at=at,
        value=line.outcome.value if known and line.outcome is not None else None,
        part=part,
        words=words_of(found, line),
    )


# --- the winner's command ------------------------------------------------------------------------


def winner_command(found: Found) -> str:
    """Return the command that runs the winner's settings again."""
    assert found.winner is not None
    request = found.settings.request
    words = ["timetrial", "run", request.task, "--division", "open", *_options(request)]
    own = {**request.settings, **found.line(found.winner).settings}
    for name, value in own.items():
        words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(words)


def _options(request: Request) -> list[str]:
    words: list[str] = []
    for field, (option, usual) in _OPTIONS.items():
        value = getattr(request, field)
        if value is not None and value != usual:
            words += [option, str(value)]
    if request.budget_s is not None:
        words += ["--budget", f"{request.budget_s:g}s"]
    return words
