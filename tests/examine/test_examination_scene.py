"""timetrial.examine: steps of an examination in this process, with examiners of a few lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from timetrial import api
from timetrial.engine.clock import SegmentClock
from timetrial.engine.events import WORKER_LOG, Completed, Exhibited, Found, Segment, Started
from timetrial.engine.loop import Outcome
from timetrial.errors import AuditError, CannotExamineError, FormatError, UsageError
from timetrial.examine import request as examining
from timetrial.examine import session
from timetrial.examine.outcome import standing
from timetrial.examine.scene import Examiner, Scene, StopAsked
from timetrial.plan import Request, decode_plan
from timetrial.rundir import LogWriter, RunDir, pretty_json
from timetrial.testing import examiner, runs
from timetrial.testing.contracts import ExaminationContract


class TestFakeExamination(ExaminationContract):
    @pytest.fixture
    def examination(self):  # type: ignore[no-untyped-def]
        return examiner.EXAMINATION


class Does:
    """An examiner that is one function."""

    def __init__(self, carry_out: Callable[[Scene], None]) -> None:
        self.carry_out = carry_out

    def versions(self) -> Mapping[str, str]:
        return {}


class Examined:
    """One log, examined attempt by attempt without a worker process."""

    def __init__(self, folder: Path, *, light: bool = False) -> None:
        self.run = RunDir(folder)
        self.plan = runs.examination_plan(examiner.EXAMINATION, light=light)

    def attempt(self, who: Examiner, *, stop: Callable[[], bool] = lambda: False) -> Outcome:
        past = WORKER_LOG.read(self.run.events(0))
        with LogWriter(self.run.events(0)) as log:
            begun = {"t_ns": 0, "utc_ns": 0, "attempt": 0, "rank": 0, "pid": 1, "step": 0}
            log.write(Started(**begun, checkpoint=None))
            clock = SegmentClock(log, start_ns=0, first="imports")
            made = session.Session(self.run, self.plan, log, clock, stop)
            return session.examine(who, made, past)

    def events(self, kind: type) -> list:  # type: ignore[type-arg]
        return [e for e in WORKER_LOG.read(self.run.events(0)) if isinstance(e, kind)]


@pytest.fixture
def examined(tmp_path: Path) -> Examined:
    return Examined(tmp_path)


def test_every_step_leaves_its_findings_and_files_and_their_time(examined: Examined):
    assert examined.attempt(examiner.build()) == Outcome("reached", 3, "")
    found = {event.measure: event for event in examined.events(Found)}
    assert list(found) == ["letters", "share", "drawn", "distance", "reached"]
    assert (found["share"].value, found["share"].n, found["share"].unit) == (0.5, 8, "fraction")
    assert found["drawn"].value == 1
    for name in ("distance", "reached"):
        assert (found[name].value, found[name].reason) == (None, "nobody has it: bring one")
    assert [event.place for event in examined.events(Completed)] == ["count", "draw", "reach"]
    dot, said = examined.events(Exhibited)
    assert examined.run.exhibit(dot.file).read_bytes() == examiner.dot_png()
    assert (said.file, said.bytes) == ("said.txt", 6)
    assert [event.name for event in examined.events(Segment)] == ["imports", "measure"]


def test_light_leaves_a_step_out(tmp_path: Path):
    examined = Examined(tmp_path, light=True)
    assert examined.attempt(examiner.build()) == Outcome("reached", 2, "")
    assert [event.place for event in examined.events(Completed)] == ["count", "reach"]


def test_a_step_that_was_cut_short_is_done_again_and_the_others_are_not(examined: Examined):
    def broken(scene: Scene) -> None:
        if scene.step.name == "draw":
            scene.keep("half.png", b"", title="t", about="a")
            scene.answer("drawn", False)
            raise RuntimeError("the power went")
        examiner.build().carry_out(scene)

    with pytest.raises(RuntimeError):
        examined.attempt(Does(broken))
    done: list[str] = []

    def again(scene: Scene) -> None:
        done.append(scene.step.name)
        examiner.build().carry_out(scene)

    assert examined.attempt(Does(again)).status == "reached"
    assert done == ["draw", "reach"]
    stands = standing(WORKER_LOG.read(examined.run.events(0)))
    assert stands.found["drawn"].value == 1, "what the step left that was cut short does not count"
    assert set(stands.exhibited) == {"dot.png", "said.txt"}
    assert {path.name for path in examined.run.exhibits.iterdir()} == {"dot.png", "said.txt"}


def test_a_stop_is_heard_between_steps_and_inside_one_that_looks_up(examined: Examined):
    asked = iter([False, True])
    assert examined.attempt(examiner.build(), stop=lambda: next(asked)) == Outcome(
        None, 1, "asked to stop"
    )
    looks = iter([False, False, True])

    def waits(scene: Scene) -> None:
        while True:
            scene.look_up()

    assert examined.attempt(Does(waits), stop=lambda: next(looks)).status is None
    assert [event.place for event in examined.events(Completed)] == ["count"]


def test_a_step_without_all_that_it_seeks_ends_the_run(examined: Examined):
    with pytest.raises(AuditError, match="count of fake-examination ended without share"):
        examined.attempt(examiner.build_careless())
    [found] = examined.events(Found)
    assert found.notes == ("a command said eight",)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda s: s.find("letter", 1), "Unknown finding of step count 'letter'. Did you mean"),
        (lambda s: (s.find("letters", 1), s.find("letters", 1)), "twice"),
        (lambda s: s.find("share", float("nan")), "Allowed: a finite number"),
        (lambda s: s.lacks("share", " "), "does not say why"),
        (lambda s: s.keep("../plan.json", b"", title="t", about="a"), "no name of an exhibit"),
    ],
)
def test_what_cannot_be_a_finding_is_refused(examined: Examined, wrong, message):  # type: ignore[no-untyped-def]
    with pytest.raises((UsageError, FormatError), match=message):
        examined.attempt(Does(wrong))


def test_an_answer_is_yes_or_no(examined: Examined):
    def answers(scene: Scene) -> None:
        if scene.step.name == "draw":
            scene.find("drawn", 0.5)
        examiner.build().carry_out(scene)

    with pytest.raises(UsageError, match=r"Allowed: 1 \(yes\) or 0 \(no\)"):
        examined.attempt(Does(answers))


# --- commands ------------------------------------------------------------------------------------


def scene_of(examined: Examined, log: LogWriter, stop: Callable[[], bool]) -> Scene:
    step = examiner.EXAMINATION.steps[0]
    return Scene(examined.run, examined.plan, log, stop, step=step, done=0)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; print('lost', file=sys.stderr); sys.exit(3)", "exit code 3: lost"),
        ("import time; time.sleep(60)", "took longer than 1 s"),
    ],
)
def test_a_command_that_fails_is_a_reason(examined: Examined, code: str, reason: str):
    with (
        LogWriter(examined.run.events(0)) as log,
        pytest.raises(CannotExamineError, match=reason),
    ):
        scene_of(examined, log, lambda: False).run([sys.executable, "-c", code], timeout_s=1)


def test_a_program_that_is_not_there_is_a_reason(examined: Examined):
    with LogWriter(examined.run.events(0)) as log, pytest.raises(CannotExamineError, match="start"):
        scene_of(examined, log, lambda: False).run(["/nowhere/tool"], timeout_s=1)


def test_a_command_ends_with_its_step_and_so_does_what_it_started(
    examined: Examined, tmp_path: Path
):
    mark = tmp_path / "alive"
    child = (
        f"import time, pathlib\nwhile True: pathlib.Path({str(mark)!r}).touch(); time.sleep(.02)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with LogWriter(examined.run.events(0)) as log, pytest.raises(StopAsked):
        scene_of(examined, log, mark.exists).run([sys.executable, "-c", parent], timeout_s=60)
    time.sleep(0.1)  # what was at work when it was killed has ended
    mark.unlink()
    time.sleep(0.3)
    assert not mark.exists(), "a process of the command outlived its step"


# --- what is asked --------------------------------------------------------------------------------


def test_the_plan_holds_the_steps_and_no_task(examined: Examined):
    plan = examined.plan
    assert plan.subject is examiner.EXAMINATION
    assert decode_plan(pretty_json(plan), "here") == plan
    with pytest.raises(UsageError, match="nothing is learned in it"):
        _ = plan.task


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"workers": 2}, "its steps are carried out in one. Allowed: 1"),
        ({"target": 0.9}, "--target 0.9 does not fit fake-examination: it examines"),
        ({"division": "open"}, "Allowed: closed"),
        ({"script": ("true",)}, "no task that a script could learn"),
        ({"device": "abacus"}, "--device abacus"),
    ],
)
def test_what_an_examination_cannot_follow_is_refused(choices: dict, message: str):  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=message):
        examining.check(examiner.EXAMINATION, Request(task="fake-examination", **choices))


def test_a_name_that_is_no_examination_is_none():
    assert examining.find("digits-cnn") is None
    with pytest.raises(UsageError, match="Unknown task or suite"):
        api.plans("fake-examinations", seeds=1)


def test_an_unfinished_plan_says_what_it_lacks(examined: Examined):
    empty = msgspec.structs.replace(examined.plan, examination=None)
    with pytest.raises(FormatError, match="neither a task, an exchange nor an examination"):
        _ = empty.subject
