"""A task made of another: fashion-mnist-cnn, whose runs do all of their steps.

timetrial run examples/fashion_whole.py
timetrial predict examples/fashion_whole.py
"""

from __future__ import annotations

import msgspec

from timetrial.plan import find_task

TASK = msgspec.structs.replace(
    find_task("fashion-mnist-cnn"),
    name="fashion-whole",
    title="Pictures of clothes, three epochs to their end",
    stops_at_target=False,
)
