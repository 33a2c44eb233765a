"""Inputs of a table as numbers that a model can multiply: one code for every framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from timetrial.errors import DataError
from timetrial.spec import (
    InputEncoding,
    OneHot,
    PiecewiseLinear,
    Scaled,
    Split,
    SplitName,
    Standardised,
    width_of,
)


class _Fitted(NamedTuple):
    """What train says of one input: a mean and a deviation, or the edges of bins."""

    mean: float = 0.0
    deviation: float = 1.0
    edges: np.ndarray | None = None


def encode(
    splits: Mapping[SplitName, Split], encoding: Sequence[InputEncoding]
) -> dict[SplitName, Split]:
    """Return the splits with inputs (examples, sum of the widths), float32.

    What is taken from data, means and quantiles, is taken from train alone.

    Raises:
        DataError: A category is none of those the rule counts.
    """
    train = splits["train"].inputs
    fitted = [_fit(rule, train[:, column]) for column, rule in enumerate(encoding)]
    return {
        name: Split(name, _encode(split, encoding, fitted), split.labels)
        for name, split in splits.items()
    }


def _fit(rule: InputEncoding, values: np.ndarray) -> _Fitted:
    wide = values.astype(np.float64)
    match rule:
        case Standardised():
            deviation = float(wide.std())
            return _Fitted(float(wide.mean()), deviation if deviation > 0 else 1.0)
        case PiecewiseLinear(bins=bins):
            return _Fitted(edges=np.unique(np.quantile(wide, np.linspace(0, 1, bins + 1))))
        case _:
            return _Fitted()


def _encode(
    split: Split, encoding: Sequence[InputEncoding], fitted: Sequence[_Fitted]
) -> np.ndarray:
    inputs = split.inputs
    made = np.zeros((len(inputs), sum(map(width_of, encoding))), dtype=np.float32)
    at = 0
    for column, (rule, found) in enumerate(zip(encoding, fitted, strict=True)):
        width = width_of(rule)
        _write(made[:, at : at + width], inputs[:, column], rule, found, where=(split.name, column))
        at += width
    return made


def _write(
    out: np.ndarray,
    values: np.ndarray,
    rule: InputEncoding,
    found: _Fitted,
    *,
    where: tuple[str, int],
) -> None:
    """Write one encoded input into its columns `out`, which hold zeros."""
    match rule:
        case OneHot(categories=categories):
            codes = values.astype(np.int64)
            if len(codes) and (codes.min() < 0 or codes.max() >= categories):
                raise DataError(
                    f"Input {where[1]} of the {where[0]} split has categories {codes.min()} to "
                    f"{codes.max()}; the task's rules allow 0 to {categories - 1}. Correct the "
                    "task's encoding, or the data."
                )
            out[np.arange(len(codes)), codes] = 1
        case Scaled(divide_by=divide_by, log10=log10):
            out[:, 0] = (np.log10(values) if log10 else values) / divide_by
        case Standardised():
            out[:, 0] = (values - found.mean) / found.deviation
        case PiecewiseLinear():
            assert found.edges is not None
            _write_bins(out, values, found.edges)


def _write_bins(out: np.ndarray, values: np.ndarray, edges: np.ndarray) -> None:
    """Write how far values are through each bin; equal quantiles leave columns of zeros."""
    widths = np.diff(edges)
    last = len(widths) - 1
    for bin_, (start, width) in enumerate(zip(edges, widths, strict=False)):
        through = (values - start) / width
        low = None if bin_ == 0 else 0.0
        high = None if bin_ == last else 1.0
        out[:, bin_] = through if low is None and high is None else np.clip(through, low, high)
