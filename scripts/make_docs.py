"""Write what is made from the program: docs/tasks, docs/schema, docs/algorithms.md.

.venv/bin/python scripts/make_docs.py           write them
.venv/bin/python scripts/make_docs.py --check   exit with 1 if one is not up to date
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from timetrial.algorithms.page import render_algorithms
from timetrial.engine.events import LauncherEvent, WorkerEvent
from timetrial.examine.request import find as find_examination
from timetrial.exchange.request import find
from timetrial.machine import Ceilings
from timetrial.plan import EXAMINATIONS, MEASUREMENTS, TASKS, Plan, find_task
from timetrial.rows import Findings, Row
from timetrial.taskpage import render_examination, render_exchange, render_task

ROOT = Path(__file__).parent.parent
ALGORITHMS = """# How several workers learn together

Made by `scripts/make_docs.py` from `src/timetrial/algorithms`.

    timetrial run digits-cnn --workers 2 --division open --algorithm top-k --partition iid

An algorithm is written `name:key=value:key=value`; what is left out has its default. The closed
division is synchronous SGD over all data (`allreduce`, `ddp`, `--partition shuffled`); everything
else needs `--division open`. `timetrial list algorithms` shows what is installed, `timetrial show
top-k` one of them. Of one's own: [Add an algorithm](add-an-algorithm.md).

`--partition` says which examples a worker sees: `shuffled` (each mini-batch of one common order is
dealt out), `iid` (every worker keeps a random share for the whole run), `dirichlet:alpha=0.5` (the
same with a mix of labels of its own; the smaller alpha, the fewer labels).
`src/timetrial/tasks/networks/shards.py` says exactly what is drawn.

n weights of s bytes each in L tensors, k workers. The bytes are what a worker hands to the network
per step, the mean over workers and steps, without headers of protocols; sums and gathers are
counted as a ring does them. A test compares them with what the connections of real processes count.

"""
SCHEMAS = {
    "row": (Row, "A row of `timetrial run --json` and `timetrial report --json` (an array)."),
    "findings": (Findings, "All that one report shows."),
    "plan": (Plan, "plan.json of a run directory, and what `run --dry-run` prints (an array)."),
    "worker-event": (WorkerEvent, "A line of events.<rank>.jsonl of a run directory."),
    "ceilings": (
        Ceilings,
        "ceilings.<host>.json of a run directory: what `timetrial machine` measured before.",
    ),
    "launcher-event": (LauncherEvent, "A line of events.launcher.jsonl of a run directory."),
}


def made() -> dict[str, str]:
    """Return every generated file: path below the repository -> content."""
    tasks = [find_task(name) for name in TASKS.names()]
    files = {f"docs/tasks/{task.name}.md": render_task(task) for task in tasks}
    measured = [found for name in MEASUREMENTS.names() if (found := find(name)) is not None]
    files |= {f"docs/tasks/{exchange.name}.md": render_exchange(exchange) for exchange in measured}
    named = [find_examination(name) for name in EXAMINATIONS.names()]
    examined = [found for found in named if found is not None]
    files |= {f"docs/tasks/{one.name}.md": render_examination(one) for one in examined}
    lines = [
        "# Tasks",
        "",
        "Made by `scripts/make_docs.py` from the objects that the workers execute.",
        "",
        "| task | what is learned | target | frameworks |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| [{task.name}]({task.name}.md) | {task.title} | {task.targets[-1]} "
        f"| {', '.join(task.implementations)} |"
        for task in tasks
    ]
    lines += [
        f"| [{exchange.name}]({exchange.name}.md) | nothing, it measures: {exchange.title} | none "
        f"| {', '.join(exchange.implementations)} |"
        for exchange in measured
    ]
    lines += [
        f"| [{one.name}]({one.name}.md) | nothing, it examines: {one.title} | none "
        f"| {', '.join(one.implementations)} |"
        for one in examined
    ]
    files["docs/tasks/README.md"] = "\n".join(lines) + "\n"
    files["docs/algorithms.md"] = ALGORITHMS + render_algorithms()
    for name, (kind, description) in SCHEMAS.items():
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "description": description,
            **_clean(msgspec.json.schema(kind)),
        }
        text = msgspec.json.format(msgspec.json.encode(schema, order="deterministic"), indent=2)
        files[f"docs/schema/{name}.json"] = text.decode() + "\n"
    return files


def _clean(schema: dict[str, object]) -> dict[str, object]:
    """Return the schema, its docstrings without indentation: that differs by Python version."""
    return {
        key: inspect.cleandoc(value)
        if key == "description" and isinstance(value, str)
        else _clean(value)
        if isinstance(value, dict)
        else value
        for key, value in schema.items()
    }


def main(arguments: Sequence[str]) -> int:
    """Write the files, or compare them."""
    files = made()
    kept = {
        str(path.relative_to(ROOT))
        for folder in ("docs/tasks", "docs/schema")
        for path in (ROOT / folder).glob("*")
    }
    stale = [
        name
        for name, text in files.items()
        if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != text
    ]
    stale += sorted(kept - set(files))
    if "--check" in arguments:
        for name in stale:
            print(f"{name} is not up to date; run scripts/make_docs.py")
        return 1 if stale else 0
    for name in stale:
        path = ROOT / name
        if name in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name], encoding="utf-8")
        else:
            path.unlink()
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
