"""MLPerf's rules for comparing runs: the Olympic mean and the convergence gate.

The gate asks whether a submission needed believably many epochs. MLPerf publishes, for a batch
size, the epochs that its reference needed (reference convergence points) and refuses a submission
whose mean is significantly lower: its hyper-parameters or its arithmetic are not the task's. Here
the same limit is also applied on the other side, where the submission converges too slowly.

Source: MLPerf Training rules, training_rules.adoc, "Appendix: RCP Examples"
(github.com/mlcommons/training_policies, 9 Dec 2025), and mlperf_logging/rcp_checker/rcp_checker.py
(github.com/mlcommons/logging).
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
import scipy
from jaxtyping import Float

from timetrial.errors import UsageError
from timetrial.spec import Record
from timetrial.stats.intervals import check_finite, check_level

Spread: TypeAlias = Literal["rule", "checker"]


class ReferencePoint(Record, frozen=True, kw_only=True):
    """What the reference implementation needed at one batch size, in any unit of work."""

    batch_size: float
    mean: float
    std: float  # divided by n, as MLPerf does, not by n - 1
    n: int  # runs behind mean and std as the t-test counts them


class Gate(Record, frozen=True, kw_only=True):
    """Where a submission's Olympic mean lies against the reference, in the reference's unit."""

    mean: float  # of the reference
    std: float
    minimum: float  # the fastest mean allowed
    maximum: float  # the slowest mean allowed
    speedup_allowed: float  # mean / minimum - 1; infinite where no mean is too fast
    submission_mean: float
    score_factor: float  # what MLPerf multiplies the score with: above 1 if faster than `mean`
    verdict: Literal["too fast", "within", "too slow"]


def olympic_mean(values: Float[np.ndarray, " runs"], drop: int = 1) -> float:
    """Return the mean without the `drop` lowest and the `drop` highest values.

    A run that did not converge is given as infinity: it is dropped while there are at most `drop`
    such runs; with more the mean is infinite.

    Raises:
        UsageError: A value is NaN, or nothing is left after dropping.
    """
    return float(_olympic(values, drop).mean())


def reference_point(
    values: Float[np.ndarray, " runs"], batch_size: float, drop: int = 1, spread: Spread = "rule"
) -> ReferencePoint:
    """Return the point of a reference that needed `values` (epochs, samples) to converge.

    The rules and the checker differ. `spread` of "rule" takes mean and standard deviation without
    the dropped runs, as the rules' examples do; "checker" takes the standard deviation of all runs.

    Raises:
        UsageError: A value is NaN or infinite, or nothing is left after dropping.
    """
    check_finite(values, "values of a reference")
    kept = _olympic(values, drop)
    std = float(kept.std() if spread == "rule" else values.std())
    return ReferencePoint(batch_size=batch_size, mean=float(kept.mean()), std=std, n=len(kept))


def interpolate_reference(
    lower: ReferencePoint, upper: ReferencePoint, batch_size: float, submission_runs: int
) -> ReferencePoint:
    """Return the point at a batch size between two: mean and standard deviation on the line.

    Its n is 2 * `submission_runs`, the runs MLPerf asks of a reference, with none dropped: so does
    the checker, and only so come out the 3.68 % of the rules' example.

    Raises:
        UsageError: The batch size is not between the two.
    """
    if not lower.batch_size < upper.batch_size:
        raise UsageError(
            f"Not in order: batch sizes {lower.batch_size:g} and {upper.batch_size:g}. Give the "
            "smaller one first."
        )
    if not lower.batch_size <= batch_size <= upper.batch_size:
        raise UsageError(
            f"Batch size {batch_size:g} is not between the reference points at "
            f"{lower.batch_size:g} and {upper.batch_size:g}. Run the reference at that size."
        )
    sizes = [lower.batch_size, upper.batch_size]
    return ReferencePoint(
        batch_size=batch_size,
        mean=float(np.interp(batch_size, sizes, [lower.mean, upper.mean])),
        std=float(np.interp(batch_size, sizes, [lower.std, upper.std])),
        n=2 * submission_runs,
    )


def convergence_gate(
    reference: ReferencePoint,
    submission: Float[np.ndarray, " runs"],
    level: float = 0.05,
    drop: int = 1,
) -> Gate:
    """Return whether the submission's Olympic mean is believable beside the reference.

    The limits are those of a one-sided two-sample t-test with pooled variance at `level`, each side
    by itself, where the submission is given the standard deviation of the reference:
    mean ∓ t(1 - level; n_ref + n_sub - 2) * std * sqrt(1/n_ref + 1/n_sub), n_sub counted after
    dropping. A mean on a limit is within. MLPerf has the lower limit only. Its checker searches the
    same limit by bisection to 1e-4.

    The standard deviation is divided by n and not n - 1, and of trimmed values, so both limits lie
    closer than the level says: this is MLPerf's rule, not a test of that size.

    Raises:
        UsageError: A value is NaN, too few runs, a mean of 0, or a level not between 0 and 0.5.
    """
    check_level(level)
    if level >= 0.5:
        raise UsageError(f"Not a level of the gate: {level}. Allowed: between 0 and 0.5: 0.05.")
    kept = _olympic(submission, drop)
    mean, n_sub, n_ref = float(kept.mean()), len(kept), reference.n
    degrees = n_ref + n_sub - 2
    if not mean > 0:
        raise UsageError(f"Not an amount of work to converge: a mean of {mean:g}. Give epochs.")
    if degrees < 1:
        raise UsageError(f"No t-test of {n_sub} runs against {n_ref}: give more runs.")
    margin = (
        float(scipy.special.stdtrit(degrees, 1 - level))
        * reference.std
        * math.sqrt(1 / n_ref + 1 / n_sub)
    )
    minimum, maximum = reference.mean - margin, reference.mean + margin
    verdict: Literal["too fast", "within", "too slow"] = "within"
    if mean < minimum:
        verdict = "too fast"
    elif mean > maximum:
        verdict = "too slow"
    return Gate(
        mean=reference.mean,
        std=reference.std,
        minimum=minimum,
        maximum=maximum,
        speedup_allowed=reference.mean / minimum - 1 if minimum > 0 else math.inf,
        submission_mean=mean,
        score_factor=max(1.0, reference.mean / mean),
        verdict=verdict,
    )


def _olympic(values: Float[np.ndarray, " runs"], drop: int) -> Float[np.ndarray, " kept"]:
    """Return the values in ascending order without the lowest and highest `drop`."""
    if np.isnan(values).any():
        raise UsageError("No Olympic mean with NaN. Give a run that did not converge as infinity.")
    if drop < 0 or len(values) <= 2 * drop:
        raise UsageError(
            f"Cannot drop {drop} at each end of {len(values)} runs. Allowed: fewer than half."
        )
    return np.sort(values)[drop : len(values) - drop]
