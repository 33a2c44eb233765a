"""Run directories of several workers as real workers leave them, with times that a test chooses."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from timetrial import store
from timetrial.engine.events import (
    Allocated,
    Environment,
    Evaluated,
    Exited,
    Fenced,
    Progress,
    Released,
    Segment,
    Spawned,
    Started,
    Stopped,
    WorkerEvent,
)
from timetrial.launch.supervise import close
from timetrial.machine import MachineRecord, gather
from timetrial.machine.records import Load
from timetrial.meter.records import FORMAT, GpuSample, Header, Method, Sample, Totals
from timetrial.plan import Plan
from timetrial.rundir import pretty_json
from timetrial.spec import Target, Task, for_workers
from timetrial.store import RunRecord
from timetrial.testing import fakes, runs

S = 10**9
TARGET = Target(metric="accuracy", threshold=0.8, direction="at_least", split="validation")
TASK = msgspec.structs.replace(
    fakes.TASK,
    batch_size=32,
    steps_max=200,
    eval_every_steps=20,
    targets=(TARGET,),
    light_target=TARGET,
)
LINEAR = msgspec.structs.replace(
    TASK,
    name="fake-linear",
    scaling="linear",
    optimizer=msgspec.structs.replace(TASK.optimizer, schedule=None),
)


class Times(NamedTuple):
    """What each worker's clock showed, in seconds."""

    computing: float  # of a step
    exchange: float = 0.0  # of a step, once the last worker is there
    late: Sequence[float] = ()  # by rank: how much longer it computes than `computing`
    rest: float = 0.0005
    evaluation: float = 0.1

    def behind(self, rank: int) -> float:
        """How much longer the worker of that rank computes."""
        return self.late[rank] if self.late else 0.0

    def step(self) -> float:
        """The whole step: all wait for the last."""
        return self.computing + max(self.late, default=0.0) + self.exchange + self.rest


def plan_for(
    workers: int, *, task: Task = TASK, seed: int = 1, fence: int = 5, **fields: Any
) -> Plan:
    """Return the plan of so many workers, resolved as `timetrial run` does it for real tasks."""
    base = runs.fake_plan(seed)
    own = for_workers(task, workers)
    rhythm = msgspec.structs.replace(
        base.rhythm, eval_every_steps=own.eval_every_steps, fence_every_steps=fence
    )
    chosen: dict[str, Any] = {
        "learned": own,
        "task_hash": own.hash(),
        "workers": workers,
        "cores": 1,
        "cpus": tuple(range(workers)),
        "target": own.targets[-1],
        "steps_max": own.steps_max,
        "rhythm": rhythm,
    }
    return msgspec.structs.replace(base, **(chosen | fields))


def write_run(
    folder: Path,
    plan: Plan,
    times: Times,
    *,
    accuracies: Sequence[float] = (0.5, 0.7, 0.9),
    hosts: Sequence[str] = (),
    peaks: Sequence[int] = (),
    status: str = "reached",
) -> RunRecord:
    """Write the run of `plan`, an evaluation per accuracy, and read it back.

    `hosts` are those of the workers by rank, `peaks` their peak memory; without them, no sampler.
    """
    run, named = runs.place(folder, plan)
    end_ns = 0
    for rank in range(plan.workers):
        log = _worker(named, times, rank, accuracies, status)
        end_ns = log[-1].t_ns
        _write(run.events(rank), log)
        if hosts:
            _write(run.meter(hosts[rank], 0, rank), _samples(end_ns, peaks[rank]))
    for host in dict.fromkeys(hosts):
        here = msgspec.structs.replace(quiet_machine(), hostname=host)
        run.machine(host).write_bytes(pretty_json(here))
    _write(run.launcher_events, _launcher(plan, end_ns, hosts))
    close(run, named, status, dict.fromkeys(range(plan.workers), 0))  # type: ignore[arg-type]
    return store.read_run(run.path)


@functools.cache
def quiet_machine() -> MachineRecord:
    """Return this machine as one of four idle cores that no cloud has."""
    here = gather(["test"], Path.cwd(), cloud_timeout_s=0)
    load = Load(
        load_1min=0.0,
        steal_since_boot_s=0.0,
        window_s=1.0,
        steal_in_window_s=0.0,
        busy_processes=0,
    )
    cpu = msgspec.structs.replace(here.cpu, model="Test CPU", allowed_cores=4)
    return msgspec.structs.replace(here, load=load, cpu=cpu, cloud=None)


def _write(path: Path, events: Sequence[object]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))


def _worker(
    plan: Plan, times: Times, rank: int, accuracies: Sequence[float], status: str
) -> list[WorkerEvent]:
    begun = S // 5
    log: list[WorkerEvent] = [
        Started(t_ns=begun, utc_ns=begun, attempt=0, rank=rank, pid=9, step=0, checkpoint=None)
    ]
    clock = _Clock(begun)
    log.append(clock.segment("imports", 1.0, "data", 0))
    log.append(clock.segment("data", 0.5, "build", 0))
    log.append(
        Environment(
            t_ns=clock.now, versions={"fake": "1"}, threads=1, settings={}, device_name="cpu"
        )
    )
    log.append(clock.segment("build", 0.2, "train", 0))
    every, step = plan.rhythm.eval_every_steps, 0
    for place, accuracy in enumerate(accuracies):
        for _ in range(every):
            clock.now += round(times.step() * S)
            if step % plan.rhythm.fence_every_steps == 0 and step:
                log.append(_fenced(plan, times, rank, clock.now, step))
            step += 1
        log.append(Progress(t_ns=clock.now, step=step))
        log.append(clock.end("train", "eval", step))
        if rank == 0:
            log.append(_evaluated(plan, clock.now + 1, step, plan.task.eval_split, accuracy))
        clock.now += round(times.evaluation * S)
        last = place == len(accuracies) - 1
        if last and rank == 0 and plan.task.eval_split != "test":
            log.append(_evaluated(plan, clock.now, step, "test", accuracy - 0.01))
        log.append(clock.end("eval", "teardown" if last else "train", step))
    log.append(Stopped(t_ns=clock.now + 1, step=step, status=status, detail=""))  # type: ignore[arg-type]
    return log


class _Clock:
    """Where a worker's log stands."""

    def __init__(self, now: int) -> None:
        self.now = self._begun = now

    def segment(self, name: str, seconds: float, following: str, step: int) -> Segment:
        self.now += round(seconds * S)
        return self.end(name, following, step)

    def end(self, name: str, following: str, step: int) -> Segment:
        begun, self._begun = self._begun, self.now
        return Segment(t_ns=self.now, start_ns=begun, name=name, next=following, step=step)  # type: ignore[arg-type]


def _fenced(plan: Plan, times: Times, rank: int, now: int, step: int) -> Fenced:
    own = times.computing + times.behind(rank)
    parts = {"forward": round(own * 0.4 * S), "backward": round(own * 0.6 * S)}
    if plan.workers > 1:
        waited = max(times.late, default=0.0) - times.behind(rank)
        parts["communication"] = round((times.exchange + waited) * S)
    return Fenced(t_ns=now, step=step, total_ns=round(times.step() * S), parts_ns=parts)


def _evaluated(plan: Plan, now: int, step: int, split: str, accuracy: float) -> Evaluated:
    use = plan.task.dataset
    examples = {"validation": use.validation_count, "test": use.test_count}[split]
    right = round(accuracy * examples)
    return Evaluated(
        t_ns=now,
        step=step,
        split=split,  # type: ignore[arg-type]
        examples=examples,
        accuracy=right / examples,
        auc=accuracy if plan.task.targets[0].metric == "auc" else None,
        loss=1 - accuracy,
        scores_sha256=hashlib.sha256(f"{plan.seed} {step} {split}".encode()).hexdigest(),
    )


def _launcher(plan: Plan, end_ns: int, hosts: Sequence[str]) -> list[object]:
    events: list[object] = [
        Allocated(t_ns=0, utc_ns=10**18, attempt=0, boot_id="boot", host="vm", pid=1)
    ]
    events += [
        Spawned(t_ns=S // 10, attempt=0, rank=rank, pid=9, host=host, limits={})
        for rank, host in enumerate(hosts or [None] * plan.workers)
    ]
    for rank in reversed(range(plan.workers)):  # the last worker ends first
        late = (plan.workers - rank) * S // 100
        events.append(
            Exited(
                t_ns=end_ns + late,
                attempt=0,
                rank=rank,
                code=0,
                user_s=2.0,
                system_s=0.5,
                peak_rss_bytes=100,
                cgroup_cpu_s=None,
                cgroup_peak_bytes=None,
                out_of_memory=False,
            )
        )
    over = end_ns + S // 10
    return [*events, Released(t_ns=over, utc_ns=10**18 + over, attempt=0)]


def _samples(end_ns: int, peak: int) -> list[object]:
    """Return a sample a second of a worker on a machine with a GPU that all workers see."""
    method = Method(scope="process tree", method="a counter")
    names = ("cpu_s", "memory_bytes", "network_bytes", "steal_s", "load_1min", "energy_j")
    header = Header(
        format=FORMAT, pid=9, t_ns=0, interval_s=1.0, metrics=dict.fromkeys(names, method)
    )
    empty = dict.fromkeys(Sample.__struct_fields__) | {"memory_kind": "pss_sum"}
    gpu = GpuSample(index=0, busy_any_kernel=0.5, memory_bytes=1000, energy_j=None)
    samples = [
        Sample(**(empty | {"t_ns": second * S, "cores_used": 0.75, "gpus": (gpu,)}))
        for second in range(end_ns // S + 2)
    ]
    values = {"cpu_s": 3.0, "peak_memory_bytes": peak, "peak_memory_kind": "pss_sampled_max"}
    values |= {"steal_s": 0.25, "energy_j": 40.0, "gpu_energy_j": 200.0, "network_rx_bytes": 7}
    totals = dict.fromkeys(Totals.__struct_fields__) | values
    totals |= {"t_ns": end_ns, "ended": "worker gone", "samples": len(samples), "gaps": 0}
    return [header, *samples, Totals(**(totals | {"sampler_cpu_s": 0.1}))]
