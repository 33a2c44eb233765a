"""The one timed loop. It reads from top to bottom; what is optional has its own segment."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from timetrial.engine import checkpoint, metrics
from timetrial.engine.clock import Laps, SegmentClock
from timetrial.engine.events import Checkpointed, Evaluated, Measured, Progress, Status
from timetrial.plan import Plan
from timetrial.rundir import LogWriter, RunDir
from timetrial.spec import Adaptive, Implementation, PredictsWithDropout, Split, SplitName

MEASURED: Final = frozenset({"confusion_matrix", "accuracy_with_dropout_on"})
CHUNK_S: Final = 0.4  # training is looked at this often: stop requests, budget, sign of life


class Session(NamedTuple):
    """What the loop works with."""

    plan: Plan
    run: RunDir
    splits: Mapping[SplitName, Split]
    log: LogWriter
    clock: SegmentClock
    laps: Laps
    stop_asked: Callable[[], bool]
    budget_left_s: Callable[[], float]  # infinite without a budget


class Outcome(NamedTuple):
    """How the loop ended; status None: asked to stop, to be resumed."""

    status: Status | None
    step: int
    detail: str


def train(implementation: Implementation, session: Session, *, step: int, reached: bool) -> Outcome:
    """Train from `step` until the target, the budget or the last step; return how it ended.

    `reached` says whether an evaluation up to `step` met the target already (resumed runs).
    """
    plan, clock = session.plan, session.clock
    on_time = True
    saved_ns = time.monotonic_ns()
    while not (reached and plan.target is not None):
        clock.enter("train", step=step)
        step, on_time = _advance(implementation, session, step)
        due = step % plan.rhythm.eval_every_steps == 0 or step >= plan.steps_max
        if session.stop_asked() and not due:  # an evaluation that is due would never be made up for
            return _stop(implementation, session, step)

        clock.enter("eval", step=step)
        seen = _evaluate(implementation, session, step, plan.task.eval_split)
        clock.enter("log", step=step, sync=True)
        if seen.loss is None:
            clock.enter("teardown", step=step, sync=True)
            return Outcome("diverged", step, "the loss is not finite")
        if isinstance(implementation, Adaptive):
            implementation.evaluated(step, seen.loss)
        reached = reached or _meets_target(plan, seen)
        if (reached and plan.target is not None) or step >= plan.steps_max or not on_time:
            break

        if session.stop_asked():
            return _stop(implementation, session, step)
        if time.monotonic_ns() - saved_ns >= plan.rhythm.checkpoint_every_s * 1e9:
            _save(implementation, session, step)
            saved_ns = time.monotonic_ns()

    if plan.task.eval_split != "test":
        clock.enter("eval", step=step)
        _evaluate(implementation, session, step, "test")
    if MEASURED.intersection(plan.task.measures):
        clock.enter("log", step=step)  # our own looks: no clock counts them as an evaluation
        _measure(implementation, session, step)
    _save(implementation, session, step)
    clock.enter("teardown", step=step, sync=True)
    if reached:
        return Outcome("reached", step, "")
    return Outcome("budget", step, "time budget" if not on_time else "last step")


def _stop(implementation: Implementation, session: Session, step: int) -> Outcome:
    _save(implementation, session, step)
    session.clock.enter("teardown", step=step, sync=True)
    return Outcome(None, step, "asked to stop")


def _advance(implementation: Implementation, session: Session, step: int) -> tuple[int, bool]:
    """Train up to the next evaluation; return the step reached and whether time is left."""
    plan, rhythm = session.plan, session.plan.rhythm
    end = min((step // rhythm.eval_every_steps + 1) * rhythm.eval_every_steps, plan.steps_max)
    seconds_per_step = 0.0
    while step < end:
        if rhythm.fence_every_steps and step % rhythm.fence_every_steps == 0 and step:
            session.laps.begin()
            implementation.advance(1)
            session.log.write(session.laps.end(step))
            step += 1
            continue
        chunk = _chunk(step, end, rhythm.fence_every_steps, seconds_per_step)
        begun_ns = time.monotonic_ns()
        implementation.advance(chunk)
        step += chunk
        instant = time.monotonic_ns()
        seconds_per_step = (instant - begun_ns) / 1e9 / chunk
        session.log.write(Progress(t_ns=instant, step=step))
        if session.stop_asked():
            return step, True
        if session.budget_left_s() <= 0:
            return step, False
    return step, session.budget_left_s() > 0


def _chunk(step: int, end: int, fence: int, seconds_per_step: float) -> int:
    """Return how many steps to run freely: up to the next fence or evaluation, or CHUNK_S."""
    most = end - step
    if fence:
        most = min(most, fence - step % fence)
    if seconds_per_step == 0:
        return min(most, 4)
    return max(1, min(most, math.floor(CHUNK_S / seconds_per_step)))


def _evaluate(
    implementation: Implementation, session: Session, step: int, name: SplitName
) -> Evaluated:
    split = session.splits[name]
    scores = implementation.predict(split)
    metrics.check_scores(scores, len(split), session.plan.task.dataset.classes)
    loss = metrics.cross_entropy(scores, split.labels)
    event = Evaluated(
        t_ns=time.monotonic_ns(),
        step=step,
        split=name,
        examples=len(scores),
        accuracy=metrics.accuracy(scores, split.labels),
        loss=loss if math.isfinite(loss) else None,
        scores_sha256=metrics.digest(scores),
        top5=metrics.top5_accuracy(scores, split.labels) if _wants_top5(session.plan) else None,
    )
    session.log.write(event)
    return event


def _wants_top5(plan: Plan) -> bool:
    return any(target.metric == "top5_accuracy" for target in plan.task.targets)


def _measure(implementation: Implementation, session: Session, step: int) -> None:
    """Take the task's own measures of the test set that need more than its accuracy."""
    wanted, test = session.plan.task.measures, session.splits["test"]
    measured = functools.partial(Measured, step=step, split="test")
    if "confusion_matrix" in wanted:
        classes = session.plan.task.dataset.classes
        table = metrics.confusion_matrix(implementation.predict(test), test.labels, classes)
        session.log.write(measured(t_ns=time.monotonic_ns(), name="confusion_matrix", table=table))
    name = "accuracy_with_dropout_on"
    if name in wanted and isinstance(implementation, PredictsWithDropout):
        accuracy = metrics.accuracy(implementation.predict_with_dropout(test), test.labels)
        session.log.write(measured(t_ns=time.monotonic_ns(), name=name, value=accuracy))


def _meets_target(plan: Plan, seen: Evaluated) -> bool:
    target = plan.target or plan.task.targets[-1]
    if target.split != seen.split:
        return False
    return target.met_by(metrics.metric_value(target.metric, seen))


def _save(implementation: Implementation, session: Session, step: int) -> None:
    session.clock.enter("checkpoint", step=step)
    name, size, digest = checkpoint.save(session.run, step, implementation.state())
    session.log.write(
        Checkpointed(t_ns=time.monotonic_ns(), step=step, file=name, bytes=size, sha256=digest),
        sync=True,
    )
    checkpoint.prune(session.run)
