"""The logistic regression of a task as scikit-learn's estimator."""

from __future__ import annotations

from sklearn.linear_model import LogisticRegression as Regression

from timetrial.errors import UsageError
from timetrial.spec import LogisticRegression, Solver, Workload


def regression_of(work: Workload) -> Regression:
    """Return the estimator, not yet fitted.

    Raises:
        UsageError: The task has another model.
    """
    model, solver = work.task.model, work.task.optimizer
    if not isinstance(model, LogisticRegression) or not isinstance(solver, Solver):
        raise UsageError(
            f"Task {work.task.name} is not a logistic regression: its model is "
            f"{type(model).__name__}. Name another implementation in the task's `implementations`."
        )
    return Regression(
        solver=model.solver,
        C=model.c,
        tol=solver.tolerance,
        max_iter=solver.iterations_max,
        random_state=work.seed % 2**32,
    )
