"""Runs as runs of MLflow: an experiment per task, one MLflow run for each run of ours.

Everything goes through MLflow's client: `log_batch` sends metrics, parameters and tags in as many
requests as MLflow's limits ask for (1,000 metrics, 100 parameters, 100 tags, 1,000 of all in one).
Source: MLflow REST API, "Log Batch", read 2026-11-24; that the client divides is tested.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from timetrial.errors import MissingExtraError, StoreError
from timetrial.interop import Receipt, State, place_errors, receipt, shown_place
from timetrial.interop.tracked import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PREFIX: Final = "timetrial."
_IDENTITY: Final = f"{_PREFIX}plan_sha256"  # among the tags of every run
_WHOLE: Final = f"{_PREFIX}export"  # the fingerprint, written last: without it, a run was cut off


class MlflowExporter:
    """Exports to an MLflow store or server: `into` is its tracking URI, as MLflow has it."""

    def export(self, runs: Sequence[TrackedRun], into: str) -> Iterator[Receipt]:
        """Write one MLflow run per run, with the logs as artefacts.

        A run that is replaced goes into MLflow's trash (lifecycle stage "deleted").

        Raises:
            MissingExtraError: MLflow is not installed.
            StoreError: MLflow refuses, or cannot be reached.
        """
        with _errors(into):
            client = _client(into)
        for run in runs:
            with _errors(into):
                experiment = _experiment(client, run.experiment, into)
                state, run_id = _put(client, experiment, run)
            yield receipt(run, state, f"{run.experiment}, run {run_id}")


def _client(into: str) -> MlflowClient:
    from mlflow import MlflowClient

    database = _sqlite_file(into)
    if database is not None:
        with place_errors(database.parent):
            database.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=into)


def _sqlite_file(into: str) -> Path | None:
    """Return the database file of an SQLite URI, None for any other URI."""
    if not into.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(into).database
    return Path(name).absolute() if name and name != ":memory:" else None


@contextlib.contextmanager
def _errors(into: str) -> Iterator[None]:
    """Turn what MLflow and the database below it raise into errors of ours."""
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtraError("Exporter mlflow needs MLflow, which", extra="mlflow")
    from mlflow.exceptions import MlflowException

    refusals: list[type[Exception]] = [MlflowException]
    if importlib.util.find_spec("sqlalchemy") is not None:
        from sqlalchemy.exc import SQLAlchemyError

        refusals.append(SQLAlchemyError)
    try:
        with place_errors(into), contextlib.redirect_stdout(sys.stderr):
            yield  # a server's client prints the address of every run
    except ImportError as error:  # of the small distribution: SQLAlchemy, Alembic, a driver
        raise MissingExtraError(
            f"MLflow at {shown_place(into)} needs {error.name}, which", extra="mlflow"
        ) from error
    except tuple(refusals) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise StoreError(
            f"MLflow at {shown_place(into)} refuses: {shown_place(said)}. Give its tracking URI "
            "with --into, such as sqlite:///mlflow.db or http://127.0.0.1:5000."
        ) from error


def _experiment(client: MlflowClient, name: str, into: str) -> str:
    """Return the id of the experiment, made where it is not there.

    A server says itself where artefacts go; beside an SQLite file they go to `mlruns`, as MLflow
    has it where both lie in the working directory.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    database = _sqlite_file(into)
    location = (database.parent / "mlruns" / name).as_uri() if database is not None else None
    return str(client.create_experiment(name, artifact_location=location))


def _put(client: MlflowClient, experiment: str, run: TrackedRun) -> tuple[State, str]:
    """Write the run where it is not there already; return its state and MLflow's id of it."""
    known = _known(client, experiment, run)
    fingerprint = run.fingerprint()
    for old in known:
        if old.data.tags.get(_WHOLE) == fingerprint:
            return "unchanged", str(old.info.run_id)
    run_id = _write(client, experiment, run)
    client.set_tag(run_id, _WHOLE, fingerprint)
    for old in known:
        client.delete_run(old.info.run_id)
    return "replaced" if known else "exported", run_id


def _known(client: MlflowClient, experiment: str, run: TrackedRun) -> Sequence[Run]:
    return list(
        client.search_runs([experiment], filter_string=f"tags.`{_IDENTITY}` = '{run.identity}'")
    )


def _write(client: MlflowClient, experiment: str, run: TrackedRun) -> str:
    from mlflow.entities import Metric, Param, RunTag

    tags = {f"{_PREFIX}{name}": text for name, text in run.tags.items()}
    tags["mlflow.source.name"] = run.tags.get("command", "timetrial")
    made = client.create_run(
        experiment,
        start_time=_ms(run.began_utc_ns),
        tags={_IDENTITY: run.identity},
        run_name=run.name,
    )
    run_id = str(made.info.run_id)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, _ms(at), step) for name, step, at, value in run.points()],
        params=[Param(name, str(value)) for name, value in run.params.items()],
        tags=[RunTag(name, text) for name, text in tags.items()],
        synchronous=True,
    )
    for name in run.files:
        client.log_artifact(run_id, str(Path(run.folder) / name))
    client.set_terminated(run_id, _status(run), end_time=_ms(run.ended_utc_ns))
    return run_id


def _status(run: TrackedRun) -> str:
    if run.went_well:
        return "FINISHED"
    return "KILLED" if run.status == "killed" else "FAILED"


def _ms(utc_ns: int) -> int:
    """Return milliseconds since 1970, rounded: MLflow has no shorter time."""
    return round(utc_ns / 1e6)
