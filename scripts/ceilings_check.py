#!/usr/bin/env python3
"""Does `timetrial machine` find the products that a plain loop finds in the same minute?

    .venv/bin/python scripts/ceilings_check.py [--pairs 3] [--whole] [--allowed 10%]

Runs `timetrial machine --light` (or all of it) and a plain PyTorch loop in turn, the loop first and
the command first by turns, so that a machine that grows slower or faster treats both alike. The
loop knows nothing of timetrial: for each of four sizes it multiplies for half a second and keeps
the fastest product; the best size counts. Prints the medians of both and their ratio for fp32 and
bf16 on one core and on all. Exits with 1 where a ratio is farther from 1 than is allowed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from typing import Final

from timetrial import units

MEASURES: Final = {"matmul_fp32": "float32", "matmul_bf16": "bfloat16"}
PLAIN: Final = """
import os, sys, time
cores, dtype = int(sys.argv[1]), sys.argv[2]
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import torch
torch.set_num_threads(cores)
best = 0.0
for size in (512, 1024, 2048, 4096):
    a, b = (torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(2))
    a @ b
    begun = time.perf_counter()
    while time.perf_counter() - begun < 0.5:
        at = time.perf_counter()
        a @ b
        best = max(best, 2 * size**3 / (time.perf_counter() - at))
print(best)
"""


def main() -> int:
    """Measure in turn, print, compare."""
    options = _options()
    most = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seen: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for pair in range(options.pairs):
        for side in ("plain", "machine")[:: 1 if pair % 2 == 0 else -1]:
            print(f"pair {pair + 1} of {options.pairs}: {side}", file=sys.stderr, flush=True)
            found = _plain(sorted({1, most})) if side == "plain" else _machine(whole=options.whole)
            for key, value in found.items():
                seen[key][side].append(value)
    worst = 0.0
    print(f"{'':12} {'cores':>5} {'plain loop':>14} {'machine':>14} {'ratio':>6}")
    for (measure, cores), sides in sorted(seen.items()):
        plain, ours = (statistics.median(sides[side]) for side in ("plain", "machine"))
        worst = max(worst, abs(ours / plain - 1))
        texts = (units.quantity(value, "FLOP/s") for value in (plain, ours))
        print(f"{measure:12} {cores:5} {next(texts):>14} {next(texts):>14} {ours / plain:6.3f}")
    print(f"medians of {options.pairs}; farthest from 1: {units.percent(worst, 1)}")
    return 0 if worst <= options.allowed else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="all of timetrial machine")
    parser.add_argument("--allowed", type=units.parse_fraction, default=0.1, metavar="10%%")
    return parser.parse_args()


def _plain(cores: list[int]) -> dict[tuple[str, int], float]:
    found = {}
    for count in cores:
        for measure, dtype in MEASURES.items():
            words = [sys.executable, "-c", PLAIN, str(count), dtype]
            done = subprocess.run(words, check=True, capture_output=True, encoding="utf-8")
            found[measure, count] = float(done.stdout)
    return found


def _machine(*, whole: bool) -> dict[tuple[str, int], float]:
    words = [
        sys.executable,
        "-m",
        "timetrial",
        "machine",
        "--json",
        *([] if whole else ["--light"]),
    ]
    with tempfile.TemporaryDirectory() as folder:  # what runs take along is left alone
        done = subprocess.run(
            words,
            check=True,
            env={**os.environ, "TIMETRIAL_CACHE": folder},
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
    return {
        (row["measure"], row["cores"]): row["value"]
        for row in json.loads(done.stdout)
        if row["measure"] in MEASURES and row["device"] == "cpu" and row["value"] is not None
    }


if __name__ == "__main__":
    sys.exit(main())
