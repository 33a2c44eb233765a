"""Claims: a line is judged by the predictions that were there when it was read."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from timetrial.engine.events import Evaluated, Refused
from timetrial.scripted.claims import Claims
from timetrial.scripted.mllog import Line
from timetrial.spec import Metric, Target

LABELS = np.arange(10)


def claims_in(folder: Path, metric: Metric = "accuracy") -> Claims:
    folder.mkdir()
    return Claims(
        labels={"test": LABELS},
        classes=10,
        folder=folder,
        target=Target(metric=metric, threshold=0.9, direction="at_least", split="test"),
        deadline_ns=math.inf,
    )


def line(step: int) -> Line:
    return Line(key="eval_accuracy", metadata={"step": step, "predictions": "a.npy"})


def test_a_file_that_was_written_after_its_line_does_not_count_until_a_later_line_names_it(
    tmp_path: Path,
) -> None:
    claims = claims_in(tmp_path / "predictions")
    read_ns = time.time_ns()
    time.sleep(0.1)
    np.save(tmp_path / "predictions" / "a.npy", LABELS)

    refused = claims.take(line(1), 1, utc_ns=read_ns)
    counted = claims.take(line(2), 2, utc_ns=time.time_ns())

    assert isinstance(refused, Refused)
    assert "a.npy was written after the line that names it" in refused.why
    assert "use a new name for each evaluation" in refused.why
    assert (claims.refused, claims.counted) == (1, 1)
    assert isinstance(counted, Evaluated)
    assert (counted.step, counted.accuracy) == (2, 1.0)


@pytest.mark.skipif(sys.platform == "win32", reason="a file's date is all there is")
def test_an_old_date_set_by_the_script_does_not_help(tmp_path: Path) -> None:
    claims = claims_in(tmp_path / "predictions")
    read_ns = time.time_ns()
    time.sleep(0.1)
    np.save(tmp_path / "predictions" / "a.npy", LABELS)
    os.utime(tmp_path / "predictions" / "a.npy", ns=(0, 0))

    assert isinstance(claims.take(line(1), 1, utc_ns=read_ns), Refused)


def test_a_file_that_was_there_before_its_line_counts(tmp_path: Path) -> None:
    claims = claims_in(tmp_path / "predictions")
    np.save(tmp_path / "predictions" / "a.npy", LABELS)
    read_ns = time.time_ns()
    time.sleep(0.1)  # the parent was busy: the line is judged later

    assert isinstance(claims.take(line(1), 1, utc_ns=read_ns), Evaluated)
