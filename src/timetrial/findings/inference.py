"""What trained models take to predict: latencies, examples per second, DAWNBench's rule.

Rows stand for one number of examples at a time, which their facts name (`batch`). Of several runs
the mean of each run's value is taken, with Student's t; of a single one the interval is that of its
own calls.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from timetrial.engine.inference import ALONE_SHARE, SPLIT
from timetrial.engine.metrics import metric_value
from timetrial.findings.estimates import make_row
from timetrial.findings.groups import Group, targets_of
from timetrial.rows import Inference, InferenceLine, Row
from timetrial.spec import Target
from timetrial.stats import inference, intervals, measures
from timetrial.stats.inference import Calls, Seen
from timetrial.stats.intervals import Estimate
from timetrial.store import RunRecord

LATENCIES: Final[Mapping[str, float]] = {  # measure -> share of the calls
    "inference_latency_p50": 0.5,
    "inference_latency_p90": 0.9,
    "inference_latency_p99": 0.99,
}
THROUGHPUT: Final = "inference_throughput"
DAWNBENCH: Final = "inference_latency_dawnbench"
ALONE: Final = 1  # example at a time
_ENDED: Final = ("reached", "budget")
_OF_ONE_RUN: Final = "one run: the interval is that of its calls, neighbours counted for fewer"


class _Timed(NamedTuple):
    """A run with what it predicted."""

    run: RunRecord
    seen: Seen


def inference_of(group: Group) -> Inference | None:
    """Return what predicting took in the runs of one system, None where nobody asked for it."""
    if group.system.inference_s is None:
        return None
    kept, notes = _kept(group.runs)
    sizes = sorted({size for one in kept for size in (*one.seen.calls, *one.seen.left_out)})
    return Inference(
        task=group.system.task,
        framework=group.system.framework,
        system=group.system.name,
        split=SPLIT,
        n=len(kept),
        lines=[_line(group, kept, size, notes) for size in sizes],
        dawnbench=_dawnbench_row(group, kept, notes),
    )


def inference_rows(found: Inference) -> list[Row]:
    """Return all rows: latencies and examples per second by batch, and DAWNBench's latency."""
    return [*(row for line in found.lines for row in line.cells.values()), found.dawnbench]


def _kept(runs: Sequence[RunRecord]) -> tuple[list[_Timed], list[str]]:
    """Return the runs whose predictions count, and why others do not."""
    kept: list[_Timed] = []
    reasons: list[str] = []
    for run in runs:
        seen = inference.inference_of(run) if run.status in _ENDED else None
        if seen is None or ALONE not in seen.calls:
            reasons.append("ended before its inference")
        elif (fault := inference.fault_of(run, seen)) is not None:
            reasons.append(f"is not the model that was evaluated: {fault}")
        else:
            kept.append(_Timed(run, seen))
    return kept, _left_out(reasons, len(runs))


def _left_out(reasons: Sequence[str], of: int) -> list[str]:
    counted = collections.Counter(reasons)
    return [f"{n} of {of} runs not in its figures: {why}" for why, n in counted.items()]


def _line(group: Group, kept: Sequence[_Timed], size: int, notes: Sequence[str]) -> InferenceLine:
    """Return the rows of one number of examples at a time."""
    calls = [one.seen.calls[size] for one in kept if size in one.seen.calls]
    if not calls:
        why = next(one.seen.left_out[size] for one in kept if size in one.seen.left_out)
        return InferenceLine(batch=size, cells={}, left_out=why)
    missing = len(kept) - len(calls)
    said = [*notes, *([f"{missing} of {len(kept)} runs had no time for it"] if missing else [])]
    build: dict[str, tuple[str, Callable[[Calls], Estimate]]] = {
        **{name: ("s", _percentile(share)) for name, share in LATENCIES.items()},
        THROUGHPUT: ("1/s", inference.throughput),
    }
    return InferenceLine(
        batch=size,
        cells={
            name: _row(group, name, unit, [estimate(one) for one in calls], calls, said)
            for name, (unit, estimate) in build.items()
        },
    )


def _percentile(share: float) -> Callable[[Calls], Estimate]:
    return lambda calls: inference.percentile(calls.seconds, share)


def _row(
    group: Group,
    measure: str,
    unit: str,
    each: Sequence[Estimate],
    calls: Sequence[Calls],
    notes: Sequence[str],
) -> Row:
    """Return a row of one measure with so many examples at a time; `each` has one run's own."""
    first = [one.first_s for one in calls if one.first_s is not None]
    facts = {
        "batch": str(calls[0].batch),
        "calls": str(sum(len(one.seconds) for one in calls)),
        **({"first_call_s": f"{math.fsum(first) / len(first):.6g}"} if first else {}),
    }
    estimate, further = _over_runs(each)
    row = make_row(
        group,
        measure=measure,
        unit=unit,
        estimate=estimate,
        split=SPLIT,
        notes=[*further, *notes],
    )
    return msgspec.structs.replace(row, facts=facts)


def _over_runs(each: Sequence[Estimate]) -> tuple[Estimate, list[str]]:
    """Return the mean of the runs' values; of one run its value with the interval of its calls."""
    if len(each) == 1:
        return msgspec.structs.replace(each[0], n=1), [_OF_ONE_RUN]
    values = np.array([one.value for one in each if one.value is not None], dtype=np.float64)
    return intervals.mean_interval(values), []


# --- DAWNBench ------------------------------------------------------------------------------------


def _dawnbench_row(group: Group, kept: Sequence[_Timed], notes: Sequence[str]) -> Row:
    """Return the time of all test examples one at a time over their number.

    Of a model that reached the task's target. The value is None where no run is such, and the
    notes say why. The seconds are those of the calls: what lies between two of them, such as the
    look at the scores, is no part of predicting.

    Source: stanford-futuredata/dawn-bench-entries, README.md, CIFAR10 and ImageNet Inference,
    read 2026-11-23; there in milliseconds.
    """
    target = targets_of(group)[-1]
    whole: list[_Timed] = []
    reasons: list[str] = []
    for one in kept:
        why = _why_no_dawnbench(one, target)
        if why is None:
            whole.append(one)
        else:
            reasons.append(why)
    said = ["DAWNBench's rule: all test examples one at a time, by a model that reached the target"]
    if target.split != "test":
        said.append(f"DAWNBench asks for the target on test; this task's is on {target.split}")
    said += [*notes, *_left_out(reasons, len(kept))]
    estimate = Estimate(value=None, low=None, high=None, n=0, method="no whole pass")
    facts = {"batch": str(ALONE)}
    if whole:
        each = [inference.mean_seconds(_first_pass(one.seen)) for one in whole]
        estimate, further = _over_runs(each)
        said += further
        accuracies = [one.seen.accuracy for one in whole]
        facts["examples"] = str(whole[0].seen.examples)
        facts["test_accuracy"] = f"{math.fsum(accuracies) / len(accuracies):.6g}"
    row = make_row(
        group,
        measure=DAWNBENCH,
        unit="s",
        estimate=estimate,
        target=target,
        split=SPLIT,
        notes=said,
    )
    return msgspec.structs.replace(row, facts=facts)


def _first_pass(seen: Seen) -> np.ndarray:
    """Return the seconds of each example of the split, the first time that it was predicted."""
    return seen.calls[ALONE].seconds[: seen.examples]


def _why_no_dawnbench(one: _Timed, target: Target) -> str | None:
    run, seen = one
    last = measures.last(run, target.split)
    if last is None or last.step != seen.step:
        return f"its model was not evaluated on {target.split} at its end"
    if not target.met_by(metric_value(target.metric, last)):
        return "its model missed the target"
    done = _first_pass(seen)
    if len(done) < seen.examples:
        needed_s = float(done.mean()) * seen.examples / ALONE_SHARE
        return (
            f"{len(done):,} of {seen.examples:,} examples were done one at a time; "
            f"--inference {math.ceil(1.2 * needed_s)}s would do all"
        )
    return None
