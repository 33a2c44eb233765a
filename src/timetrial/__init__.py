"""The same training task on every framework and machine: timed honestly, with error bars.

import timetrial as tt

runs = tt.run("digits-cnn", seeds=5)
runs.estimates().to_pandas()
runs.plot()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from timetrial.api import compare, export, find_store, load, plans, price, resume, run
    from timetrial.parity.proof import prove
    from timetrial.results import Rows, Runs
    from timetrial.rows import Row, Verdict
    from timetrial.scripted.recording import record

__version__ = "0.1.0"

__all__ = [
    "Row",
    "Rows",
    "Runs",
    "Verdict",
    "compare",
    "export",
    "find_store",
    "load",
    "plans",
    "price",
    "prove",
    "record",
    "resume",
    "run",
]

_HOMES: Final = {
    "Row": "timetrial.rows",
    "Rows": "timetrial.results",
    "Runs": "timetrial.results",
    "Verdict": "timetrial.rows",
    "prove": "timetrial.parity.proof",
    "record": "timetrial.scripted.recording",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: importing timetrial stays quick."""
    if name not in __all__:
        raise AttributeError(f"module 'timetrial' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "timetrial.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__"]
