"""How much the same work varies: of alike precisions together, else as shipped."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from team_runs import Times, plan_for, write_run

from timetrial.forecast import varies
from timetrial.forecast.systems import DEGREES_MIN
from timetrial.spec import Precision
from timetrial.store import RunRecord


def runs(place: Path, precision: Precision, step_s: list[float]) -> list[RunRecord]:
    plan = msgspec.structs.replace(plan_for(1), precision=precision)
    return [
        write_run(place / f"{precision}-{number}", plan, Times(seconds, rest=0.0))
        for number, seconds in enumerate(step_s)
    ]


def test_every_precision_has_a_spread():
    assert set(varies([])) == set(get_args(Precision))


def test_shorter_numbers_vary_more_as_shipped():
    shipped = varies([])
    assert shipped["bfloat16"].noise.sd_log > shipped["float32"].noise.sd_log
    assert shipped["float32"] == shipped["float64"]
    assert "float32 and float64" in shipped["float32"].source


def test_runs_here_speak_for_their_own_precision_alone(tmp_path: Path):
    steps = [0.040, 0.050] * (DEGREES_MIN // 2 + 1)
    found = varies(runs(tmp_path, "float32", steps))
    assert found["float32"].noise.runs == len(steps)
    assert found["float32"].source.endswith("here, float32 and float64")
    assert found["bfloat16"] == varies([])["bfloat16"]


def test_two_precisions_of_one_system_are_not_one_system(tmp_path: Path):
    both = [*runs(tmp_path, "float32", [0.040] * 4), *runs(tmp_path, "float64", [0.080] * 4)]
    assert varies(both)["float64"].noise.sd_log == pytest.approx(0, abs=1e-9)
