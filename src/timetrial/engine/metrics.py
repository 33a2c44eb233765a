"""Metrics from scores: the same code for every framework."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from timetrial.errors import AuditError
from timetrial.spec import Metric


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of examples whose highest score is the label's; ties go to the lower class.

    `scores` has shape (examples, classes), `labels` (examples,). Rows with NaN count as wrong.
    """
    wrong_rows = np.isnan(scores).any(axis=1)
    return float(np.mean((scores.argmax(axis=1) == labels) & ~wrong_rows))


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of -log softmax(scores)[label], in float64; NaN or infinite where a score is.

    The largest score is taken off first, so that no exponential overflows. scipy.special would be
    half a second more of every worker's start, and more than twice the time here.
    """
    wide = scores.astype(np.float64)
    picked = wide[np.arange(len(labels)), labels]
    largest = wide.max(axis=1)
    with np.errstate(invalid="ignore"):  # of infinite scores
        wide -= largest[:, None]
        return float(np.mean(np.log(np.exp(wide).sum(axis=1)) + largest - picked))


def check_scores(scores: np.ndarray, examples: int, classes: int) -> None:
    """Refuse scores that do not cover every example.

    Raises:
        AuditError: The shape is not (examples, classes).
    """
    if scores.shape != (examples, classes):
        raise AuditError(
            f"predict returned scores of shape {scores.shape}, but the split has {examples} "
            f"examples and the task {classes} classes. Mend the implementation's predict."
        )


def digest(scores: np.ndarray) -> str:
    """Return the SHA-256 of the scores' bytes: equal only for bit-identical scores."""
    return hashlib.sha256(np.ascontiguousarray(scores).tobytes()).hexdigest()


def top5_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of examples whose label is among the five highest scores.

    Ties count against the example; rows with NaN count as wrong.
    """
    own = scores[np.arange(len(labels)), labels]
    not_lower = (scores >= own[:, None]).sum(axis=1)  # itself included
    return float(np.mean((not_lower <= 5) & ~np.isnan(scores).any(axis=1)))


def area_under_roc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return how often an example of class 1 scores above one of class 0, ties counting half.

    `scores` has shape (examples, 2), `labels` (examples,). NaN where a class is missing or a score
    is NaN: no order is known then.

    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143,
    1982: the Mann-Whitney statistic.
    """
    with np.errstate(invalid="ignore"):  # of infinite scores
        margins = scores[:, 1].astype(np.float64) - scores[:, 0]
    positive = int(np.count_nonzero(labels == 1))
    negative = len(labels) - positive
    if not positive or not negative or np.isnan(margins).any():
        return float("nan")
    _, place, counts = np.unique(margins, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # of each distinct margin, the mean of its ties
    above = ranks[place][labels == 1].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


def confusion_matrix(
    scores: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[tuple[int, ...], ...]:
    """Return how many examples of each label (row) were taken for each class (column)."""
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (labels, scores.argmax(axis=1)), 1)
    return tuple(tuple(int(count) for count in row) for row in table)


class Seen(Protocol):
    """An evaluation: what `metric_value` reads of it."""

    @property
    def accuracy(self) -> float:
        """The share of right answers."""

    @property
    def loss(self) -> float | None:
        """The mean cross-entropy, None: not finite."""

    @property
    def top5(self) -> float | None:
        """The share of labels among the five highest scores, None: not asked for."""

    @property
    def auc(self) -> float | None:
        """The area under the ROC curve, None: not asked for, or not known."""


def metric_value(metric: Metric, seen: Seen) -> float:
    """Return the metric's value; a loss that is not finite is infinite, a missing top-5 NaN."""
    match metric:
        case "accuracy":
            return seen.accuracy
        case "error_rate":
            return 1 - seen.accuracy
        case "top5_accuracy":
            return float("nan") if seen.top5 is None else seen.top5
        case "auc":
            return float("nan") if seen.auc is None else seen.auc
        case "loss":
            return float("inf") if seen.loss is None else seen.loss
