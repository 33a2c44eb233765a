"""One attempt of a measurement, inside a worker. It reads from top to bottom.

All workers go through it together: worker 0 decides how often an array is summed, and tells the
others before each stretch of repetitions, never between two of one stretch.

build    the workers' group is made
measure  arrays of every size, the smallest first: made, warmed up, checked, timed
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from timetrial.engine.clock import SegmentClock
from timetrial.engine.events import Exchanged, Progress, WorkerEvent
from timetrial.engine.loop import Outcome
from timetrial.engine.team import Team
from timetrial.errors import AuditError
from timetrial.plan import Plan
from timetrial.rundir import LogWriter
from timetrial.spec import Collective, Exchange, Point, expected_sum

STRETCH_S: Final = 0.4  # repetitions are looked at this often: stop requests, time, sign of life
_TCP_FOLDER: Final = Path("/proc/sys/net/ipv4")  # of this process's network namespace
_TCP_SETTINGS: Final = (
    "tcp_congestion_control",
    "tcp_rmem",
    "tcp_wmem",
    "tcp_slow_start_after_idle",
)
_STOP: Final = -1  # in place of a number of repetitions


class Session(NamedTuple):
    """What a measurement works with."""

    plan: Plan
    log: LogWriter
    clock: SegmentClock
    team: Team
    stop_asked: Callable[[], bool]  # asked in worker 0


def measure(collective: Collective, session: Session, past: Sequence[WorkerEvent]) -> Outcome:
    """Measure all arrays that the logs of not all workers have yet; return how it ended.

    Raises:
        AuditError: A sum was wrong.
        PeerLostError: Another worker is gone.
    """
    rules = _rules(session.plan)
    points = rules.points(light=session.plan.light)
    done = _done_by_all(session.team, past)
    session.clock.enter("measure", step=0)
    for step, point in enumerate(points, start=1):
        if point in done:
            continue
        why_not = session.team.agree(_why_not(rules, point, done))
        seconds: list[float] | None = []
        if why_not is None:
            seconds = _sum_repeatedly(collective, session, point, step)
        if seconds is None:
            session.clock.enter("teardown", step=step - 1, sync=True)
            return Outcome(None, step - 1, "asked to stop")
        event = Exchanged(
            t_ns=time.monotonic_ns(),
            step=step,
            dtype=point.dtype,
            bytes=point.bytes,
            seconds=tuple(seconds),
            left_out=why_not,
        )
        session.log.write(event, sync=True)
        done[point] = seconds
    session.clock.enter("teardown", step=len(points), sync=True)
    short = sum(not seconds for seconds in done.values())
    detail = f"{short} of {len(points)} arrays were left out: too slow" if short else ""
    return Outcome("reached", len(points), detail)


def tcp_settings() -> dict[str, str]:
    """Return what this system lets TCP do, for the log; {} where it does not say."""
    found = {}
    for name in _TCP_SETTINGS:
        file = _TCP_FOLDER / name
        if file.is_file():
            found[name] = " ".join(file.read_text().split())
    return found


def _rules(plan: Plan) -> Exchange:
    assert plan.exchange is not None  # the worker asked
    return plan.exchange


def _done_by_all(team: Team, past: Sequence[WorkerEvent]) -> dict[Point, list[float]]:
    """Return what every worker's log has of earlier attempts, with this worker's seconds."""
    own = {Point(e.dtype, e.bytes): list(e.seconds) for e in past if isinstance(e, Exchanged)}
    logs = team.gather([[point.dtype, point.bytes] for point in own])
    common: list[Point] | None = None
    if logs is not None:
        named = [{Point(*pair) for pair in log} for log in logs]
        common = sorted(set.intersection(*named))
    return {Point(*pair): own[Point(*pair)] for pair in team.agree(common)}


def _why_not(exchange: Exchange, point: Point, done: dict[Point, list[float]]) -> str | None:
    """Return why an array is left out, None for one that is to be measured (decided by worker 0).

    The two next smaller arrays of its dtype tell how long one sum will take, by the time that the
    further bytes of the larger one took.
    """
    smaller = sorted(p.bytes for p in done if p.dtype == point.dtype and p.bytes < point.bytes)
    if smaller and not done[Point(point.dtype, smaller[-1])]:
        return "a smaller array was too slow"
    if len(smaller) < 2:
        return None
    (less, shorter_s), (most, longer_s) = (
        (size, statistics.median(done[Point(point.dtype, size)])) for size in smaller[-2:]
    )
    per_byte_s = max(0.0, longer_s - shorter_s) / (most - less)
    one_s = longer_s + per_byte_s * (point.bytes - most)
    needed_s = one_s * (exchange.warm_up + exchange.repetitions_min)
    if needed_s <= exchange.seconds_per_point_max:
        return None
    return (
        f"{exchange.warm_up + exchange.repetitions_min} sums would take about {needed_s:.0f} s; "
        f"allowed are {exchange.seconds_per_point_max:g} s"
    )


def _sum_repeatedly(
    collective: Collective, session: Session, point: Point, step: int
) -> list[float] | None:
    """Return the seconds of each repetition in this worker, None where the run is to stop."""
    begun_s = time.monotonic()
    collective.prepare(point)
    warm = [_sum_once(collective) for _ in range(_rules(session.plan).warm_up)]
    _check(collective, session.team.size, point)
    seconds: list[float] = []
    while True:
        spent_s = time.monotonic() - begun_s
        wanted = session.team.agree(_wanted(session, seconds or warm, len(seconds), spent_s))
        if wanted == _STOP:
            return None
        if wanted == 0:
            return seconds
        seconds += [_sum_once(collective) for _ in range(wanted)]
        session.log.write(Progress(t_ns=time.monotonic_ns(), step=step - 1))


def _sum_once(collective: Collective) -> float:
    """Return the seconds from this worker's start, all being ready, to its having the sum."""
    collective.meet()
    begun_ns = time.perf_counter_ns()
    collective.reduce()
    return (time.perf_counter_ns() - begun_ns) / 1e9


def _wanted(session: Session, seconds: Sequence[float], count: int, spent_s: float) -> int:
    """Return how many repetitions the next stretch has, 0: enough (decided by worker 0)."""
    rules = _rules(session.plan)
    if session.stop_asked():
        return _STOP
    most = rules.repetitions_max
    if session.plan.light:
        most = min(most, rules.light_repetitions_max)
    fewest = min(rules.repetitions_min, most)
    if count >= most or (count >= fewest and spent_s >= rules.seconds_per_point):
        return 0
    typical_s = statistics.median(seconds) if seconds else STRETCH_S
    stretch = max(1, math.floor(STRETCH_S / max(typical_s, 1e-6)))
    return min(stretch, (fewest if count < fewest else most) - count)


def _check(collective: Collective, workers: int, point: Point) -> None:
    low, high = collective.result()
    right = expected_sum(workers)
    if (low, high) != (right, right):
        raise AuditError(
            f"The sum of {point.bytes} bytes of {point.dtype} over {workers} workers is "
            f"{low:g} to {high:g}, and should be {right:g} everywhere. Nothing measured with this "
            "installation can be believed; reinstall the framework."
        )
