"""The words of what holds a step back."""

from __future__ import annotations

from typing import Final

from timetrial.report.words import plain
from timetrial.rows import Limit
from timetrial.units import percent

NAMES: Final = {
    "data": "waiting for data",
    "communication": "communication between workers",
    "Python": "calls of the framework (Python)",
    "arithmetic": "computing, bound by arithmetic",
    "memory": "computing, bound by memory",
}


def limit_sentence(limit: Limit, label: str) -> str:
    """Return the bottleneck of one system, and how close it came to the ceilings."""
    largest = percent(limit.parts[limit.bottleneck], 0)
    others = ", ".join(
        f"{NAMES[name]} {percent(share, 0)}"
        for name, share in limit.parts.items()
        if name != limit.bottleneck and share >= 0.005
    )
    words = (
        f"{plain(label)}: bottleneck {NAMES[limit.bottleneck]}, {largest} of a step"
        f"{f' ({others})' if others else ''}; it reached {percent(limit.share_of_matmul, 1)} of "
        f"this machine's {limit.matmul} and {percent(limit.share_of_triad, 1)} of its memory "
        f"bandwidth, ceilings of {limit.measured}."
    )
    if limit.share_of_triad > 1:
        words += " More than memory can give: the rest came out of caches."
    return words
