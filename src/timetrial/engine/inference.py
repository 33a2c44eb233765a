"""Inference as a measure: how long the trained model takes to predict, alone and in batches.

Worker 0 does it after the last evaluation and checkpoint, in the segment `infer`. One call of the
implementation's `predict` follows the other, so nothing waits in a queue: single examples of the
test split in its order, then batches of growing size. The device has nothing left to do when a call
begins, and has done all when it ends, since `predict` returns an array of this machine. Every size
warms up first, so that what a framework compiles for it is outside of the calls that count; the
warm-up is in the log too. All scores are compared with those of the whole split: nobody times what
is not the model. What it all comes to is computed from the log (`stats.inference`).
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from timetrial import units
from timetrial.engine import metrics
from timetrial.engine.events import Inferred, Rescored
from timetrial.errors import AuditError
from timetrial.spec import Implementation, PredictsInParts, Split, SplitName

if TYPE_CHECKING:
    from timetrial.engine.loop import Session

SPLIT: Final[SplitName] = "test"  # every task has one, and DAWNBench's rule asks for it
SIZES: Final = (1, 8, 64, 512, 4096, 32768)  # examples at a time, as far as a model takes them
ALONE_SHARE: Final = 0.5  # of the time asked for: single examples; the batches share the rest
WARM_UP_S: Final = 0.2  # of calls of each size, that do not count
CALLS_MIN: Final = 3  # of each size, in the warm-up too, however long they take
CALLS_MAX: Final = 20_000  # of each size, unless the split has more examples
STRETCH_S: Final = 0.4  # stop requests are looked at this often
STRETCH_CALLS: Final = 2000  # numbers in a line of the log


class Reference(NamedTuple):
    """The scores of the whole split, which all others are compared with."""

    scores: np.ndarray
    scale: float  # the largest of them without its sign


def measure(implementation: Implementation, session: Session, step: int) -> bool:
    """Time predictions for about the seconds of the plan, warm-up aside; return whether it ended.

    False: the run was asked to stop. What the log has then counts for nothing; a resumed run begins
    anew.

    Raises:
        AuditError: `predict` returned something else than a row of scores for each example.
    """
    seconds = session.plan.inference_s
    assert seconds is not None  # the loop asked
    split = session.splits[SPLIT]
    caller = Caller(implementation, session, step, _rescore(implementation, session, step))
    sizes = batch_sizes(_at_once(implementation, split))
    left_s, s_per_example = seconds, 0.0
    for place, size in enumerate(sizes):
        needed_s = CALLS_MIN * size * s_per_example  # by the size before: rarely less for each
        if place and needed_s > left_s:
            caller.leave_out(size, needed_s, left_s)
            continue
        share = ALONE_SHARE if place == 0 and len(sizes) > 1 else 1 / (len(sizes) - place)
        spent = caller.timed(size, left_s * share)
        if spent is None:
            return False
        left_s = max(0.0, left_s - spent.seconds)
        s_per_example = spent.seconds / (spent.calls * size)
    return True


def batch_sizes(most: int) -> list[int]:
    """Return how many examples to predict at a time, from 1 to `most`, no two alike."""
    return [*(size for size in SIZES if 2 * size <= most), most]


def _at_once(implementation: Implementation, split: Split) -> int:
    """Return how many examples a model computes at once in an evaluation of the split."""
    if isinstance(implementation, PredictsInParts):
        return min(implementation.predict_batch, len(split))
    return len(split)


def _rescore(implementation: Implementation, session: Session, step: int) -> Reference:
    """Score the whole split as an evaluation does, and log what came out."""
    split = session.splits[SPLIT]
    begun_ns = time.perf_counter_ns()
    scores = implementation.predict(split)
    spent_ns = time.perf_counter_ns() - begun_ns
    _check(scores, len(split), session)
    session.log.write(
        Rescored(
            t_ns=time.monotonic_ns(),
            step=step,
            split=SPLIT,
            examples=len(scores),
            accuracy=metrics.accuracy(scores, split.labels),
            scores_sha256=metrics.digest(scores),
            ns=spent_ns,
        )
    )
    finite = np.abs(scores[np.isfinite(scores)])
    return Reference(scores, float(finite.max(initial=0.0)) or 1.0)


class Spent(NamedTuple):
    """How many calls there were, and how long they took together."""

    calls: int
    seconds: float


class Caller:
    """Calls `predict` on parts of the split and logs how long each call took."""

    def __init__(
        self, implementation: Implementation, session: Session, step: int, reference: Reference
    ) -> None:
        """Keep what the calls need."""
        self._implementation = implementation
        self._session = session
        self._step = step
        self._reference = reference
        self._split = session.splits[SPLIT]

    def timed(self, size: int, seconds: float) -> Spent | None:
        """Warm up, then call for so many seconds; return what counts. None: asked to stop.

        At least CALLS_MIN calls, at most CALLS_MAX, or once through the split where that is more.
        """
        if self._call(size, min(WARM_UP_S, seconds / 2), warm_up=True) is None:
            return None
        return self._call(size, seconds, warm_up=False)

    def leave_out(self, size: int, needed_s: float, left_s: float) -> None:
        """Log that batches of this size would take longer than what is left of the time."""
        why = (
            f"{CALLS_MIN} calls would take about {units.duration(needed_s)} of the "
            f"{units.duration(left_s)} left"
        )
        self._log(size, 0, [], warm_up=False, furthest=None, changed=0, left_out=why)

    def _call(self, size: int, seconds: float, *, warm_up: bool) -> Spent | None:
        most = max(CALLS_MAX, len(self._split) // size)
        calls, spent_ns = 0, 0
        while calls < CALLS_MIN or (calls < most and spent_ns < seconds * 1e9):
            if self._session.stop_asked():
                return None
            room_ns = min(seconds * 1e9 - spent_ns, STRETCH_S * 1e9)
            ns = self._stretch(size, calls, room_ns, most - calls, warm_up=warm_up)
            calls += len(ns)
            spent_ns += sum(ns)
        return Spent(calls, spent_ns / 1e9)

    def _stretch(
        self, size: int, first: int, room_ns: float, most: int, *, warm_up: bool
    ) -> list[int]:
        """Call until the room is filled, at least once; log and return each call's nanoseconds."""
        batches = len(self._split) // size
        ns: list[int] = []
        apart: list[float] = []
        changed, spent_ns = 0, 0
        while not ns or (len(ns) < min(most, STRETCH_CALLS) and spent_ns < room_ns):
            begin = (first + len(ns)) % batches * size
            rows = slice(begin, begin + size)
            inputs = _examples(self._split, rows)
            self._session.laps.wait()

            begun_ns = time.perf_counter_ns()
            scores = self._implementation.predict(inputs)
            spent = time.perf_counter_ns() - begun_ns

            ns.append(spent)
            spent_ns += spent
            _check(scores, size, self._session)
            expected = self._reference.scores[rows]
            apart.append(_apart(scores, expected, self._reference.scale))
            changed += int(np.sum(scores.argmax(axis=1) != expected.argmax(axis=1)))
        furthest = float(np.max(apart))
        self._log(size, first, ns, warm_up=warm_up, furthest=furthest, changed=changed)
        return ns

    def _log(
        self,
        size: int,
        first: int,
        ns: list[int],
        *,
        warm_up: bool,
        furthest: float | None,
        changed: int,
        left_out: str | None = None,
    ) -> None:
        known = furthest is not None and math.isfinite(furthest)
        self._session.log.write(
            Inferred(
                t_ns=time.monotonic_ns(),
                step=self._step,
                split=SPLIT,
                batch=size,
                first=first,
                warm_up=warm_up,
                ns=tuple(ns),
                furthest=furthest if known else None,
                changed=changed,
                left_out=left_out,
            )
        )


def _examples(split: Split, rows: slice) -> np.ndarray:
    """Return examples in this machine's memory; images on disk are decoded for it."""
    return split.inputs[rows] if split.lazy is None else split.lazy[rows]


def _check(scores: object, examples: int, session: Session) -> None:
    """Refuse what is not there yet: a framework's own array may still be on its way."""
    if not isinstance(scores, np.ndarray):
        raise AuditError(
            f"predict returned a {type(scores).__name__} and not an array of NumPy: nobody knows "
            "whether the device has finished it. Mend the implementation's predict."
        )
    metrics.check_scores(scores, examples, session.plan.task.dataset.classes)


def _apart(scores: np.ndarray, expected: np.ndarray, scale: float) -> float:
    """Return how far scores lie from those expected, over `scale`; NaN where one is no number."""
    with np.errstate(invalid="ignore"):  # equal infinities lie at no distance
        distances = np.where(scores == expected, 0.0, np.abs(scores - expected))
    return float(distances.max()) / scale
