"""What every row of a script's runs says: what was believed, what was not, what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

from timetrial.engine.events import Ended, Evaluated, Refused
from timetrial.engine.metrics import metric_value
from timetrial.scripted import command
from timetrial.scripted.claims import largest_gap
from timetrial.store import Evaluation, RunRecord

NOT_RECOMPUTED = "accuracy as the script reported it, not recomputed"


def script_notes(runs: Sequence[RunRecord]) -> list[str]:
    """Return the notes of the runs of one script."""
    plan = runs[-1].plan
    notes = [
        f"open division: {command.name_of(plan)} chose model, tricks and language itself; only "
        "data, target, budget and clock are the task's",
        "from the start of the command all time is train: imports, loading and evaluating cannot "
        "be told apart; the target is read on test",
    ]
    if command.hides_code(plan):
        notes.append(
            "no file of the code that ran is known: runs before and after a change of it are not "
            "told apart"
        )
    if plan.device != "cpu":
        notes.append(f"device {plan.device}: what the script was told, not what it was seen to use")
    notes += _believed(runs)
    events = [event for run in runs for event in run.worker]
    differing, furthest = largest_gap(events)
    if differing:
        notes.append(
            f"{differing} claims differ from the script's own predictions: {furthest}; the "
            "predictions count"
        )
    refused = [event for event in events if isinstance(event, Refused)]
    ends = [event for event in events if isinstance(event, Ended)]
    if refused:
        count = max(len(refused), sum(end.refused for end in ends))
        notes.append(f"{count} reported accuracies do not count; the first: {refused[0].why}")
    malformed = [end for end in ends if end.malformed]
    if malformed:
        notes.append(
            f"{sum(end.malformed for end in malformed)} malformed :::MLLOG lines; the first: "
            f"{malformed[0].first_malformed}"
        )
    outlived = sum(end.outlived for end in ends)
    if outlived:
        notes.append(f"{outlived} processes outlived their command and were killed")
    return notes


def _believed(runs: Sequence[RunRecord]) -> list[str]:
    """Say which accuracies are the script's word, and where one of them met the target."""
    events = [event for run in runs for event in run.worker if isinstance(event, Evaluated)]
    believed = sum(not event.recomputed for event in events)
    if not believed:
        return []
    if believed == len(events):
        return [NOT_RECOMPUTED]
    note = f"{NOT_RECOMPUTED}, in {believed} of {len(events)} evaluations"
    decided = sum(met is not None and not met.recomputed for met in map(_met, runs))
    if decided:
        note += f", among them the one that met the target, in {decided} of {len(runs)} runs"
    return [note]


def _met(run: RunRecord) -> Evaluation | None:
    """Return the first evaluation that met the run's target, None where none did."""
    target = run.plan.target or run.plan.task.targets[-1]
    return next(
        (
            seen
            for seen in run.evaluations
            if seen.split == target.split and target.met_by(metric_value(target.metric, seen))
        ),
        None,
    )
