"""experiment-tools: the question of document 002's table. What can each tool do?"""

from __future__ import annotations

from typing import Final

from timetrial.examinations.tools.examination import TOOLS
from timetrial.plan import Request
from timetrial.suites import Suite

TASK: Final = "experiment-tool"


def suite() -> Suite:
    """Return every tool, each examined once."""
    return Suite(
        name="experiment-tools",
        question="What can tools for experiments do: monitor, organize, tune, be hosted?",
        requests=tuple(Request(task=TASK, framework=tool, seeds_max=1) for tool in TOOLS),
        seeds=1,
        examined="timetrial.suites.experiment_tools.tables:tables",
    )
