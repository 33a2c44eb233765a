"""What runs of a measuring task say: bandwidth and latency between workers, time by size.

Each dtype is a system of its own, as each precision of training is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from timetrial import units
from timetrial.engine.events import Exchanged
from timetrial.findings.estimates import make_row
from timetrial.findings.groups import Group, System, counts, system_of
from timetrial.rows import ExchangeCurve, ExchangePoint, Row
from timetrial.spec import Dtype, Exchange, Point
from timetrial.stats import exchanges, intervals
from timetrial.stats.exchanges import Line
from timetrial.stats.intervals import Estimate
from timetrial.store import RunRecord

SMALLEST_BYTES: Final = 4  # of the array whose time is the latency
_WHOLE: Final = "reached"
_PLACE: Final = ("framework", "version", "device", "cores", "memory_bytes", "workers", "hosts",
                 "launcher", "network", "cluster", "provider", "region", "image")  # fmt: skip


class ExchangeGroup(NamedTuple):
    """The runs of one system that measured, and one of their dtypes."""

    system: System
    exchange: Exchange
    dtype: Dtype
    runs: Sequence[RunRecord]

    @property
    def usual(self) -> bool:
        """Whether the dtype is the first of the rules."""
        return self.dtype == self.exchange.dtypes[0]

    @property
    def whole(self) -> list[RunRecord]:
        """The runs that measured all that they should."""
        return [run for run in self.runs if run.status == _WHOLE]


def exchange_groups(records: Sequence[RunRecord]) -> list[ExchangeGroup]:
    """Return the runs that measured, by system and dtype; those that can go on are left out."""
    groups: dict[System, list[RunRecord]] = {}
    for record in records:
        if counts(record) and record.plan.exchange is not None:
            groups.setdefault(system_of(record), []).append(record)
    found = []
    for system, runs in groups.items():
        exchange = runs[0].plan.exchange
        assert exchange is not None
        for dtype in exchange.dtypes:
            group = ExchangeGroup(system._replace(precision=dtype), exchange, dtype, runs)
            if not group.usual:
                named = group.system._replace(name=f"{system.name}, {dtype}")
                group = group._replace(system=named)
            found.append(group)
    return found


def seconds_of(record: RunRecord, dtype: Dtype) -> dict[int, np.ndarray]:
    """Return the seconds of each repetition by size; those not measured are left out.

    Of a repetition the mean over the workers counts: each sees it from its own start to its own
    end. A resumed run's own last word on a size counts.
    """
    logs = []
    for events in record.workers_events.values():
        seen = {e.bytes: e.seconds for e in events if isinstance(e, Exchanged) and e.dtype == dtype}
        logs.append({size: seconds for size, seconds in seen.items() if seconds})
    common = sorted(set.intersection(*(set(log) for log in logs)))
    found = {}
    for size in common:
        least = min(len(log[size]) for log in logs)  # equal, unless a log is cut
        found[size] = np.mean([log[size][:least] for log in logs], axis=0)
    return found


def line_of_run(record: RunRecord, dtype: Dtype) -> Line | None:
    """Return the line fitted to one run, None where it measured fewer than two sizes."""
    return _fitted(seconds_of(record, dtype))


def line_of_group(group: ExchangeGroup) -> Line | None:
    """Return the line fitted to all repetitions of all whole runs; None as `line_of_run`."""
    return _fitted(_together(group))


def _fitted(seconds: dict[int, np.ndarray]) -> Line | None:
    if len(seconds) < 2:
        return None
    return exchanges.fit_line(np.array(list(seconds), dtype=np.float64), list(seconds.values()))


def _together(group: ExchangeGroup) -> dict[int, np.ndarray]:
    """Return the repetitions of all whole runs by size."""
    found: dict[int, list[np.ndarray]] = {}
    for run in group.whole:
        for size, seconds in seconds_of(run, group.dtype).items():
            found.setdefault(size, []).append(seconds)
    return {size: np.concatenate(found[size]) for size in sorted(found)}


# --- rows ----------------------------------------------------------------------------------------


def exchange_rows(group: ExchangeGroup) -> list[Row]:
    """Return the rows of bandwidth and latency; their value is None where no run was whole."""
    return [bandwidth_row(group), latency_row(group)]


def bandwidth_row(group: ExchangeGroup) -> Row:
    """Return the bits per second that one direction of a worker's link carries.

    The fitted seconds for a byte of the array, b, make it 8 * 2 (k - 1) / k / b: the bits that an
    all-reduce among k workers has to send and receive per worker for each byte of the array, over
    the seconds that it takes. It is payload: the headers of TCP and IP are not in it.
    """
    workers = group.system.workers
    lines = [line for run in group.whole if (line := line_of_run(run, group.dtype))]
    values = [exchanges.bandwidth_bit_per_s(np.array([x.s_per_byte]), workers) for x in lines]
    draws = [exchanges.bandwidth_bit_per_s(x.s_per_byte_draws, workers) for x in lines]
    return _row(group, "bandwidth", "bit/s", np.ravel(values), draws, lines)


def latency_row(group: ExchangeGroup) -> Row:
    """Return the seconds of a round trip: the median time of a 4-byte all-reduce over k - 1.

    With two workers that all-reduce is one round trip, a message there and one back.
    """
    workers = group.system.workers
    lines, values, draws = [], [], []
    for run in group.whole:
        seconds = seconds_of(run, group.dtype).get(SMALLEST_BYTES)
        line = line_of_run(run, group.dtype)
        if seconds is None or line is None:
            continue
        trips = exchanges.round_trip_s(seconds, workers)
        lines.append(line)
        values.append(float(np.median(trips)))
        draws.append(exchanges.median_draws(trips))
    return _row(group, "latency", "s", np.array(values), draws, lines)


def _row(
    group: ExchangeGroup,
    measure: str,
    unit: str,
    values: np.ndarray,
    draws: Sequence[np.ndarray],
    lines: Sequence[Line],
) -> Row:
    """Return a mean over the runs, or of one run its value with the interval of its repetitions."""
    notes = []
    if len(values) == 1:
        estimate = exchanges.from_draws(float(values[0]), draws[0], 1)
        notes.append("one run: the interval is that of its repetitions (bootstrap)")
    elif np.isfinite(values).all():
        estimate = intervals.mean_interval(values.astype(np.float64))
    else:
        estimate = Estimate(value=None, low=None, high=None, n=len(values), method="no finite time")
        notes.append("a run's time does not grow with the size: no bandwidth can be told")
    facts = {}
    line = line_of_group(group)
    if line is not None:
        facts = {
            "line_latency_s": f"{line.latency_s:.6g}",
            "line_s_per_byte": f"{line.s_per_byte:.6g}",
            "line_error": f"{line.error:.3g}",
            "repetitions": str(line.repetitions),
        }
    notes += _light(group)
    if left := _left_out(group):
        notes.append(f"left out as too slow: arrays of {', '.join(map(units.bytes_, left))}")
    row = make_row(group, measure=measure, unit=unit, estimate=estimate, notes=notes)
    return msgspec.structs.replace(row, facts=facts)


def _light(group: ExchangeGroup) -> list[str]:
    if not group.system.light:
        return []
    most = max(point.bytes for point in group.exchange.points(light=True))
    return [
        f"light: arrays up to {units.bytes_(most)}, at most "
        f"{group.exchange.light_repetitions_max} repetitions each; not the full measurement"
    ]


def _left_out(group: ExchangeGroup) -> list[int]:
    """Return the sizes that no whole run measured, in order."""
    known = _together(group)
    planned = group.exchange.points(light=group.system.light)
    sizes = [point.bytes for point in planned if point.dtype == group.dtype]
    return [size for size in sizes if size not in known] if group.whole else []


def latency_among(measured: Sequence[ExchangeGroup]) -> Callable[[Group], float | None]:
    """Return what tells the seconds of latency of one all-reduce among a group's workers.

    It is the line's, where such workers measured it in the same framework, on the same network; a
    float16 line only where there is no other. None where nobody did.
    """
    lines = {
        _place(group.system): line
        for group in reversed(measured)
        if (line := line_of_group(group)) is not None
    }

    def latency(group: Group) -> float | None:
        line = lines.get(_place(group.system))
        return None if line is None else line.latency_s

    return latency


def _place(system: System) -> tuple[object, ...]:
    """Return what decides an exchange, whatever is learned."""
    return tuple(getattr(system, name) for name in _PLACE)


# --- the picture ---------------------------------------------------------------------------------


def exchange_curve(group: ExchangeGroup) -> ExchangeCurve | None:
    """Return time against size with the fitted line, None where no run was whole."""
    if not group.whole:
        return None
    known = _together(group)
    line = line_of_group(group)
    reasons = _reasons(group)
    points = [
        _point(point, known.get(point.bytes), reasons.get(point.bytes))
        for point in group.exchange.points(light=group.system.light)
        if point.dtype == group.dtype
    ]
    return ExchangeCurve(
        task=group.system.task,
        framework=group.system.framework,
        system=group.system.name,
        dtype=group.dtype,
        workers=group.system.workers,
        n=len(group.whole),
        points=points,
        latency_s=line.latency_s if line else None,
        s_per_byte=line.s_per_byte if line else None,
        error=line.error if line else None,
    )


def _reasons(group: ExchangeGroup) -> dict[int, str]:
    return {
        event.bytes: event.left_out
        for run in group.whole
        for event in run.worker
        if isinstance(event, Exchanged) and event.dtype == group.dtype and event.left_out
    }


def _point(point: Point, seconds: np.ndarray | None, left_out: str | None) -> ExchangePoint:
    if seconds is None:
        return ExchangePoint(
            bytes=point.bytes, median_s=None, p5_s=None, p95_s=None, n=0, left_out=left_out
        )
    seen = exchanges.spread(seconds)
    return ExchangePoint(
        bytes=point.bytes, median_s=seen.median_s, p5_s=seen.p5_s, p95_s=seen.p95_s, n=seen.n
    )
