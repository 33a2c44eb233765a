"""Clocks: rules that add up the segments of one log. Every one is derived from the same log.

A clock counts the stretches whose names it lists, from the first stretch of its `starts` on, up to
a given moment. Boundaries are those of reference rules; where a rule was never written down, the
code that took the published figures decides, and the docstring says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timetrial.engine.events import SegmentName
from timetrial.errors import UnknownNameError
from timetrial.spec import Record
from timetrial.store import Stretch

ALL: Final[tuple[SegmentName, ...]] = (
    "provision",
    "environment",
    "imports",
    "data",
    "encode",
    "bin",
    "build",
    "compile",
    "train",
    "measure",
    "infer",
    "eval",
    "checkpoint",
    "log",
    "wait",
    "teardown",
)

DATA: Final[tuple[SegmentName, ...]] = ("data", "encode", "bin")  # of tables in three parts


class Clock(Record, frozen=True, kw_only=True):
    """One rule: which segments count, from which on."""

    name: str
    counts: tuple[SegmentName, ...]
    starts: tuple[SegmentName, ...]  # counting begins with the first of these
    last_eval_counts: bool  # the evaluation at which the clock is read counts, though others do not
    busy_only: bool  # of train, the share that waits for data is left out
    meaning: str
    source: str


def _clock(
    name: str,
    counts: tuple[SegmentName, ...],
    meaning: str,
    source: str,
    *,
    starts: tuple[SegmentName, ...] = ALL,
    last_eval_counts: bool = False,
    busy_only: bool = False,
) -> Clock:
    return Clock(
        name=name,
        counts=counts,
        starts=starts,
        last_eval_counts=last_eval_counts,
        busy_only=busy_only,
        meaning=meaning,
        source=source,
    )


CLOCKS: Final[dict[str, Clock]] = {
    clock.name: clock
    for clock in (
        _clock(
            "mlperf",
            tuple(name for name in ALL if name != "infer"),
            "From the first touch of the data to the evaluation that meets the target, that "
            "evaluation included; never paused. The headline. Inference timed after a run is not "
            "in it.",
            "MLPerf Training rules (training_rules.adoc), 2025-12-09, read 2026-11-22",
            starts=("data",),
        ),
        _clock(
            "wall",
            ALL,
            "Everything from the start of the command to the moment it is read.",
            "timetrial",
        ),
        _clock(
            "billed",
            tuple(name for name in ALL if name != "wait"),
            "From allocation to release of the machine; time between attempts, and in a batch "
            "system's queue, is not billed.",
            "timetrial; billing as clouds do it",
        ),
        _clock(
            "dawnbench",
            ("imports", *DATA, "build", "compile", "train"),
            "The program with data loading and model building; validation, checkpoints and "
            "logging left out.",
            "DAWNBench entries, issues 9 and 21, and FAQ, read 2026-11-22",
        ),
        _clock(
            "algoperf",
            ("compile", "train"),
            "Training steps with their data selection and compilation; evaluation, logging and "
            "checkpoints left out.",
            "MLCommons AlgoPerf 0.6, submission_runner.py, read 2026-11-22",
        ),
        _clock(
            "airbench",
            ("train",),
            "Training steps and the one evaluation that is reported; reading, building and "
            "compiling left out.",
            "KellerJordan/cifar10-airbench, airbench94.py, read 2026-11-22",
            last_eval_counts=True,
        ),
        _clock(
            "mlbench-2018",
            (*DATA, "build", "compile", "train", "checkpoint", "log", "wait"),
            "Wall clock from the data on, paused during validation.",
            "mlbench/mlbench-old, October 2018 (by its code), read 2026-11-22",
            starts=("data",),
        ),
        _clock(
            "mlbench-2020",
            ("train",),
            "Busy time of the steps alone: waiting for data, validation and logging left out. "
            "Unknown where no step was split into parts.",
            "mlbench-core 3.0 tracker (by its code), read 2026-11-22",
            busy_only=True,
        ),
        _clock(
            "benchm-dl",
            ("compile", "train"),
            "The call of fit() alone, graph building included.",
            "szilard/benchm-dl, cnn-mnist/1-keras.py (by its code), read 2026-11-22",
        ),
        _clock(
            "cloud-check",
            (*DATA, "build", "compile", "train"),
            "Building the loaders and the network, and training; the final test left out.",
            "srm-soumya/cloud-check, decorator of run_model (by its code), read 2026-11-22",
        ),
        _clock("train-only", ("train",), "Training steps alone.", "timetrial"),
    )
}
HEADLINE: Final = "mlperf"


def find_clock(name: str) -> Clock:
    """Return the clock called `name`.

    Raises:
        UnknownNameError: No such clock.
    """
    if name not in CLOCKS:
        raise UnknownNameError("clock", name, CLOCKS)
    return CLOCKS[name]


def elapsed_s(
    stretches: Sequence[Stretch],
    clock: Clock,
    *,
    until_s: float = float("inf"),
    data_share: float | None = None,
) -> float | None:
    """Return the seconds that `clock` shows at `until_s` (on the stretches' own time).

    `data_share` is the share of training steps that waits for data, None where it was not
    measured. Returns None where the clock needs what was not measured, and 0 before its start.
    """
    if clock.busy_only and data_share is None:
        return None
    begun = False
    seconds = 0.0
    last_eval = 0.0
    for name, start, stop, _ in stretches:
        begun = begun or name in clock.starts
        part = max(0.0, min(stop, until_s) - start)
        if not begun or part == 0:
            continue
        if name == "eval":
            last_eval = part
        if name in clock.counts:
            seconds += part * (1 - (data_share or 0.0)) if clock.busy_only else part
    return seconds + (last_eval if clock.last_eval_counts else 0.0)
