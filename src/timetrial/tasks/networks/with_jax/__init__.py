"""Networks in JAX: Flax modules, Optax updates, a step as one compiled program.

What makes it fast and changes no value: forward, backward and update are compiled together ahead of
time, the program writes over the weights it was given (donated buffers), and steps are handed to
the device without waiting for the one before. bfloat16 is Flax's `dtype`: convolutions and dense
layers compute in it; weights, statistics, optimizer and loss are float32.
Measured figures: docs/results.md.

model           the layers
programs        what is compiled
together        a step of one worker, and of several that exchange gradients
implementation  state and mini-batches
"""

from __future__ import annotations

from collections.abc import Mapping

from timetrial.spec import Lap, Split, SplitName, Workload
from timetrial.tasks.networks.with_jax.implementation import JaxNetwork
from timetrial.tasks.networks.with_jax.together import check_together


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> JaxNetwork:
    """Build the JAX implementation.

    Raises:
        UsageError: No such device here, or the workers cannot learn together like this.
    """
    check_together(work)
    return JaxNetwork(work, splits, lap)
