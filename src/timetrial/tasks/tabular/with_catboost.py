"""Gradient boosting in CatBoost: native categories, numbers put into bins in `bin`."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import catboost
import numpy as np

from timetrial.spec import Boosting, Lap, Split, SplitName, Workload
from timetrial.tasks.tabular.growing import Growing, categorical, model_of, scores_of_margins


class CatboostBoosting(Growing):
    """The timed implementation. A call of `fit` goes on from the snapshot of the one before.

    Its trees are symmetric: all splits of a level are one, so a tree of d levels has 2^d leaves.
    """

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Write the parameters down; the data go into its pool in `bin`."""
        super().__init__(work, splits, lap)
        model, rate = model_of(work.task, Boosting)
        use = work.task.dataset
        self._columns = categorical(use.categories)
        self._names = np.array(
            [str(code).encode() for code in range(max(use.categories, default=0))], dtype=object
        )
        self._bins = model.bins_max
        self._parameters: dict[str, Any] = {
            "loss_function": "MultiClass" if use.classes > 2 else "Logloss",
            "depth": min(model.depth_max, model.leaves_max.bit_length() - 1),
            "border_count": model.bins_max - 1,
            "learning_rate": rate,
            "boosting_type": "Plain",
            "thread_count": work.threads,
            "random_seed": self.seed,
            "logging_level": "Silent",
        }
        self._folder: Path | None = None  # of the snapshot, removed with this object
        self._pool: catboost.Pool | None = None
        self._model: catboost.CatBoost | None = None

    @property
    def at_once(self) -> str:
        """Why several steps are asked for together."""
        return "each call of fit sets out anew, from the snapshot that the one before left"

    def bin(self) -> None:
        """Make the pool, and put its numbers into bins."""
        self._pool = self._pool_of(self.train.inputs, self.train.labels)
        if len(self._columns) < self.train.inputs.shape[1]:
            self._pool.quantize(border_count=self._bins - 1)

    def grow(self, steps: int) -> None:
        """Fit up to so many trees more."""
        if self._pool is None:
            self.bin()
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="timetrial-catboost-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._model = catboost.CatBoost(
            {
                **self._parameters,
                "iterations": self.grown + steps,
                "train_dir": str(self._folder),
                "save_snapshot": True,
                "snapshot_file": str(self._folder / "snapshot"),
            }
        )
        self._model.fit(self._pool)
        for _ in range(steps):
            self.lap("fused")

    def scores_of(self, inputs: np.ndarray) -> np.ndarray:
        """Return margins."""
        assert self._model is not None
        margins = self._model.predict(
            self._pool_of(inputs), prediction_type="RawFormulaVal", thread_count=self.threads
        )
        return scores_of_margins(np.asarray(margins))

    def clear(self) -> None:
        """Forget model and snapshot."""
        self._model = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _pool_of(self, inputs: np.ndarray, labels: np.ndarray | None = None) -> catboost.Pool:
        numbers = np.ascontiguousarray(np.delete(inputs, self._columns, axis=1), dtype=np.float32)
        named = self._names[inputs[:, self._columns].astype(np.int64)] if self._columns else None
        data = catboost.FeaturesData(
            num_feature_data=numbers if numbers.shape[1] else None, cat_feature_data=named
        )
        return catboost.Pool(data, label=labels, thread_count=self.threads)


def build(work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> CatboostBoosting:
    """Build the CatBoost implementation."""
    return CatboostBoosting(work, splits, lap)
