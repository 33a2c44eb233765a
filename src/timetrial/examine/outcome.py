"""What of a worker's log counts: the findings and files of steps that were done as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from timetrial.engine.events import Completed, Exhibited, Found, Started, WorkerEvent


class Standing(NamedTuple):
    """What an examination has come to so far."""

    found: dict[str, Found]  # by measure
    exhibited: dict[str, Exhibited]  # by file
    completed: dict[str, Completed]  # by step


def standing(events: Sequence[WorkerEvent]) -> Standing:
    """Return what counts in a worker's log; a step that was cut short left nothing that does."""
    stands = Standing({}, {}, {})
    pending: list[Found | Exhibited] = []
    for event in events:
        if isinstance(event, Started):
            pending = []
        elif isinstance(event, Found | Exhibited):
            pending.append(event)
        elif isinstance(event, Completed):
            stands.completed[event.place] = event
            for kept in pending:
                if isinstance(kept, Found):
                    stands.found[kept.measure] = kept
                else:
                    stands.exhibited[kept.file] = kept
            pending = []
    return stands
