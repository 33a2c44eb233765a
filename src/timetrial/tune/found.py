"""What a search left: its trials best first, the leaders' further runs, the winner, the verdict.

Three sets of runs with three sets of seeds, none shared: a trial has one run, by which leaders are
chosen; the leaders have further runs, by which the winner is chosen, their first not counted; and
winner and reference have fresh runs, which are the only ones that are in an estimate. A number that
something was chosen by is better than the truth; the fresh runs chose nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from timetrial import api, findings
from timetrial.errors import UsageError
from timetrial.results import Runs
from timetrial.rows import Verdict
from timetrial.spec import Setting, Task
from timetrial.stats import compare
from timetrial.store import RunRecord
from timetrial.tune.objective import Outcome, outcome_of
from timetrial.tune.settings import Settings
from timetrial.tune.study import Trial

TUNED: Final = "the tuned settings"
REFERENCE: Final = "the reference"


class Line(NamedTuple):
    """One trial: what was chosen, what --set says for it, its run and what that says."""

    trial: Trial
    settings: Mapping[str, Setting]
    record: RunRecord | None
    outcome: Outcome | None  # None: no run of it has ended
    repeats: Sequence[RunRecord] = ()  # on other seeds, of a leader

    @property
    def number(self) -> int:
        """The number of the trial."""
        return self.trial.number


class Found(NamedTuple):
    """All that a search left, read back from its journal and its runs."""

    name: str
    store: Path
    task: Task  # with its own rules
    settings: Settings
    lines: Sequence[Line]  # by number; those that were cut off and tried again left out
    leaders: Sequence[int]
    winner: int | None
    tuned: Sequence[RunRecord]  # fresh runs of the winner
    reference: Sequence[RunRecord]  # fresh runs of the task as it stands
    winners: Sequence[int]  # whoever was compared on fresh seeds, in order
    importances: Mapping[str, float]
    unfinished: int  # runs whose worker was killed: the same command goes on with them
    cut_off: int  # trials that were cut off and tried again
    command: str

    def line(self, number: int) -> Line:
        """Return one trial."""
        return next(line for line in self.lines if line.number == number)

    def best_first(self) -> list[Line]:
        """Return the trials: the winner, other leaders, the rest by value, then what has none."""
        order = {number: place for place, number in enumerate(self.leaders)}
        sign = -1 if self.settings.objective.larger_is_better else 1

        def key(line: Line) -> tuple[bool, float, bool, float, int]:
            seen = line.outcome
            value = None if seen is None else seen.value
            behind = 2.0 if seen is None else seen.shortfall  # of what is none at all: last
            return (
                line.number != self.winner,
                order.get(line.number, math.inf),
                value is None,
                behind if value is None else sign * value,
                line.number,
            )

        return sorted(self.lines, key=key)

    def verdict(self) -> Verdict | None:
        """Return how winner and reference compare on their fresh runs; None without such runs."""
        if not self.tuned or not self.reference:
            return None
        return verdict_of(self.settings, self.tuned, self.reference)


def verdict_of(
    settings: Settings, tuned: Sequence[RunRecord], reference: Sequence[RunRecord]
) -> Verdict:
    """Return how two sets of runs compare by the objective: A is tuned, B the reference.

    Times and costs as `api.compare` does it; the ratio of two costs at one price is that of the
    billed times.
    """
    objective = settings.objective
    if objective.larger_is_better:
        return _accuracies(settings, tuned, reference)
    [found] = api.compare(Runs(tuned), Runs(reference), clock=objective.clock)
    notes = list(found.notes)
    if objective.kind == "cost-to-target":
        notes.append("at one price for both, the ratio of the costs is that of the billed times")
    return msgspec.structs.replace(found, a=TUNED, b=REFERENCE, notes=notes)


def _accuracies(
    settings: Settings, tuned: Sequence[RunRecord], reference: Sequence[RunRecord]
) -> Verdict:
    objective = settings.objective
    sides, notes = [], []
    for name, runs in (("A", tuned), ("B", reference)):
        outcomes = [outcome_of(objective, run, settings.target) for run in runs]
        had = [one.value for one in outcomes if one.value is not None]
        if len(had) < len(runs):
            notes.append(f"{name}: {len(runs) - len(had)} of {len(runs)} runs failed")
        if not had or min(had) == 0:
            raise UsageError(
                f"Runs were not evaluated within {objective.after_s:g} s: there is no accuracy to "
                "compare. Search for a later one, with a new name: --objective accuracy-after=TIME "
                "--name NAME."
            )
        sides.append(np.array(had, dtype=np.float64))
    a, b = (findings.group_runs(side)[0] for side in (tuned, reference))
    found = compare.compare_means(sides[0], sides[1], better="higher")
    return Verdict(
        task=a.system.task,
        measure=objective.measure,
        clock=objective.clock,
        a=TUNED,
        b=REFERENCE,
        n_a=found.n_a,
        n_b=found.n_b,
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        verdict=found.verdict,
        more_runs=found.more_runs,
        notes=[*findings.work_notes(a, b), *notes, *found.notes],
    )


# --- who leads, who wins -------------------------------------------------------------------------


def leaders_of(lines: Sequence[Line], count: int, *, larger_is_better: bool) -> list[Line]:
    """Return the best trials by their own runs, best first; settings that are equal once.

    The task's own settings are none of them: they are what the winner is compared with. Nor is a
    trial that missed the target.
    """
    candidates = [
        (line.outcome.value, line)
        for line in lines
        if line.trial.state == "finished"
        and not line.trial.reference
        and line.outcome is not None
        and line.outcome.value is not None
    ]
    candidates.sort(key=lambda pair: (-pair[0] if larger_is_better else pair[0], pair[1].number))
    chosen: list[Line] = []
    for _, line in candidates:
        if len(chosen) < count and all(line.settings != known.settings for known in chosen):
            chosen.append(line)
    return chosen


def winner_of(
    leaders: Sequence[Line],
    outcomes: Mapping[int, Sequence[Outcome]],
    *,
    larger_is_better: bool,
) -> Line:
    """Return the leader with the best mean score of its further runs, by trial number.

    A run that missed the target has the score that a search is told of it, with the longest time of
    all these runs. Without further runs the first leader wins.
    """
    if not any(outcomes.get(line.number) for line in leaders):
        return leaders[0]
    longest = max(one.watched for line in leaders for one in outcomes.get(line.number, ()))

    def mean(line: Line) -> float:
        scores = [one.score(longest) for one in outcomes.get(line.number, ()) if one.usable]
        if not scores:
            return -math.inf if larger_is_better else math.inf
        return statistics.fmean(scores)

    return max(leaders, key=mean) if larger_is_better else min(leaders, key=mean)
