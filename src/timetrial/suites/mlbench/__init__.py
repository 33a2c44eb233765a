"""mlbench: the questions of document 003. How long to an accuracy; how accurate after a time?"""

from __future__ import annotations

from typing import Final

from timetrial.plan import Request
from timetrial.suites import Suite

DEPTHS: Final = (20, 32, 44, 56)
VERSIONS: Final = (1, 2)
# With 250 images/s of ResNet-20, the deeper ones as much slower as they are larger, and an
# evaluation three times as fast as training: 6 runs of ResNet-20 and 6 others end in 14 minutes.
LIGHT_STEPS: Final = {20: 70, 32: 20, 44: 20, 56: 20}
LIGHT_RHYTHM: Final = {"eval_every_steps": 35, "fence_every_steps": 5}
LIGHT_TARGET: Final = 0.25
LIGHT_SEEDS: Final = {20: 3, 32: 1, 44: 1, 56: 1}


def suite() -> Suite:
    """Return the four depths of both versions, one worker each."""
    names = [(depth, task_name(depth, version)) for version in VERSIONS for depth in DEPTHS]
    return Suite(
        name="mlbench",
        question="How long to an accuracy, and how accurate after a time?",
        requests=tuple(Request(task=name, workers=1) for _, name in names),
        seeds=3,
        light_requests=tuple(
            Request(
                task=name,
                workers=1,
                light=True,
                light_steps=LIGHT_STEPS[depth],
                seeds_max=LIGHT_SEEDS[depth],
                target=LIGHT_TARGET,
                settings=LIGHT_RHYTHM,
            )
            for depth, name in names
        ),
        tables="timetrial.suites.mlbench.tables:tables",
    )


def task_name(depth: int, version: int) -> str:
    """Return the name of the task with this network."""
    return f"cifar10-resnet{depth}-v{version}"
