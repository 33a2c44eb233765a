"""The sweep that goes through every tool: logistic regression over C and penalty.

Breast cancer (569 rows, 30 inputs), standardised, 70 % of the rows for training; scikit-learn's
logistic regression by stochastic gradient descent, a step is an epoch. Its weight of the penalty is
1 / (C n) for n training rows, so that C means what it means in scikit-learn's LogisticRegression.
Source: scikit-learn user guide, 1.1.11 and 1.5.8 (objectives of both), read 2026-11-23.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

EPOCHS: Final = 10  # of each run of the sweep


class Params(NamedTuple):
    """What is swept."""

    C: float
    penalty: str


class Step(NamedTuple):
    """What is logged after a step; on the rows that were held back."""

    step: int  # from 1
    loss: float
    accuracy: float


class Trained(NamedTuple):
    """One run of the sweep."""

    name: str
    params: Params
    curve: tuple[Step, ...]
    artefact: Path  # its coefficients as JSON

    @property
    def loss(self) -> float:
        """The loss after the last step: what runs are sorted by."""
        return self.curve[-1].loss


GRID: Final = tuple(Params(c, kind) for kind in ("l1", "l2") for c in (0.01, 0.1, 1.0, 10.0))


def learn(params: Params, steps: int, save: Path | None = None) -> Iterator[Step]:
    """Train, yielding after each step; write the coefficients to `save` at the end."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    inputs, labels = load_breast_cancer(return_X_y=True)
    train_x, held_x, train_y, held_y = train_test_split(
        inputs, labels, test_size=0.3, random_state=0, stratify=labels
    )
    scaler = StandardScaler().fit(train_x)
    train_x, held_x = scaler.transform(train_x), scaler.transform(held_x)
    model = SGDClassifier(
        loss="log_loss",
        penalty=params.penalty,
        alpha=1.0 / (params.C * len(train_x)),
        random_state=0,
    )
    for step in range(1, steps + 1):
        model.partial_fit(train_x, train_y, classes=np.unique(labels))
        loss = float(log_loss(held_y, model.predict_proba(held_x)))
        yield Step(step, loss, float(model.score(held_x, held_y)))
    if save is not None:
        content = {"coefficients": model.coef_.tolist(), "intercept": model.intercept_.tolist()}
        save.write_text(json.dumps(content))


def sweep(folder: Path) -> list[Trained]:
    """Run the whole grid; artefacts lie in `folder`."""
    runs = []
    for number, params in enumerate(GRID):
        name = f"run-{number}"
        artefact = folder / f"{name}.json"
        runs.append(Trained(name, params, tuple(learn(params, EPOCHS, artefact)), artefact))
    assert len({run.loss for run in runs}) == len(runs)  # else sorting by it is no question
    return runs


def with_l1(runs: list[Trained]) -> set[str]:
    """Return the names of the runs that a filter `penalty = l1` is to find."""
    return {run.name for run in runs if run.params.penalty == "l1"}


def by_loss(runs: list[Trained]) -> list[str]:
    """Return the names in the order that sorting by the last loss is to give."""
    return [run.name for run in sorted(runs, key=lambda run: run.loss)]
