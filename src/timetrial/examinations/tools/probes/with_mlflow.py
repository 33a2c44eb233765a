"""MLflow: its server on loopback, over SQLite and a folder of artefacts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from timetrial.examinations.tools.probes import checking, looking, serving, training, watching
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling, main

_EXPERIMENT = "sweep"


def _server(order: Order) -> serving.Server:
    port = serving.free_port()
    command = [
        str(Path(sys.executable).with_name("mlflow")),
        "server",
        f"--backend-store-uri=sqlite:///{order.folder / 'mlflow.db'}",
        f"--artifacts-destination={order.folder / 'artefacts'}",
        f"--host={serving.HOST}",
        f"--port={port}",
        "--workers=1",
    ]
    return serving.Server(command, port, order.folder / "server.log")


def monitoring(order: Order, telling: Telling) -> None:
    """Log to the server; another process asks it for the metric's history."""
    import mlflow

    with _server(order) as server:
        mlflow.set_tracking_uri(server.url)
        mlflow.set_experiment(_EXPERIMENT)
        with mlflow.start_run() as run:
            place = {"url": server.url, "run": run.info.run_id}
            watching.watched(
                order,
                telling,
                place,
                lambda step: mlflow.log_metric("loss", step.loss, step=step.step),
                means="server",
                how="mlflow.log_metric; MlflowClient.get_metric_history",
            )
        server.show_page(telling, "monitoring", served_by="mlflow")


def watch(place: dict[str, str]) -> Reader:
    """Return what reads the loss by step from the server."""
    from mlflow import MlflowClient

    client = MlflowClient(place["url"])

    def read() -> Mapping[int, float]:
        history = client.get_metric_history(place["run"], "loss")
        if not history:
            raise NotThereYet
        return {metric.step: metric.value for metric in history}

    return read


def organizing(order: Order, telling: Telling) -> None:
    """Log the sweep; ask the server for it."""
    import mlflow
    from mlflow import MlflowClient

    with _server(order) as server:
        runs = training.sweep(order.folder)
        mlflow.set_tracking_uri(server.url)
        experiment = mlflow.set_experiment(_EXPERIMENT).experiment_id
        ids = {}
        for run in runs:
            with mlflow.start_run(run_name=run.name) as started:
                ids[run.name] = started.info.run_id
                mlflow.log_params(run.params._asdict())
                for step in run.curve:
                    mlflow.log_metric("loss", step.loss, step=step.step)
                mlflow.log_artifact(str(run.artefact))
        client = MlflowClient(server.url)

        def found(condition: str = "", order_by: list[str] | None = None) -> list[str]:
            return [
                str(entry.info.run_name)
                for entry in client.search_runs([experiment], condition, order_by=order_by)
            ]

        with checking.checked(telling, "list", "MlflowClient.search_runs") as check:
            check.expect(sorted(found()), sorted(ids))
        with checking.checked(telling, "filter", "search_runs(\"params.penalty = 'l1'\")") as check:
            check.expect(set(found("params.penalty = 'l1'")), training.with_l1(runs))
        with checking.checked(telling, "sort", "search_runs(order_by=metrics.loss)") as check:
            check.expect(found(order_by=["metrics.loss ASC"]), training.by_loss(runs))
        with checking.checked(telling, "artefact", "MlflowClient.download_artifacts") as check:
            first = runs[0]
            got = client.download_artifacts(ids[first.name], first.artefact.name)
            check.expect(Path(got).read_bytes(), first.artefact.read_bytes())
        with checking.checked(telling, "compare", "get_run and get_metric_history of two") as check:
            pair = [runs[0], runs[-1]]
            seen = [
                (
                    client.get_run(ids[run.name]).data.params,
                    [m.value for m in client.get_metric_history(ids[run.name], "loss")],
                )
                for run in pair
            ]
            check.expect(
                seen,
                [
                    (
                        {"C": str(run.params.C), "penalty": run.params.penalty},
                        [step.loss for step in run.curve],
                    )
                    for run in pair
                ],
            )
        server.show_page(telling, "organizing", served_by="mlflow")


def tuning(order: Order, telling: Telling) -> None:
    """Look for anything that proposes points."""
    looking.absent(telling, "mlflow", "tuning")


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, watch)
