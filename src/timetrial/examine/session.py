"""One attempt of an examination, inside a worker. It reads from top to bottom."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from timetrial.engine.clock import SegmentClock
from timetrial.engine.events import Completed, Progress, WorkerEvent
from timetrial.engine.loop import Outcome
from timetrial.errors import AuditError, CannotExamineError
from timetrial.examine.outcome import Standing, standing
from timetrial.examine.scene import Examiner, Scene, StopAsked
from timetrial.plan import Plan
from timetrial.rundir import LogWriter, RunDir, disk_errors
from timetrial.spec import Examination, ExaminationStep


class Session(NamedTuple):
    """What an examination works with."""

    run: RunDir
    plan: Plan
    log: LogWriter
    clock: SegmentClock
    stop_asked: Callable[[], bool]


def examine(examiner: Examiner, session: Session, past: Sequence[WorkerEvent]) -> Outcome:
    """Carry out all steps that were not done before; return how it ended.

    Raises:
        AuditError: A step ended without all that it seeks.
    """
    done = standing(past)
    steps = _examination(session.plan).chosen(light=session.plan.light)
    _tidy(session.run, done)
    session.clock.enter("measure", step=0)
    for number, step in enumerate(steps, start=1):
        if step.name in done.completed:
            continue
        if session.stop_asked() or not _carry_out(examiner, session, step, number):
            session.clock.enter("teardown", step=number - 1, sync=True)
            return Outcome(None, number - 1, "asked to stop")
    session.clock.enter("teardown", step=len(steps), sync=True)
    shutil.rmtree(session.run.scratch, ignore_errors=True)
    return Outcome("reached", len(steps), "")


def _examination(plan: Plan) -> Examination:
    assert plan.examination is not None  # the worker asked
    return plan.examination


def _tidy(run: RunDir, done: Standing) -> None:
    """Remove the files of a step that was cut short: it is done again."""
    for path in run.exhibits.glob("*") if run.exhibits.is_dir() else ():
        if path.name not in done.exhibited:
            with disk_errors(path):
                path.unlink()


def _carry_out(examiner: Examiner, session: Session, step: ExaminationStep, number: int) -> bool:
    """Do one step; return False where the run is to stop before it is done."""
    begun_ns = time.monotonic_ns()
    session.log.write(Progress(t_ns=begun_ns, step=number - 1))
    scene = Scene(
        session.run, session.plan, session.log, session.stop_asked, step=step, done=number - 1
    )
    try:
        examiner.carry_out(scene)
    except CannotExamineError as error:
        scene.lack_the_rest(str(error))
    except StopAsked:
        return False
    if scene.missing:
        raise AuditError(
            f"Step {step.name} of {_examination(session.plan).name} ended without "
            f"{', '.join(scene.missing)}. Have its examiner find each, or say why it cannot: "
            "scene.lacks."
        )
    now_ns = time.monotonic_ns()
    session.log.write(
        Completed(t_ns=now_ns, step=number, place=step.name, seconds=(now_ns - begun_ns) / 1e9),
        sync=True,
    )
    return True
