"""Gradient boosting in XGBoost: native categories, the matrix built in `bin`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xgboost

from timetrial.spec import Boosting, Lap, Split, SplitName, Workload
from timetrial.tasks.tabular.growing import Growing, model_of, scores_of_margins


class XgboostBoosting(Growing):
    """The timed implementation. A step is `Booster.update`."""

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Write the parameters down; the data go into its matrix in `bin`."""
        super().__init__(work, splits, lap)
        model, rate = model_of(work.task, Boosting)
        use = work.task.dataset
        several = use.classes > 2
        self._types = ["c" if count else "float" for count in use.categories] or None
        self._bins = model.bins_max
        self._parameters = {
            "objective": "multi:softprob" if several else "binary:logistic",
            **({"num_class": use.classes} if several else {}),
            "tree_method": "hist",
            "max_depth": model.depth_max,
            "max_leaves": model.leaves_max,
            "max_bin": model.bins_max,
            "learning_rate": rate,
            "nthread": work.threads,
            "seed": self.seed,
            "device": work.device,
            "verbosity": 0,
        }
        self._matrix: xgboost.QuantileDMatrix | None = None
        self._booster: xgboost.Booster | None = None
        self._kept = {id(split.inputs): split.inputs for split in splits.values()}
        self._made: dict[int, xgboost.DMatrix] = {}

    def bin(self) -> None:
        """Make the matrix: quantiles of numbers, categories as they are."""
        self._matrix = xgboost.QuantileDMatrix(
            self.train.inputs,
            label=self.train.labels,
            feature_types=self._types,
            enable_categorical=self._types is not None,
            max_bin=self._bins,
            nthread=self.threads,
        )

    def grow(self, steps: int) -> None:
        """Update once a step."""
        if self._matrix is None:
            self.bin()
        assert self._matrix is not None
        if self._booster is None:
            self._booster = xgboost.Booster(self._parameters, cache=[self._matrix])
        for step in range(self.grown, self.grown + steps):
            self._booster.update(self._matrix, step)
            self.lap("fused")

    def scores_of(self, inputs: np.ndarray) -> np.ndarray:
        """Return margins."""
        assert self._booster is not None
        margins: np.ndarray = self._booster.predict(self._asked(inputs), output_margin=True)
        return scores_of_margins(margins)

    def clear(self) -> None:
        """Begin a new booster at the next step."""
        self._booster = None

    def _asked(self, inputs: np.ndarray) -> xgboost.DMatrix:
        """Return the matrix of these inputs; that of a whole split is made once and kept."""
        made = self._made.get(id(inputs))
        if made is None:
            made = xgboost.DMatrix(
                inputs,
                feature_types=self._types,
                enable_categorical=self._types is not None,
                nthread=self.threads,
            )
            if id(inputs) in self._kept:
                self._made[id(inputs)] = made
        return made


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> XgboostBoosting:
    """Build the XGBoost implementation."""
    return XgboostBoosting(work, splits, lap)
