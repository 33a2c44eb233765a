"""Encoded inputs are what the rules say, by train alone."""

from __future__ import annotations

import numpy as np
import pytest

from timetrial.engine.encoding import encode
from timetrial.errors import DataError
from timetrial.spec import OneHot, PiecewiseLinear, Scaled, Split, Standardised


def splits(train: list[list[float]], test: list[list[float]]) -> dict:
    made = {}
    for name, rows in (("train", train), ("validation", []), ("test", test)):
        inputs = np.array(rows, dtype=np.float32).reshape(-1, len(train[0]))
        made[name] = Split(name, inputs, np.zeros(len(rows), dtype=np.int64))
    return made


def test_each_kind_is_what_its_rule_says():
    encoded = encode(
        splits([[0, 1, 100], [2, 3, 1000]], [[1, 9, 10]]),
        (OneHot(categories=3), Standardised(), Scaled(divide_by=4, log10=True)),
    )
    assert encoded["train"].inputs.dtype == np.float32
    assert np.allclose(encoded["train"].inputs, [[1, 0, 0, -1, 0.5], [0, 0, 1, 1, 0.75]])
    assert np.allclose(encoded["test"].inputs, [[0, 1, 0, 7, 0.25]])  # mean 2, deviation 1: train's
    assert encoded["validation"].inputs.shape == (0, 5)


def test_piecewise_linear_tells_how_far_a_number_is_through_each_bin():
    train = [[value] for value in (0.0, 1.0, 2.0, 4.0, 8.0)]  # quartiles 1, 2, 4
    test = [[-1.0], [0.5], [3.0], [8.0], [12.0]]
    encoded = encode(splits(train, test), (PiecewiseLinear(bins=4),))["test"].inputs
    assert np.allclose(
        encoded,
        [[-1, 0, 0, 0], [0.5, 0, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 1], [1, 1, 1, 2]],
    )


def test_equal_quantiles_leave_columns_of_zeros():
    train = [[0.0]] * 9 + [[1.0]]
    encoded = encode(splits(train, [[0.5]]), (PiecewiseLinear(bins=4),))["test"].inputs
    assert encoded.shape == (1, 4)
    assert np.isfinite(encoded).all()
    assert (encoded[:, 2:] == 0).all()


def test_a_constant_column_is_not_divided_by_zero():
    encoded = encode(splits([[5.0], [5.0]], [[6.0]]), (Standardised(),))
    assert np.allclose(encoded["test"].inputs, [[1.0]])


def test_a_category_that_the_rules_do_not_count_is_refused():
    with pytest.raises(DataError, match=r"Input 0 of the test split has categories 3 to 3.*0 to 2"):
        encode(splits([[0.0], [1.0]], [[3.0]]), (OneHot(categories=3),))
