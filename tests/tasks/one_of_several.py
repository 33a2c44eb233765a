"""One of several workers, without an engine: python one_of_several.py FRAMEWORK CASES OUT.

CASES is a file of workloads as JSON; rank, size and port come from the environment. After STEPS
steps of each the worker writes its variables to OUT (an .npz file).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from small_data import small_splits

from timetrial._registry import load_object
from timetrial.frameworks import REGISTRY, Connects, Framework, Place
from timetrial.spec import Build, Inspectable, Workload
from timetrial.testing.contracts import no_lap

STEPS = 8


def main(framework_name: str, cases: Path, out: Path) -> None:
    """Train every case; write the variables."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    framework = cast(type[Framework], REGISTRY.get(framework_name))()
    assert isinstance(framework, Connects)
    framework.connect(Place(rank, size, "127.0.0.1", int(os.environ["MASTER_PORT"]), "cpu"))
    framework.setup(device="cpu", threads=1, precision="float64")
    found: dict[str, np.ndarray] = {}
    for number, work in enumerate(msgspec.json.decode(cases.read_bytes(), type=list[Workload])):
        mine = msgspec.structs.replace(work, rank=rank, workers=size)
        build = cast(Build, load_object(work.task.implementations[framework_name]))
        made = build(mine, small_splits(work.task), no_lap)
        made.advance(STEPS - 3)
        made.advance(3)
        assert isinstance(made, Inspectable)
        found |= {f"{number}/{name}": value for name, value in made.variables().items()}
    framework.disconnect()
    np.savez(out, allow_pickle=False, **found)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
