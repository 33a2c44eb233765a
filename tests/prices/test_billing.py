"""What is billed: no less than the minimum, whole steps, never nothing; how old a price is."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial import prices
from timetrial.errors import UsageError

DAY = datetime.date(2026, 11, 22)
PRICE = prices.Price(
    provider="aws", per_hour=3.06, currency="USD", source="a page", read_on=DAY
)  # by the second's fraction, fees not stated


def with_rules(**rules: float | None) -> prices.Price:
    return msgspec.structs.replace(PRICE, **rules)


SECONDS = st.floats(min_value=1e-9, max_value=1e8)
STEPS = st.none() | st.sampled_from([1.0, 60.0, 900.0, 3600.0]) | st.floats(0.1, 1e5)
MINIMA = st.none() | st.floats(0, 1e5)
PRICED = st.builds(
    with_rules,
    per_hour=st.floats(1e-4, 1e4),
    billing_step_s=STEPS,
    billing_min_s=MINIMA,
    fee_per_machine=st.none() | st.floats(0, 100),
)


@given(PRICED, SECONDS, SECONDS)
def test_more_time_never_costs_less(price: prices.Price, one_s: float, other_s: float) -> None:
    short, long = sorted((one_s, other_s))

    assert prices.billed_cost(price, short).amount <= prices.billed_cost(price, long).amount


@given(PRICED, SECONDS)
def test_the_minimum_is_billed_and_whole_steps(price: prices.Price, seconds: float) -> None:
    cost = prices.billed_cost(price, seconds)

    assert cost.billed_s >= (price.billing_min_s or 0) * (1 - 1e-9)
    assert cost.billed_s >= seconds * (1 - 1e-9)
    if price.billing_step_s:
        steps = cost.billed_s / price.billing_step_s
        assert steps == pytest.approx(round(steps), rel=1e-12)
        longest = max(seconds, price.billing_min_s or 0)
        assert cost.billed_s < longest + price.billing_step_s * (1 + 1e-9)
    else:
        assert cost.billed_s == max(seconds, price.billing_min_s or 0)


@given(PRICED, SECONDS, st.integers(1, 1000))
def test_time_at_a_price_is_never_free(price: prices.Price, seconds: float, machines: int) -> None:
    cost = prices.billed_cost(price, seconds, machines=machines)

    assert cost.compute > 0
    assert cost.amount >= cost.compute
    one = prices.billed_cost(price, seconds)
    assert cost.amount == pytest.approx(one.amount * machines)


@pytest.mark.parametrize(
    ("rules", "seconds", "billed_s"),
    [
        ({}, 90.5, 90.5),
        ({"billing_step_s": 60.0}, 90.5, 120.0),
        ({"billing_step_s": 60.0}, 120.0, 120.0),
        ({"billing_step_s": 60.0}, 0.1 + 0.2 + 119.7, 120.0),  # 120.00000000000001 by floats
        ({"billing_step_s": 60.0}, 120.001, 180.0),
        ({"billing_step_s": 1.0, "billing_min_s": 60.0}, 12.3, 60.0),
        ({"billing_step_s": 3600.0}, 1e-9, 3600.0),
        ({"billing_step_s": 3600.0, "billing_min_s": 3600.0}, 3601.0, 7200.0),
    ],
)
def test_seconds_are_billed_like_this(
    rules: dict[str, float], seconds: float, billed_s: float
) -> None:
    assert prices.billed_cost(with_rules(**rules), seconds).billed_s == pytest.approx(
        billed_s, rel=1e-12
    )


def test_fees_are_charged_once_for_each_machine_and_are_unknown_where_not_stated() -> None:
    stated = prices.billed_cost(with_rules(fee_per_machine=5.0), 3600, machines=2)
    unknown = prices.billed_cost(PRICE, 3600, machines=2)

    assert (stated.compute, stated.fees, stated.amount) == (6.12, 10.0, 16.12)
    assert (unknown.compute, unknown.fees, unknown.amount) == (6.12, None, 6.12)
    assert stated.currency == "USD"


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="cannot be billed"):
        prices.billed_cost(PRICE, seconds)


def test_a_price_is_old_after_90_days_and_says_of_when_it_is() -> None:
    days = datetime.timedelta(days=1)

    assert prices.age_note(PRICE, DAY) is None
    assert prices.age_note(PRICE, DAY + 90 * days) is None
    note = prices.age_note(PRICE, DAY + 91 * days)
    assert note == "old price: of 2026-11-22, 91 days before 2027-02-21"
    historic = msgspec.structs.replace(PRICE, date=datetime.date(2018, 3, 31))
    assert "of 2018-03-31" in str(prices.age_note(historic, DAY))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"per_hour": 0.0}, "above 0"),
        ({"per_hour": -3.06}, "above 0"),
        ({"per_hour": float("nan")}, "above 0"),
        ({"per_hour": float("inf")}, "above 0"),
        ({"currency": "dollars"}, "ISO 4217"),
        ({"currency": "usd"}, "Write USD"),
        ({"currency": ""}, "ISO 4217"),
        ({"source": ""}, "source is empty"),
        ({"provider": ""}, "provider is empty"),
        ({"billing_step_s": -60.0}, "billing_step_s -60"),
        ({"fee_per_machine": -5.0}, "fee_per_machine -5"),
        ({"accelerators": 0.0}, "accelerators 0"),
    ],
)
def test_a_price_refuses_what_it_cannot_be(wrong: dict[str, object], words: str) -> None:
    fields = msgspec.structs.asdict(PRICE) | wrong
    with pytest.raises(ValueError, match=words):
        prices.Price(**fields)
