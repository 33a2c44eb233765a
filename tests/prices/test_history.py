"""The shipped prices are the documents', with their dates; document 001's costs come of them."""

from __future__ import annotations

import datetime

import pytest

from timetrial import prices, references
from timetrial.prices.shipped import FILES

BOOK = prices.history()
COSTS = ("0.04", "0.10", "0.22", "0.24", "0.36", "0.36")  # as printed


def test_document_001s_costs_come_out_to_the_cent() -> None:
    """Seconds x price of all six rows, each price found in the book by where the row ran."""
    rows: dict[str, dict[str, references.Row]] = {}
    for row in references.published("cifar10-vgg-published"):
        if row.facts["table"] == "the table":
            rows.setdefault(row.facts["line"], {})[row.measure] = row
    found = []
    for line in rows.values():
        time = line["run_time"]
        count, gpu = time.facts["gpu"].split()
        price = BOOK.find(
            provider=time.facts["provider"],
            region=time.facts["region"],
            accelerator=gpu,
            accelerators=float(count),
            at=datetime.date(2018, 4, 1),
        )
        assert price is not None
        assert time.value is not None
        assert price.per_hour == line["price"].value
        found.append(f"{prices.billed_cost(price, time.value).compute:.2f}")

    assert tuple(found) == COSTS


def test_the_storage_fee_of_document_001_stands_beside_its_cost_not_in_it() -> None:
    price = BOOK.find(provider="Paperspace")

    assert price is not None
    cost = prices.billed_cost(price, 354.0)
    assert f"{cost.compute:.2f}" == "0.04"
    assert cost.fees == 5.0
    assert any("can be more" in flaw for flaw in price.flaws)


@pytest.mark.parametrize(
    ("day", "instance", "hours", "machines", "cost"),
    [
        ((2018, 9, 29), "n1-standard-2", 2.74181, 1, "12.60"),
        ((2018, 9, 6), "p3.16xlarge", 0.30144, 16, "118.07"),
        ((2018, 9, 7), "p3.16xlarge", 0.31472, 8, "61.63"),
        ((2018, 4, 19), "n1-standard-2", 8.87565, 1, "58.53"),
        ((2018, 3, 25), "n1-standard-2", 12.44417, 1, "82.07"),
        ((2018, 1, 31), "p3.16xlarge", 14.63306, 1, "358.22"),
    ],
)
def test_dawnbenchs_costs_are_hours_times_their_days_price(
    day: tuple[int, int, int], instance: str, hours: float, machines: int, cost: str
) -> None:
    """Hours to 93 % top-5 and printed costs: dawn-bench-entries, read 2026-11-22."""
    price = BOOK.find(instance=instance, at=datetime.date(*day))

    assert price is not None
    assert price.date == datetime.date(*day)
    found = prices.billed_cost(price, hours * 3600, machines=machines)
    assert f"{found.compute:.2f}" == cost


def test_every_shipped_price_is_of_a_past_day_and_says_that_it_is_history() -> None:
    assert len(BOOK.prices) == 15
    assert {price.file for price in BOOK.prices} == {f"prices/{name}" for name in FILES}
    for price in BOOK.prices:
        assert price.date is not None
        assert price.date < datetime.date(2020, 1, 1)
        assert price.read_on == datetime.date(2026, 11, 22)
        assert price.url
        assert any(flaw.startswith("history: ") for flaw in price.flaws)
        assert prices.age_note(price, price.read_on) is not None, "marked as old"


def test_preemptible_prices_of_mlbench_are_spot_prices() -> None:
    on_demand = BOOK.find(provider="gcp", instance="n1-standard-4")
    spot = BOOK.find(provider="gcp", instance="n1-standard-4", spot=True)

    assert on_demand is not None
    assert spot is not None
    assert (on_demand.per_hour, spot.per_hour) == (0.19, 0.04)


def test_the_laptop_of_document_001_has_no_price() -> None:
    assert not BOOK.owned
    assert BOOK.find(provider="laptop (Acer Predator)") is None
