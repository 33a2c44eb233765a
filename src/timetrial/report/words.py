"""The words of a report: what each value, interval, measure and verdict is called.

Every renderer takes its texts from here, so a number reads the same in a terminal, in Markdown and
on the page. Only `timetrial.units` formats quantities; this module chooses and joins its texts.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from timetrial.rows import Row, RunLine, Verdict
from timetrial.stats.clocks import CLOCKS, HEADLINE
from timetrial.units import duration, percent, quantity, significant

HEADLINE_MEASURE: Final = "time_to_target"
UNKNOWN: Final = "unknown"
ABSENT: Final = "–"  # no row at all, unlike a row whose value is unknown

MEASURE_LABELS: Final = {
    "time_to_target": "time to target",
    "steps_to_target": "steps to target",
    "final_test_accuracy": "test accuracy",
    "final_test_error_rate": "test error rate",
    "final_test_auc": "test AUC",
    "validation_test_gap": "validation minus test",
    "wall": "wall time",
    "run_time": "time of a run",
    "cost_per_run": "cost per run",
    "cost_to_target": "cost to target",
    "tuned_over_reference": "tuned over reference",
    "fit_gpu_busy": "GPU busy in training",
    "fit_gpus_busy": "GPUs busy in training",
    "fit_cores_used": "cores used in training",
    "fit_cpu_share": "share of the cores used in training",
    "cpu1_share": "one busy core, user time",
    "gpu_snapshot": "GPU, one snapshot",
    "price": "price of an hour",
    "accuracy_with_dropout_on": "test accuracy with dropout on",
    "train_only": "training only",
    "seconds_per_step": "time per step",
    "examples_per_s": "examples per second",
    "cpu": "processor time",
    "cores_used": "cores used",
    "peak_memory": "peak memory",
    "speed_up": "speed-up of training",
    "speed_up_to_target": "speed-up to target",
    "strong_efficiency": "efficiency, strong scaling",
    "strong_efficiency_to_target": "efficiency to target, strong scaling",
    "weak_efficiency": "efficiency, weak scaling",
    "weak_efficiency_to_target": "efficiency to target, weak scaling",
    "communication_share": "communication, share of a step",
    "communication_per_step": "communication per step",
    "waiting_share": "waiting for the last worker, share of a step",
    "exchange_rate": "rate of the exchange",
    "break_even_workers": "workers that pay",
    "cheapest_workers": "workers of the lowest cost",
    "least_bandwidth": "least bandwidth that pays",
    "achieved_flops": "arithmetic in training",
    "share_of_matmul": "share of the matrix product's ceiling",
    "achieved_bytes": "memory traffic in training, at least",
    "share_of_triad": "share of the memory's ceiling",
    "evaluation_time": "time of an evaluation",
    "set_up_time": "set-up: data, network, compilation",
    "start_up_time": "start-up",
    "total_time": "time of all runs",
    "total_cost": "cost of all runs",
    "matmul_fp64": "matrix product, fp64",
    "matmul_fp32": "matrix product, fp32",
    "matmul_tf32": "matrix product, tf32",
    "matmul_bf16": "matrix product, bf16",
    "matmul_fp16": "matrix product, fp16",
    "matmul_int8": "matrix product, int8",
    "memory_copy": "memory copy",
    "memory_triad": "memory triad",
    "memory_bandwidth": "memory bandwidth",
    "peak_flops": "peak FLOPS",
    "disk_read": "disk read",
    "host_to_device": "copy, host to device",
    "device_to_host": "copy, device to host",
    "kernel_launch": "smallest kernel",
    "op_launch": "smallest operation",
    "allreduce_bandwidth": "all-reduce bandwidth",
    "allreduce_latency": "all-reduce latency",
    "inference_latency_p50": "latency of a prediction, p50",
    "inference_latency_p90": "latency of a prediction, p90",
    "inference_latency_p99": "latency of a prediction, p99",
    "inference_latency_dawnbench": "latency by DAWNBench's rule",
    "inference_throughput": "predicted examples per second",
    "train_accuracy": "training accuracy",
    "mean_test_accuracy": "test accuracy, mean over splits",
    "gpu_build": "built for GPUs",
    "tpu": "computes on TPUs",
    "cudnn": "cuDNN in the build",
    "tensorboard": "event files that TensorBoard reads",
}
_GROUPS: Final = (
    ("Quality", ("accuracy", "error", "gap", "loss", "auc")),
    (
        "Speed",
        (
            "steps",
            "step",
            "examples",
            "wall",
            "train",
            "time",
            "latency",
            "speed",
            "efficiency",
            "communication",
            "waiting",
            "exchange",
            "bandwidth",
            "workers",
            "achieved",
            "matmul",
            "triad",
        ),
    ),
    ("Resources", ("cpu", "core", "memory", "gpu", "energy", "network", "cost")),
)
_TARGET: Final = re.compile(r"^(\w+) (>=|<=) (\d+(?:\.\d+)?) on (\w+)$")
_DIRECTION_CHARACTERS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


# --- text that came from outside ------------------------------------------------------------------


def plain(text: str) -> str:
    """Return `text` on one line: no control characters, escape codes or direction overrides."""
    kept = "".join(
        " "
        if character.isspace()
        else "\ufffd"
        if unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTION_CHARACTERS
        else character
        for character in text
    )
    return " ".join(kept.split())


def unique(items: Iterable[str]) -> list[str]:
    """Return the items once each, in order of appearance."""
    return list(dict.fromkeys(items))


def sentence(text: str) -> str:
    """Return `text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def trimmed(text: str) -> str:
    """Return a quantity without zeros that say nothing: "12.0 s" -> "12 s"; for exact values."""
    text = re.sub(r"(\.\d*?)0+(?=\D|$)", r"\1", text)
    text = re.sub(r"\.(?=\D|$)", "", text)
    return re.sub(r" 00 (s|min)$", "", text)


# --- names ----------------------------------------------------------------------------------------


def measure_label(name: str) -> str:
    """Return what people call a measure; a name nobody foresaw is spelled out."""
    if name in MEASURE_LABELS:
        return MEASURE_LABELS[name]
    if match := re.fullmatch(r"(\w+)_after_(\d+)s", name):
        return f"{match[1].replace('_', ' ')} after {trimmed(duration(float(match[2])))}"
    return plain(name.replace("_", " "))


def measure_group(name: str) -> str:
    """Return the heading under which a measure stands: Quality, Speed, Resources or Other."""
    for group, stems in _GROUPS:
        if any(stem in name for stem in stems):
            return group
    return "Other"


def target_label(target: str) -> str:
    """Return "accuracy >= 0.89 on validation" as "89 % validation accuracy"; other texts as is."""
    match = _TARGET.match(target)
    if match is None:
        return plain(target)
    metric, sign, threshold, split = match.groups()
    limit = "at most " if sign == "<=" else ""
    name = "AUC" if metric == "auc" else metric.replace("_", " ")
    return f"{limit}{threshold_label(float(threshold), metric)} {split} {name}"


def metric_unit(metric: str) -> str:
    """Return the unit of a metric of `spec.Metric`: "fraction", or "1" for a loss."""
    return "1" if metric == "loss" else "fraction"


def threshold_label(value: float, metric: str) -> str:
    """Return an exact value of a metric, such as "97.5 %"."""
    return trimmed(quantity(value, metric_unit(metric)))


def clock_rule(clock: str) -> str:
    """Return what a clock counts, as a phrase; "" for a clock that timetrial does not have."""
    if clock not in CLOCKS:
        return ""
    first = CLOCKS[clock].meaning.split(". ")[0].removesuffix(".")
    return first[:1].lower() + first[1:]


# --- numbers --------------------------------------------------------------------------------------


def known(value: float | None) -> bool:
    """Return whether there is a number: neither None nor NaN."""
    return value is not None and not math.isnan(value)


WORKERS_COUNTED: Final = ("break_even_workers", "cheapest_workers")
COUNTED: Final = ("count", "yes_no")  # units of what was counted or answered: not an estimate


def optional(value: float | None, unit: str) -> str:
    """Return the quantity, or "unknown"."""
    if value is None or math.isnan(value):
        return UNKNOWN
    return quantity(value, plain(unit))


def is_lower_bound(row: Row) -> bool:
    """Return whether all that is known is a value that was exceeded (every run censored)."""
    return not known(row.value) and known(row.low) and not known(row.high)


def value_text(row: Row) -> str:
    """Return the estimate alone: "7.42 s", "> 12.0 s", "unknown", or "none" for a reason."""
    if is_lower_bound(row):
        return f"> {optional(row.low, row.unit)}"
    if not known(row.value) and "reason" in row.facts:
        return "none"
    if row.measure in WORKERS_COUNTED and known(row.value):
        return f"{row.value:.0f}"
    return optional(row.value, row.unit)


def interval_text(row: Row) -> str:
    """Return the 95 % interval as "7.10 to 7.81 s", or why there is none.

    It is "" for what is unknown, and for a count or an answer: they are no estimates.
    """
    if is_lower_bound(row):
        given_up = f" in {watched_text(row)}" if "watched_s" in row.facts else ""
        return f"0 of {row.n} reached{given_up}"
    if not known(row.value):
        return ""
    if row.unit in COUNTED and row.low is None and row.high is None:
        return ""
    if known(row.low) and known(row.high):
        return span(row.low, row.high, row.unit)
    if known(row.low):
        return f"at least {optional(row.low, row.unit)}"
    if known(row.high):
        return f"at most {optional(row.high, row.unit)}"
    return "no interval"


def watched_text(row: Row) -> str:
    """Return how long the longest run was watched that missed the target, else the lower bound."""
    if "watched_s" in row.facts:
        return quantity(float(row.facts["watched_s"]), "s")
    return optional(row.low, row.unit)


def span(low: float | None, high: float | None, unit: str) -> str:
    """Return "7.10 to 7.81 s": the unit once where both ends have the same."""
    first, last = optional(low, unit), optional(high, unit)
    number, _, suffix = first.rpartition(" ")
    if number and " " not in number and last.endswith(f" {suffix}") and last.count(" ") == 1:
        first = number
    return f"{first} to {last}"


def estimate_text(row: Row) -> str:
    """Return value and interval on one line: "7.42 s (7.10 to 7.81 s)"."""
    interval = interval_text(row)
    return f"{value_text(row)} ({interval})" if interval else value_text(row)


def status_text(counts: Mapping[str, int]) -> str:
    """Return "3 reached, 2 out of memory"; "" where nothing was counted."""
    return ", ".join(f"{n} {plain(name.replace('_', ' '))}" for name, n in counts.items() if n)


def origin_text(row: Row) -> str:
    """Return the origin and, where it is not our own measurement, the source and its date."""
    if row.origin == "measured":
        return f"measured {plain(row.date)}".strip()
    details = [plain(text) for text in (row.source, row.date) if text]
    return f"{row.origin}: {', '.join(details)}" if details else row.origin


def quality_number(run: RunLine) -> str:
    """Return the last quality of a run: "97.31 %" or "unknown"."""
    return optional(run.quality, "1" if "loss" in run.quality_label else "fraction")


def quality_text(run: RunLine) -> str:
    """Return the last quality of a run with its label: "97.31 % accuracy, test"."""
    return f"{quality_number(run)} {plain(run.quality_label)}".strip()


# --- sentences ------------------------------------------------------------------------------------


def verdict_text(verdict: Verdict, names: tuple[str, str], target: str | None) -> str:
    """Return the answer of one comparison as a sentence; `names` are the labels of A and B."""
    a, b = names
    goal = target_label(target) if target else "the target"
    headline = verdict.measure == HEADLINE_MEASURE
    what = f"time to {goal}" if headline else measure_label(verdict.measure)
    task = plain(verdict.task)
    if verdict.verdict == "not distinguishable":
        return _undecided(verdict, f"{task}: {a} and {b} cannot be told apart by {what}")
    fast, slow = (a, b) if verdict.verdict == "A faster" else (b, a)
    more_is_better = verdict.measure.startswith("accuracy")
    invert = (verdict.verdict == "A faster") is not more_is_better
    ratio = _factor(verdict.ratio, invert=invert)
    ends = [_factor(verdict.low, invert=invert), _factor(verdict.high, invert=invert)]
    low, high = reversed(ends) if invert else ends
    if more_is_better:
        more = f"{ratio} times the {what} that it has with {slow}"
        return f"With {fast}, {task} has {more} ({_evidence(verdict, low, high)})."
    times = "faster than" if ratio == UNKNOWN else f"{ratio} times as fast as"
    does = f"reaches {goal} {times}" if headline else f"is {times}"
    by = "" if headline else f" by {what}"
    return f"With {fast}, {task} {does} with {slow}{by} ({_evidence(verdict, low, high)})."


def _undecided(verdict: Verdict, start: str) -> str:
    ratio = _factor(verdict.ratio, invert=False)
    low, high = (_factor(end, invert=False) for end in (verdict.low, verdict.high))
    text = f"{start}: ratio {ratio} ({_evidence(verdict, low, high)})."
    if verdict.more_runs is not None:
        text += f" About {verdict.more_runs} more runs on each side would tell."
    return text


def _factor(ratio: float | None, *, invert: bool) -> str:
    if ratio is None or math.isnan(ratio) or (invert and ratio == 0):
        return UNKNOWN
    return significant(1 / ratio if invert else ratio)


def _evidence(verdict: Verdict, low: str, high: str) -> str:
    counts = f"n = {verdict.n_a} and {verdict.n_b}"
    interval = "no interval" if UNKNOWN in (low, high) else f"95 % interval {low} to {high}"
    return f"{interval}; {counts}"


def row_sentence(row: Row, name: str) -> str:
    """Return one headline row as a sentence, for a report that compares nothing."""
    goal = target_label(row.target) if row.target else "the target"
    task = plain(row.task)
    if is_lower_bound(row):
        return (
            f"With {name}, {task} did not reach {goal} within {watched_text(row)} "
            f"(0 of {row.n} reached)."
        )
    if not known(row.value):
        return f"With {name}, the time in which {task} reaches {goal} is unknown (n = {row.n})."
    interval = interval_text(row)
    ends = interval if interval == "no interval" else f"95 % interval {interval}"
    if row.origin == "predicted":
        return (
            f"With {name}, the next run of {task} is predicted to reach {goal} in "
            f"{value_text(row)} ({ends}; steps of n = {row.n})."
        )
    return f"With {name}, {task} reaches {goal} in {value_text(row)} ({ends}; n = {row.n})."


def method_sentences(clocks: Sequence[str]) -> tuple[str, str]:
    """Return what the clock is and what the interval is, one sentence each."""
    clock = clocks[0] if clocks else HEADLINE
    rule = clock_rule(clock)
    first = f"Time to target is read from the {plain(clock)} clock" + (
        f": {rule}." if rule else "."
    )
    second = (
        f"Intervals are {trimmed(percent(0.95))} intervals over the n independent runs named "
        "beside them, each with its own seed; a run that misses its target counts as censored "
        "and is never dropped."
    )
    return first, second
