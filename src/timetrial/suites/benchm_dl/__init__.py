"""benchm-dl: the question of document 004. Which tool trains the same network fastest?"""

from __future__ import annotations

from typing import Final

from timetrial import frameworks
from timetrial.plan import Request
from timetrial.suites import Suite

TASK: Final = "mnist-cnn"
FRAMEWORKS: Final = ("torch", "jax", "keras-tensorflow", "keras-jax", "keras-torch")


def suite() -> Suite:
    """Return the task in each framework installed here."""
    requests = tuple(Request(task=TASK, framework=name) for name in FRAMEWORKS if is_here(name))
    return Suite(
        name="benchm-dl",
        question="Which tool trains the same network fastest?",
        requests=requests,
        seeds=3,
        tables="timetrial.suites.benchm_dl.tables:tables",
    )


def is_here(name: str) -> bool:
    """Return whether this version has the framework and it is installed."""
    return name in frameworks.REGISTRY.names() and frameworks.installed(name)
