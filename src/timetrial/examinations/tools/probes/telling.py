"""A probe's order, and what it tells: one JSON value per line of its standard output.

What a tool itself prints goes to standard error: the first thing done is to keep the real standard
output for lines of ours.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO, TypeAlias

from timetrial.examinations.tools.probes import sealing

Reader: TypeAlias = Callable[[], Mapping[int, float]]
"""Reads step -> value from a tool's store; raises NotThereYet as long as there is nothing."""


class NotThereYet(Exception):  # noqa: N818 - no error of a reader
    """The store has no such run or metric yet."""


class Order(NamedTuple):
    """What one program is to do."""

    folder: Path  # empty, its own
    steps: int  # of the run that is watched
    pace_s: float  # pause after each of them
    budget: int  # evaluations of one search
    seeds: tuple[int, ...]  # one search by the tool and one random search each


class Telling:
    """The program's standard output, kept for JSON alone."""

    def __init__(self, out: TextIO) -> None:
        """Keep where lines go."""
        self._out = out

    def tell(self, kind: str, **fields: object) -> None:
        """Print one observation: its kind, and the fields of that record."""
        self._out.write(json.dumps({"type": kind, **fields}) + "\n")
        self._out.flush()


Probe: TypeAlias = Callable[[Order, Telling], None]


def main(probes: Mapping[str, Probe], watch: Callable[[dict[str, str]], Reader] | None) -> None:
    """Do what the command line says: `STEP ORDER`, or `watch PLACE` in the second process."""
    step, words = sys.argv[1:]
    out = _kept_output()
    if step == "watch":
        assert watch is not None  # only a program that has it starts a second one
        from timetrial.examinations.tools.probes import watching

        watching.report(watch(json.loads(words)), out)
        return
    telling = Telling(out)
    sealed, how = sealing.seal()
    telling.tell("sealed", sealed=sealed, how=how)
    asked = json.loads(words)
    order = Order(
        folder=Path(asked["folder"]),
        steps=asked["steps"],
        pace_s=asked["pace_s"],
        budget=asked["budget"],
        seeds=tuple(asked["seeds"]),
    )
    probes[step](order, telling)


def _kept_output() -> TextIO:
    """Return standard output for ours; let the tool's own prints go to standard error."""
    sys.stdout.flush()
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return kept
