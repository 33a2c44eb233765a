"""Gradient boosting in LightGBM: native categories, the data set built in `bin`."""

from __future__ import annotations

from collections.abc import Mapping

import lightgbm
import numpy as np

from timetrial.spec import Boosting, Lap, Split, SplitName, Workload
from timetrial.tasks.tabular.growing import Growing, categorical, model_of, scores_of_margins


class LightgbmBoosting(Growing):
    """The timed implementation. A step is `Booster.update`."""

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Write the parameters down; the data go into its data set in `bin`."""
        super().__init__(work, splits, lap)
        model, rate = model_of(work.task, Boosting)
        use = work.task.dataset
        several = use.classes > 2
        self._columns = categorical(use.categories)
        self._parameters = {
            "objective": "multiclass" if several else "binary",
            **({"num_class": use.classes} if several else {}),
            "max_depth": model.depth_max,
            "num_leaves": model.leaves_max,
            "max_bin": model.bins_max,
            "learning_rate": rate,
            "num_threads": work.threads,
            "seed": self.seed,
            "deterministic": True,  # the same trees whatever the threads did
            "force_row_wise": True,  # which `deterministic` asks for: no trial of both ways
            "verbosity": -1,
        }
        self._dataset: lightgbm.Dataset | None = None
        self._booster: lightgbm.Booster | None = None

    def bin(self) -> None:
        """Make the data set: bins of numbers, categories as they are."""
        self._dataset = lightgbm.Dataset(
            self.train.inputs,
            label=self.train.labels,
            categorical_feature=self._columns or "auto",
            params=self._parameters,
            free_raw_data=False,
        ).construct()

    def grow(self, steps: int) -> None:
        """Update once a step."""
        if self._dataset is None:
            self.bin()
        if self._booster is None:
            self._booster = lightgbm.Booster(self._parameters, self._dataset)
        for _ in range(steps):
            self._booster.update()
            self.lap("fused")

    def scores_of(self, inputs: np.ndarray) -> np.ndarray:
        """Return margins."""
        assert self._booster is not None
        margins = self._booster.predict(inputs, raw_score=True)
        return scores_of_margins(np.asarray(margins))

    def clear(self) -> None:
        """Begin a new booster at the next step."""
        self._booster = None


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> LightgbmBoosting:
    """Build the LightGBM implementation."""
    return LightgbmBoosting(work, splits, lap)
