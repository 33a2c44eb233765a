"""W&B reads back what was exported, by its own reader of offline runs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from timetrial.errors import StoreError
from timetrial.interop import track
from timetrial.interop.wandb import WandbExporter
from timetrial.store import RunRecord
from timetrial.testing.exporters import ExportedPoint, ExportedRun, ExporterContract


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name.lower()))


def records(file: Path) -> list[dict[str, Any]]:
    """Every record of an offline run, as `wandb leet inspect --json` prints it."""
    import wandb

    reader = Path(wandb.__file__).parent / "bin" / "wandb-core"
    words = ["leet", "inspect", "-no-observability", "-json", "-run-file", str(file)]
    done = subprocess.run([reader, *words], capture_output=True, encoding="utf-8", check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestWandb(ExporterContract):
    @pytest.fixture
    def exporter(self) -> WandbExporter:
        return WandbExporter()

    def read(self, into: str) -> list[ExportedRun]:
        return [self.read_one(file) for file in sorted(Path(into).glob("wandb/*/run-*.wandb"))]

    def read_one(self, file: Path) -> ExportedRun:
        curves: dict[str, list[ExportedPoint]] = {}
        finals: dict[str, float] = {}
        for record in records(file):
            finals |= record.get("summary", {}).get("update", {})
            row = record.get("history", {}).get("item", {})
            for name, value in row.items():
                if "/" in name:
                    point = ExportedPoint(row["step"], row["_timestamp"], value)
                    curves.setdefault(name, []).append(point)
        return ExportedRun(curves, finals)

    def test_the_plan_and_the_logs_come_with_it_and_nothing_of_this_machine(
        self, exporter: WandbExporter, into: str, ended: RunRecord
    ) -> None:
        told = track(ended)
        [receipt] = exporter.export([told], into)

        [file] = Path(str(receipt.where)).glob("run-*.wandb")
        found = records(file)
        [run] = [record["run"] for record in found if record["type"] == "run"]
        assert (run["project"], run["display_name"]) == ("timetrial-fake-digits", ended.plan.run)
        config = run["config"]["update"]
        assert config["task"]["optimizer"]["momentum"] == told.params["task.optimizer.momentum"]
        assert config["timetrial"]["plan_sha256"] == told.identity
        assert [one["exit"]["exit_code"] for one in found if one["type"] == "exit"] == [0]
        kept = file.parent / "files" / "timetrial"
        assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
            name: (ended.run.path / name).read_bytes() for name in told.files
        }
        sent = {
            item["path"]
            for record in found
            if record["type"] == "files"
            for item in record["files"]["files"]
        }
        assert {f"timetrial/{name}" for name in told.files} == sent
        kinds = {record["type"] for record in found}
        assert kinds == {
            "exit", "files", "header", "history", "metric", "run", "summary", "telemetry"
        }  # fmt: skip

    def test_a_place_that_cannot_be_written_is_an_error(
        self, exporter: WandbExporter, ended: RunRecord, tmp_path: Path
    ) -> None:
        (tmp_path / "place").mkdir()
        (tmp_path / "place" / "wandb").touch()  # where W&B's folder should be

        with pytest.raises(StoreError, match=r"into .*place: .*another place with --into"):
            list(exporter.export([track(ended)], str(tmp_path / "place")))

    def test_a_client_that_does_not_start_is_an_error_that_names_its_status(
        self,
        exporter: WandbExporter,
        into: str,
        ended: RunRecord,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "wandb.py").write_text("raise SystemExit(7)")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

        with pytest.raises(StoreError, match=r"ended with status 7 .*wandb --version"):
            list(exporter.export([track(ended)], into))
