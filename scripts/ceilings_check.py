#!/usr/bin/env python3
"""Does `timetrial machine` find the products that a plain loop finds in the same minute?

    .venv/bin/python scripts/ceilings_check.py [--pairs 3] [--whole] [--allowed 10%]

Runs `timetrial machine --light` (or all of it) and a plain PyTorch loop in turn, the loop first and
the command first by turns, so that a machine that grows slower or faster treats both alike. The
loop knows nothing of timetrial: for each of five sizes it multiplies five times for a tenth of a
second, and takes the median of the five fastest products; the best size counts. Prints the medians
of both over the pairs and their ratio, for fp32 and bf16 on one core and on all; then the best of
both over all pairs: on a machine whose neighbours come and go it is far above the medians. Exits
with 1 where the medians differ by more than is allowed.
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
median = fastest = 0.0
for size in (256, 512, 1024, 2048, 4096):
    a, b = (torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(2))
    a @ b
    rates = []
    for _ in range(5):
        rate, begun = 0.0, time.perf_counter()
        while time.perf_counter() - begun < 0.1:
            at = time.perf_counter()
            a @ b
            rate = max(rate, 2 * size**3 / (time.perf_counter() - at))
        rates.append(rate)
    median = max(median, sorted(rates)[2])
    fastest = max(fastest, *rates)
print(median, fastest)
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
            for (name, measure, cores), value in found.items():
                seen[measure, cores][name].append(value)
    worst = 0.0
    print(
        f"{'':12} {'cores':>5} {'median: plain':>14} {'machine':>14} {'ratio':>6}"
        f" {'best: plain':>14} {'machine':>14} {'ratio':>6}"
    )
    for (measure, cores), sides in sorted(seen.items()):
        plain, ours = (statistics.median(sides[name]) for name in ("plain", "machine"))
        most_plain, most_ours = (max(sides[name]) for name in ("fastest", "best"))
        worst = max(worst, abs(ours / plain - 1))
        figures = (plain, ours, most_plain, most_ours)
        texts = [units.quantity(value, "FLOP/s") for value in figures]
        print(
            f"{measure:12} {cores:5} {texts[0]:>14} {texts[1]:>14} {ours / plain:6.3f} "
            f"{texts[2]:>14} {texts[3]:>14} {most_ours / most_plain:6.3f}"
        )
    print(f"{options.pairs} pairs; the medians differ by up to {units.percent(worst, 1)}")
    return 0 if worst <= options.allowed else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="all of timetrial machine")
    parser.add_argument("--allowed", type=units.parse_fraction, default=0.1, metavar="10%%")
    return parser.parse_args()


def _plain(cores: list[int]) -> dict[tuple[str, str, int], float]:
    found = {}
    for count in cores:
        for measure, dtype in MEASURES.items():
            words = [sys.executable, "-c", PLAIN, str(count), dtype]
            done = subprocess.run(words, check=True, capture_output=True, encoding="utf-8")
            median, fastest = map(float, done.stdout.split())
            found["plain", measure, count] = median
            found["fastest", measure, count] = fastest
    return found


def _machine(*, whole: bool) -> dict[tuple[str, str, int], float]:
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
    found = {}
    for row in json.loads(done.stdout):
        if row["measure"] in MEASURES and row["device"] == "cpu" and row["value"] is not None:
            found["machine", row["measure"], row["cores"]] = row["value"]
            found["best", row["measure"], row["cores"]] = float(row["facts"]["best"])
    return found


if __name__ == "__main__":
    sys.exit(main())
