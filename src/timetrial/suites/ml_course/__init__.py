"""ml-course: the ML tools course of document 002, from the table to the claims on hardware."""

from __future__ import annotations

from typing import Final

from timetrial import frameworks
from timetrial.plan import Request
from timetrial.suites import Suite

PIPELINE: Final = "course-pipeline"
FRAMEWORKS: Final = "course-frameworks"
HARDWARE: Final = "course-hardware"
TASK: Final = "breast-cancer-logreg"
_REQUESTS: Final = (  # examination or task, framework, runs where it is less than the suite's
    (PIPELINE, "sklearn", 1),
    (FRAMEWORKS, "torch", 1),
    (FRAMEWORKS, "keras-tensorflow", 1),
    (HARDWARE, "torch", 1),
    (TASK, "sklearn", None),
)


def suite() -> Suite:
    """Return what can be examined with the frameworks installed here."""
    return Suite(
        name="ml-course",
        question="Does what the ML tools course teaches hold here, today?",
        requests=tuple(
            Request(task=name, framework=framework, seeds_max=runs)
            for name, framework, runs in _REQUESTS
            if frameworks.installed(framework)
        ),
        seeds=3,
        examined="timetrial.suites.ml_course.tables:tables",
    )
