#!/usr/bin/env python3
"""One task on several launchers: is the curve in steps the same, and what does starting take?

scripts/launcher_curves.py mnist-cnn --workers 1,2 --launchers local,slurm,ray,ssh --seed 7 \\
    --store runs --out curves.md [--set steps_max=469]

Starts a Slurm of two virtual nodes, two SSH servers and a Ray of two nodes on this machine, each
for its own runs alone, and trains the task with one seed and one core per worker on each. Two
curves are the same when every evaluation fell on the same step and the accuracies and losses agree:
bit for bit with the first launcher's for as many workers, else by how much. Prints a table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from timetrial import api, units
from timetrial.stats import measures
from timetrial.store import RunRecord
from timetrial.testing import clusters

START: Final = ("wait", "provision", "environment", "imports")


def main() -> int:
    """Run, compare, print; return 1 where a run failed or a curve differs."""
    options = _options()
    records: dict[tuple[str, int], RunRecord] = {}
    for launcher in options.launchers.split(","):
        with tempfile.TemporaryDirectory() as folder, clusters.started(launcher) as cluster:
            grid = Path(folder) / "grid.toml"
            grid.write_text(_grid(options, launcher, cluster))
            before = set(_runs(options.store))
            print(f"$ timetrial run {grid.name}: {launcher}", file=sys.stderr, flush=True)
            subprocess.run(
                [sys.executable, "-m", "timetrial", "run", str(grid), "--store", options.store,
                 "--html", str(Path(folder) / "page.html")],
                check=False,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            for path in set(_runs(options.store)) - before:
                [record] = api.load(path)
                records[launcher, record.plan.workers] = record
    return _report(records, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("task")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--launchers", default="local,slurm,ray,ssh")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--store", required=True)
    parser.add_argument("--out", type=Path, help="the table, as Markdown")
    return parser.parse_args()


def _grid(options: argparse.Namespace, launcher: str, cluster: str | None) -> str:
    lines = [f"seeds = [{options.seed}]", "[[run]]", f'task = "{options.task}"', "cores = 1"]
    lines += [f"workers = [{options.workers}]", f'launcher = "{launcher}"']
    lines += [f'cluster = "{cluster}"'] if cluster else []
    if options.set:
        settings = ", ".join(pair.replace("=", " = ", 1) for pair in options.set)
        lines += ['division = "open"', f"set = {{ {settings} }}"]
    return "\n".join(lines) + "\n"


def _runs(store: str) -> list[Path]:
    place = Path(store)
    return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []


def _report(records: dict[tuple[str, int], RunRecord], options: argparse.Namespace) -> int:
    first = options.launchers.split(",")[0]
    lines = [
        "| launcher | workers | status | curve in steps | start-up | training | steps |",
        "|---|---|---|---|---|---|---|",
    ]
    right = True
    for (launcher, workers), record in sorted(records.items(), key=lambda item: item[0][1]):
        seconds = measures.segment_seconds(record)
        start = sum(seconds.get(name, 0.0) for name in START)
        said, same = _compared(record, records[first, workers], records[first, 1])
        right = right and same and record.status in ("reached", "budget")
        lines.append(
            f"| {launcher} | {workers} | {record.status} | {said} | {units.duration(start)} "
            f"| {units.duration(seconds.get('train', 0.0))} | {record.steps} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)
    wanted = len(options.launchers.split(",")) * len(options.workers.split(","))
    return 0 if right and len(records) == wanted else 1


def _compared(record: RunRecord, same: RunRecord, one: RunRecord) -> tuple[str, bool]:
    """Say how a curve differs from the first launcher's, and from that of one worker."""
    mine, theirs, single = (
        [(e.step, e.split, e.accuracy, e.loss) for e in seen.evaluations]
        for seen in (record, same, one)
    )
    if mine == theirs == single:
        return "the same, bit for bit", True
    steps = [e[:2] for e in mine] == [e[:2] for e in theirs] == [e[:2] for e in single]
    if not steps:
        return "other steps", False
    gap = max(abs(a[2] - b[2]) for a, b in zip(mine, single, strict=True))
    loss = max(abs((a[3] or 0) - (b[3] or 0)) for a, b in zip(mine, single, strict=True))
    beside = "the same, bit for bit" if mine == theirs else "not the first launcher's bits"
    said = f"{beside}; from one worker's: accuracy {gap:.2%}, loss {loss:.1e}"
    return said, mine == theirs


if __name__ == "__main__":
    sys.exit(main())
