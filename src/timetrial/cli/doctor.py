"""timetrial doctor"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from timetrial.cli import options

# the quickest first; a framework runs the first of them, or of all tasks, that it has
TRIAL_TASKS: Final = ("breast-cancer-logreg", "digits-cnn")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing the doctor looked at."""

    what: str
    ok: bool
    detail: str
    remedy: str


def doctor(json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Say what is installed, what works, and what is missing.

    Each installed framework runs one real step.
    """
    from rich.console import Console

    from timetrial import frameworks

    found = []
    console = Console(stderr=True)
    for name in frameworks.REGISTRY.names():
        with console.status(f"framework {name}: one real step"):
            found.append(_framework(name))
    found += _datasets()
    found += _rights()
    if json:
        options.echo_json(found)
        return
    for item in found:
        options.echo_wrapped(f"{'ok' if item.ok else 'no':3} {item.what}: {item.detail}")
        if item.remedy:
            options.echo_wrapped(f"    {item.remedy}")


def _framework(name: str) -> Finding:
    from timetrial import api, frameworks
    from timetrial.errors import TimetrialError

    what = f"framework {name}"
    if not frameworks.installed(name):
        return Finding(what, False, "not installed", frameworks.install_line(name))
    task = _trial_task(name)
    if task is None:
        detail = f"{frameworks.version(name)}; no task of timetrial runs in it yet".lstrip("; ")
        return Finding(what, True, detail, "")
    try:
        with tempfile.TemporaryDirectory(prefix="timetrial-doctor-") as folder:
            runs = api.run(
                task,
                seeds=1,
                store_dir=Path(folder),
                framework=name,
                division="open",
                settings={"steps_max": 1, "sample_every_s": 0},
            )
            record = runs[0]
            seen = record.environment
            if record.status not in ("reached", "budget") or seen is None:
                return Finding(what, False, f"{record.status}: {record.detail}", "")
            versions = ", ".join(f"{key} {value}" for key, value in seen.versions.items())
            return Finding(what, True, f"{versions}; one step done", "")
    except TimetrialError as error:
        return Finding(what, False, str(error), "")


def _trial_task(framework: str) -> str | None:
    """Return a task that has an implementation in the framework, None without any."""
    from timetrial import plan

    for name in (*TRIAL_TASKS, *plan.TASKS.names()):
        if framework in plan.find_task(name).implementations:
            return name
    return None


def _datasets() -> list[Finding]:
    import os

    from timetrial import datasets
    from timetrial.datasets import sources

    path = sources.search_path(os.environ)
    rows = []
    for name in datasets.REGISTRY.names():
        row = sources.available(datasets.get(name), path)
        rows.append(Finding(f"data set {name}", row.state == "here", row.reason, ""))
    return rows


def _rights() -> list[Finding]:
    from timetrial import machine, plan
    from timetrial.meter.cgroup import open_cgroup

    cpus = plan.allowed_cpus()
    with open_cgroup("doctor") as group:
        rows = [
            Finding(
                "CPU restriction (--cores)",
                cpus is not None,
                f"{len(cpus)} cores" if cpus is not None else "no affinity on this system",
                "",
            ),
            Finding(
                "exact counters and --memory",
                group.refusal is None,
                group.refusal or "control groups",
                "run as root or under systemd-run --user --scope -p Delegate=yes"
                if group.refusal
                else "",
            ),
        ]
    here = machine.gather(["timetrial", "doctor"], Path.cwd(), cloud_timeout_s=0)
    reason = machine.busy(here)
    rows.append(Finding("quiet machine", reason is None, reason or "nothing else runs", ""))
    return rows
