"""A machine of one's own: what an hour costs, from how many hours a month it pays."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial import prices
from timetrial.errors import UsageError

DAY = datetime.date(2026, 11, 22)
LAPTOP = prices.Owned(
    name="laptop",
    purchase=2400.0,
    currency="USD",
    life_years=4.0,
    hours_per_month=50.0,
    power_w=200.0,
    tariff_per_kwh=0.25,
    source="a receipt",
    read_on=DAY,
)
RENTED = prices.Price(
    provider="aws", instance="p3", per_hour=1.05, currency="USD", source="a page", read_on=DAY
)


def but(**fields: object) -> prices.Owned:
    return msgspec.structs.replace(LAPTOP, **fields)


def test_an_hour_costs_its_share_of_the_purchase_and_its_power() -> None:
    # 2400 / (48 months x 50 h) + 0.2 kW x 0.25
    assert prices.cost_per_hour(LAPTOP) == pytest.approx(1.0 + 0.05)
    assert prices.cost_per_hour(LAPTOP, 100) == pytest.approx(0.5 + 0.05)
    hours = but(life_years=None, hours_per_month=None, life_h=4800.0)
    assert prices.cost_per_hour(hours) == pytest.approx(0.5 + 0.05)


def test_owning_pays_from_the_purchase_per_month_over_what_an_hour_saves_on() -> None:
    found = prices.break_even_hours_per_month(LAPTOP, RENTED)

    assert found.fixed_per_month == pytest.approx(50.0)
    assert found.hours_per_month == pytest.approx(50.0 / (1.05 - 0.05))
    assert found.hours == pytest.approx(2400.0)
    assert found.reason == "owning costs less from there on"
    assert prices.cost_per_hour(LAPTOP, found.hours_per_month) == pytest.approx(1.05)


@given(
    purchase=st.floats(100, 1e5), years=st.floats(0.5, 10), power=st.floats(1, 2000),
    tariff=st.floats(0.01, 1), rent=st.floats(0.01, 50),
)  # fmt: skip
def test_above_the_break_even_owning_costs_less_and_below_it_more(
    purchase: float, years: float, power: float, tariff: float, rent: float
) -> None:
    owned = but(purchase=purchase, life_years=years, power_w=power, tariff_per_kwh=tariff)
    rented = msgspec.structs.replace(RENTED, per_hour=rent)
    least = prices.break_even_hours_per_month(owned, rented).hours_per_month

    if least is None:
        cost = prices.cost_per_hour(owned, 730.5)
        assert cost is not None
        assert cost >= rent * (1 - 1e-9)
        return
    half, twice = prices.cost_per_hour(owned, least / 2), prices.cost_per_hour(owned, least)
    assert half is not None
    assert half > rent
    assert twice == pytest.approx(rent)


@pytest.mark.parametrize("field", ["purchase", "power_w", "tariff_per_kwh"])
def test_what_is_not_known_makes_the_cost_unknown_never_0(field: str) -> None:
    owned = but(**{field: None})

    assert prices.cost_per_hour(owned) is None
    assert prices.price_of_owned(owned) is None
    assert prices.missing_of(owned) == [field]
    found = prices.break_even_hours_per_month(owned, RENTED)
    assert (found.hours_per_month, found.hours) == (None, None)
    assert found.reason == f"unknown: {field} of laptop not stated"


def test_without_hours_per_month_the_cost_of_an_hour_is_unknown_the_break_even_is_not() -> None:
    owned = but(hours_per_month=None)

    assert prices.cost_per_hour(owned) is None
    assert prices.missing_of(owned) == ["hours_per_month"]
    assert prices.break_even_hours_per_month(owned, RENTED).hours_per_month == pytest.approx(50)


def test_owning_never_pays_where_power_alone_costs_the_rent() -> None:
    cheap = msgspec.structs.replace(RENTED, per_hour=0.05)

    found = prices.break_even_hours_per_month(LAPTOP, cheap)

    assert found.hours_per_month is None
    assert found.reason.startswith("never: the power alone costs 0.05 USD")


def test_owning_never_pays_where_a_month_has_too_few_hours() -> None:
    cheap = msgspec.structs.replace(RENTED, per_hour=0.1)

    found = prices.break_even_hours_per_month(LAPTOP, cheap)

    assert found.hours_per_month is None
    assert found.reason == "never: it would take 1,000 hours a month, more than there are"


def test_a_life_in_hours_says_whether_it_is_earned_back_in_it() -> None:
    short = but(life_years=None, life_h=2000.0)
    long = but(life_years=None, life_h=3000.0)

    assert "never earned back" in prices.break_even_hours_per_month(short, RENTED).reason
    assert "earned back within" in prices.break_even_hours_per_month(long, RENTED).reason


def test_a_break_even_marks_amounts_that_are_old_on_the_day_asked() -> None:
    later = DAY + datetime.timedelta(days=91)

    notes = prices.break_even_hours_per_month(LAPTOP, RENTED, at=later).notes

    assert notes[:2] == (
        "laptop: old price: of 2026-11-22, 91 days before 2027-02-21",
        "aws p3: old price: of 2026-11-22, 91 days before 2027-02-21",
    )
    assert prices.break_even_hours_per_month(LAPTOP, RENTED, at=DAY).notes == notes[2:]


def test_two_currencies_are_not_compared_without_a_rate() -> None:
    euros = but(currency="EUR")

    with pytest.raises(UsageError, match="none is invented"):
        prices.break_even_hours_per_month(euros, RENTED)


def test_a_dated_rate_with_its_source_makes_them_comparable() -> None:
    def rate(value: float, month: int, base: str = "EUR", to: str = "USD") -> prices.Rate:
        day = datetime.date(2026, month, 1)
        return prices.Rate(from_=base, to=to, rate=value, source="a bank", read_on=day)

    rates = [rate(2.0, 1), rate(1.25, 6), rate(9.0, 12)]
    price = prices.in_currency(RENTED, "EUR", rates, at=datetime.date(2026, 7, 1))

    assert price.per_hour == pytest.approx(1.05 / 1.25)
    assert price.currency == "EUR"
    assert "1 EUR = 1.25 USD (a bank, 2026-06-01)" in price.flaws[-1]
    direct = prices.in_currency(RENTED, "EUR", [rate(0.8, 1, "USD", "EUR")])
    assert direct.per_hour == pytest.approx(1.05 * 0.8)
    with pytest.raises(UsageError, match="on 2025-01-01 or before"):
        prices.in_currency(RENTED, "EUR", rates, at=datetime.date(2025, 1, 1))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"purchase": -1.0}, "purchase -1"),
        ({"power_w": 0.0}, "power_w 0"),
        ({"tariff_per_kwh": float("nan")}, "tariff_per_kwh nan"),
        ({"life_years": 0.0}, "life_years 0"),
        ({"life_h": 100.0}, "both given"),
        ({"hours_per_month": 800.0}, "24/7"),
        ({"currency": "euro"}, "ISO 4217"),
        ({"name": ""}, "name is empty"),
    ],
)
def test_a_machine_refuses_what_it_cannot_be(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        but(**wrong)


def test_a_use_that_no_month_has_is_refused() -> None:
    with pytest.raises(UsageError, match="24/7"):
        prices.cost_per_hour(LAPTOP, 731)
