"""Steps of an examination carried out in this process, without a worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from timetrial.engine.events import WORKER_LOG, Found
from timetrial.errors import CannotExamineError
from timetrial.examine.scene import Examiner, Scene
from timetrial.rundir import LogWriter, RunDir
from timetrial.spec import Examination
from timetrial.testing import runs


def found_by(
    folder: Path,
    examiner: Examiner,
    examination: Examination,
    step: str,
    *,
    files: Mapping[str, str] | None = None,
) -> dict[str, Found]:
    """What one step finds, by measure; all that it seeks is there."""
    plan = runs.examination_plan(examination)
    plan = msgspec.structs.replace(plan, data_files=files or {})
    run = RunDir(folder)
    [chosen] = [one for one in examination.steps if one.name == step]
    with LogWriter(run.events(0)) as log:
        scene = Scene(run, plan, log, lambda: False, step=chosen, done=0)
        try:
            examiner.carry_out(scene)
        except CannotExamineError as error:
            scene.lack_the_rest(str(error))
        assert scene.missing == []
    return {e.measure: e for e in WORKER_LOG.read(run.events(0)) if isinstance(e, Found)}
