"""Predictions on disk, and their score against the runs that followed."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from timetrial.errors import FormatError
from timetrial.findings import framework_version, machine_name
from timetrial.forecast.predict import FORMAT, Prediction
from timetrial.rundir import pretty_json, write_atomically
from timetrial.spec import MALFORMED
from timetrial.stats import clocks, forecast, intervals, measures
from timetrial.stats.intervals import Estimate
from timetrial.store import RunRecord

FOLDER: Final = "predictions"  # of a store


class Scored(NamedTuple):
    """A prediction and one run that came after it."""

    prediction: Prediction
    run: str
    seed: int
    measured_s: float
    run_s: float  # how long it took on the headline clock, to compare the probe's time with

    @property
    def error(self) -> float:
        """Return predicted over measured, less 1."""
        assert self.prediction.seconds is not None
        return self.prediction.seconds / self.measured_s - 1

    @property
    def inside(self) -> bool:
        """Whether the interval holds what was measured."""
        low, high = self.prediction.low_s, self.prediction.high_s
        return (low or 0.0) <= self.measured_s and (high is None or self.measured_s <= high)

    @property
    def probe_share(self) -> float:
        """Return the time of the probes over that of the run."""
        return self.prediction.system.probe_s / self.run_s


class ScoreCard(NamedTuple):
    """What all scored predictions come to."""

    n: int
    median_error: Estimate  # of |predicted / measured - 1|
    median_half_width: float
    coverage: Estimate
    largest_probe_share: float


def keep(made: Prediction, store: Path) -> Path:
    """Write a prediction into a store's folder of them; return its path.

    Raises:
        DiskError, StoreError: It cannot be written.
    """
    folder = store / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{made.id}.json"
    write_atomically(path, pretty_json(made))
    return path


def read_predictions(store: Path) -> list[Prediction]:
    """Return the predictions of a store, oldest first; none where there are none.

    Raises:
        FormatError: A file is damaged, or of a newer version.
    """
    found: list[Prediction] = []
    for path in sorted((store / FOLDER).glob("*.json")):
        found.append(_decode(path))
    return sorted(found, key=lambda made: made.made_utc)


def _decode(path: Path) -> Prediction:
    try:
        seen = msgspec.json.decode(path.read_bytes())
        number = seen.get("format") if isinstance(seen, dict) else None
        if isinstance(number, int) and number > FORMAT:
            raise FormatError(
                f"{path} has format {number}; this timetrial reads up to format {FORMAT}. "
                "Install a newer timetrial to read it."
            )
        return msgspec.convert(seen, Prediction)
    except MALFORMED as error:
        raise FormatError(
            f"{path} is no prediction: {error}. It was damaged; restore it or move it away."
        ) from error


def scored(
    predictions: Sequence[Prediction], records: Sequence[RunRecord]
) -> tuple[list[Scored], list[Prediction]]:
    """Return each prediction with each run that began after it, and those without such a run.

    A run fits that learned the same rules to the same target on the same system, with a seed that
    is not in the library the prediction was made from. Only runs that came to their end count: one
    that missed the target, or failed, is no measurement of it. A run is scored by the newest
    prediction before it, not by all.
    """
    found: list[Scored] = []
    for record in records:
        before = [made for made in predictions if _fits(made, record)]
        if not before:
            continue
        made = max(before, key=lambda one: one.made_utc)
        seconds = _measured_s(made, record)
        if seconds is not None and made.seconds is not None:
            whole = clocks.elapsed_s(record.stretches, clocks.CLOCKS[made.clock])
            found.append(Scored(made, record.plan.run, record.plan.seed, seconds, whole or seconds))
    known = {one.prediction.id for one in found}
    return found, [made for made in predictions if made.id not in known]


def _fits(made: Prediction, record: RunRecord) -> bool:
    plan, system = record.plan, made.system
    if record.done is None or plan.learned is None or plan.probe_s is not None:
        return False
    begun = next((e.utc_ns for e in record.launcher if hasattr(e, "utc_ns")), 0)
    return (
        _utc_ns(made.made_utc) < begun
        and made.task_hash == plan.task_hash
        and plan.division == "closed"
        and made.target == (str(plan.target) if plan.target else None)
        and (made.workers, made.network) == (plan.workers, plan.network)
        and (system.framework, system.version) == (plan.framework, framework_version(record))
        and (system.device, system.cores, system.precision)
        == (plan.device, plan.cores, plan.precision)
        and system.machine == machine_name(record)
        and plan.seed not in made.steps_seeds
    )


def _utc_ns(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1e9)


def _measured_s(made: Prediction, record: RunRecord) -> float | None:
    """Return what came true; None where the run did not come to it."""
    clock = clocks.CLOCKS[made.clock]
    if made.measure == "run_time":
        ended = record.status in ("reached", "budget")  # a target may be read off on the way
        whole = ended and record.steps >= record.plan.steps_max
        return clocks.elapsed_s(record.stretches, clock) if whole else None
    if record.plan.target is None:
        return None
    time = measures.time_to_target(record, record.plan.target, clock)
    return time.seconds if time is not None and time.reached else None


def score_of(found: Sequence[Scored]) -> ScoreCard | None:
    """Return what the scored predictions come to; None without any."""
    if not found:
        return None
    result = forecast.score(
        np.array([one.prediction.seconds for one in found], dtype=np.float64),
        np.array([one.prediction.low_s or 0.0 for one in found]),
        np.array([np.inf if (h := one.prediction.high_s) is None else h for one in found]),
        np.array([one.measured_s for one in found]),
    )
    return ScoreCard(
        n=len(found),
        median_error=forecast.median_interval(result.errors),
        median_half_width=float(np.median(result.half_widths)),
        coverage=intervals.proportion_interval(int(result.inside.sum()), len(found)),
        largest_probe_share=max(one.probe_share for one in found),
    )
