"""Comet offline: its server is closed and needs an account."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timetrial.examinations.tools.probes import checking, racing, training, watching
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling, main

_QUIET = {
    "log_code": False,
    "log_graph": False,
    "auto_param_logging": False,
    "auto_metric_logging": False,
    "parse_args": False,
    "auto_output_logging": False,
    "log_env_details": False,
    "log_git_metadata": False,
    "log_git_patch": False,
    "display_summary_level": 0,
}


def _experiment(folder: Path) -> Any:
    from comet_ml import OfflineExperiment

    return OfflineExperiment(project_name="sweep", offline_directory=str(folder), **_QUIET)


def monitoring(order: Order, telling: Telling) -> None:
    """Log metrics; another process parses the messages that wait to be packed."""
    experiment = _experiment(order.folder / "offline")
    watching.watched(
        order,
        telling,
        {"folder": str(experiment.tmpdir)},
        lambda step: experiment.log_metric("loss", step.loss, step=step.step),
        means="raw file",
        how="OfflineExperiment.log_metric; the messages in its temporary folder, which no function "
        "of Comet reads before the run's end",
    )
    experiment.end()


def watch(place: dict[str, str]) -> Reader:
    """Return what parses the messages of the running experiment."""
    folder = Path(place["folder"])

    def read() -> Mapping[int, float]:
        values: dict[int, float] = {}
        for file in folder.glob("messages*.json*"):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    message = json.loads(line)
                except json.JSONDecodeError:  # the end of it is being written
                    continue
                metric = message.get("payload", {}).get("metric")
                if metric and metric.get("metricName") == "loss":
                    step = message["payload"].get("step", metric.get("step"))
                    values[int(step)] = float(metric["metricValue"])
        if not values:
            raise NotThereYet
        return values

    return read


def organizing(order: Order, telling: Telling) -> None:
    """Log the sweep offline; ask for it through the API, which needs an account."""
    from comet_ml import API

    runs = training.sweep(order.folder)
    for run in runs:
        experiment = _experiment(order.folder / "offline")
        experiment.set_name(run.name)
        experiment.log_parameters(run.params._asdict())
        for step in run.curve:
            experiment.log_metric("loss", step.loss, step=step.step)
        experiment.log_asset(str(run.artefact))
        experiment.end()
    names = sorted(run.name for run in runs)

    def found(**query: Any) -> list[str]:
        return sorted(entry.name for entry in API().get_experiments("sweep", "sweep", **query))

    with checking.checked(telling, "list", "API().get_experiments") as check:
        check.expect(found(), names)
    with checking.checked(telling, "filter", "API().query(Parameter('penalty') == 'l1')") as check:
        from comet_ml.query import Parameter

        matching = API().query("sweep", "sweep", Parameter("penalty") == "l1")
        check.expect({entry.name for entry in matching}, training.with_l1(runs))
    with checking.checked(telling, "sort", "API().get_experiments, sorted by a metric") as check:
        check.expect(found(), names)
    with checking.checked(telling, "artefact", "APIExperiment.get_asset") as check:
        entry = API().get_experiments("sweep", "sweep")[0]
        check.expect(bool(entry.get_asset_list()), True)
    with checking.checked(telling, "compare", "API().get_experiments of two") as check:
        check.expect(found()[:2], names[:2])


def tuning(order: Order, telling: Telling) -> None:
    """Start a search by its optimizer, which lives on Comet's server."""
    import comet_ml

    line, worked = "", False
    try:
        with checking.limited():
            optimizer = comet_ml.Optimizer(
                {
                    "algorithm": "bayes",
                    "parameters": {
                        name: {"type": "float", "min": low, "max": high}
                        for name, (low, high) in racing.BOUNDS.items()
                    },
                    "spec": {"metric": "loss", "objective": "minimize", "maxCombo": order.budget},
                }
            )
            proposed = optimizer.next_data()
            worked = proposed is not None
            line = f"it proposed {proposed!r}"
    except Exception as error:  # noqa: BLE001 what it raises is what is looked for
        line = checking.last_line(error)
    telling.tell("attempted", column="tuning", what="comet_ml.Optimizer", worked=worked, line=line)


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, watch)
