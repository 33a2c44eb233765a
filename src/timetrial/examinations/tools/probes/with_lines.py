"""No tool of anyone's: a file of JSON lines, in the standard library. The tests examine it.

Whoever adds a tool begins with a copy of this file; docs/experiment-tools.md says what follows.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from timetrial.examinations.tools.probes import (
    checking,
    looking,
    racing,
    serving,
    training,
    watching,
)
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling, main


def _write(file: Path, **fields: object) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(fields) + "\n")


def _read(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def monitoring(order: Order, telling: Telling) -> None:
    """Append a line per step; another process reads the file."""
    file = order.folder / "watched.jsonl"
    watching.watched(
        order,
        telling,
        {"file": str(file)},
        lambda step: _write(file, step=step.step, loss=step.loss),
        means="reader",
        how="a line per step; read as lines",
    )


def watch(place: dict[str, str]) -> Reader:
    """Return what reads the loss by step from the file."""
    file = Path(place["file"])

    def read() -> Mapping[int, float]:
        if not file.exists():
            raise NotThereYet
        return {line["step"]: line["loss"] for line in _read(file)}

    return read


def organizing(order: Order, telling: Telling) -> None:
    """Write the sweep; ask the file for it. It keeps no artefacts, and has no page."""
    runs = training.sweep(order.folder)
    file = order.folder / "runs.jsonl"
    for run in runs:
        _write(file, name=run.name, loss=run.loss, **run.params._asdict())
    lines = list(_read(file))
    with checking.checked(telling, "list", "all lines") as check:
        check.expect(sorted(line["name"] for line in lines), sorted(run.name for run in runs))
    with checking.checked(telling, "filter", "lines with that penalty") as check:
        found = {line["name"] for line in lines if line["penalty"] == "l1"}
        check.expect(found, training.with_l1(runs))
    with checking.checked(telling, "sort", "lines by loss") as check:
        ordered = sorted(lines, key=lambda line: float(line["loss"]))
        check.expect([line["name"] for line in ordered], training.by_loss(runs))
    with checking.checked(telling, "artefact", "a key of a line") as check:
        check.expect(lines[0]["artefact"], runs[0].artefact.read_bytes())
    with checking.checked(telling, "compare", "two lines") as check:
        pair = [runs[0], runs[-1]]
        seen = [line["C"] for line in lines if line["name"] in {run.name for run in pair}]
        check.expect(seen, [run.params.C for run in pair])


class _Search:
    """Looks around at random, then along the axes from the best point, nearer where that fails."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._best: tuple[float, racing.Point] | None = None
        self._asked = 0
        self._failed = 0
        self._width = 0.2

    def ask(self) -> racing.Point:
        self._asked += 1
        if self._best is None or self._asked <= 6:
            return {name: self._draw.uniform(*ends) for name, ends in racing.BOUNDS.items()}
        name = list(racing.BOUNDS)[self._failed % 2]
        low, high = racing.BOUNDS[name]
        step = self._width * (high - low) * (1 if self._failed % 4 < 2 else -1)
        return {**self._best[1], name: min(max(self._best[1][name] + step, low), high)}

    def tell(self, point: racing.Point, value: float) -> None:
        if self._best is None or value < self._best[0]:
            self._best = value, point
        elif self._asked > 6:
            self._failed += 1
            if self._failed % 4 == 0:
                self._width /= 2.5


def tuning(order: Order, telling: Telling) -> None:
    """Search along the axes."""
    racing.race(order, telling, _Search, how="along the axes from the best point")


def page(order: Order, telling: Telling) -> None:
    """Show the folder by Python's own server, and what a distribution has no name for."""
    port = serving.free_port()
    command = [sys.executable, "-m", "http.server", str(port), f"--bind={serving.HOST}"]
    with serving.Server(command, port, order.folder / "server.log") as server:
        server.show_page(telling, "organizing", served_by="python")
    looking.absent(telling, "msgspec", "tuning", "artefact")


if __name__ == "__main__":
    main(
        {"monitoring": monitoring, "organizing": organizing, "tuning": tuning, "page": page}, watch
    )
