"""MLflow reads back what was exported, by its own client from an SQLite store."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from timetrial.errors import StoreError
from timetrial.interop import Moment, track
from timetrial.interop.mlflow import MlflowExporter
from timetrial.store import RunRecord
from timetrial.testing.exporters import ExportedPoint, ExportedRun, ExporterContract

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of SQLAlchemy


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def client_of(into: str):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=into)


def runs_in(into: str):
    client = client_of(into)
    experiments = [one.experiment_id for one in client.search_experiments()]
    return client.search_runs(experiments)


class TestMlflow(ExporterContract):
    time_error_s = 0.000501  # a millisecond, rounded

    @pytest.fixture
    def exporter(self) -> MlflowExporter:
        return MlflowExporter()

    @pytest.fixture(scope="class")
    @classmethod
    def new_store(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A store without a run, as a first export finds it made: making one takes seconds."""
        file = tmp_path_factory.mktemp("store") / "not yet there" / "mlflow.db"
        list(MlflowExporter().export([], f"sqlite:///{file}"))
        return file

    @pytest.fixture
    def into(self, tmp_path: Path, new_store: Path) -> str:
        return f"sqlite:///{shutil.copy(new_store, tmp_path)}"

    def read(self, into: str) -> list[ExportedRun]:
        client = client_of(into)
        found = []
        for run in runs_in(into):
            history = {
                name: sorted(client.get_metric_history(run.info.run_id, name), key=lambda m: m.step)
                for name in run.data.metrics
            }
            curves = {
                name: [ExportedPoint(m.step, m.timestamp / 1e3, m.value) for m in metrics]
                for name, metrics in history.items()
            }
            found.append(ExportedRun(curves, run.data.metrics))
        return found

    def test_plan_times_tags_and_files_come_with_it(
        self, exporter: MlflowExporter, into: str, ended: RunRecord, tmp_path: Path
    ) -> None:
        told = track(ended)
        list(exporter.export([told], into))

        client = client_of(into)
        [run] = runs_in(into)
        assert run.info.run_name == ended.plan.run
        assert client.get_experiment(run.info.experiment_id).name == "timetrial-fake-digits"
        assert (run.info.status, run.data.tags["timetrial.status"]) == ("FINISHED", "reached")
        assert run.info.start_time == round(told.began_utc_ns / 1e6)
        assert run.info.end_time == round(told.ended_utc_ns / 1e6)
        assert run.data.params == {name: str(value) for name, value in told.params.items()}
        assert run.data.tags["timetrial.version.fake"] == "1"
        kept = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert kept == set(told.files)
        assert {"plan.json", "events.0.jsonl", "stdout.0.log", "done.json"} <= kept
        copy = client.download_artifacts(run.info.run_id, "events.0.jsonl", str(tmp_path))
        assert Path(copy).read_bytes() == ended.run.events(0).read_bytes()

    def test_more_than_fits_in_a_request_comes_back_whole(
        self, exporter: MlflowExporter, into: str, ended: RunRecord
    ) -> None:
        """MLflow's store itself refuses 1,001 metrics or 101 parameters in one request."""
        run = track(ended)
        moments = tuple(
            Moment(
                step=step, at_s=step, utc_ns=run.began_utc_ns + step, values={"test/loss": 1 / step}
            )
            for step in range(1, 2502)
        )
        params = {f"p{number}": number for number in range(250)}
        list(exporter.export([msgspec.structs.replace(run, moments=moments, params=params)], into))

        [found] = self.read(into)
        assert [(p.step, p.value) for p in found.curves["test/loss"]] == [
            (moment.step, moment.values["test/loss"]) for moment in moments
        ]
        assert [len(one.data.params) for one in runs_in(into)] == [250]

    def test_an_export_that_was_cut_off_is_made_anew(
        self,
        exporter: MlflowExporter,
        into: str,
        ended: RunRecord,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        from mlflow import MlflowClient

        def full(*_arguments: object) -> None:
            print("as MLflow's client does where it talks to a server")
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, "log_artifact", full)
            with pytest.raises(StoreError, match="No space left on device"):
                list(exporter.export([track(ended)], into))

        assert capsys.readouterr().out == ""
        assert [receipt.state for receipt in exporter.export([track(ended)], into)] == ["replaced"]
        assert [run.info.status for run in runs_in(into)] == ["FINISHED"]

    @pytest.mark.parametrize(
        ("into", "shown"),
        [
            ("ftp://name:password@host", r"ftp://host refuses: .*unsupported URI"),
            ("sqlite:///{}/no-database", r"no-database refuses: .*file is not a database"),
        ],
    )
    def test_what_mlflow_refuses_is_an_error_that_says_what_it_takes(
        self, into: str, shown: str, exporter: MlflowExporter, ended: RunRecord, tmp_path: Path
    ) -> None:
        (tmp_path / "no-database").write_text("words " * 1000)

        with pytest.raises(StoreError, match=rf"{shown}.*such as sqlite:///mlflow\.db") as seen:
            list(exporter.export([track(ended)], into.format(tmp_path)))

        assert "password" not in str(seen.value)
        assert "\n" not in str(seen.value)
