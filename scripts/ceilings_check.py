#!/usr/bin/env python3
"""Does `timetrial machine` find the products that a plain loop finds in the same minute?

    .venv/bin/python scripts/ceilings_check.py [--pairs 3] [--whole] [--allowed 10%]

Runs a plain PyTorch loop, `timetrial machine --light` (or all of it), and the loop again: a pair.
The loop knows nothing of timetrial: products of two precisions in five sizes, on one core and on
all, take turns of a tenth of a second, into a tensor that is there already, and the fastest product
counts; of the loop before and after the better one. Sizes above one whose product takes more than
half a second are left out: where a precision is emulated, they would take minutes. Prints both, and
their ratio, for fp32 and bf16 on one core and on all, pair by pair, then the medians of the ratios.
Exits with 1 where such a median is off by more than is allowed.
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
import json, sys, time
import torch
cores, dtypes, turns = json.loads(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
sides = {
    (dtype, size): [torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(3)]
    for dtype in dtypes
    for size in (256, 512, 1024, 2048, 4096)
}
best = {(dtype, count): 0.0 for dtype in dtypes for count in cores}
for _ in range(turns):
    for count in cores:
        torch.set_num_threads(count)
        slow = set()
        for (dtype, size), (a, b, c) in sides.items():
            if dtype in slow:
                continue
            begun = time.perf_counter()
            while time.perf_counter() - begun < 0.1:
                at = time.perf_counter()
                torch.mm(a, b, out=c)
                took = time.perf_counter() - at
                if took > 0.5:
                    slow.add(dtype)
                speed = 2 * size**3 / took
                best[dtype, count] = max(best[dtype, count], speed)
print(json.dumps([[*key, value] for key, value in best.items()]))
"""
TURNS: Final = {True: 5, False: 2}
"""Turns of the loop, on each side of the whole and of the light command.

A turn of two precisions on one core and on two takes 2 s: with the whole command between them, both
sides are spread over a minute and a quarter, as the command's rounds are over its own minute.
"""


def main() -> int:
    """Measure in turn, print, compare."""
    options = _options()
    most = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = sorted({1, most})
    ratios: dict[tuple[str, int], list[float]] = defaultdict(list)
    print(f"{'':12} {'cores':>5} {'plain loop':>14} {'timetrial':>14} {'ratio':>6}")
    for pair in range(options.pairs):
        print(f"pair {pair + 1} of {options.pairs}", file=sys.stderr, flush=True)
        before = _plain(cores, TURNS[options.whole])
        machine = _machine(whole=options.whole)
        after = _plain(cores, TURNS[options.whole])
        for key, ours in sorted(machine.items()):
            plain = max(before[key], after[key])
            ratios[key].append(ours / plain)
            texts = [units.quantity(value, "FLOP/s") for value in (plain, ours)]
            print(f"{key[0]:12} {key[1]:5} {texts[0]:>14} {texts[1]:>14} {ours / plain:6.3f}")
    middle = {key: statistics.median(values) for key, values in ratios.items()}
    for key, value in sorted(middle.items()):
        print(f"{key[0]:12} {key[1]:5} {'median ratio':>29} {value:6.3f}")
    worst = max(abs(value - 1) for value in middle.values())
    print(f"{options.pairs} pairs; the medians are off by up to {units.percent(worst, 1)}")
    return 0 if worst <= options.allowed else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="all of timetrial machine")
    parser.add_argument("--allowed", type=units.parse_fraction, default=0.1, metavar="10%%")
    return parser.parse_args()


def _plain(cores: list[int], turns: int) -> dict[tuple[str, int], float]:
    orders = [json.dumps(cores), json.dumps(list(MEASURES.values())), str(turns)]
    words = [sys.executable, "-c", PLAIN, *orders]
    done = subprocess.run(words, check=True, capture_output=True, encoding="utf-8")
    measures = {dtype: measure for measure, dtype in MEASURES.items()}
    return {(measures[dtype], count): best for dtype, count, best in json.loads(done.stdout)}


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
    found = {}
    for row in json.loads(done.stdout):
        if row["measure"] in MEASURES and row["device"] == "cpu" and row["value"] is not None:
            found[row["measure"], row["cores"]] = row["value"]
    return found


if __name__ == "__main__":
    sys.exit(main())
