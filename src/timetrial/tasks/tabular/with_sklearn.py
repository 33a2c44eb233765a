"""Logistic regression, random forest and gradient boosting in scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from timetrial.engine import checkpoint
from timetrial.spec import (
    Boosting,
    Forest,
    Lap,
    Split,
    SplitName,
    Workload,
)
from timetrial.tasks.tabular.growing import Growing, model_of, scores_of_margins
from timetrial.tasks.with_sklearn import regression_of

_SURE: Final = 1e-7  # no probability is taken for smaller: a forest's may be 0, its logarithm not


class SklearnLogisticRegression:
    """Logistic regression, computed in float64; a step is the whole fit."""

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Prepare the estimator.

        Raises:
            UsageError: Another model.
        """
        self._train = splits["train"]
        self._lap = lap
        self._model = regression_of(work)
        classes = work.task.dataset.classes
        rows = 1 if classes == 2 else classes
        self._weights = np.zeros((rows, self._train.inputs.shape[1] + 1))  # the intercept is last

    def advance(self, steps: int) -> None:
        """Fit; further steps fit again from nothing, with the same outcome."""
        for _ in range(steps):
            inputs = self._train.inputs.astype(np.float64, copy=False)
            self._lap("data")
            self._model.fit(inputs, self._train.labels)
            self._lap("optimizer")
            self._weights = np.column_stack([self._model.coef_, self._model.intercept_])

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return scores whose softmax is the probability, shape (examples, classes)."""
        raw = inputs.inputs if isinstance(inputs, Split) else inputs
        decision = raw.astype(np.float64, copy=False) @ self._weights[:, :-1].T
        decision += self._weights[:, -1]
        return scores_of_margins(decision[:, 0] if len(self._weights) == 1 else decision)

    def state(self) -> bytes:
        """Return the weights."""
        return checkpoint.pack({"weights": self._weights})

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        self._weights = checkpoint.unpack(state, {"weights": self._weights})["weights"]

    def parameters(self) -> dict[str, np.ndarray]:
        """Return weights, a row for each class (one for two classes), the intercept last."""
        return {"weights": self._weights.copy()}


class SklearnForest(Growing):
    """A random forest; a step adds a tree (`warm_start`)."""

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Prepare the estimator."""
        super().__init__(work, splits, lap)
        model, _ = model_of(work.task, Forest)
        self._leaf_min = model.leaf_min
        self.clear()

    @property
    def at_once(self) -> str:
        """Why several steps are asked for together."""
        return "trees grow side by side, a thread each: one alone would leave the others idle"

    def grow(self, steps: int) -> None:
        """Add trees."""
        self._model.n_estimators = self.grown + steps
        self._model.fit(self.train.inputs, self.train.labels)
        for _ in range(steps):
            self.lap("fused")

    def scores_of(self, inputs: np.ndarray) -> np.ndarray:
        """Return logarithms of the mean probabilities."""
        shares: np.ndarray = self._model.predict_proba(inputs)
        scores: np.ndarray = np.log(np.maximum(shares, _SURE))
        return scores

    def clear(self) -> None:
        """Begin a new estimator."""
        self._model = RandomForestClassifier(
            n_estimators=0,
            min_samples_leaf=self._leaf_min,
            max_features="sqrt",
            n_jobs=self.threads,
            random_state=self.seed,
            warm_start=True,
        )


class SklearnBoosting(Growing):
    """Histogram gradient boosting with native categories; a step adds a round (`warm_start`)."""

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Prepare the estimator."""
        super().__init__(work, splits, lap)
        self._rules, self._rate = model_of(work.task, Boosting)
        self.clear()

    @property
    def at_once(self) -> str:
        """Why several steps are asked for together."""
        return "each call of fit bins train anew, and predicts it with the trees so far"

    def grow(self, steps: int) -> None:
        """Add rounds."""
        self._model.max_iter = self.grown + steps
        self._model.fit(self.train.inputs, self.train.labels)
        for _ in range(steps):
            self.lap("fused")

    def scores_of(self, inputs: np.ndarray) -> np.ndarray:
        """Return margins."""
        return scores_of_margins(np.asarray(self._model.decision_function(inputs)))

    def clear(self) -> None:
        """Begin a new estimator."""
        categories = self.task.dataset.categories
        self._model = HistGradientBoostingClassifier(
            learning_rate=self._rate,
            max_depth=self._rules.depth_max,
            max_leaf_nodes=self._rules.leaves_max,
            max_bins=self._rules.bins_max,
            categorical_features=[bool(count) for count in categories] if categories else None,
            early_stopping=False,
            random_state=self.seed,
            warm_start=True,
        )


def build(
    work: Workload, splits: Mapping[SplitName, Split], lap: Lap
) -> SklearnLogisticRegression | SklearnForest | SklearnBoosting:
    """Build the scikit-learn implementation of the task's model."""
    match work.task.model:
        case Forest():
            return SklearnForest(work, splits, lap)
        case Boosting():
            return SklearnBoosting(work, splits, lap)
        case _:
            return SklearnLogisticRegression(work, splits, lap)
