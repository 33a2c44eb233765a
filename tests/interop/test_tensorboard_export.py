"""TensorBoard reads back what was exported, by its own reader."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from timetrial.errors import UsageError
from timetrial.interop import track
from timetrial.interop.tensorboard import TensorBoardExporter
from timetrial.store import RunRecord
from timetrial.testing.exporters import ExportedPoint, ExportedRun, ExporterContract


@pytest.fixture(autouse=True)
def _reads_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where TensorFlow is not installed: importing it takes longer than all tests here."""
    name = "tensorboard.compat.notf"
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))


def accumulated(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return found


class TestTensorBoard(ExporterContract):
    value_error = 2.0**-24  # float32

    @pytest.fixture
    def exporter(self) -> TensorBoardExporter:
        return TensorBoardExporter()

    def read(self, into: str) -> list[ExportedRun]:
        return [self.read_one(folder) for folder in sorted(Path(into).iterdir())]

    def read_one(self, folder: Path) -> ExportedRun:
        found = accumulated(folder)
        curves = {
            tag: [ExportedPoint(s.step, s.wall_time, s.value) for s in found.Scalars(tag)]
            for tag in found.Tags()["scalars"]
        }
        return ExportedRun(curves, {tag: points[-1].value for tag, points in curves.items()})

    def test_the_plan_stands_among_the_hyper_parameters(
        self, exporter: TensorBoardExporter, into: str, ended: RunRecord
    ) -> None:
        from tensorboard.plugins.hparams import api_pb2, metadata

        run = track(ended)
        list(exporter.export([run], into))

        found = accumulated(Path(into) / run.name)
        data = {
            tag: metadata.parse_session_start_info_plugin_data
            if tag == metadata.SESSION_START_INFO_TAG
            else metadata.parse_session_end_info_plugin_data
            for tag in found.PluginTagToContent(metadata.PLUGIN_NAME)
        }
        content = found.PluginTagToContent(metadata.PLUGIN_NAME)
        begun = data[metadata.SESSION_START_INFO_TAG](content[metadata.SESSION_START_INFO_TAG])
        ended_ = data[metadata.SESSION_END_INFO_TAG](content[metadata.SESSION_END_INFO_TAG])
        kinds = {"number_value": float, "string_value": str, "bool_value": bool}
        shown = {
            name: kinds[value.WhichOneof("kind")](getattr(value, value.WhichOneof("kind")))
            for name, value in begun.hparams.items()
        }
        assert shown == run.params
        assert begun.start_time_secs == run.began_utc_ns / 1e9
        assert ended_.end_time_secs == run.ended_utc_ns / 1e9
        assert ended_.status == api_pb2.STATUS_SUCCESS

    def test_event_files_of_something_else_are_not_mixed_with_the_run(
        self, exporter: TensorBoardExporter, into: str, ended: RunRecord
    ) -> None:
        run = track(ended)
        folder = Path(into) / run.name
        folder.mkdir(parents=True)
        (folder / "events.out.tfevents.1.elsewhere").touch()

        with pytest.raises(UsageError, match=r"tfevents\.1\.elsewhere.*another place"):
            list(exporter.export([run], into))
