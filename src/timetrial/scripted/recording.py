"""timetrial.record: what a script of the open division reports. Imports no framework, no NumPy.

The line is MLPerf's :::MLLOG format. Its time_ms is there because the format wants it: the parent
takes the time itself, when it reads the line.

Source: mlperf_logging.mllog 4.1 (mlcommons/logging), read 2026-11-22.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from timetrial.errors import UsageError
from timetrial.scripted import variables

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def record(
    *,
    step: int,
    accuracy: float | None = None,
    predictions: ArrayLike | None = None,
    split: Literal["test", "validation"] = "test",
) -> None:
    """Report the accuracy after `step` steps (0 to 1) on a split of the task's data.

    `predictions` are of all examples of the split, in the order of its files: class scores of shape
    (examples, classes), or class indices of shape (examples,). With them the accuracy is computed
    anew and `accuracy` may be left out; without them rows say that it was only reported.
    Outside of `timetrial run` the line is printed and no file is written.

    Raises:
        UsageError: Neither accuracy nor predictions.
    """
    if accuracy is None and predictions is None:
        raise UsageError("record() was given nothing. Give accuracy=0.93, predictions=…, or both.")
    metadata: dict[str, object] = {"step": int(step), "split": split}
    folder = os.environ.get(variables.PREDICTIONS)
    if predictions is not None and folder:
        metadata["predictions"] = _write(Path(folder), predictions)
    line = {
        "namespace": "timetrial",
        "time_ms": time.time_ns() // 1_000_000,
        "event_type": "POINT_IN_TIME",
        "key": "eval_accuracy",
        "value": None if accuracy is None else float(accuracy),
        "metadata": metadata,
    }
    sys.stdout.write(f":::MLLOG {json.dumps(line)}\n")
    sys.stdout.flush()


def _write(folder: Path, predictions: ArrayLike) -> str:
    """Write a file that is whole or not there; return its name."""
    import numpy as np

    name = f"{secrets.token_hex(8)}.npy"
    partial = folder / f".{name}.part"
    with partial.open("wb") as file:
        np.save(file, np.asarray(predictions), allow_pickle=False)
    partial.replace(folder / name)
    return name
