"""Quantities for people: the only module that formats units. Everywhere else values are SI."""

from __future__ import annotations

import math
import re
from typing import Final

from timetrial.errors import UsageError

_DECIMAL: Final = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY: Final = ((2**40, "Ti"), (2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki"))
_SIZE: Final = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*$", re.IGNORECASE)
_DURATION: Final = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)?\s*$", re.IGNORECASE)
_MONEY: Final = re.compile(r"[A-Z]{3}(/h)?")
_SECONDS_PER: Final = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def significant(value: float, digits: int = 3) -> str:
    """Return `value` with that many significant digits, never in exponent form below 1e15.

    NaN gives "nan", infinities give "∞" and "−∞".
    """
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    rounded = _rounded(value, digits)
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(decimals, 0)}f}"


def duration(seconds: float) -> str:
    """Return seconds as "8.50 µs", "850 ms", "12.3 s", "4 min 05 s", "3 h 02 min" or "∞"."""
    if not math.isfinite(seconds):
        return significant(seconds)
    size = abs(_rounded(seconds))
    if 0 < size < 1e-4:
        return f"{significant(seconds * 1e6)} µs"
    if size < 1:
        return f"{significant(seconds * 1e3)} ms"
    if size < 120:
        return f"{significant(seconds)} s"
    sign = "-" if seconds < 0 else ""
    whole = round(abs(seconds))
    if whole < 7200:
        return f"{sign}{whole // 60} min {whole % 60:02d} s"
    minutes = round(abs(seconds) / 60)
    return f"{sign}{minutes // 60} h {minutes % 60:02d} min"


def bytes_(count: float) -> str:
    """Return a byte count in binary units: "1.50 GiB"."""
    if not math.isfinite(count):
        return significant(count)
    for factor, prefix in _BINARY:
        if abs(_rounded(count / factor)) >= 1:
            return f"{significant(count / factor)} {prefix}B"
    return f"{count:.0f} B"


def percent(fraction: float, digits: int = 2) -> str:
    """Return a fraction as per cent: 0.9731 -> "97.31 %"."""
    if not math.isfinite(fraction):
        return significant(fraction)
    return f"{100 * fraction:.{digits}f} %"


def count(number: int, noun: str) -> str:
    """Return "1 core" or "2 cores"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def money(amount: float, unit: str = "USD") -> str:
    """Return an amount as "0.0213 USD" or "1,234.50 USD": never with a prefix."""
    if not math.isfinite(amount):
        return significant(amount)
    small = 0 < abs(_rounded(amount)) < 1
    return f"{significant(amount) if small else format(amount, ',.2f')} {unit}"


def stated(amount: float, unit: str) -> str:
    """Return an amount as somebody stated it, up to six digits: "6.595 USD/h"."""
    return f"{amount:.6g} {unit}"


def quantity(value: float, unit: str) -> str:
    """Return a value for people in the way of its unit.

    Known units: "s", "byte", "fraction", "points" (a difference of fractions: 0.0446 -> "4.46
    points", of percentage), "1" (a count or ratio), "count" (whole, all of its
    digits), "yes_no" (1 -> "yes", 0 -> "no", a mean as "67 % yes"), a rate such as "1/s" (4870 ->
    "4,870 /s"), money ("USD", "EUR/h": a code of ISO 4217), and any other unit, which is printed
    behind the number with a decimal prefix.
    """
    if unit == "s":
        return duration(value)
    if unit == "byte":
        return bytes_(value)
    if unit == "fraction":
        return percent(value)
    if unit == "points":
        return percent(value).replace(" %", " points")
    if unit == "yes_no":
        return {0.0: "no", 1.0: "yes"}.get(value, f"{percent(value, 0)} yes")
    if unit == "count" and float(value).is_integer():
        return f"{value:,.0f}"
    if unit in ("1", "", "count"):
        return significant(value)
    if not math.isfinite(value):
        return significant(value)
    if _MONEY.fullmatch(unit):
        return money(value, unit)
    if unit == "byte/s":
        unit = "B/s"  # with a decimal prefix, as in the published tables of hardware
    if unit.startswith("1/"):
        return f"{significant(value)} {unit[1:]}"
    for factor, prefix in _DECIMAL:
        if abs(_rounded(value / factor)) >= 1:
            return f"{significant(value / factor)} {prefix}{unit}"
    return f"{significant(value)} {unit}"


def _rounded(value: float, digits: int = 3) -> float:
    """Return a finite value with that many significant digits: what decides its unit."""
    if value == 0:
        return 0.0
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def parse_bytes(text: str) -> int:
    """Return the byte count that "4GiB", "512MB" or "1048576" names.

    Raises:
        UsageError: The text is not a size.
    """
    match = _SIZE.match(text)
    if match is None:
        raise UsageError(f"Not a size: {text!r}. Allowed: a number and a unit, such as 4GiB.")
    prefix = (match[2] or "").lower()
    powers = {"k": 1, "m": 2, "g": 3, "t": 4}
    base = 1024 if prefix.endswith("i") else 1000
    factor = base ** powers[prefix[0]] if prefix else 1
    return round(float(match[1]) * factor)


def parse_duration(text: str) -> float:
    """Return the seconds that "60s", "2h", "5min", "250ms" or "90" name.

    Raises:
        UsageError: The text is not a duration.
    """
    match = _DURATION.match(text)
    if match is None:
        raise UsageError(
            f"Not a duration: {text!r}. Allowed: a number and a unit, such as 60s, 5min or 2h."
        )
    return float(match[1]) * _SECONDS_PER[(match[2] or "").lower()]


def parse_fraction(text: str) -> float:
    """Return the fraction that "5%" or "0.05" names.

    Raises:
        UsageError: The text is not a fraction between 0 and 1 (exclusive of 0).
    """
    stripped = text.strip()
    try:
        value = float(stripped[:-1]) / 100 if stripped.endswith("%") else float(stripped)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise UsageError(
            f"Not a fraction: {text!r}. Allowed: above 0, up to 1, such as 5% or 0.05."
        )
    return value
