"""ClearML in its offline mode: its server is a product of its own, not on PyPI."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from timetrial.examinations.tools.probes import checking, training, watching
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling, main


def monitoring(order: Order, telling: Telling) -> None:
    """Report scalars; another process parses the session's file of events."""
    from clearml import Task

    Task.set_offline(offline_mode=True)
    task = Task.init(
        project_name="sweep",
        task_name="watched",
        auto_connect_arg_parser=False,
        auto_connect_frameworks=False,
        auto_resource_monitoring=False,
        auto_connect_streams=False,
    )
    logger = task.get_logger()
    watching.watched(
        order,
        telling,
        {"folder": str(task.get_offline_mode_folder())},
        lambda step: logger.report_scalar("loss", "loss", step.loss, step.step),
        means="raw file",
        how="Logger.report_scalar; metrics.jsonl of the offline session, which no function of "
        "ClearML reads without a server",
    )
    task.close()


def watch(place: dict[str, str]) -> Reader:
    """Return what parses the events of the offline session."""
    folder = Path(place["folder"])

    def read() -> Mapping[int, float]:
        values: dict[int, float] = {}
        for file in folder.rglob("*.jsonl"):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    events = json.loads(line)
                except json.JSONDecodeError:  # the end of it is being written
                    continue
                for event in events if isinstance(events, list) else [events]:
                    if event.get("metric") == "loss" and event.get("variant") == "loss":
                        values[int(event["iter"])] = float(event["value"])
        if not values:
            raise NotThereYet
        return values

    return read


def organizing(order: Order, telling: Telling) -> None:
    """Log the sweep offline; ask for it as one would with a server.

    It reports by a thread. Its own way is a process forked while another thread starts git, and
    such a process can keep git's pipe open: on a busy machine close() then waits for ever.
    """
    settings = order.folder / "clearml.conf"
    settings.write_text("sdk { development { report_use_subprocess: false } }\n")
    os.environ["CLEARML_CONFIG_FILE"] = str(settings)
    from clearml import Task

    Task.set_offline(offline_mode=True)
    runs = training.sweep(order.folder)
    for run in runs:
        task = Task.init(
            project_name="sweep",
            task_name=run.name,
            reuse_last_task_id=False,
            auto_connect_arg_parser=False,
            auto_connect_frameworks=False,
            auto_resource_monitoring=False,
            auto_connect_streams=False,
        )
        task.connect(run.params._asdict())
        for step in run.curve:
            task.get_logger().report_scalar("loss", "loss", step.loss, step.step)
        task.upload_artifact("coefficients", artifact_object=str(run.artefact))
        task.close()
    names = sorted(run.name for run in runs)
    with checking.checked(telling, "list", "Task.get_tasks(project_name)") as check:
        check.expect(sorted(task.name for task in Task.get_tasks(project_name="sweep")), names)
    with checking.checked(telling, "filter", "Task.query_tasks(task_filter)") as check:
        hyper = {"hyperparams": {"General": {"penalty": {"value": "l1"}}}}
        found = Task.query_tasks(project_name="sweep", task_filter=hyper)
        check.expect(len(found), len(training.with_l1(runs)))
    with checking.checked(telling, "sort", "Task.query_tasks(order_by)") as check:
        found = Task.query_tasks(
            project_name="sweep", task_filter={"order_by": ["last_metrics.loss.loss.value"]}
        )
        check.expect(len(found), len(runs))
    with checking.checked(telling, "artefact", "Task.get_task().artifacts") as check:
        task = Task.get_task(project_name="sweep", task_name=runs[0].name)
        got = Path(task.artifacts["coefficients"].get_local_copy())
        check.expect(got.read_bytes(), runs[0].artefact.read_bytes())
    with checking.checked(telling, "compare", "get_reported_scalars of two") as check:
        pair = [runs[0], runs[-1]]
        seen = [
            Task.get_task(project_name="sweep", task_name=run.name).get_reported_scalars()
            for run in pair
        ]
        check.expect([bool(scalars) for scalars in seen], [True, True])


def tuning(order: Order, telling: Telling) -> None:
    """Start a search by its optimizer, which clones tasks on a server."""
    from clearml import Task
    from clearml.automation import HyperParameterOptimizer, RandomSearch, UniformParameterRange

    Task.set_offline(offline_mode=True)
    line = ""
    try:
        with checking.limited():
            base = Task.init(project_name="sweep", task_name="base", auto_connect_frameworks=False)
            optimizer = HyperParameterOptimizer(
                base_task_id=base.id,
                hyper_parameters=[
                    UniformParameterRange("General/x1", -5.0, 10.0),
                    UniformParameterRange("General/x2", 0.0, 15.0),
                ],
                objective_metric_title="loss",
                objective_metric_series="loss",
                objective_metric_sign="min",
                optimizer_class=RandomSearch,
                max_number_of_concurrent_tasks=1,
                total_max_jobs=order.budget,
            )
            started = optimizer.start_locally()
            optimizer.stop()
            line = f"start_locally() returned {started!r}, and no job ran"
    except Exception as error:  # noqa: BLE001 what it raises is what is looked for
        line = checking.last_line(error)
    telling.tell(
        "attempted",
        column="tuning",
        what="HyperParameterOptimizer.start_locally() in offline mode",
        worked=False,
        line=line,
    )


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, watch)
