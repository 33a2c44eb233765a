"""Measure how many steps the closed tasks need: the reference points of the convergence gate.

    .venv/bin/python scripts/reference_convergence.py [--seeds 20] [TASK …]
    .venv/bin/python scripts/reference_convergence.py cifar10-resnet20-v2 --target 0.7 --seeds 5 \\
        --dataset cifar10-jpeg --precision bfloat16 --store runs

Writes src/timetrial/references/convergence.toml for the tasks named (default: all that stop at a
target and come from a small data set), keeping the other points. With --store the runs are kept,
and those that are there already count: a study can be stopped and continued. Steps to target belong
to the task, not to the machine's speed: a busy machine does no harm. Run it anew whenever a task's
hash changes.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
import tempfile
from pathlib import Path

from timetrial import api, plan, references
from timetrial.findings import system_of
from timetrial.results import Runs
from timetrial.spec import Target, Task
from timetrial.stats import measures

FILE = Path(__file__).parent.parent / "src/timetrial/references/convergence.toml"
HEAD = """\
# Reference convergence points: steps to target of the closed tasks, one number per seed.
# Written by scripts/reference_convergence.py; a hash that is not the task's of today is not used.
"""
SMALL = ("digits-cnn", "fashion-mnist-cnn")  # done in minutes; others are named


def measured(name: str, options: argparse.Namespace, folder: Path) -> references.ConvergencePoint:
    """Return the point of one task from the runs in `folder` and as many more as it takes."""
    base = plan.find_task(name)
    task = plan.variant_of(base, dataset=options.dataset, eval_split=None)
    wanted = plan.request_target(task.targets[-1], options.target)
    there = _fitting(api.load(folder) if any(folder.iterdir()) else Runs([]), task, wanted)
    if len(there) < options.seeds:
        api.run(
            name,
            seeds=options.seeds - len(there),
            store_dir=folder,
            dataset=options.dataset,
            precision=options.precision,
            target=options.target,
        )
        there = _fitting(api.load(folder), task, wanted)
    steps = [measures.steps_to_target(run, wanted) for run in there]
    missed = [run.plan.seed for run, found in zip(there, steps, strict=True)
              if found is None or not found[1]]  # fmt: skip
    if missed:
        raise SystemExit(f"{name}: seeds {missed} missed the target; no point is made.")
    first = there[0].plan
    precision = "" if first.precision == "float32" else f", {first.precision}"
    return references.ConvergencePoint(
        task=name,
        task_hash=task.hash(),
        target=str(wanted),
        batch_size=task.batch_size or 0,
        steps=tuple(found[0] for found in steps if found),
        system=f"{system_of(there[0]).name}{precision}",
        date=datetime.date.today().isoformat(),
        command=shlex.join(["scripts/reference_convergence.py", *sys.argv[1:]]),
    )


def _fitting(runs: Runs, task: Task, target: Target) -> Runs:
    """Return the finished closed runs of these very rules that stop at the target, or at none."""
    return Runs(
        [
            run
            for run in runs
            if run.done is not None
            and run.plan.task_hash == task.hash()
            and run.plan.division == "closed"
            and run.plan.target in (target, None)  # None: it ran to its last step
        ]
    )


def as_toml(found: references.ConvergencePoint) -> str:
    """Return the TOML table of a point."""
    return f"""
[[point]]
task = "{found.task}"
task_hash = "{found.task_hash}"
target = "{found.target}"
batch_size = {found.batch_size}
steps = {list(found.steps)}
system = "{found.system}"
date = "{found.date}"
command = "{found.command}"
"""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=list(SMALL))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--target", type=float, help="default: the task's highest")
    parser.add_argument("--dataset")
    parser.add_argument("--precision")
    parser.add_argument("--store", type=Path, help="keep the runs here, and count those there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="timetrial-convergence-") as temporary:
        folder = options.store or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        made = [measured(name, options, folder) for name in options.tasks]
    replaced = {(point.task, point.task_hash, point.target) for point in made}
    kept = [
        point
        for point in references.convergence_points()
        if (point.task, point.task_hash, point.target) not in replaced
    ]
    points = sorted([*kept, *made], key=lambda point: (point.task, point.target))
    FILE.write_text(HEAD + "".join(map(as_toml, points)))


if __name__ == "__main__":
    main()
