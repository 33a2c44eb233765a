"""Write src/timetrial/references/probes.toml from stores of probes and runs made on this machine.

    .venv/bin/python scripts/reference_probes.py STORE...

Every store below the folders named is read. Systems come from whole runs; how much the same work
varies comes from all systems that were seen twice and, within runs, from all whole runs. What the
file has of other processors stays.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Final

import msgspec

from timetrial import store
from timetrial.forecast import probed_systems
from timetrial.forecast.systems import DEGREES_MIN, processor_of, spread_of
from timetrial.spec import Precision
from timetrial.store import RunRecord

FILE = Path(__file__).parent.parent / "src/timetrial/references/probes.toml"
ALIKE: Final[tuple[tuple[Precision, ...], ...]] = (("float32", "float64"), ("bfloat16",))
"""Precisions whose spread is pooled: on the machine at hand products of shorter numbers come from a
unit of the processor that neighbours use too."""
HEAD = """\
# Systems that were probed when this version was made, and how much the same work varied from run
# to run there. Written by scripts/reference_probes.py.

"""


def records_below(folders: list[Path]) -> list[RunRecord]:
    """Return all finished probes and runs below these folders."""
    places = {plan.parent.parent for folder in folders for plan in folder.rglob("plan.json")}
    return [record for record in store.read_runs(sorted(places)) if record.done is not None]


def main() -> None:
    """Read, pool and write."""
    records = records_below([Path(word) for word in sys.argv[1:]])
    whole = [record for record in records if record.plan.probe_s is None]  # the best there is
    systems = [one for one in probed_systems(whole) if not one.shipped]
    processors = {one.processor for one in systems}
    if len(processors) != 1:
        raise SystemExit(f"Stores of one processor are wanted, not of {sorted(processors)}.")
    (processor,) = processors
    spreads = []
    for alike in ALIKE:
        noise = spread_of(records, alike)
        if noise is None or noise.degrees < DEGREES_MIN:
            print(f"{' and '.join(alike)}: too few systems were seen twice; left out")
            continue
        spreads.append(
            {
                "precisions": list(alike),
                "system": processor,
                "date": datetime.date.today().isoformat(),
                "command": f"scripts/prediction_study.py, {len(records)} probes and runs",
                "noise": msgspec.to_builtins(noise),
            }
        )
    before = msgspec.toml.decode(FILE.read_bytes())
    others = [one for one in before["run_to_run"] if one["system"] != processor]
    kept = [one for one in before["probed"] if processor_of(one["machine"]) != processor]
    found = [_without_none(msgspec.to_builtins(one)) for one in systems]
    content = {"run_to_run": [*others, *spreads], "probed": [*kept, *found]}
    FILE.write_bytes(HEAD.encode() + msgspec.toml.encode(content))


def _without_none(record: dict[str, object]) -> dict[str, object]:
    """TOML has no null: what is unknown is left out; evidence is of this machine's disk."""
    left_out = ("shipped", "evidence", "price_usd_per_h")
    return {
        name: value for name, value in record.items() if value is not None and name not in left_out
    }


if __name__ == "__main__":
    main()
