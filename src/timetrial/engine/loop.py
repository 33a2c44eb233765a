"""The one timed loop. It reads from top to bottom; what is optional has its own segment."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from timetrial.engine import checkpoint, inference, metrics
from timetrial.engine.clock import Laps, SegmentClock
from timetrial.engine.events import Checkpointed, Evaluated, Measured, Progress, Status
from timetrial.engine.team import FIRST_PACE, Team
from timetrial.plan import Plan
from timetrial.rundir import LogWriter, RunDir
from timetrial.spec import (
    Adaptive,
    GoesFurther,
    Implementation,
    PredictsWithDropout,
    Settles,
    Split,
    SplitName,
)

MEASURED: Final = frozenset({"confusion_matrix", "accuracy_with_dropout_on"})
CHUNK_S: Final = 0.4  # training is looked at this often: stop requests, budget, sign of life


STOP: Final = 0  # in place of a pace: asked to stop
NO_TIME: Final = -1  # in place of a pace: the budget is spent


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
    team: Team


class Outcome(NamedTuple):
    """How the loop ended; status None: asked to stop, to be resumed."""

    status: Status | None
    step: int
    detail: str


class Seen(NamedTuple):
    """What worker 0 saw in an evaluation and decided: the same in every worker."""

    loss: float | None
    reached: bool
    ends: bool  # the target, the last step or the budget
    on_time: bool
    stop: bool
    save: bool


def train(implementation: Implementation, session: Session, *, step: int, reached: bool) -> Outcome:
    """Train from `step` until the target, the budget or the last step; return how it ended.

    `reached` says whether an evaluation up to `step` met the target already (resumed runs).
    All workers of a run go through it together; worker 0 evaluates and decides.
    """
    plan, clock = session.plan, session.clock
    on_time = True
    saved_ns = time.monotonic_ns()
    while not (reached and plan.target is not None):
        clock.enter("train", step=step)
        step, pace = advance(implementation, session, step)
        due = step % plan.rhythm.eval_every_steps == 0 or step >= plan.steps_max
        if pace == STOP and not due:  # an evaluation that is due would never be made up for
            return _stop(implementation, session, step)

        clock.enter("eval", step=step)
        if isinstance(implementation, Settles) and plan.workers > 1:
            implementation.settle()
        seen = _look(implementation, session, step, reached=reached, pace=pace, saved_ns=saved_ns)
        clock.enter("log", step=step, sync=True)
        if seen.loss is None:
            clock.enter("teardown", step=step, sync=True)
            return Outcome("diverged", step, "the loss is not finite")
        if isinstance(implementation, Adaptive):
            implementation.evaluated(step, seen.loss)
        reached, on_time = seen.reached, seen.on_time
        if seen.ends:
            break

        if seen.stop:
            return _stop(implementation, session, step)
        if seen.save:
            save(implementation, session, step)
            saved_ns = time.monotonic_ns()

    if session.team.rank == 0:
        _look_last(implementation, session, step)
    save(implementation, session, step)
    ended = _infer(implementation, session, step)
    clock.enter("teardown", step=step, sync=True)
    if not ended:
        return Outcome(None, step, "asked to stop")
    if reached:
        return Outcome("reached", step, "")
    return Outcome("budget", step, "time budget" if not on_time else "last step")


def _look(
    implementation: Implementation,
    session: Session,
    step: int,
    *,
    reached: bool,
    pace: int,
    saved_ns: int,
) -> Seen:
    """Evaluate in worker 0, and tell all what follows from it."""
    plan = session.plan
    seen: Seen | None = None
    if session.team.rank == 0:
        on_time = pace != NO_TIME and session.budget_left_s() > 0
        event = _evaluate(implementation, session, step, plan.task.eval_split)
        reached = reached or _meets_target(plan, event)
        over = step >= plan.steps_max or not on_time
        seen = Seen(
            loss=event.loss,
            reached=reached,
            ends=over or (reached and plan.target is not None),
            on_time=on_time,
            stop=pace == STOP or session.stop_asked(),
            save=time.monotonic_ns() - saved_ns >= plan.rhythm.checkpoint_every_s * 1e9,
        )
    return Seen(*session.team.agree(seen))


def _look_last(implementation: Implementation, session: Session, step: int) -> None:
    """Evaluate on test where that was not done all along, and take the task's own measures."""
    plan, clock = session.plan, session.clock
    if plan.task.eval_split != "test":
        clock.enter("eval", step=step)
        _evaluate(implementation, session, step, "test")
    if MEASURED.intersection(plan.task.measures):
        clock.enter("log", step=step)  # our own looks: no clock counts them as an evaluation
        _measure(implementation, session, step)


def _infer(implementation: Implementation, session: Session, step: int) -> bool:
    """Time predictions where the plan asks for it; return False where asked to stop meanwhile."""
    if session.plan.inference_s is None:
        return True
    session.clock.enter("infer", step=step)
    ended = session.team.rank > 0 or inference.measure(implementation, session, step)
    return bool(session.team.agree(ended))  # the others wait, so that nothing disturbs it


def _stop(implementation: Implementation, session: Session, step: int) -> Outcome:
    save(implementation, session, step)
    session.clock.enter("teardown", step=step, sync=True)
    return Outcome(None, step, "asked to stop")


def advance(implementation: Implementation, session: Session, step: int) -> tuple[int, int]:
    """Train up to the next evaluation; return the step reached, and STOP or NO_TIME if it was so.

    Several workers do the same steps in the same stretches: worker 0 says how long these are.
    """
    plan, rhythm = session.plan, session.plan.rhythm
    end = min((step // rhythm.eval_every_steps + 1) * rhythm.eval_every_steps, plan.steps_max)
    if isinstance(implementation, GoesFurther):
        return _at_once(implementation, session, step, end)
    pace = FIRST_PACE
    while step < end:
        if rhythm.fence_every_steps and step % rhythm.fence_every_steps == 0 and step:
            session.laps.begin()
            implementation.advance(1)
            session.log.write(session.laps.end(step))
            step += 1
            continue
        chunk = min(pace, _room(step, end, rhythm.fence_every_steps))
        begun_ns = time.monotonic_ns()
        implementation.advance(chunk)
        step += chunk
        instant = time.monotonic_ns()
        session.log.write(Progress(t_ns=instant, step=step))
        if step >= end and plan.workers > 1:
            break  # what worker 0 decides now would be heard at the evaluation anyway
        pace = session.team.pace(_pace(session, (instant - begun_ns) / 1e9 / chunk))
        if pace in (STOP, NO_TIME):
            return step, pace
    return step, pace


def _at_once(
    implementation: Implementation, session: Session, step: int, end: int
) -> tuple[int, int]:
    """Train up to `end` in one call; return as `advance` does."""
    begun_ns = time.monotonic_ns()
    implementation.advance(end - step)
    instant = time.monotonic_ns()
    session.log.write(Progress(t_ns=instant, step=end))
    return end, _pace(session, max(instant - begun_ns, 1) / 1e9 / (end - step))


def _pace(session: Session, seconds_per_step: float) -> int:
    """Return how many steps take about CHUNK_S, or why to end."""
    if session.stop_asked():
        return STOP
    if session.budget_left_s() <= 0:
        return NO_TIME
    return max(1, math.floor(CHUNK_S / seconds_per_step))


def _room(step: int, end: int, fence: int) -> int:
    """Return the steps up to the next fence or evaluation."""
    return min(end - step, fence - step % fence) if fence else end - step


def _evaluate(
    implementation: Implementation, session: Session, step: int, name: SplitName
) -> Evaluated:
    split = session.splits[name]
    scores = implementation.predict(split)
    metrics.check_scores(scores, len(split), session.plan.task.dataset.classes)
    loss = metrics.cross_entropy(scores, split.labels)
    wanted = {target.metric for target in session.plan.task.targets}
    event = Evaluated(
        t_ns=time.monotonic_ns(),
        step=step,
        split=name,
        examples=len(scores),
        accuracy=metrics.accuracy(scores, split.labels),
        loss=loss if math.isfinite(loss) else None,
        scores_sha256=metrics.digest(scores),
        top5=metrics.top5_accuracy(scores, split.labels) if "top5_accuracy" in wanted else None,
        auc=_known(metrics.area_under_roc(scores, split.labels)) if "auc" in wanted else None,
    )
    session.log.write(event)
    return event


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


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


def save(implementation: Implementation, session: Session, step: int) -> None:
    """Write the state that a run can go on from."""
    session.clock.enter("checkpoint", step=step)
    rank = session.team.rank
    name, size, digest = checkpoint.save(session.run, step, implementation.state(), rank=rank)
    session.log.write(
        Checkpointed(t_ns=time.monotonic_ns(), step=step, file=name, bytes=size, sha256=digest),
        sync=True,
    )
    checkpoint.prune(session.run, rank=rank)
