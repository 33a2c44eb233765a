"""Follows the runs of a search while they go on, so that hopeless ones can be given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from timetrial.batch import Watcher
from timetrial.engine.events import Evaluated, Segment, WorkerEvent
from timetrial.engine.metrics import metric_value
from timetrial.launch.supervise import Result
from timetrial.plan import Plan
from timetrial.spec import Target
from timetrial.tune.objective import Point

Hopeless = Callable[[str, Sequence[Point]], bool]
"""Is told the name of a run and its evaluations so far; returns whether to give the run up."""


@final
class _Curve:
    """The evaluations of one run as they come in."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._data_ns: int | None = None

    def add(self, events: Sequence[WorkerEvent], target: Target) -> bool:
        """Take what is new; return whether there was an evaluation."""
        known = len(self.points)
        for event in events:
            if isinstance(event, Segment) and event.next == "data" and self._data_ns is None:
                self._data_ns = event.t_ns
            if (
                isinstance(event, Evaluated)
                and event.split == target.split
                and self._data_ns is not None
            ):
                at_s = (event.t_ns - self._data_ns) / 1e9
                self.points.append(Point(at_s, metric_value(target.metric, event)))
        return len(self.points) > known


@final
class SearchWatcher:
    """Passes on what a batch tells, counted over the whole search."""

    def __init__(self, inner: Watcher, target: Target, hopeless: Hopeless) -> None:
        """Keep who is told, and who decides."""
        self._inner = inner
        self._target = target
        self._hopeless = hopeless
        self._curves: dict[str, _Curve] = {}
        self.begun = 0
        self.total = 0  # as far as is known

    def begin(self, plan: Plan, *, number: int, of: int | None) -> None:
        """Pass it on with the numbers of the whole search."""
        self.begun += 1
        self._curves[plan.run] = _Curve()
        self._inner.begin(plan, number=self.begun, of=max(self.total, self.begun))

    def events(self, plan: Plan, events: Sequence[WorkerEvent]) -> bool | None:
        """Pass them on; return True where an evaluation shows that the run is hopeless."""
        self._inner.events(plan, events)
        curve = self._curves.get(plan.run)
        if curve is None or not curve.add(events, self._target):
            return None
        return self._hopeless(plan.run, curve.points)

    def end(self, plan: Plan, result: Result) -> None:
        """Pass it on."""
        self._curves.pop(plan.run, None)
        self._inner.end(plan, result)

    def data(self, what: str, bytes_done: int, bytes_total: int | None) -> None:
        """Pass it on."""
        self._inner.data(what, bytes_done, bytes_total)
