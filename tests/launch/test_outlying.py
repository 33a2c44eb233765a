"""Jobs seen through their agents' words: what is believed, awaited, refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from timetrial.errors import FormatError, LaunchError
from timetrial.launch import Exit, outlying, reports
from timetrial.launch.outlying import OutlyingJob, Seen
from timetrial.launch.reports import Begun
from timetrial.rundir import RunDir
from timetrial.testing import runs


class Machines:
    """A batch system whose answers a test sets."""

    def __init__(self, phase: Seen) -> None:
        self.seen = phase
        self.asked: list[str] = []

    def look(self) -> Seen:
        return self.seen

    def ask_to_stop(self) -> None:
        self.asked.append("stop")

    def kill(self) -> None:
        self.asked.append("kill")

    def clean(self) -> str:
        self.asked.append("clean")
        return "its log said this"


RUNNING = Seen("running", "job 7 RUNNING")
OVER = Seen("over", "job 7 NODE_FAIL", signal=9)


@pytest.fixture
def job(tmp_path: Path) -> tuple[OutlyingJob, Machines, RunDir]:
    run, plan = runs.place(tmp_path, runs.fake_plan())
    machines = Machines(RUNNING)
    return OutlyingJob(run, plan, 0, machines), machines, run


def say_begun(run: RunDir, *, off_s: float = 0.0) -> None:
    utc_ns = time.time_ns() + int(off_s * 1e9)
    begun = Begun(rank=0, pid=4, host="far", utc_ns=utc_ns, limits={"cpu": "none"})
    reports.write_begun(run, 0, begun)


def exit_of(code: int) -> Exit:
    return Exit(
        code=code, user_s=1.0, system_s=0.0, peak_rss_bytes=1, cgroup_cpu_s=None,
        cgroup_peak_bytes=None, out_of_memory=False, utc_ns=time.time_ns(),
    )  # fmt: skip


def poll_within(job: OutlyingJob, wait_s: float) -> dict[int, Exit]:
    deadline = time.monotonic() + wait_s
    while not (exits := dict(job.poll())) and time.monotonic() < deadline:
        time.sleep(0.05)
    return exits


def wait_out(job: OutlyingJob) -> None:
    while job.waiting():
        time.sleep(0.05)


def test_it_waits_until_the_agent_says_that_the_worker_runs(job):
    waiting, _, run = job
    assert waiting.waiting()
    say_begun(run)
    time.sleep(outlying.FILES_S * 2)
    assert not waiting.waiting()
    assert (waiting.pids, waiting.hosts) == ({0: 4}, {0: "far"})
    assert waiting.limits == {0: {"cpu": "none", "job": "job 7 RUNNING"}}
    assert waiting.granted_ns is not None
    assert waiting.granted_ns <= waiting.spawned_ns[0] <= time.monotonic_ns()


def test_the_agents_word_of_the_end_counts(job):
    waiting, machines, run = job
    say_begun(run)
    assert not waiting.waiting()
    reports.write_exit(run, 0, 0, exit_of(75))
    machines.seen = OVER
    assert poll_within(waiting, 5)[0].code == 75


def test_a_job_over_without_a_word_ends_its_workers_by_what_the_batch_system_says(
    job, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outlying, "_LATE_S", 0.2)
    waiting, machines, run = job
    say_begun(run)
    assert not waiting.waiting()
    machines.seen = OVER
    left = poll_within(waiting, 10)[0]
    assert (left.code, left.why, left.user_s) == (-9, "job 7 NODE_FAIL", None)


def test_a_job_that_ends_before_a_worker_began_says_what_its_log_said(
    job, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outlying, "_LATE_S", 0.2)
    waiting, machines, _ = job
    machines.seen = OVER
    with pytest.raises(LaunchError, match=r"NODE_FAIL.*its log said this.*--store DIR"):
        wait_out(waiting)
    assert machines.asked == ["clean"]


def test_silence_of_running_machines_has_an_end(job, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outlying, "_SILENCE_S", 0.2)
    waiting, _, _ = job
    with pytest.raises(LaunchError, match="said nothing for"):
        wait_out(waiting)


@pytest.mark.parametrize("off_s", [-60.0, 60.0])
def test_a_machine_whose_clock_is_off_is_refused(off_s: float, job):
    waiting, machines, run = job
    say_begun(run, off_s=off_s)
    with pytest.raises(LaunchError, match=r"clocks of far and of this machine are [56]\d\."):
        waiting.waiting()
    assert machines.asked == ["clean"]


def test_leaving_it_kills_what_runs_and_cleans_up_once(job):
    waiting, machines, _ = job
    with waiting:
        pass
    assert machines.asked == ["kill", "clean"]


def test_a_report_that_is_none_is_refused_by_name(job):
    waiting, _, run = job
    run.begun(0, 0).write_text("{}")
    with pytest.raises(FormatError, match=r"begun.0.0.json is not a report"):
        waiting.waiting()
