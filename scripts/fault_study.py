#!/usr/bin/env python3
"""Faults of workers in real two-worker training: killed, frozen, slow, cut off the network.

scripts/fault_study.py --launcher local --faults 20 --out faults-local.json [--side-by-side 4]

Each fault strikes at a random moment of a run of digits-cnn on two workers (gloo). It must
end the attempt within 60 s with the right status and leave no process; a slow worker may only take
longer. Every run that was ended is then resumed and must end; its log must pass verify. Prints a
table; --out keeps every fault as JSON, and a study that was interrupted goes on from there.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast, get_args

import msgspec

from timetrial import api, audit, store
from timetrial.launch import REGISTRY, Launcher
from timetrial.plan import Plan, Request
from timetrial.rundir import RunDir
from timetrial.spec import read_record_types
from timetrial.testing import clusters, runs
from timetrial.testing.faults import Kind, faulty_attempt

WITHIN_S: Final = 60.0
STEPS: Final = 510  # 30 epochs: long enough for a fault to fall inside
LATEST_S: Final = 3.0  # of a fault, after training began


def main() -> int:
    """Make the faults; return 1 where one was lost or hung."""
    options = _options()
    kinds = [kind for kind in get_args(Kind) if kind != "cut off" or options.launcher == "shaped"]
    done = json.loads(options.out.read_text()) if options.out.exists() else []
    counts = collections.Counter(fault["kind"] for fault in done)
    todo = [kind for kind in kinds for _ in range(options.faults - counts[kind])]
    random.shuffle(todo)
    lock = threading.Lock()
    read_record_types()  # the faults are made in threads
    with (
        tempfile.TemporaryDirectory() as folder,
        clusters.started(options.launcher, cpus=options.side_by_side) as cluster,
    ):
        options.cluster = cluster

        def one(kind: Kind) -> None:
            outcome = _one(Path(folder), kind, options)
            with lock:
                done.append(outcome)
                options.out.write_text(json.dumps(done, indent=1) + "\n")
                print(f"{len(done)}: {json.dumps(outcome)}", file=sys.stderr, flush=True)

        with ThreadPoolExecutor(options.side_by_side) as pool:
            list(pool.map(one, todo))
    _print_table(done, options.launcher)
    return 0 if all(fault["right"] for fault in done) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--launcher", required=True, choices=REGISTRY.names())
    parser.add_argument("--framework", default="torch", help="in which they train")
    parser.add_argument("--faults", type=int, default=20, help="of each kind")
    parser.add_argument("--side-by-side", type=int, default=1, help="runs at once")
    parser.add_argument("--network", help="with --launcher shaped")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def _one(folder: Path, kind: Kind, options: argparse.Namespace) -> dict[str, Any]:
    """Make one fault, judge it, resume the run."""
    rank = random.randrange(2)
    after_s = random.uniform(0, LATEST_S)
    run, plan = runs.place(folder, _plan(options))
    launcher = cast(type[Launcher], REGISTRY.get(options.launcher))()
    fault = faulty_attempt(
        run, plan, launcher, kind=kind, rank=rank, after_s=after_s, cut=_cut(launcher)
    )
    before = store.read_run(run.path)
    evaluations, status = len(before.evaluations), before.status
    struck = fault.seconds is not None
    in_time = fault.seconds is None or fault.seconds < WITHIN_S or kind == "slow"
    as_it_should = status in ("reached", "budget") if kind == "slow" else status == "killed"
    resumed = _resume(run)
    right = (
        struck
        and in_time
        and as_it_should
        and not fault.left_over
        and resumed["status"] in ("reached", "budget")
        and resumed["verified"]
        and resumed["evaluations"] >= evaluations
    )
    return {
        "kind": kind,
        "rank": rank,
        "after_s": round(after_s, 3),
        "ended_after_s": None if fault.seconds is None else round(fault.seconds, 2),
        "status": status,
        "why": fault.result.reason,
        "left_over": list(fault.left_over),
        "evaluations_kept": evaluations,
        "resumed": resumed,
        "right": right,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _plan(options: argparse.Namespace) -> Plan:
    settings = {"checkpoint_every_s": 1, "sample_every_s": 0, "steps_max": STEPS}
    request = Request(
        task="digits-cnn",
        framework=options.framework,
        division="open",
        workers=2,
        cores=1,
        launcher=options.launcher,
        network=options.network,
        cluster=options.cluster,
        settings=settings,
    )
    return msgspec.structs.replace(runs.resolve(request, random.randrange(2**40)), target=None)


def _cut(launcher: Launcher) -> Callable[[RunDir, int], None] | None:
    """Return what takes a worker off its network, where the launcher has one of its own."""
    cut: Callable[[RunDir, int], None] | None = getattr(launcher, "cut", None)
    return cut


def _resume(run: RunDir) -> dict[str, Any]:
    if not run.done.exists():
        api.resume([run.path])
    record = store.read_run(run.path)
    [verification] = audit.verify([run.path])
    return {
        "status": record.status,
        "attempts": record.attempts,
        "evaluations": len(record.evaluations),
        "verified": verification.ok,
        "failed_checks": [check.name for check in verification.checks if not check.ok],
    }


def _print_table(done: list[dict[str, Any]], launcher: str) -> None:
    print(f"Faults of one of two workers, launcher {launcher}, {os.cpu_count()} cores\n")
    print("| fault | n | right | status | ended after (median, longest) | processes left |")
    print("|---|---|---|---|---|---|")
    for kind in dict.fromkeys(fault["kind"] for fault in done):
        of_kind = [fault for fault in done if fault["kind"] == kind]
        times = sorted(fault["ended_after_s"] or 0.0 for fault in of_kind)
        statuses = collections.Counter(str(fault["status"]) for fault in of_kind)
        said = ", ".join(f"{status} {count}" for status, count in statuses.items())
        print(
            f"| {kind} | {len(of_kind)} | {sum(fault['right'] for fault in of_kind)} | {said} | "
            f"{times[len(times) // 2]:.1f} s, {times[-1]:.1f} s | "
            f"{sum(len(fault['left_over']) for fault in of_kind)} |"
        )


if __name__ == "__main__":
    sys.exit(main())
