"""What a search makes small or large, and the score it is told of each run.

A run that reached its target has its time (or cost) as its score. One that missed it has no such
number, and is not dropped: all that is known is that it takes longer than it was watched. The
search is told a score that is worse than that of every run that reached, and better the nearer the
run came:

    score = longest * (2 + shortfall)

with `longest` the longest time that any run of the search was watched until then, its own included,
and `shortfall` how far its best evaluation stayed below the target, as a share of it. So it is
twice the longest time at least (the penalty of 2 of the "PAR2" score of algorithm configuration),
and three times at most. It steers the search, and is in no estimate: estimates and verdicts take
such runs as right-censored (stats/intervals.py).

Source: Hutter et al., ParamILS, J. Artif. Intell. Res. 36 (2009), 267-306, section 2 (penalised
average run time); the term of the shortfall is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from timetrial import units
from timetrial.errors import UsageError
from timetrial.spec import Record, Target
from timetrial.stats import clocks, measures
from timetrial.store import RunRecord

Kind: TypeAlias = Literal["time-to-target", "cost-to-target", "accuracy-after"]
PENALTY: Final = 2.0
UNUSABLE: Final = ("error", "killed")  # nothing is learned of the settings


class Objective(Record, frozen=True, kw_only=True):
    """What is looked for."""

    kind: Kind
    after_s: float | None = None  # of accuracy-after

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return self.kind if self.after_s is None else f"{self.kind}={self.after_s:g}s"

    @property
    def larger_is_better(self) -> bool:
        """Whether the search looks for large values."""
        return self.kind == "accuracy-after"

    @property
    def clock(self) -> str:
        """The clock that it is read on: cost is that of the billed time."""
        return "billed" if self.kind == "cost-to-target" else clocks.HEADLINE

    @property
    def unit(self) -> str:
        """The unit of its values."""
        return {"time-to-target": "s", "cost-to-target": "USD", "accuracy-after": "fraction"}[
            self.kind
        ]

    @property
    def measure(self) -> str:
        """The measure of its rows."""
        if self.kind == "accuracy-after":
            return f"accuracy_after_{self.after_s:g}s"
        return self.kind.replace("-", "_")


def parse_objective(text: str) -> Objective:
    """Return the objective that "time-to-target", "cost-to-target" or "accuracy-after=30s" names.

    Raises:
        UsageError: It names none.
    """
    kind, sign, after = text.strip().partition("=")
    if kind not in get_args(Kind) or bool(sign) != (kind == "accuracy-after"):
        raise UsageError(
            f"--objective {text} is not possible. Allowed: time-to-target, cost-to-target, or "
            "accuracy-after=TIME, such as accuracy-after=30s."
        )
    if not sign:
        return Objective(kind=kind)  # type: ignore[arg-type]
    seconds = units.parse_duration(after)
    if not seconds > 0:
        raise UsageError(f"--objective {text} is not possible. Allowed: a time above 0 s.")
    return Objective(kind="accuracy-after", after_s=seconds)


class Point(NamedTuple):
    """One evaluation of a run: seconds since the first touch of the data, and the metric then."""

    at_s: float
    value: float


class Outcome(NamedTuple):
    """What one run says of its settings."""

    value: float | None  # of the objective; None: missed, or not usable
    watched: float  # how long, in the objective's own unit; 0 where that is an accuracy
    shortfall: float  # of its best evaluation, 0 (reached) to 1
    usable: bool  # False: the run failed for a reason that is not its settings'

    def score(self, longest: float) -> float:
        """Return what the search is told; `longest`: the longest any run was watched before."""
        if self.value is not None:
            return self.value
        return max(longest, self.watched) * (PENALTY + self.shortfall)


def outcome_of(objective: Objective, record: RunRecord, target: Target) -> Outcome:
    """Return what a run that has ended says; `target` is the one that all runs have.

    Of accuracy-after: the accuracy at the last evaluation within the time; a run that diverged
    keeps that of its last one, and one without any has 0.
    """
    usable = record.status not in UNUSABLE
    if objective.larger_is_better:
        return Outcome(_accuracy_after(objective, record, target) if usable else None, 0.0, 0.0,
                       usable)  # fmt: skip
    clock = clocks.find_clock(objective.clock)
    factor = _price_per_s(record) if objective.kind == "cost-to-target" else 1.0
    seen = measures.time_to_target(record, target, clock)
    if seen is None:
        spent = clocks.elapsed_s(record.stretches, clock) or 0.0
        return Outcome(None, spent * factor, 1.0, usable)
    if seen.reached:
        return Outcome(seen.seconds * factor, seen.seconds * factor, 0.0, True)
    curve = measures.curve(record, metric=target.metric, split=target.split) or ()
    missed = min((shortfall(target, point.value) for point in curve), default=1.0)
    return Outcome(None, seen.seconds * factor, missed, usable)


def _price_per_s(record: RunRecord) -> float:
    """Return what a second of the machines of a run costs; the search has asked for the price."""
    price = record.plan.price_usd_per_h
    assert price is not None
    return price * record.hosts / 3600


def _accuracy_after(objective: Objective, record: RunRecord, target: Target) -> float:
    assert objective.after_s is not None
    split = target.split
    value = measures.value_after(record, objective.after_s, metric="accuracy", split=split)
    if value is None:
        points = measures.curve(record, metric="accuracy", split=split) or ()
        before = [point.value for point in points if point.time_s <= objective.after_s]
        value = before[-1] if before else 0.0
    return value if math.isfinite(value) else 0.0


def shortfall(target: Target, value: float) -> float:
    """Return how far a value stays behind the target, as a share of it: 0 (met) to 1."""
    if target.met_by(value):
        return 0.0
    if not math.isfinite(value):
        return 1.0
    scale = max(abs(target.threshold), abs(value)) or 1.0
    return min(1.0, abs(value - target.threshold) / scale)


def reached_after_s(record: RunRecord, target: Target) -> float | None:
    """Return the seconds to the target from the first touch of the data; None where it missed."""
    seen = measures.time_to_target(record, target, clocks.find_clock(clocks.HEADLINE))
    return seen.seconds if seen is not None and seen.reached else None


# --- while a run goes on -------------------------------------------------------------------------


def ticks(
    objective: Objective,
    target: Target,
    points: Sequence[Point],
    *,
    tick_s: float,
    last: int | None = None,
) -> dict[int, float]:
    """Return what is told of a run at each tick: at tick k the evaluation that was newest then.

    Runs are compared at equal times, not after equal steps: time is what is looked for. Of a time
    or cost it is the shortfall, of an accuracy the accuracy. Without `last` ticks end with the last
    evaluation; with it a run that has ended keeps its last value up to there, as in accuracy after
    a time.
    """
    found: dict[int, float] = {}
    end = last if last is not None else math.floor(points[-1].at_s / tick_s) if points else 0
    for tick in range(1, end + 1):
        before = [point.value for point in points if point.at_s <= tick * tick_s]
        if before:
            newest = before[-1]
            told = newest if objective.larger_is_better else shortfall(target, newest)
            found[tick] = told if math.isfinite(told) else 0.0
    return found
