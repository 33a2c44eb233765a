"""Runs on other machines, for the tests of all transports: placed, watched, looked for after."""

from __future__ import annotations

import concurrent.futures
import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from timetrial import audit
from timetrial.engine.events import WORKER_LOG, Evaluated, WorkerEvent
from timetrial.launch import Job, Launcher
from timetrial.launch.remote.elsewhere import Site, start_elsewhere
from timetrial.launch.remote.link import Link
from timetrial.launch.remote.mirrored import MirroredJob
from timetrial.launch.remote.pipe import ChildWires, PipeLink, far_command
from timetrial.launch.supervise import Result, supervise
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.testing import runs

WAIT_S = 120.0


class HereLauncher:
    """Far ends that are plain children of this process: all but a network is real."""

    def __init__(
        self,
        *,
        python: str | None = sys.executable,
        environment: Mapping[str, str] | None = None,
        wrap: Callable[[Link], Link] = lambda link: link,
    ) -> None:
        self._python = python
        self._environment = environment or {}
        self._wrap = wrap

    def start(self, run: RunDir, plan: Plan, attempt: int) -> MirroredJob:
        sites = [self._site(f"here{rank}") for rank in range(plan.workers)]
        return start_elsewhere(lambda: sites, run, plan, attempt, contextlib.ExitStack())

    def _site(self, name: str) -> Site:
        wires = ChildWires(far_command(sys.executable), lambda said: f"{name}: {said}")
        return Site(
            host=name,
            link=self._wrap(PipeLink(name, wires, greeting_s=WAIT_S)),
            address=lambda _: "127.0.0.1",
            python=lambda _: self._python,
            environment=self._environment,
        )


class At:
    """A launcher whose plans run at one cluster, for tests that know of none."""

    def __init__(self, launcher: Launcher, cluster: str) -> None:
        self._launcher = launcher
        self._cluster = cluster

    def start(self, run: RunDir, plan: Plan, attempt: int) -> Job:
        return self._launcher.start(
            run, msgspec.structs.replace(plan, cluster=self._cluster), attempt
        )


def placed(place: Path, build: str = "build", **fields: object) -> tuple[RunDir, Plan]:
    plan = runs.fake_plan(
        implementation=f"timetrial.testing.fakes:{build}", settings={"checkpoint_every_s": 0}
    )
    return runs.place(place, msgspec.structs.replace(plan, **{"cpus": None, "cores": 1, **fields}))


def endless(place: Path, **fields: object) -> tuple[RunDir, Plan]:
    return placed(place, "build_slow", steps_max=10**9, **fields)


def wait_until(met: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def training(run: RunDir, rank: int = 0) -> bool:
    return any(isinstance(event, Evaluated) for event in WORKER_LOG.read(run.events(rank)))


def stepped(run: RunDir, rank: int = 0) -> bool:
    """Whether a worker trains, of a team in which only worker 0 evaluates."""
    return training(run) and len(WORKER_LOG.read(run.events(rank))) > 4


def watch_nothing(_events: Sequence[WorkerEvent]) -> None:
    """Say nothing."""


def supervised(
    run: RunDir, plan: Plan, launcher: Launcher, meanwhile: Callable[[], None] = lambda: None
) -> Result:
    """Run one attempt, while this thread does something to it."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(supervise, run, plan, launcher, watch_nothing)
        try:
            meanwhile()
        except AssertionError:
            if future.done():  # that is why nothing was met
                raise AssertionError(f"the run has ended: {future.result()}") from None
            raise
        return future.result(WAIT_S)


def processes_of(run: RunDir) -> list[psutil.Process]:
    """All processes that have a run directory of that name among their words."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or ()
        if any(Path(word).name == run.path.name for word in words):
            found.append(process)
    return found


def worker_of(run: RunDir, rank: int = 0) -> psutil.Process:
    report = msgspec.json.decode(run.begun(0, rank).read_bytes())
    return psutil.Process(report["pid"])


def wrong_in(path: Path) -> list[audit.Check]:
    """What verification holds against the runs, but that fakes exchange no gradients."""
    checks = [check for found in audit.verify([path]) for check in found.checks]
    return [check for check in checks if not check.ok and check.name != "communication"]


def assert_nothing_is_left(cache: Path, run: RunDir) -> None:
    """Neither a process nor a folder but what is meant to stay; it may take a moment to go."""
    wait_until(lambda: processes_of(run) == [])
    wait_until(lambda: not list((cache / "runs").glob("*")))
    assert not list(run.path.rglob("*.part"))
