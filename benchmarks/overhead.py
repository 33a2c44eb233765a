"""What timetrial's engine, log and sampler cost: the same steps with them and in a bare loop.

    .venv/bin/python benchmarks/overhead.py [--pairs 7] [--steps 4690]

Each pair runs mnist-cnn twice, in turn, each in a process of its own with one seed:
  A  `timetrial run`, sampler and log on, checkpoints as by default;
  B  the same implementation object in a bare PyTorch loop: build, then advance() and predict() at
     the same steps as A, with no log, checkpoint, segment clock or sampler.
Compared is the wall time of all steps, evaluations left out on both sides. Of A that is its train
segments: what the engine does between and inside the steps (chunks, fences, progress and segment
lines) is in them. B evaluates too because evaluations change the allocator's state, and with it the
speed of the steps (docs/results.md).
Printed: the ratio A / B of each pair, and their median, which must be at most 1.01.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BARE = """
import os, sys, time
from pathlib import Path
from timetrial import plan as plans
from timetrial.datasets.load import load_splits
from timetrial.frameworks.torch import Torch
from timetrial.spec import Workload
from timetrial._registry import load_object

plan = plans.decode_plan(Path(sys.argv[1]).read_bytes(), sys.argv[1])
os.sched_setaffinity(0, plan.cpus)
Torch().setup(device=plan.device, threads=plan.cores, precision=plan.precision)
work = Workload(task=plan.task, seed=plan.seed, device=plan.device, precision=plan.precision)
splits = load_splits(plan.task.dataset, plan.data_files)
implementation = load_object(plan.implementation)(work, splits, lambda part: None)
seconds, step, every = 0.0, 0, plan.rhythm.eval_every_steps
while step < plan.steps_max:
    chunk = min(every - step % every, plan.steps_max - step)
    begun = time.perf_counter()
    implementation.advance(chunk)
    seconds += time.perf_counter() - begun
    step += chunk
    implementation.predict(splits[plan.task.eval_split])
print(seconds)
"""


def engine_s(steps: int, store: Path) -> tuple[float, Path]:
    """Return the train seconds of one full run, and its plan."""
    from timetrial import api
    from timetrial.stats import measures

    runs = api.run(
        "mnist-cnn", seeds=1, store_dir=store, division="open", settings={"steps_max": steps}
    )
    assert runs[0].status in ("reached", "budget"), runs[0].detail
    return measures.segment_seconds(runs[0])["train"], runs[0].run.plan


def bare_s(plan: Path) -> float:
    """Return the seconds of the bare loop with the same plan and the same environment."""
    from timetrial.launch.child import WorkerPlace, worker_environment
    from timetrial.plan import decode_plan

    done = subprocess.run(
        [sys.executable, "-c", BARE, str(plan)],
        check=True,
        capture_output=True,
        text=True,
        env=worker_environment(decode_plan(plan.read_bytes(), str(plan)), WorkerPlace()),
    )
    return float(done.stdout)


def main() -> int:
    """Print the ratios; exit with 1 if the median is above 1.01."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4690)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory(prefix="timetrial-overhead-") as folder:
        for number in range(options.pairs):
            ours, plan = engine_s(options.steps, Path(folder))
            bare = bare_s(plan)
            ratios.append(ours / bare)
            print(
                f"pair {number + 1}: engine {ours:.2f} s, bare {bare:.2f} s, "
                f"ratio {ratios[-1]:.4f}",
                flush=True,
            )
    median = statistics.median(ratios)
    print(f"median of {len(ratios)} pairs, {options.steps} steps: {median:.4f} (allowed 1.01)")
    return 0 if median <= 1.01 else 1


if __name__ == "__main__":
    sys.exit(main())
