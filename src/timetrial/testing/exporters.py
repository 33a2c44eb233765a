"""What every exporter must do, as a test class for pytest.

A subclass gives the exporter by a fixture, and reads back what is there through the tool itself:

    class TestMine(ExporterContract):
        @pytest.fixture
        def exporter(self):
            return MyExporter()

        def read(self, into):
            return [ExportedRun(curves=..., finals=...) for ... in ...]
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from timetrial.interop import Exporter, TrackedRun, track
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.rundir import RunDir
from timetrial.store import RunRecord, read_run
from timetrial.testing import fakes, runs


class ExportedPoint(NamedTuple):
    """One number as the tool has it."""

    step: int
    utc_s: float
    value: float


class ExportedRun(NamedTuple):
    """One run as the tool has it: its curves by step, and the numbers known at its end."""

    curves: Mapping[str, Sequence[ExportedPoint]]
    finals: Mapping[str, float]


class ExporterContract:
    """An exporter, given by the fixture `exporter`; `read` is the tool's own reader."""

    time_error_s = 1e-6  # how far off the tool's times may be
    value_error = 0.0  # how far off its values may be, relative

    def read(self, into: str) -> list[ExportedRun]:
        """Return all runs that are there."""
        raise NotImplementedError

    @pytest.fixture
    def into(self, tmp_path: Path) -> str:
        """Return an empty place of the tool."""
        return str(tmp_path / "exported")

    @pytest.fixture(scope="class")
    @classmethod
    def ended(cls, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
        """Return a run of the fake that has ended."""
        folder = tmp_path_factory.mktemp("ended")
        fakes.write_plugin(folder / "plugin")
        run, plan = runs.place(folder / "runs", runs.fake_plan())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(folder / "plugin"), prepend=os.pathsep)
            result = supervise(run, plan, LocalLauncher(), lambda events: None)
        assert result.status == "reached", (result, run.stdout(0).read_text())
        return read_run(run.path)

    def test_every_number_of_the_log_comes_back_and_the_run_stays_as_it_is(
        self, exporter: Exporter, into: str, ended: RunRecord
    ) -> None:
        before = _content(ended.run.path)
        run = track(ended)
        [receipt] = exporter.export([run], into)
        [found] = self.read(into)
        assert (receipt.run, receipt.state) == (ended.plan.run, "exported")
        wanted = logged(ended.run.path)
        assert {len(points) for points in wanted.values()} == {1, 12}  # on test, on validation
        for name, points in wanted.items():
            self._compare(found.curves[name], points)
        assert {"wall_s", "segment_s/train"} < set(run.finals)
        for name, value in run.finals.items():
            assert self._is_near(found.finals[name], value), name
        assert _content(ended.run.path) == before

    def test_the_same_run_again_changes_nothing_there(
        self, exporter: Exporter, into: str, ended: RunRecord
    ) -> None:
        both = [track(ended), _another(track(ended))]
        first = list(exporter.export(both, into))
        seen = self.read(into)
        again = list(exporter.export(both, into))
        assert [receipt.state for receipt in first] == ["exported"] * 2
        assert [receipt.state for receipt in again] == ["unchanged"] * 2
        assert [receipt.where for receipt in again] == [receipt.where for receipt in first]
        assert len(seen) == 2
        assert self.read(into) == seen

    def test_a_run_that_went_on_since_is_replaced(
        self, exporter: Exporter, into: str, ended: RunRecord
    ) -> None:
        whole = track(ended)
        early = msgspec.structs.replace(whole, moments=whole.moments[:3], status="killed")
        [first] = exporter.export([early], into)
        assert [len(run.curves["validation/accuracy"]) for run in self.read(into)] == [3]
        [second] = exporter.export([whole], into)
        assert (first.state, second.state) == ("exported", "replaced")
        assert [len(run.curves["validation/accuracy"]) for run in self.read(into)] == [12]

    def _compare(self, found: Sequence[ExportedPoint], wanted: Sequence[ExportedPoint]) -> None:
        assert [point.step for point in found] == [point.step for point in wanted]
        for seen, logged_ in zip(found, wanted, strict=True):
            assert self._is_near(seen.value, logged_.value), (seen, logged_)
            assert abs(seen.utc_s - logged_.utc_s) <= self.time_error_s, (seen, logged_)

    def _is_near(self, seen: float, wanted: float) -> bool:
        return math.isclose(seen, wanted, rel_tol=self.value_error, abs_tol=0.0)


def logged(folder: Path) -> dict[str, list[ExportedPoint]]:
    """Return the evaluations of a run of one attempt and one worker, from its log line by line."""
    run = RunDir(folder)
    begun = json.loads(run.launcher_events.read_text(encoding="utf-8").splitlines()[0])
    behind_ns = begun["utc_ns"] - begun["t_ns"]
    curves: dict[str, list[ExportedPoint]] = {}
    for line in run.events(0).read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] != "evaluated":
            continue
        for metric in ("accuracy", "loss"):
            if event[metric] is not None:
                utc_s = (event["t_ns"] + behind_ns) / 1e9
                point = ExportedPoint(event["step"], utc_s, event[metric])
                curves.setdefault(f"{event['split']}/{metric}", []).append(point)
    return curves


def _another(run: TrackedRun) -> TrackedRun:
    return msgspec.structs.replace(run, identity="f" * 64, name=f"{run.name}-another")


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
