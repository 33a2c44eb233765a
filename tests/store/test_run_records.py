"""Records of runs: stretches tile the wall time, also of runs that were resumed or moved."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from timetrial import audit
from timetrial.engine.events import (
    Allocated,
    Checkpointed,
    Evaluated,
    Exited,
    Granted,
    LauncherEvent,
    Progress,
    Released,
    Segment,
    SegmentName,
    Spawned,
    Started,
    Stopped,
    WorkerEvent,
)
from timetrial.plan import Plan
from timetrial.rundir import LogWriter, RunDir
from timetrial.stats import measures
from timetrial.stats.clocks import CLOCKS, elapsed_s
from timetrial.store import RunRecord, read_run
from timetrial.testing import runs

S = 10**9


@pytest.fixture(scope="module")
def plan() -> Plan:
    return runs.fake_plan()


def launcher_log(
    attempt: int, begin_s: int, *, seconds: int, utc_s: int, boot: str, code: int
) -> list[LauncherEvent]:
    """Allocated, spawned after 1 s, exited 1 s before it is released."""
    end = begin_s + seconds
    exited = Exited(
        t_ns=(end - 1) * S, attempt=attempt, rank=0, code=code, user_s=1.0, system_s=0.0,
        peak_rss_bytes=1, cgroup_cpu_s=None, cgroup_peak_bytes=None, out_of_memory=False,
    )  # fmt: skip
    return [
        Allocated(
            t_ns=begin_s * S, utc_ns=utc_s * S, attempt=attempt, boot_id=boot, host="vm", pid=1
        ),
        Spawned(t_ns=(begin_s + 1) * S, attempt=attempt, rank=0, pid=2, limits={}),
        exited,
        Released(t_ns=end * S, utc_ns=(utc_s + seconds) * S, attempt=attempt),
    ]


def worker_log(
    attempt: int, begin_s: int, step: int, parts: list[tuple[SegmentName, int]]
) -> list[WorkerEvent]:
    """Starts at `begin_s`; each part lasts so many seconds, the last one is still going on."""
    log: list[WorkerEvent] = [
        Started(
            t_ns=begin_s * S, utc_ns=0, attempt=attempt, rank=0, pid=2, step=step, checkpoint=None
        )
    ]
    at = begin_s
    for (name, seconds), (following, _) in itertools.pairwise(parts):
        log.append(
            Segment(t_ns=(at + seconds) * S, start_ns=at * S, name=name, next=following, step=step)
        )
        at += seconds
    return log


def evaluated(at_s: int, step: int, accuracy: float, scores: str = "a") -> Evaluated:
    return Evaluated(
        t_ns=at_s * S, step=step, split="validation", examples=360, accuracy=accuracy, loss=1.0,
        scores_sha256=scores,
    )  # fmt: skip


def record(plan: Plan, launcher: list[LauncherEvent], worker: list[WorkerEvent]) -> RunRecord:
    return RunRecord(RunDir(Path("nowhere")), plan, None, launcher, worker)


def resumed(plan: Plan, *, boot: str = "one", begin_s: int = 150) -> RunRecord:
    """Killed 17 s into an attempt of 20 s; another begins 30 s after the first was released."""
    launcher = launcher_log(0, 100, seconds=20, utc_s=5000, boot="one", code=-9)
    launcher += launcher_log(1, begin_s, seconds=15, utc_s=5050, boot=boot, code=0)
    first = worker_log(0, 103, 0, [("imports", 2), ("data", 3), ("train", 4), ("eval", 9)])
    first.insert(-1, evaluated(112, 10, 0.5))
    second = worker_log(
        1, begin_s + 2, 10, [("imports", 2), ("data", 3), ("train", 4), ("teardown", 0)]
    )
    second.append(evaluated(begin_s + 11, 20, 0.9))
    return record(plan, launcher, [*first, *second])


def test_stretches_tile_every_attempt_and_what_lies_between_is_wait(plan: Plan):
    seen = resumed(plan)
    expected = [
        ("provision", 0, 1), ("environment", 1, 3), ("imports", 3, 5), ("data", 5, 8),
        ("train", 8, 12), ("eval", 12, 19), ("teardown", 19, 20), ("wait", 20, 50),
        ("provision", 50, 51), ("environment", 51, 52), ("imports", 52, 54), ("data", 54, 57),
        ("train", 57, 61), ("teardown", 61, 64), ("teardown", 64, 65),
    ]  # fmt: skip
    assert [(name, start, stop) for name, start, stop, _ in seen.stretches] == expected
    assert sum(measures.segment_seconds(seen).values()) == 65


def test_wait_counts_in_mlperf_and_on_the_wall_and_is_not_billed(plan: Plan):
    stretches = resumed(plan).stretches
    shown = {name: elapsed_s(stretches, CLOCKS[name]) for name in ("wall", "mlperf", "billed")}
    assert shown == {"wall": 65, "mlperf": 60, "billed": 35}


def test_a_batch_systems_queue_is_wait_and_is_not_billed(plan: Plan):
    launcher = launcher_log(0, 100, seconds=20, utc_s=5000, boot="one", code=0)
    launcher[1:1] = [Granted(t_ns=104 * S, attempt=0)]
    launcher[2] = msgspec.structs.replace(launcher[2], t_ns=106 * S)
    worker = worker_log(0, 107, 0, [("imports", 1), ("train", 5), ("teardown", 0)])
    seen = record(plan, launcher, worker)
    assert [(name, start, stop) for name, start, stop, _ in seen.stretches][:4] == [
        ("wait", 0, 4), ("provision", 4, 6), ("environment", 6, 7), ("imports", 7, 8)
    ]  # fmt: skip
    shown = {name: elapsed_s(seen.stretches, CLOCKS[name]) for name in ("wall", "billed")}
    assert shown == {"wall": 20, "billed": 16}


def test_a_worker_on_another_machine_is_set_on_the_launchers_clock(plan: Plan, tmp_path: Path):
    """Its monotonic clock began elsewhere; the wall clocks of both agree."""
    launcher = launcher_log(0, 100, seconds=20, utc_s=5000, boot="one", code=0)
    worker = [
        *worker_log(0, 9003, 0, [("imports", 2), ("train", 4), ("teardown", 0)]),
        evaluated(9009, 10, 0.5),
    ]
    worker[0] = msgspec.structs.replace(worker[0], utc_ns=5003 * S, boot_id="another")
    run, _ = runs.place(tmp_path, plan)
    for path, log in ((run.launcher_events, launcher), (run.events(0), worker)):
        with LogWriter(path) as writer:
            for event in log:
                writer.write(event)
    seen = read_run(run.path)
    assert [(name, start) for name, start, _, _ in seen.stretches] == [
        ("provision", 0), ("environment", 1), ("imports", 3), ("train", 5), ("teardown", 9),
        ("teardown", 19),
    ]  # fmt: skip
    assert [evaluation.at_s for evaluation in seen.evaluations] == [9]
    assert all(check(seen).ok for check in (audit.segments_sum, audit.clock_monotonic))


def test_a_reboot_between_attempts_is_bridged_by_the_wall_clock(plan: Plan):
    """The monotonic clock of the second boot begins near 0; the wall clocks are 50 s apart."""
    moved = resumed(plan, boot="two", begin_s=7)
    assert moved.stretches == resumed(plan).stretches
    assert [seen.at_s for seen in moved.evaluations] == [12, 61]
    assert audit.segments_sum(moved).ok
    assert audit.clock_monotonic(moved).ok


def test_evaluations_made_again_replace_those_of_the_killed_attempt(plan: Plan):
    launcher = launcher_log(0, 0, seconds=50, utc_s=0, boot="one", code=-9)
    launcher += launcher_log(1, 100, seconds=50, utc_s=100, boot="one", code=0)
    worker = worker_log(0, 2, 0, [("imports", 1), ("train", 1)])
    worker += [evaluated(10, 20, 0.3), evaluated(20, 40, 0.6), evaluated(30, 60, 0.8)]
    worker += worker_log(1, 102, 20, [("imports", 1), ("train", 1)])
    worker += [evaluated(110, 40, 0.6), evaluated(120, 60, 0.8)]
    seen = record(plan, launcher, worker)
    assert [(e.step, e.at_s) for e in seen.evaluations] == [(20, 10), (40, 110), (60, 120)]
    target = msgspec.structs.replace(plan.task.targets[-1], threshold=0.6)
    wall = CLOCKS["wall"]
    assert measures.time_to_target(seen, target, wall) == (110, True)
    assert measures.time_to_target(seen, msgspec.structs.replace(target, threshold=0.99), wall) == (
        120,
        False,
    )
    assert measures.steps_to_target(seen, target) == (40, True)
    assert measures.steps_done(seen) == 60 + 40


def test_an_attempt_without_an_end_lasts_to_its_last_event(plan: Plan):
    launcher = launcher_log(0, 0, seconds=10, utc_s=0, boot="one", code=0)[:2]
    worker = worker_log(0, 2, 0, [("imports", 1), ("train", 1)])
    worker += [Progress(t_ns=8 * S, step=3), Stopped(t_ns=9 * S, step=3, status=None, detail="")]
    seen = record(plan, launcher, worker)
    assert seen.stretches[-1][:3] == ("train", 3, 9)
    assert (seen.steps, seen.status, seen.detail) == (3, None, "")
    assert not audit.segments_sum(seen).ok


def test_a_worker_that_never_began_is_environment_until_its_exit(plan: Plan):
    launcher = launcher_log(0, 0, seconds=10, utc_s=0, boot="one", code=1)
    names = [(s.name, s.stop_s - s.start_s) for s in record(plan, launcher, []).stretches]
    assert names == [("provision", 1), ("environment", 8), ("teardown", 1)]


def test_what_a_signal_ended_is_killed_and_what_still_runs_is_not(plan: Plan):
    ended = launcher_log(0, 0, seconds=10, utc_s=0, boot="one", code=-9)
    again = launcher_log(1, 20, seconds=10, utc_s=20, boot="one", code=0)
    assert record(plan, ended, []).status == "killed"
    assert record(plan, [*ended, *again[:1]], []).status is None
    assert record(plan, [*ended, *again[:2]], []).status is None
    assert record(plan, [*ended, *again], []).status is None
    assert record(plan, [], []).status is None
    assert record(plan, [], []).stretches == []


def test_the_last_step_counts_checkpoints_and_ends_too(plan: Plan):
    saved = Checkpointed(t_ns=1, step=7, file="f", bytes=1, sha256="x")
    assert record(plan, [], [saved]).steps == 7
    assert record(plan, [], []).steps == 0


def test_measures_of_a_run_without_evaluations_are_unknown(plan: Plan):
    seen = record(plan, launcher_log(0, 0, seconds=10, utc_s=0, boot="one", code=1), [])
    target = plan.task.targets[-1]
    assert measures.time_to_target(seen, target) is None
    assert measures.steps_to_target(seen, target) is None
    assert measures.value_after(seen, 5, metric="accuracy", split="validation") is None
    assert measures.validation_test_gap(seen) is None
    assert measures.seconds_per_step(seen) is None
    assert measures.examples_per_s(seen) is None
    assert measures.data_share(seen) is None
    assert measures.last(seen, "test") is None


def test_the_value_after_a_time_is_that_of_the_last_evaluation_by_then(plan: Plan):
    launcher = launcher_log(0, 0, seconds=50, utc_s=0, boot="one", code=0)
    worker = worker_log(0, 2, 0, [("imports", 2), ("data", 6), ("train", 1)])
    worker += [evaluated(14, 20, 0.3), evaluated(24, 40, 0.6)]  # 10 and 20 s after the data
    seen = record(plan, launcher, worker)
    points = measures.curve(seen, metric="error_rate", split="validation")
    assert points is not None
    assert [(point.time_s, point.value) for point in points] == [(10, 0.7), (20, 0.4)]
    for at, value in ((9.9, None), (10, 0.3), (19.9, 0.3), (20, 0.6), (20.1, None)):
        assert measures.value_after(seen, at, metric="accuracy", split="validation") == value
