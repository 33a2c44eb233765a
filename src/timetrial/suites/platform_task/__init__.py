"""platform-task: the training behind document 000's comparison of platforms."""

from __future__ import annotations

from typing import Final

from timetrial.plan import Request
from timetrial.suites import Suite

TASK: Final = "cifar10-resnet18"


def suite() -> Suite:
    """Return the document's task."""
    return Suite(
        name="platform-task",
        question="What does the training behind the comparison of platforms give here?",
        requests=(Request(task=TASK),),
        seeds=3,
        tables="timetrial.suites.platform_task.tables:tables",
    )
