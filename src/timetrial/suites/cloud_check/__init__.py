"""cloud-check: the question of document 001. Where does the same training cost least?"""

from __future__ import annotations

from typing import Final

from timetrial.plan import Request
from timetrial.suites import Suite

TASK: Final = "cifar10-vgg-published"


def suite() -> Suite:
    """Return the document's task."""
    return Suite(
        name="cloud-check",
        question="What does the same training cost on this machine?",
        requests=(Request(task=TASK),),
        seeds=3,
        tables="timetrial.suites.cloud_check.tables:tables",
    )
