"""A probe: a few seconds of training that measure only speed.

Warm-up, a look at evaluation, the stretch that counts, and a second look: what a run of the same
plan does, in small. Nothing is said of how well it learns.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from timetrial.engine import loop, metrics
from timetrial.engine.events import Timed
from timetrial.engine.loop import NO_TIME, STOP, Outcome, Session
from timetrial.spec import Implementation, Settles, Split

WARM_UP_SHARE: Final = 0.2  # of the probe's seconds: first steps are slower, by caches and threads
WARM_UP_S: Final = 0.6  # and at least so long, as far as half of the probe allows
"""Steps of the first half second of training took 1.45 times as long as those of the whole run (22
runs), of the second 1.06 times (24; geometric means; torch, Keras, JAX; 2 cores, 2026-11-23)."""
LOOK_SHARE: Final = 0.12  # of the probe's seconds, that one look at evaluation may take
FIRST_LOOK: Final = 500  # examples; a multiple of the batch in which networks predict


def probe(
    implementation: Implementation, session: Session, seconds: float, *, step: int
) -> Outcome:
    """Train from `step` for about so many seconds of this process's time; return how it ended.

    The looks predict as many examples of the evaluated split as their share of the time allows,
    at least FIRST_LOOK, and say how many these were.
    """
    plan, clock = session.plan, session.clock
    begun = time.monotonic()
    looked: int | None = None
    warm_up_s = max(WARM_UP_SHARE * seconds, min(WARM_UP_S, seconds / 2))
    for until_s in (warm_up_s, seconds):
        step, pace = _train_until(implementation, session, step, begun + until_s)
        if pace == STOP:
            clock.enter("teardown", step=step, sync=True)
            return Outcome(None, step, "asked to stop")
        clock.enter("eval", step=step)
        if isinstance(implementation, Settles) and plan.workers > 1:
            implementation.settle()
        if session.team.rank == 0:
            looked = _look(implementation, session, step, looked, LOOK_SHARE * seconds)
        session.team.agree(True)  # the others wait for the evaluation, as in a run
    loop.save(implementation, session, step)
    clock.enter("teardown", step=step, sync=True)
    return Outcome("budget", step, "probe")


def _train_until(
    implementation: Implementation, session: Session, step: int, deadline: float
) -> tuple[int, int]:
    """Train up to `deadline` or the last step, at least one step; return step and pace."""
    timed = session._replace(
        budget_left_s=lambda: min(session.budget_left_s(), deadline - time.monotonic())
    )
    session.clock.enter("train", step=step)
    pace = NO_TIME
    while step < session.plan.steps_max:
        step, pace = loop.advance(implementation, timed, step)
        if session.team.agree(pace in (STOP, NO_TIME)):
            break
    return step, pace


def _look(
    implementation: Implementation,
    session: Session,
    step: int,
    before: int | None,
    most_s: float,
) -> int:
    """Time an evaluation of a part of the split; return how many examples to look at next."""
    split = session.splits[session.plan.task.eval_split]
    count = min(len(split), before or FIRST_LOOK)
    labels = split.labels[:count]
    begun_ns = time.monotonic_ns()
    scores = implementation.predict(_first(split, count))
    metrics.check_scores(scores, count, session.plan.task.dataset.classes)
    metrics.cross_entropy(scores, labels)
    metrics.accuracy(scores, labels)
    metrics.digest(scores)
    now_ns = time.monotonic_ns()
    spent_s = (now_ns - begun_ns) / 1e9
    session.log.write(
        Timed(t_ns=now_ns, step=step, split=split.name, examples=count, seconds=spent_s)
    )
    affordable = int(count * most_s / spent_s) // FIRST_LOOK * FIRST_LOOK
    return min(len(split), max(FIRST_LOOK, affordable))


def _first(split: Split, count: int) -> np.ndarray | Split:
    """Return the first examples, as an array: implementations keep what they made of a split."""
    if count == len(split):
        return split
    return split.inputs[:count] if split.lazy is None else split.lazy[slice(0, count)]
