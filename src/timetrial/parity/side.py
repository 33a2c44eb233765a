"""One side of a proof: python -m timetrial.parity.side FOLDER.

Reads orders.json and given.npz from the folder, follows the orders, all of one framework, and
writes seen.0.npz and so on. The sides exchange arrays only, and each framework has its process: two
Keras backends cannot share one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec
import numpy as np

from timetrial._registry import load_object
from timetrial.engine.metrics import cross_entropy
from timetrial.errors import UsageError
from timetrial.frameworks import REGISTRY, Framework
from timetrial.parity.scale import made_up_splits
from timetrial.spec import (
    Adaptive,
    Build,
    Compilable,
    Implementation,
    Inspectable,
    Precision,
    Record,
    Task,
    Workload,
)

ORDERS: Final = "orders.json"
GIVEN: Final = "given.npz"
SEED: Final = 1  # of weights, order, masks and augmentation: all sides have the same


class Order(Record, frozen=True, kw_only=True):
    """What a side is asked to do."""

    task: Task  # cut down; of a twin: with its broken rule
    framework: str | None  # None: the NumPy reference
    implementation: str
    device: str
    precision: Precision
    threads: int
    steps: int
    look: bool  # whether to look at the given variables' scores and gradients first


def follow(order: Order, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the implementation gives.

    initial/NAME     the variables it starts from by itself
    eval_scores      of the test split with the given variables
    inputs, scores, loss, gradient/NAME
                     of the first mini-batch with the given variables, in training mode
    losses           of each step's mini-batch before the step, from its own initial variables
    final/NAME       variables after the steps
    final_scores     of the test split then

    Raises:
        UsageError: The implementation cannot be looked into.
    """
    splits = made_up_splits(order.task)
    build = cast(Build, load_object(order.implementation))
    work = Workload(task=order.task, seed=SEED, device=order.device, precision=order.precision)
    made = build(work, splits, lambda part: None)
    if not isinstance(made, Inspectable):
        raise UsageError(
            f"{order.implementation} offers no variables, assign and probe "
            "(timetrial.spec.Inspectable): there is nothing to compare. Add them to it."
        )
    if isinstance(made, Compilable):
        made.compile()
    seen = _named("initial", initial := made.variables())
    if order.look:
        made.assign(given)
        seen["eval_scores"] = made.predict(splits["test"])
        probe = made.probe(0)
        seen |= _named("gradient", probe.gradients)
        seen |= {"inputs": probe.inputs, "scores": probe.scores, "loss": np.array(probe.loss)}
        made.assign(initial)
    seen["losses"] = np.array(_train(made, splits["test"].labels, splits["test"].inputs, order))
    return {
        **seen,
        **_named("final", made.variables()),
        "final_scores": made.predict(splits["test"]),
    }


def _train(
    made: Implementation, labels: np.ndarray, inputs: np.ndarray, order: Order
) -> list[float]:
    assert isinstance(made, Inspectable)
    losses = []
    for step in range(order.steps):
        losses.append(made.probe(step).loss)
        made.advance(1)
        if isinstance(made, Adaptive) and (step + 1) % order.task.steps_per_epoch == 0:
            made.evaluated(step + 1, cross_entropy(made.predict(inputs), labels))
    return losses


def _named(group: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{group}/{name}": value for name, value in arrays.items()}


def seen_file(number: int) -> str:
    """Return the name of the file that takes what order `number` gave."""
    return f"seen.{number}.npz"


def main(arguments: Sequence[str] | None = None) -> int:
    """Follow the orders in a folder."""
    (place,) = sys.argv[1:] if arguments is None else arguments
    folder = Path(place)
    orders = msgspec.json.decode((folder / ORDERS).read_bytes(), type=list[Order])
    with np.load(folder / GIVEN, allow_pickle=False) as file:
        given = {key: file[key] for key in file.files}
    name = orders[0].framework
    framework = None if name is None else cast(type[Framework], REGISTRY.get(name))()
    for number, order in enumerate(orders):
        if framework is not None:
            framework.setup(device=order.device, threads=order.threads, precision=order.precision)
        seen = follow(order, given)
        with (folder / seen_file(number)).open("wb") as out:
            np.savez(out, allow_pickle=False, **seen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
