"""How much the same work varies: of one processor and alike precisions, else as shipped."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from team_runs import Times, plan_for, write_run

from timetrial.findings import machine_name
from timetrial.forecast import Spreads
from timetrial.forecast.systems import DEGREES_MIN, processor_of
from timetrial.spec import Precision
from timetrial.store import RunRecord

SHIPPED = "Intel Xeon Processor"


def runs(place: Path, precision: Precision, step_s: list[float]) -> list[RunRecord]:
    plan = msgspec.structs.replace(plan_for(1), precision=precision)
    return [
        write_run(place / f"{precision}-{number}", plan, Times(seconds, rest=0.0))
        for number, seconds in enumerate(step_s)
    ]


def processor(records: list[RunRecord]) -> str:
    return processor_of(machine_name(records[0]))


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("where", [SHIPPED, "a processor that nobody knows"])
def test_every_precision_has_a_spread_everywhere(precision: Precision, where: str):
    assert Spreads([]).of(where, precision).noise.sd_log > 0


def test_shorter_numbers_vary_more_as_shipped():
    shipped = Spreads([])
    single, double = shipped.of(SHIPPED, "float32"), shipped.of(SHIPPED, "float64")
    assert shipped.of(SHIPPED, "bfloat16").noise.sd_log > single.noise.sd_log
    assert single == double
    assert "float32 and float64" in single.source


def test_an_unknown_processor_has_the_widest_spread_shipped():
    shipped = Spreads([])
    unknown = shipped.of("a processor that nobody knows", "float32").noise
    assert unknown.sd_log >= shipped.of(SHIPPED, "float32").noise.sd_log


def test_runs_here_speak_for_their_own_precision_and_processor_alone(tmp_path: Path):
    steps = [0.040, 0.050] * (DEGREES_MIN // 2 + 1)
    records = runs(tmp_path, "float32", steps)
    here = processor(records)
    found = Spreads(records)
    assert found.of(here, "float32").noise.runs == len(steps)
    assert found.of(here, "float32").source.endswith("here, float32 and float64")
    assert found.of(here, "bfloat16") == Spreads([]).of(here, "bfloat16")
    elsewhere = "a processor that nobody knows"
    assert found.of(elsewhere, "float32") == Spreads([]).of(elsewhere, "float32")


def test_two_precisions_of_one_system_are_not_one_system(tmp_path: Path):
    both = [*runs(tmp_path, "float32", [0.040] * 4), *runs(tmp_path, "float64", [0.080] * 4)]
    found = Spreads(both).of(processor(both), "float64")
    assert found.noise.sd_log == pytest.approx(0, abs=1e-9)
