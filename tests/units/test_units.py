"""Quantities for people, and what people type."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial import units
from timetrial.errors import UsageError

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e14, max_value=1e14)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1.00"),
        (12.345, "12.3"),
        (0.9999, "1.00"),
        (999.6, "1,000"),
        (4870, "4,870"),
        (1234567, "1,230,000"),
        (0.000123456, "0.000123"),
        (-2.5, "-2.50"),
        (math.nan, "nan"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert units.significant(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0405, "40.5 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (12.34, "12.3 s"),
        (119.4, "119 s"),
        (119.6, "2 min 00 s"),
        (245.2, "4 min 05 s"),
        (3600, "60 min 00 s"),
        (7199.7, "2 h 00 min"),
        (10_920, "3 h 02 min"),
        (14_385, "4 h 00 min"),
        (-130, "-2 min 10 s"),
        (-0.284, "-284 ms"),
        (math.inf, "∞"),
        (math.nan, "nan"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.50 KiB"),
        (2**20 - 1, "1.00 MiB"),
        (1.5 * 2**30, "1.50 GiB"),
        (2**50, "1,020 TiB"),
        (-2048, "-2.00 KiB"),
        (math.inf, "∞"),
        (math.nan, "nan"),
    ],
)
def test_bytes_are_binary(count: float, text: str) -> None:
    assert units.bytes_(count) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (7.42, "s", "7.42 s"),
        (2**20, "byte", "1.00 MiB"),
        (0.9731, "fraction", "97.31 %"),
        (1.0, "yes_no", "yes"),
        (0.0, "yes_no", "no"),
        (2 / 3, "yes_no", "67 % yes"),
        (22914634.0, "count", "22,914,634"),
        (12.5, "count", "12.5"),
        (math.nan, "fraction", "nan"),
        (680, "1", "680"),
        (680, "", "680"),
        (4870, "1/s", "4,870 /s"),
        (0.5, "1/s", "0.500 /s"),
        (999.9, "J", "1.00 kJ"),
        (1250, "J", "1.25 kJ"),
        (3.3e11, "FLOP/s", "330 GFLOP/s"),
        (12, "W", "12.0 W"),
        (math.inf, "J", "∞"),
    ],
)
def test_a_quantity_is_told_in_the_way_of_its_unit(value: float, unit: str, text: str) -> None:
    assert units.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1048576", 2**20),
        ("4GiB", 4 * 2**30),
        ("4 gib", 4 * 2**30),
        ("1.5KiB", 1536),
        ("512MB", 512_000_000),
        ("2G", 2_000_000_000),
        ("3TiB", 3 * 2**40),
        ("7B", 7),
    ],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert units.parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("60s", 60), ("250ms", 0.25), ("5min", 300), ("5 m", 300), ("2h", 7200)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "fraction"), [("5%", 0.05), ("0.05", 0.05), (" 100 % ".strip(), 1), ("1", 1)]
)
def test_fractions_are_read(text: str, fraction: float) -> None:
    assert units.parse_fraction(text) == fraction


@pytest.mark.parametrize("text", ["", "foo", "-1", "4XB", "1e3", "GiB", "nan", "1.2.3", "4GiBs"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="such as 4GiB"):
        units.parse_bytes(text)


@pytest.mark.parametrize("text", ["", "foo", "-1", "3 days", "1e3s", "inf", "s"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="such as 60s, 5min or 2h"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "0", "0%", "-5%", "101%", "1.01", "nan", "nan%", "5 per cent"]
)
def test_what_is_no_fraction_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"such as 5% or 0\.05"):
        units.parse_fraction(text)


@given(FINITE)
def test_three_digits_are_within_half_a_per_cent(value: float) -> None:
    text = units.significant(value)
    assert math.isclose(float(text.replace(",", "")), value, rel_tol=0.00501, abs_tol=1e-300)
    assert "e" not in text


@given(st.floats(min_value=1e-3, max_value=119))
def test_a_short_duration_is_read_back(seconds: float) -> None:
    text = units.duration(seconds).replace(",", "")
    assert math.isclose(units.parse_duration(text), seconds, rel_tol=0.00501)


@given(st.integers(min_value=0, max_value=2**49))
def test_a_size_is_read_back(count: int) -> None:
    text = units.bytes_(count).replace(",", "")
    assert math.isclose(units.parse_bytes(text), count, rel_tol=0.00501)


@given(FINITE)
def test_a_duration_and_its_negative_differ_in_the_sign_alone(seconds: float) -> None:
    if units.duration(abs(seconds)) != units.duration(0):
        assert units.duration(-abs(seconds)) == f"-{units.duration(abs(seconds))}"
