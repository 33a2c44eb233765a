"""The learning rate of every step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from timetrial.spec import (
    InverseTimeDecay,
    Milestones,
    OneCycle,
    PlateauHalving,
    PolynomialDecay,
    Sgd,
)


def learning_rate(optimizer: Sgd, step: int, steps_max: int, halvings: int = 0) -> float:
    """Return the learning rate of step `step`, counted from 0.

    `halvings` is how often `PlateauHalving` has halved it so far.
    """
    base = optimizer.learning_rate
    match optimizer.schedule:
        case None:
            return base
        case InverseTimeDecay(rate=rate):
            return base / (1 + rate * step)
        case OneCycle(warmup_steps=warmup, start_factor=start, end_factor=end):
            if step < warmup:
                return base * _ramp(start, step, warmup)
            return base * (1 + (end - 1) * (step - warmup) / max(steps_max - warmup, 1))
        case PolynomialDecay(fraction=fraction, power=power, end_factor=end):
            left: float = max(1 - step / (fraction * steps_max), 0.0) ** power
            return base * (end + (1 - end) * left)
        case Milestones(warmup_steps=warmup, start_factor=start, milestones=milestones):
            if step < warmup:
                return base * _ramp(start, step, warmup)
            passed = sum(step >= milestone for milestone in milestones)
            return base * optimizer.schedule.factor**passed
        case PlateauHalving(warmup_steps=warmup, start_factor=start, floor_factor=floor):
            if step < warmup:
                return base * _ramp(start, step, warmup)
            return base * max(0.5**halvings, floor)


def _ramp(start: float, step: int, warmup: int) -> float:
    return start + (1 - start) * step / warmup


class Plateau:
    """Counts how often `PlateauHalving` has halved the rate."""

    def __init__(self, optimizer: Sgd) -> None:
        """Begin before the first evaluation."""
        schedule = optimizer.schedule
        self._rules = schedule if isinstance(schedule, PlateauHalving) else None
        self.halvings = 0
        self._best = float("inf")
        self._bad = 0

    def evaluated(self, step: int, loss: float) -> None:
        """Take note of the loss evaluated after `step` steps; those in the warm-up do not count."""
        if self._rules is None or step <= self._rules.warmup_steps:
            return
        if loss < self._best - self._rules.threshold:
            self._best = loss
            self._bad = 0
            return
        self._bad += 1
        if self._bad > self._rules.patience:
            self.halvings += 1
            self._bad = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state for a checkpoint; nothing without such a schedule."""
        if self._rules is None:
            return {}
        return {"plateau": np.array([self.halvings, self._best, self._bad], dtype=np.float64)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from `arrays`."""
        if self._rules is not None:
            halvings, self._best, bad = (float(value) for value in arrays["plateau"])
            self.halvings, self._bad = int(halvings), int(bad)
