"""Logistic regression in scikit-learn; one step is the whole fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from timetrial.engine import checkpoint
from timetrial.spec import Lap, Split, SplitName, Workload
from timetrial.tasks.with_sklearn import regression_of


class SklearnLogisticRegression:
    """The timed implementation. scikit-learn computes in float64 whatever it is given."""

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Prepare the estimator.

        Raises:
            UsageError: Another model, or another precision than the one it computes in.
        """
        self._train = splits["train"]
        self._lap = lap
        self._model = regression_of(work)
        self._weights = np.zeros(self._train.inputs.shape[1] + 1)  # the last is the intercept

    def advance(self, steps: int) -> None:
        """Fit; further steps fit again from nothing, with the same outcome."""
        for _ in range(steps):
            self._lap("data")
            self._model.fit(self._train.inputs, self._train.labels)
            self._lap("optimizer")
            self._weights = np.append(self._model.coef_[0], self._model.intercept_[0])

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return log-probabilities, shape (examples, 2)."""
        raw = inputs.inputs if isinstance(inputs, Split) else inputs
        decision = raw @ self._weights[:-1] + self._weights[-1]
        # log sigmoid(-d) and log sigmoid(d), stable for large |d|
        return np.stack([-np.logaddexp(0, decision), -np.logaddexp(0, -decision)], axis=1)

    def state(self) -> bytes:
        """Return the weights."""
        return checkpoint.pack({"weights": self._weights})

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        self._weights = checkpoint.unpack(state, {"weights": self._weights})["weights"]

    def parameters(self) -> dict[str, np.ndarray]:
        """Return weights, the intercept last."""
        return {"weights": self._weights.copy()}


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> SklearnLogisticRegression:
    """Build the scikit-learn implementation."""
    return SklearnLogisticRegression(work, splits, lap)
