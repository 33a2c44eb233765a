"""Plans for tests, resolved as `timetrial run` does it, and their run directories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from timetrial.batch import Batch, SilentWatcher
from timetrial.exchange.allreduce import ALLREDUCE
from timetrial.plan import Plan, Request
from timetrial.rundir import RunDir, create_run_dir, pretty_json, write_atomically
from timetrial.scripted import command
from timetrial.spec import Examination, Exchange
from timetrial.store import RunRecord
from timetrial.testing import fakes


def resolve(request: Request, seed: int) -> Plan:
    """Return the plan of one run, its data set located; `run` is empty until it is placed."""
    return Batch(Path(), SilentWatcher(), ["test"]).resolve(request, seed, "")


def fake_plan(
    seed: int = 1,
    *,
    implementation: str = "timetrial.testing.fakes:build",
    settings: Mapping[str, str | int | float | bool] | None = None,
) -> Plan:
    """Return a plan that trains the fake task to its last step.

    It has no sampler, unless the settings ask for one.
    Its workers need the folder of `fakes.write_plugin` on PYTHONPATH.
    """
    chosen = {"sample_every_s": 0, "eval_every_steps": fakes.TASK.eval_every_steps}
    base = resolve(Request(task="digits-cnn", settings={**chosen, **(settings or {})}), seed)
    return msgspec.structs.replace(
        base,
        learned=fakes.TASK,
        task_hash=fakes.TASK.hash(),
        framework="fake",
        implementation=implementation,
        target=None,
        steps_max=fakes.TASK.steps_max,
    )


def exchange_plan(
    exchange: Exchange, framework: str = "torch", *, workers: int = 2, light: bool = False
) -> Plan:
    """Return a plan of `exchange`, measured in `framework` as `allreduce` is; no sampler."""
    settings: dict[str, str | int | float | bool] = {"sample_every_s": 0}
    request = Request(
        task=ALLREDUCE.name, framework=framework, workers=workers, light=light, settings=settings
    )
    return msgspec.structs.replace(
        resolve(request, 1),
        exchange=exchange,
        task_hash=exchange.hash(),
        steps_max=len(exchange.points(light=light)),
    )


def examination_plan(
    examination: Examination, tool: str | None = None, *, light: bool = False
) -> Plan:
    """Return a plan that examines `tool`, None: the first; no sampler, no data set."""
    base = resolve(Request(task="digits-cnn", settings={"sample_every_s": 0}), 1)
    name = tool or next(iter(examination.implementations))
    steps = len(examination.chosen(light=light))
    return msgspec.structs.replace(
        base,
        learned=None,
        examination=examination,
        task_hash=examination.hash(),
        framework=name,
        implementation=examination.implementations[name],
        target=None,
        steps_max=steps,
        data_files={},
        data_sources={},
        light=light,
    )


def place(store: Path, plan: Plan) -> tuple[RunDir, Plan]:
    """Make a run directory for the plan; return it and the plan with its name."""
    run = create_run_dir(store, plan.subject.name)
    named = msgspec.structs.replace(plan, run=run.path.name)
    command.keep_copy(run, named)
    write_atomically(run.plan, pretty_json(named))
    return run, named


def curve_bits(record: RunRecord) -> dict[tuple[int, str], tuple[float, float | None, str]]:
    """Return (accuracy, loss, hash of the scores) by step and split: equal only bit for bit."""
    return {
        (seen.step, seen.split): (seen.accuracy, seen.loss, seen.scores_sha256)
        for seen in record.evaluations
    }
