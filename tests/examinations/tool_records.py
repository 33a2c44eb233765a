"""Observations for the tests of what is made of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from timetrial.examinations.tools import environment
from timetrial.examinations.tools.records import (
    CHECKS,
    Absent,
    Check,
    Checked,
    Column,
    Installed,
    Licensed,
    Means,
    Observation,
    Page,
    Race,
    Raced,
    Seen,
    Watched,
)
from timetrial.examinations.tools.registry import Server, Tool, Way


def made_tool(**changes: object) -> Tool:
    """A tool whose server is in its packages."""
    fields = {
        "name": "lines",
        "title": "Lines",
        "distribution": "lines",
        "probe": "with_lines",
        "way": (Way(requirements=(f"{changes.get('distribution', 'lines')}==1.0",)),),
        "server": Server(kind="included", about="lines serve"),
    }
    return Tool(**{**fields, **changes})  # type: ignore[arg-type]


def watched(live: int = 10, *, steps: int = 10, means: Means = "server", wrong: int = 0) -> Watched:
    """A run of which so many steps were read in time, 20 ms after they were logged."""
    return Watched(
        steps=steps,
        pace_s=0.1,
        seen=tuple(Seen(step=step + 1, latency_ms=20.0) for step in range(live)),
        wrong=wrong,
        late=steps - live - wrong,
        read_ms=2.0,
        means=means,
        how="lines.log",
    )


def page(column: Column, *, status: int = 200, missing: int = 0) -> Page:
    """A page that answered with that status; of its three scripts so many did not."""
    return Page(
        column=column,
        path="/",
        status=status,
        content_type="text/html; charset=utf-8",
        bytes=1000,
        scripts=3,
        missing=missing,
        served_by="lines",
    )


def checks(*failing: Check, line: str = "KeyError: 'x'") -> list[Observation]:
    """All five questions; those named were not answered."""
    return [
        Checked(
            what=what,
            passed=what not in failing,
            how=f"lines.{what}",
            line=line if what in failing else "",
        )
        for what in CHECKS
    ]


def raced(factor: float, *, pairs: int = 12, noise: float = 0.3) -> Raced:
    """Searches whose best is `factor` times as far above the least value as random search's."""
    return Raced(
        function="branin",
        budget=30,
        races=tuple(
            Race(seed=n, tool=factor * 0.5 * math.exp(noise * (-1) ** n), random=0.5)
            for n in range(pairs)
        ),
        seconds_per_point=0.01,
        how="lines.suggest",
    )


def licensed(expression: str = "", field: str = "", *classifiers: str) -> Licensed:
    """What a distribution says."""
    return Licensed(
        distribution="lines",
        version="1.0",
        expression=expression,
        field=field,
        classifiers=classifiers,
    )


def absent(what: Column | Check, *near: str) -> Absent:
    """No name of that kind but those near it."""
    return Absent(what=what, words="ask", names=100, files=5, near=near)


def installed(version: str = "1.0") -> Installed:
    """An environment."""
    return Installed(
        python="3.11.7",
        packages={"lines": version},
        main="lines",
        version=version,
        bytes=2**20,
        seconds=3.0,
        made_utc="2026-11-23T00:00:00Z",
        how="pip install lines==1.0",
    )


def borrow_environment(tool: Tool, environ: Mapping[str, str]) -> Path:
    """Let the environment of a tool be this one, in which nothing is installed for it.

    Returns its interpreter, which is a script.
    """
    folder = environment.folder_of(tool, environ)
    python = environment.python_of(folder)
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / "ready.json").write_bytes(msgspec.json.encode(installed()))
    return python
