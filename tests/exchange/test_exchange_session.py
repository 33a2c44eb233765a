"""timetrial.exchange.session: one measurement in this process, with a worker alone that sleeps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from timetrial.engine.clock import SegmentClock
from timetrial.engine.events import WORKER_LOG, Exchanged, Segment
from timetrial.engine.loop import Outcome
from timetrial.engine.team import Seat, Team
from timetrial.errors import AuditError
from timetrial.exchange import session
from timetrial.plan import Plan
from timetrial.rundir import LogWriter
from timetrial.spec import Exchange, Point
from timetrial.testing import fakes, runs


def plan_of(*, light: bool = False, **rules: object) -> Plan:
    exchange: Exchange = msgspec.structs.replace(fakes.EXCHANGE, **rules)
    return runs.exchange_plan(exchange, light=light)


class Measurement:
    """One log, measured attempt by attempt without a worker process."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.log, self.plan = folder / "events.0.jsonl", plan

    def attempt(
        self,
        collective: fakes.FakeCollective,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        past = WORKER_LOG.read(self.log)
        with LogWriter(self.log) as log:
            clock = SegmentClock(log, start_ns=0, first="imports")
            made = session.Session(self.plan, log, clock, Team(Seat()), stop)
            return session.measure(collective, made, past)

    def has(self, count: int) -> bool:
        return len(self.exchanged()) >= count

    def exchanged(self) -> list[Exchanged]:
        return [event for event in WORKER_LOG.read(self.log) if isinstance(event, Exchanged)]


def test_every_array_is_made_warmed_up_and_summed_as_often_as_the_rules_say(tmp_path: Path):
    plan = plan_of()
    measurement, collective = Measurement(tmp_path, plan), fakes.FakeCollective()
    outcome = measurement.attempt(collective)
    assert outcome == Outcome("reached", 6, "")
    points = plan.exchange.points(light=False)
    assert collective.made == points
    seen = measurement.exchanged()
    assert [Point(event.dtype, event.bytes) for event in seen] == points
    assert [event.step for event in seen] == [1, 2, 3, 4, 5, 6]
    assert [len(event.seconds) for event in seen] == [4] * 6
    assert len(collective.sums) == 6 * (4 + plan.exchange.warm_up)
    names = [e.name for e in WORKER_LOG.read(measurement.log) if isinstance(e, Segment)]
    assert names == ["imports", "measure"]


def test_repetitions_take_as_long_as_the_exchange_does(tmp_path: Path):
    rules = {"sizes_bytes": (4, 100_000), "dtypes": ("float32",)}
    measurement = Measurement(tmp_path, plan_of(**rules))
    measurement.attempt(fakes.FakeCollective(0.01, 1e-6))
    assert len(measurement.exchanged()) == 2
    for event in measurement.exchanged():
        assert min(event.seconds) >= 0.01 + 1e-6 * event.bytes


def test_a_light_measurement_leaves_out_what_is_large(tmp_path: Path):
    measurement = Measurement(tmp_path, plan_of(light=True))
    assert measurement.attempt(fakes.FakeCollective()).status == "reached"
    assert {event.bytes for event in measurement.exchanged()} == {4, 65536}
    assert {len(event.seconds) for event in measurement.exchanged()} == {2}


def test_a_slow_array_is_repeated_as_often_as_it_must_and_no_more(tmp_path: Path):
    rules = {"sizes_bytes": (4,), "dtypes": ("float32",), "repetitions_max": 50}
    measurement = Measurement(tmp_path, plan_of(**rules, seconds_per_point=0.01))
    measurement.attempt(fakes.FakeCollective(0.02))
    [event] = measurement.exchanged()
    assert len(event.seconds) == measurement.plan.exchange.repetitions_min


def test_arrays_that_would_take_too_long_are_left_out_and_the_log_says_so(tmp_path: Path):
    rules = {"sizes_bytes": (1000, 2000, 8000, 16000), "dtypes": ("float32",)}
    measurement = Measurement(tmp_path, plan_of(**rules, seconds_per_point_max=0.5))
    outcome = measurement.attempt(fakes.FakeCollective(0.001, 2e-5))  # 21, 41, 161 ms
    assert outcome.status == "reached"
    assert "2 of 4 arrays were left out" in outcome.detail
    small, middle, large, largest = measurement.exchanged()
    assert small.left_out is middle.left_out is None
    assert large.seconds == largest.seconds == ()
    assert "5 sums would take about" in str(large.left_out)
    assert largest.left_out == "a smaller array was too slow"


@pytest.mark.parametrize("looks", [0, 1, 4, 7])
def test_a_stopped_measurement_goes_on_with_the_next_array(tmp_path: Path, looks: int):
    plan = plan_of()
    measurement = Measurement(tmp_path, plan)
    asked = iter([False] * looks)
    stopped = measurement.attempt(fakes.FakeCollective(), stop=lambda: next(asked, True))
    assert stopped.status is None
    before = measurement.exchanged()
    assert stopped.step == len(before)
    second = fakes.FakeCollective()
    assert measurement.attempt(second) == Outcome("reached", 6, "")
    points = plan.exchange.points(light=False)
    assert second.made == points[len(before) :]
    assert measurement.exchanged()[: len(before)] == before
    assert [Point(e.dtype, e.bytes) for e in measurement.exchanged()] == points


def test_a_resumed_measurement_knows_how_slow_the_last_array_was(tmp_path: Path):
    rules = {"sizes_bytes": (1000, 2000, 8000), "dtypes": ("float32",)}
    measurement = Measurement(tmp_path, plan_of(**rules, seconds_per_point_max=0.5))
    slow = fakes.FakeCollective(0.0, 2e-5)
    enough = functools.partial(measurement.has, 1)
    assert measurement.attempt(slow, stop=enough).status is None
    assert measurement.attempt(slow).status == "reached"
    assert [event.left_out is None for event in measurement.exchanged()] == [True, True, False]


def test_a_wrong_sum_ends_the_measurement(tmp_path: Path):
    class Wrong(fakes.FakeCollective):
        def result(self) -> tuple[float, float]:
            return 1.0, 2.0

    with pytest.raises(AuditError, match="should be 1 everywhere"):
        Measurement(tmp_path, plan_of()).attempt(Wrong())


def test_what_the_system_lets_tcp_do_is_told_where_it_is_known():
    seen = session.tcp_settings()
    assert all(seen.values())
    assert set(seen) <= {
        "tcp_congestion_control",
        "tcp_rmem",
        "tcp_wmem",
        "tcp_slow_start_after_idle",
    }
