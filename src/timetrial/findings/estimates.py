"""The rows of one system: every measure of its runs with an interval and n."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from timetrial import machine
from timetrial.engine.metrics import metric_value
from timetrial.findings.groups import Group, Ran, cores_here, crowding, targets_of
from timetrial.findings.scripts import script_notes
from timetrial.meter.together import PEAKS_APART
from timetrial.references import convergence
from timetrial.rows import Row
from timetrial.spec import Metric, Target
from timetrial.stats import clocks, communication, intervals, measures, rules
from timetrial.stats.compare import mean_difference
from timetrial.stats.intervals import Estimate
from timetrial.store import RunRecord

GATE_RUNS_MIN: Final = 5
ROUND_TIMES_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


def rows_of(group: Group, after_s: Sequence[float] = ()) -> list[Row]:
    """Return all rows of one system, the headline first."""
    targets = targets_of(group)
    rows = [time_row(group, target, clocks.HEADLINE) for target in targets]
    rows += [
        time_row(group, targets[-1], name) for name in clocks.CLOCKS if name != clocks.HEADLINE
    ]
    rows += [steps_row(group, target) for target in targets]
    rows += olympic_row(group, targets[-1])
    rows += after_rows(group, targets[-1], after_s)
    scripted = bool(group.runs[-1].plan.script)
    rows += [] if scripted else own_rows(group)
    for measure in PER_RUN:
        if scripted and measure.name in BY_STEP:  # a script's steps are what it says they are
            continue
        rows += per_run_row(group, measure)
    return rows


def time_row(group: Group, target: Target, clock_name: str) -> Row:
    """Return the row of time_to_target on one clock; censored runs count as such."""
    clock = clocks.find_clock(clock_name)
    times = times_of(group.runs, target, clock)
    if times is None:
        estimate = Estimate(value=None, low=None, high=None, n=0, method="clock unknown")
    else:
        estimate = intervals.restricted_mean(*measures.as_arrays(times))
    notes = [] if times is None else list(censoring_notes(times))
    plan = group.runs[-1].plan
    stops_on_nothing = not group.task.stops_at_target and not plan.script and plan.target is None
    if stops_on_nothing and target.split == "test":
        notes.append("no validation split: the run stops on nothing, the target is read on test")
    elif stops_on_nothing:
        notes.append("the run stops on nothing: the target is read off its curve")
    elif group.task.eval_split == "test":
        notes.append("it stops on test: the time is one of hindsight")
    row = make_row(
        group,
        measure="time_to_target",
        unit="s",
        estimate=estimate,
        target=target,
        split=target.split,
        clock=clock_name,
        notes=notes,
    )
    if not times or any(time.reached for time in times):
        return row
    longest = max(time.seconds for time in times)  # the bound is lower: chance is in it
    return msgspec.structs.replace(row, facts={"watched_s": f"{longest:.6g}"})


def times_of(
    runs: Sequence[RunRecord], target: Target, clock: clocks.Clock
) -> list[measures.TimeToTarget] | None:
    """Return each run's time; None where the clock is unknown for one of them."""
    times: list[measures.TimeToTarget] = []
    for run in runs:
        time = measures.time_to_target(run, target, clock)
        if time is None:  # no evaluation was made: given up when it ended
            share = measures.data_share(run)
            seconds = clocks.elapsed_s(run.stretches, clock, data_share=share)
            if seconds is None:
                return None
            time = measures.TimeToTarget(seconds, False)
        times.append(time)
    return times


def censoring_notes(times: Sequence[measures.TimeToTarget]) -> list[str]:
    """Say how many runs missed the target, if any."""
    missed = sum(not time.reached for time in times)
    if not missed:
        return []
    return [f"{missed} of {len(times)} runs missed the target and count as right-censored"]


def steps_row(group: Group, target: Target) -> Row:
    """Return the row of steps_to_target."""
    pairs = [measures.steps_to_target(run, target) or (run.steps, False) for run in group.runs]
    times = [measures.TimeToTarget(float(steps), reached) for steps, reached in pairs]
    return make_row(
        group,
        measure="steps_to_target",
        unit="1",
        estimate=intervals.restricted_mean(*measures.as_arrays(times)),
        target=target,
        split=target.split,
        notes=[*censoring_notes(times), *gate_notes(group, target, times)],
    )


def epochs_row(group: Group, target: Target) -> Row:
    """Return the row of epochs_to_target: steps to target over steps of an epoch."""
    row = steps_row(group, target)
    epoch = group.task.steps_per_epoch
    value, low, high = (None if x is None else x / epoch for x in (row.value, row.low, row.high))
    return msgspec.structs.replace(row, measure="epochs_to_target", value=value, low=low, high=high)


def gate_notes(group: Group, target: Target, times: Sequence[measures.TimeToTarget]) -> list[str]:
    """Say where the steps to target are outside of what the task's reference points allow.

    From GATE_RUNS_MIN runs on, all of which reached; on both sides: too fast is as suspicious as
    too slow.
    """
    if group.runs[-1].plan.script:
        return ["steps are what the script says they are"]
    if len(times) < GATE_RUNS_MIN or not all(time.reached for time in times):
        return []
    known = convergence.steps_to(group.system.task_hash, target)
    if known is None or not known.reached.all():
        return []
    reference = rules.reference_point(known.steps, known.batch_size, spread="checker")
    gate = rules.convergence_gate(reference, np.array([time.seconds for time in times]))
    if gate.verdict == "within":
        return []
    return [
        f"convergence gate: {gate.verdict} beside the reference ({len(known.steps)} runs, "
        f"{known.date}): {gate.submission_mean:.0f} steps, allowed {gate.minimum:.0f} to "
        f"{gate.maximum:.0f} (Olympic means, MLPerf's rule)"
    ]


def olympic_row(group: Group, target: Target) -> list[Row]:
    """Return MLPerf's score: the mean without the best and the worst run; none below three runs.

    A run that missed the target is infinitely slow: one of them is the worst run, two make the
    score infinite, which is printed as unknown.
    """
    times = times_of(group.runs, target, clocks.CLOCKS[clocks.HEADLINE])
    if times is None or len(times) < 3:
        return []
    score = rules.olympic_mean(
        np.array([time.seconds if time.reached else np.inf for time in times])
    )
    value = score if np.isfinite(score) else None
    note = "MLPerf's rule: mean without the fastest and the slowest run; it has no interval"
    row = make_row(
        group,
        measure="olympic_mean_time_to_target",
        unit="s",
        estimate=Estimate(value=value, low=None, high=None, n=len(times), method="Olympic mean"),
        target=target,
        split=target.split,
        clock=clocks.HEADLINE,
        notes=[note],
    )
    return [row]


def after_rows(group: Group, target: Target, asked_s: Sequence[float]) -> list[Row]:
    """Return rows of the metric after given times, by default the two largest round ones."""
    split = target.split
    ends = [
        points[-1].time_s
        for run in group.runs
        if (points := measures.curve(run, metric=target.metric, split=split))
    ]
    chosen: Sequence[float] = asked_s
    if not chosen and ends:
        chosen = [second for second in ROUND_TIMES_S if second <= max(ends)][-2:]
    rows = []
    for seconds in chosen:
        values = [
            measures.value_after(run, seconds, metric=target.metric, split=split)
            for run in group.runs
        ]
        values = [v if v is not None and math.isfinite(v) else None for v in values]
        unit = "1" if target.metric == "loss" else "fraction"
        row = mean_row(group, f"{target.metric}_after_{seconds:g}s", unit, values, split=split)
        if row is not None:
            rows.append(msgspec.structs.replace(row, clock=clocks.HEADLINE))
    return rows


def accuracy_after_row(group: Group, seconds: float, clock_name: str, split: str) -> Row | None:
    """Return the accuracy after a time on any clock; None where no run was given so long."""
    clock = clocks.find_clock(clock_name)
    values = [
        measures.value_after(run, seconds, metric="accuracy", split=split, clock=clock)
        for run in group.runs
    ]
    row = mean_row(group, f"accuracy_after_{seconds:g}s", "fraction", values, split=split)
    return msgspec.structs.replace(row, clock=clock_name) if row else None


def completed(group: Group) -> Group:
    """Return the group with the runs that did their work: to the target, or to their last step.

    Those that a time budget cut short did not, nor those that --target stopped early in a task that
    stops on nothing. What work a script has is its own to say: it did it if it came to its end.
    """
    return group._replace(runs=[run for run in group.runs if _did_its_work(run)])


def _did_its_work(run: RunRecord) -> bool:
    plan = run.plan
    if plan.script or run.status not in ("reached", "budget"):
        return run.status in ("reached", "budget")
    stopped = run.status == "reached" and plan.task.stops_at_target
    return stopped or run.steps >= plan.steps_max


def left_out_note(group: Group) -> list[str]:
    """Say how many runs are not in the figures of whole runs, if any."""
    left_out = len(group.runs) - len(completed(group).runs)
    if not left_out:
        return []
    return [f"{left_out} of {len(group.runs)} runs did not do all of the work: not in its figures"]


def run_time_row(group: Group, clock_name: str) -> Row:
    """Return the seconds of a whole run on one clock; its value is None where none did its work."""
    clock = clocks.find_clock(clock_name)
    done = completed(group)
    seconds = [
        clocks.elapsed_s(run.stretches, clock, data_share=measures.data_share(run))
        for run in done.runs
    ]
    row = mean_row(group, "run_time", "s", seconds)
    if row is None:
        nothing = Estimate(value=None, low=None, high=None, n=0, method="no whole run")
        row = make_row(group, measure="run_time", unit="s", estimate=nothing)
    held = inference_note(group) if "infer" in clock.counts else []
    notes = [*row.notes, *held, *left_out_note(group)]
    return msgspec.structs.replace(row, clock=clock_name, notes=notes)


def segment_row(group: Group, name: str) -> Row | None:
    """Return the seconds that one segment took in whole runs; None where there is no such run."""
    seconds = [measures.segment_seconds(run).get(name, 0.0) for run in completed(group).runs]
    return mean_row(group, f"segment_{name}", "s", seconds) if seconds else None


def difference_row(a: Group, b: Group, name: str) -> Row | None:
    """Return by how much A is above B in one of PER_RUN, with Welch's interval; of A's system.

    None where a side has no run with that value.
    """
    [measure] = [known for known in PER_RUN if known.name == name]
    ours, theirs = (
        np.array([v for run in group.runs if (v := measure.value(run)) is not None], np.float64)
        for group in (a, b)
    )
    if not len(ours) or not len(theirs):
        return None
    return make_row(
        a,
        measure=f"{name}_difference",
        unit="points" if measure.unit == "fraction" else measure.unit,
        estimate=mean_difference(ours, theirs),
        split=measure.split,
        notes=[f"{len(ours)} runs against {len(theirs)}"],
    )


def fit_rows(group: Group) -> dict[str, Row]:
    """Return what the machine did while it trained, by measure; what no counter told is left out.

    `fit_gpu_busy` is the mean over the GPUs that were busy, `fit_cpu_share` the cores used over
    those that the run may use.
    """
    uses = [measures.fit_use(run) for run in group.runs]
    shares = [
        None if use.cores_used is None else use.cores_used / _cores_of(run)
        for use, run in zip(uses, group.runs, strict=True)
    ]
    rows = {
        "fit_gpu_busy": mean_row(group, "fit_gpu_busy", "fraction", [u.gpu_busy for u in uses]),
        "fit_gpus_busy": mean_row(group, "fit_gpus_busy", "1", [u.gpus_busy for u in uses]),
        "fit_cores_used": mean_row(group, "fit_cores_used", "1", [u.cores_used for u in uses]),
        "fit_cpu_share": mean_row(group, "fit_cpu_share", "fraction", shares),
    }
    return {name: row for name, row in rows.items() if row is not None}


def _cores_of(run: RunRecord) -> int:
    """Return the cores that a run's workers may use together."""
    plan = run.plan
    together = plan.cores * plan.workers
    shared = cores_here(run) if plan.workers > 1 and run.hosts == 1 else None
    return together if shared is None else min(together, shared)


def class_accuracy_rows(group: Group) -> list[Row]:
    """Return the test accuracy of each class, in order of the classes; [] where none was counted.

    It is the diagonal of the confusion matrix, each row divided by its sum.
    """
    diagonals = [
        measures.class_accuracies(seen.table)
        for run in completed(group).runs
        if (seen := run.measured("confusion_matrix")) is not None
    ]
    if not diagonals:
        return []
    rows = []
    for place in range(len(diagonals[0])):
        values = [diagonal[place] for diagonal in diagonals]
        row = mean_row(group, f"accuracy_of_class_{place}", "fraction", values, split="test")
        if row is not None:
            rows.append(row)
    return rows


def own_value_row(group: Group, name: str, unit: str) -> Row | None:
    """Return the row of one of the task's own measures of the test set; None where no run has it.

    Such as accuracy_with_dropout_on.
    """
    seen = [run.measured(name) for run in completed(group).runs]
    return mean_row(group, name, unit, [s.value if s else None for s in seen], split="test")


def per_run_row_of(group: Group, name: str) -> Row | None:
    """Return the row of one of PER_RUN, None where no run has it."""
    [measure] = [known for known in PER_RUN if known.name == name]
    return next(iter(per_run_row(group, measure)), None)


def own_rows(group: Group) -> list[Row]:
    """Return the task's own measures."""
    rows: list[Row | None] = []
    clock = clocks.find_clock("benchm-dl")
    finished = [run for run in group.runs if run.steps >= run.plan.task.steps_max]
    whole = group._replace(runs=finished)
    if "train_time_after_10_epochs" in group.task.measures and finished:
        seconds = [clocks.elapsed_s(run.stretches, clock) for run in finished]
        row = mean_row(whole, "train_time_after_10_epochs", "s", seconds)
        rows.append(msgspec.structs.replace(row, clock="benchm-dl") if row else None)
    if "error_rate_after_10_epochs" in group.task.measures and finished:
        errors = [1 - seen.accuracy if (seen := measures.last(run, "test")) else None
                  for run in finished]  # fmt: skip
        rows.append(mean_row(whole, "error_rate_after_10_epochs", "fraction", errors, split="test"))
    if "accuracy_after_2_hours" in group.task.measures:
        rows.append(accuracy_after_row(group, 7200, clocks.HEADLINE, group.task.eval_split))
    return [row for row in rows if row is not None]


class PerRun(NamedTuple):
    """A measure that is a mean over the runs."""

    name: str
    unit: str
    value: Callable[[RunRecord], float | None]
    split: str | None = None


def _final(metric: Metric) -> Callable[[RunRecord], float | None]:
    def value(run: RunRecord) -> float | None:
        seen = measures.last(run, "test")
        if seen is None or run.status not in ("reached", "budget"):
            return None
        return metric_value(metric, seen)

    return value


def _final_auc(run: RunRecord) -> float | None:
    """Return the area under the ROC curve, None where the task does not ask for it."""
    value = _final("auc")(run)
    return None if value is None or math.isnan(value) else value


def _meter(name: str) -> Callable[[RunRecord], float | None]:
    return lambda run: measures.meter_values(run).get(name)


def _wall(run: RunRecord) -> float | None:
    return clocks.elapsed_s(run.stretches, clocks.CLOCKS["wall"])


def _of_several(
    value: Callable[[RunRecord], float | None],
) -> Callable[[RunRecord], float | None]:
    """Return the measure for runs of several workers; one worker has nobody to talk to."""
    return lambda run: None if run.plan.workers == 1 else value(run)


PER_RUN: Final = (
    PerRun("final_test_accuracy", "fraction", _final("accuracy"), "test"),
    PerRun("final_test_error_rate", "fraction", _final("error_rate"), "test"),
    PerRun("final_test_auc", "fraction", _final_auc, "test"),
    PerRun("validation_test_gap", "fraction", measures.validation_test_gap),
    PerRun("wall", "s", _wall),
    PerRun("seconds_per_step", "s", measures.seconds_per_step),
    PerRun("examples_per_s", "1/s", measures.examples_per_s),
    PerRun("communication_share", "fraction", _of_several(communication.communication_share)),
    PerRun("communication_per_step", "s", _of_several(communication.communication_s)),
    PerRun("waiting_share", "fraction", _of_several(communication.waiting_share)),
    PerRun("cpu", "s", _meter("cpu")),
    PerRun("cores_used", "1", _meter("cores_used")),
    PerRun("peak_memory", "byte", _meter("peak_memory")),
    PerRun("gpu_busy_any_kernel", "fraction", _meter("gpu_busy_any_kernel")),
    PerRun("gpu_peak_memory", "byte", _meter("gpu_peak_memory")),
    PerRun("gpu_energy", "J", _meter("gpu_energy")),
    PerRun("energy", "J", _meter("energy")),
)


_OF_ALL_OF_A_RUN: Final = (
    "wall",
    "cpu",
    "cores_used",
    "gpu_busy_any_kernel",
    "gpu_energy",
    "energy",
)
BY_STEP: Final = (
    "seconds_per_step",
    "examples_per_s",
    "communication_share",
    "communication_per_step",
    "waiting_share",
)


def per_run_row(group: Group, measure: PerRun) -> list[Row]:
    """Return the measure's row, none where no run has it."""
    values = [measure.value(run) for run in group.runs]
    row = mean_row(group, measure.name, measure.unit, values, split=measure.split)
    return [] if row is None else [row]


def mean_row(
    group: Ran, measure: str, unit: str, values: Sequence[float | None], split: str | None = None
) -> Row | None:
    """Return the row of a mean over the runs that have the value; None where none has."""
    had = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(had):
        return None
    notes = []
    if len(had) < len(values):
        notes.append(f"{len(values) - len(had)} of {len(values)} runs have no such value")
    if measure in _OF_ALL_OF_A_RUN:
        notes += inference_note(group)
    if measure == "peak_memory":
        kinds = {run.meter.peak_memory_kind for run in group.runs if run.meter}
        notes += [f"kind: {kind}" for kind in sorted(str(kind) for kind in kinds if kind)]
        notes += [PEAKS_APART] if group.system.workers > 1 else []
    return make_row(
        group,
        measure=measure,
        unit=unit,
        estimate=intervals.mean_interval(had),
        split=split,
        notes=notes,
    )


def inference_note(group: Ran) -> list[str]:
    """Say what a figure of a whole run holds, where predictions were timed after training."""
    if group.system.inference_s is None:
        return []
    return ["the time in which predictions were timed after training is in it"]


def possible(estimate: Estimate, measure: str, unit: str) -> Estimate:
    """Return the estimate with its interval cut to what the measure can be.

    That loses no coverage: the truth lies inside. Fractions are 0 to 1 (the gap and differences: -1
    to 1; an efficiency may exceed 1), all else but differences is not negative.
    """
    signed = measure == "validation_test_gap" or measure.endswith("_difference")
    floor = -1.0 if signed else 0.0
    signed = measure == "validation_test_gap" or "difference" in measure
    floor = 0.0 if not signed else -1.0 if unit == "fraction" else -math.inf
    ceiling = 1.0 if unit == "fraction" and "efficiency" not in measure else float("inf")
    return msgspec.structs.replace(
        estimate,
        low=None if estimate.low is None else max(estimate.low, floor),
        high=None if estimate.high is None else min(estimate.high, ceiling),
    )


def make_row(
    group: Ran,
    *,
    measure: str,
    unit: str,
    estimate: Estimate,
    target: Target | None = None,
    split: str | None = None,
    clock: str | None = None,
    notes: Sequence[str] = (),
) -> Row:
    """Return one row of a system."""
    estimate = possible(estimate, measure, unit)
    system = group.system
    counts = collections.Counter(str(run.status) for run in group.runs)
    return Row(
        task=system.task,
        target=str(target) if target else None,
        split=split,
        clock=clock,
        dataset=system.dataset,
        division=system.division,
        framework=system.framework,
        device=system.device,
        cores=system.cores,
        precision=system.precision,
        workers=system.workers,
        launcher=system.launcher,
        network=system.network,
        system=system.name,
        measure=measure,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        unit=unit,
        origin="measured",
        source=f"timetrial {group.runs[-1].plan.timetrial}",
        date=max(run.plan.created_utc for run in group.runs)[:10],
        status_counts=dict(sorted(counts.items())),
        notes=[*notes, *run_notes(group)],
        evidence=[run.run.path.name for run in group.runs],
    )


def run_notes(group: Ran) -> list[str]:
    """Say what a reader must know of the runs themselves."""
    notes = []
    resumed = sum(run.attempts > 1 for run in group.runs)
    if resumed:
        anew = ", each from its beginning" if group.runs[-1].plan.script else ""
        notes.append(
            f"{resumed} of {len(group.runs)} runs were resumed{anew}: time between "
            "attempts counts in the clocks mlperf and wall"
        )
    hosts = {run.machine.hostname for run in group.runs if run.machine is not None}
    if len(hosts) > 1:
        notes.append(
            f"runs of {len(hosts)} hosts are averaged as one system: {', '.join(sorted(hosts))}"
        )
    crowded = {note for run in group.runs if (note := crowding(run))}
    notes += sorted(crowded)
    light = light_note(group) if isinstance(group, Group) else None
    if light is not None:
        notes.append(light)
    reasons = {reason for run in group.runs if (reason := busy_reason(run))}
    if reasons:
        notes.append(f"busy machine: {'; '.join(sorted(reasons))}")
    if group.runs[-1].plan.script:
        notes += script_notes(group.runs)
    elif group.system.division == "open":
        notes.append("open division: other rules than the task's, by option or --set")
    return notes


def light_note(group: Group) -> str | None:
    """Say how a light run is less than its task; None for a full one."""
    if not group.system.light:
        return None
    steps, full = group.runs[0].plan.steps_max, group.task.steps_max
    most = f"{steps:,} of {full:,} steps" if steps < full else f"the task's {full:,} steps"
    return f"light: at most {most}, target {targets_of(group)[-1]}; not the full task"


def busy_reason(run: RunRecord) -> str | None:
    """Return why the machine was busy before or during the run, None when it was quiet."""
    return machine.busy(run.machine) if run.machine is not None else None
