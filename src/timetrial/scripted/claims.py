"""What a command reports becomes evaluations that count, or is refused with a reason."""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from timetrial.engine import metrics
from timetrial.engine.events import Evaluated, Refused, Said, WorkerEvent
from timetrial.errors import AuditError
from timetrial.scripted import predictions
from timetrial.scripted.mllog import Line, Malformed, quote
from timetrial.spec import SplitName, Target

SAID_MAX: Final = 10_000  # lines kept in the log, beyond which they are only counted
REFUSED_MAX: Final = 100
KEYS_MAX: Final = 200
WHY_MAX: Final = 500  # characters of a reason
STEP_MAX: Final = 2**53
ROUNDING: Final = 0.0005  # a claim rounded to three digits is none that differs
_STEP_KEYS: Final = ("step", "step_num", "samples_count", "epoch_num")


@final
class Claims:
    """The reports of one attempt, in order."""

    def __init__(
        self,
        *,
        labels: Mapping[SplitName, np.ndarray],
        classes: int,
        folder: Path,
        target: Target,
        deadline_ns: float,
    ) -> None:
        """Judge predictions in `folder` by `labels`; what is read after `deadline_ns` is late."""
        self._ahead_ns = predictions.ahead_ns(folder)
        self._labels = labels
        self._classes = classes
        self._folder = folder
        self._target = target
        self._deadline_ns = deadline_ns
        self._said = 0
        self._last: dict[SplitName, int] = {}
        self.step = 0
        self.lines: collections.Counter[str] = collections.Counter()
        self.malformed = 0
        self.first_malformed = ""
        self.refused = 0
        self.counted = 0
        self.reached = False

    def take(self, line: Line | Malformed, t_ns: int, *, utc_ns: int) -> WorkerEvent | None:
        """Return the event that a line read at `t_ns` amounts to; None: it is only counted.

        `utc_ns` is the same instant by the wall clock: predictions that are younger do not count.
        """
        if isinstance(line, Malformed):
            self.malformed += 1
            self.first_malformed = self.first_malformed or f"{line.quoted} ({quote(line.why)})"
            return None
        known = line.key in self.lines or len(self.lines) < KEYS_MAX
        self.lines[quote(line.key) if known else "other keys"] += 1
        if line.key != "eval_accuracy":
            return self._keep(line, t_ns)
        try:
            event = self._evaluated(line, t_ns, utc_ns)
        except AuditError as error:
            self.refused += 1
            if self.refused > REFUSED_MAX:
                return None
            return Refused(t_ns=t_ns, why=quote(f"step {_given_step(line)}: {error}", WHY_MAX))
        self.counted += 1
        self.step = self._last[event.split] = event.step
        value = metrics.metric_value(self._target.metric, event)
        if event.split == self._target.split and self._target.met_by(value):
            self.reached = True
        return event

    def _keep(self, line: Line, t_ns: int) -> Said | None:
        self._said += 1
        if self._said > SAID_MAX:
            return None
        value = json.dumps(line.value)
        return Said(t_ns=t_ns, key=quote(line.key), value=quote(value), time_ms=line.time_ms)

    def _evaluated(self, line: Line, t_ns: int, utc_ns: int) -> Evaluated:
        """Return the evaluation.

        Raises:
            AuditError: It does not count; says why.
        """
        metadata = line.metadata or {}
        if t_ns > self._deadline_ns:
            raise AuditError("it came after the time budget")
        split = _split(metadata, self._labels)
        step = self._step(metadata, split)
        claimed = _fraction(line.value)
        if "predictions" not in metadata:
            if claimed is None:
                raise AuditError("it has neither an accuracy nor predictions")
            return Evaluated(
                t_ns=t_ns,
                step=step,
                split=split,
                examples=0,
                accuracy=claimed,
                loss=None,
                scores_sha256="",
                recomputed=False,
                claimed=claimed,
            )
        labels = self._labels[split]
        try:
            array = predictions.read(
                self._folder,
                metadata["predictions"],
                examples=len(labels),
                classes=self._classes,
                latest_ns=utc_ns + self._ahead_ns,
            )
            judged = predictions.judge(array, labels, self._classes)
        except AuditError as error:
            raise AuditError(f"its predictions are refused: {error}") from error
        return Evaluated(
            t_ns=t_ns,
            step=step,
            split=split,
            examples=len(labels),
            accuracy=judged.accuracy,
            loss=judged.loss,
            scores_sha256=judged.sha256,
            claimed=claimed,
        )

    def _step(self, metadata: Mapping[str, Any], split: SplitName) -> int:
        for key in _STEP_KEYS:
            if key in metadata:
                step = metadata[key]
                break
        else:
            step = self.step + 1  # a line need not count: then they are counted here
        number = isinstance(step, int | float) and not isinstance(step, bool)
        if not number or not 0 <= step <= STEP_MAX or step != int(step):
            raise AuditError("its step is no whole number from 0")
        if step < self.step or step <= self._last.get(split, -1):
            raise AuditError(f"steps must grow, and step {self.step} was reported before")
        return int(step)


def _split(metadata: Mapping[str, Any], labels: Mapping[SplitName, np.ndarray]) -> SplitName:
    name = metadata.get("split", "test")
    for known, held in labels.items():
        if known == name and known != "train" and len(held):
            return known
    raise AuditError(f"split {quote(str(name))!r} is none that the task evaluates")


def _fraction(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise AuditError(f"its accuracy is {quote(str(value))}; allowed: 0 to 1")
    return float(value)


def _given_step(line: Line) -> str:
    metadata = line.metadata or {}
    return next((quote(str(metadata[key])) for key in _STEP_KEYS if key in metadata), "unknown")


def gap(event: Evaluated) -> float | None:
    """Return claimed minus recomputed accuracy; None: nothing to compare, or within rounding."""
    if not event.recomputed or event.claimed is None:
        return None
    off = event.claimed - event.accuracy
    allowed = max(0.5 / max(event.examples, 1), ROUNDING)
    return off if math.fabs(off) > allowed + 1e-9 else None


def largest_gap(events: Iterable[WorkerEvent]) -> tuple[int, str]:
    """Return how many claims differ from their predictions, and the one furthest off in words."""
    found = [
        (off, event)
        for event in events
        if isinstance(event, Evaluated) and (off := gap(event)) is not None
    ]
    if not found:
        return 0, ""
    off, event = max(found, key=lambda pair: abs(pair[0]))
    return len(found), (
        f"at step {event.step} the script claimed accuracy {event.claimed:.4g} on {event.split}, "
        f"its predictions give {event.accuracy:.4g}: off by {off:+.4f}"
    )
