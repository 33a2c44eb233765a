"""Segments and laps on an injected clock; metrics against values computed by hand."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from timetrial.engine import metrics
from timetrial.engine.clock import Laps, SegmentClock
from timetrial.engine.events import WORKER_LOG, Segment
from timetrial.errors import AuditError
from timetrial.rundir import LogWriter
from timetrial.store import Evaluation


def test_segments_begin_where_the_one_before_ended(tmp_path: Path):
    now = iter([30, 70, 150])
    with LogWriter(tmp_path / "log") as log:
        clock = SegmentClock(log, start_ns=10, first="imports", now=lambda: next(now))
        assert clock.enter("data", step=0) == 30
        assert clock.enter("train", step=0) == 70
        assert clock.enter("eval", step=5, sync=True) == 150
    seen = [e for e in WORKER_LOG.read(tmp_path / "log") if isinstance(e, Segment)]
    assert [(e.name, e.next, e.start_ns, e.t_ns, e.step) for e in seen] == [
        ("imports", "data", 10, 30, 0),
        ("data", "train", 30, 70, 0),
        ("train", "eval", 70, 150, 5),
    ]


def test_laps_split_a_fenced_step_and_wait_for_the_device_before_each_reading():
    order: list[str] = []
    ticks = itertools.count(100, 10)

    def now() -> int:
        order.append("now")
        return next(ticks)

    laps = Laps(lambda: order.append("wait"), now)
    laps("forward")
    assert order == []  # outside a fenced step: nothing happens
    laps.begin()
    for part in ("data", "forward", "forward", "backward"):
        laps(part)
    fenced = laps.end(7)
    assert order == ["wait", "now"] * 6
    assert (fenced.step, fenced.total_ns, fenced.t_ns) == (7, 50, 150)
    assert fenced.parts_ns == {"data": 10, "forward": 20, "backward": 10}
    laps("optimizer")
    assert len(order) == 12
    laps.begin()
    assert laps.end(8).parts_ns == {}


def test_accuracy_counts_ties_for_the_lower_class_and_nan_as_wrong():
    scores = np.array([[1.0, 1.0], [0.0, 2.0], [np.nan, 5.0], [3.0, 1.0]])
    assert metrics.accuracy(scores, np.array([0, 1, 1, 1])) == 0.5
    assert metrics.accuracy(scores, np.array([1, 0, 0, 0])) == 0.25


def test_cross_entropy_is_that_computed_by_hand_and_stable_for_large_scores():
    scores = np.array([[0.0, math.log(3)], [0.0, 0.0]])
    expected = (math.log(4 / 3) + math.log(2)) / 2
    labels = np.array([1, 0])
    assert metrics.cross_entropy(scores, labels) == pytest.approx(expected, rel=1e-15)
    assert metrics.cross_entropy(scores + 1e4, labels) == pytest.approx(expected, rel=1e-10)
    assert metrics.cross_entropy(scores.astype(np.float32), labels) == pytest.approx(expected)
    assert math.isnan(metrics.cross_entropy(np.full((2, 2), np.nan), labels))


def test_scores_that_do_not_cover_every_example_are_refused():
    metrics.check_scores(np.zeros((3, 2)), 3, 2)
    for shape in ((2, 2), (3, 3), (3,), (0, 2)):
        with pytest.raises(AuditError, match="3 examples"):
            metrics.check_scores(np.zeros(shape), 3, 2)


def test_the_digest_tells_bits_apart_and_not_memory_layouts():
    scores = np.arange(6.0).reshape(2, 3)
    assert metrics.digest(scores) == metrics.digest(np.asfortranarray(scores))
    changed = scores.copy()
    changed[0, 0] = np.nextafter(0.0, 1.0)
    assert metrics.digest(scores) != metrics.digest(changed)
    assert metrics.digest(np.zeros(2)) != metrics.digest(-np.zeros(2))


def test_metrics_have_their_direction_and_a_lost_loss_is_infinite():
    seen = Evaluation(1.0, 1, "test", 4, accuracy=0.75, loss=0.3, scores_sha256="", top5=0.9)
    assert metrics.metric_value("accuracy", seen) == 0.75
    assert metrics.metric_value("error_rate", seen) == 0.25
    assert metrics.metric_value("loss", seen) == 0.3
    assert metrics.metric_value("top5_accuracy", seen) == 0.9
    assert metrics.metric_value("loss", seen._replace(loss=None)) == math.inf
    assert math.isnan(metrics.metric_value("top5_accuracy", seen._replace(top5=None)))


def test_top_5_counts_labels_among_the_five_highest_and_ties_against_them():
    scores = np.array([[6, 5, 4, 3, 2, 1], [1, 1, 1, 1, 1, 1], [np.nan, 5, 4, 3, 2, 1.0]])
    for label, share in ((0, 1), (4, 1), (5, 0)):
        assert metrics.top5_accuracy(scores[:1], np.array([label])) == share
    assert metrics.top5_accuracy(scores[1:2], np.array([0])) == 0
    assert metrics.top5_accuracy(scores[2:], np.array([1])) == 0


def test_a_confusion_matrix_has_a_row_per_label_and_counts_every_example():
    scores = np.eye(3)[[0, 1, 1, 2, 0]]
    table = metrics.confusion_matrix(scores, np.array([0, 1, 2, 2, 2]), 3)
    assert table == ((1, 0, 0), (0, 1, 0), (1, 1, 1))


def test_the_area_under_the_roc_counts_pairs_in_order_and_ties_half():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 60)
    scores = np.round(rng.normal(size=(60, 2)), 1)  # ties among them
    margins = scores[:, 1] - scores[:, 0]
    pairs = [
        (above > below) + 0.5 * (above == below)
        for above in margins[labels == 1]
        for below in margins[labels == 0]
    ]
    assert metrics.area_under_roc(scores, labels) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert metrics.area_under_roc(scores[:, ::-1], labels) == pytest.approx(1 - np.mean(pairs))


def test_no_area_is_known_of_one_class_or_of_a_score_that_is_no_number():
    assert math.isnan(metrics.area_under_roc(np.zeros((3, 2)), np.ones(3, dtype=np.int64)))
    scores = np.array([[0.0, 1.0], [math.nan, 0.0]])
    assert math.isnan(metrics.area_under_roc(scores, np.array([1, 0])))
