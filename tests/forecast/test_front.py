"""The front of time and cost, and the chance to keep two limits."""

from __future__ import annotations

import numpy as np
import pytest
from predictions import SYSTEM, prediction

from timetrial.forecast.front import Choice, Limits, Offer, front_of
from timetrial.forecast.predict import Drawn
from timetrial.forecast.tables import front_of_choices, prediction_table
from timetrial.stats.forecast import Forecast


def offer(name: str, seconds: float, cost: float | None, *, currency: str = "USD") -> Offer:
    """A system whose next run takes about `seconds` (± 10 %) and costs about `cost`."""
    spread = np.linspace(0.9, 1.1, 1001)
    made = prediction(seconds, system=SYSTEM, machine=name)
    draws = Forecast(seconds * spread, seconds * spread, spread)
    if cost is None:
        return Offer(Drawn(made, draws), None, None, None)
    return Offer(Drawn(made, draws), cost * spread, currency, "a price")


def named(choices: list[Choice], *, on_front: bool) -> list[str]:
    return sorted(c.prediction.system.machine for c in choices if c.on_front is on_front)


def test_only_what_none_beats_in_both_is_on_the_front() -> None:
    offers = [offer("quick", 10, 5.0), offer("cheap", 100, 0.5), offer("bad", 100, 5.0),
              offer("middle", 50, 1.0)]  # fmt: skip
    found = front_of(offers, Limits())
    assert named(found, on_front=True) == ["cheap", "middle", "quick"]
    [bad] = [one for one in found if not one.on_front]
    assert bad.beaten_by is not None
    assert bad.prediction.system.machine == "bad"


def test_equal_systems_are_both_on_the_front() -> None:
    found = front_of([offer("a", 10, 1.0), offer("b", 10, 1.0)], Limits())
    assert named(found, on_front=True) == ["a", "b"]


def test_an_unknown_price_is_on_no_front_and_beats_nobody() -> None:
    found = front_of([offer("free?", 1, None), offer("known", 10, 1.0)], Limits(cost=2.0))
    assert named(found, on_front=True) == ["known"]
    [unknown] = [one for one in found if not one.on_front]
    assert unknown.in_cost is None
    assert unknown.both is None
    assert "unknown" in str(prediction_table(found, Limits(cost=2.0)).lines[-1].cells["cost"])


def test_without_a_limit_on_cost_an_unknown_price_leaves_a_chance() -> None:
    [found] = front_of([offer("free?", 10, None)], Limits(deadline_s=10.0))
    assert found.both == pytest.approx(0.5, abs=0.01)


def test_the_chance_is_to_keep_both_limits_in_one_run() -> None:
    [found] = front_of([offer("one", 10, 1.0)], Limits(deadline_s=10.5, cost=0.95))
    assert found.in_time == pytest.approx(0.75, abs=0.01)
    assert found.in_cost == pytest.approx(0.25, abs=0.01)
    assert found.both == pytest.approx(0.25, abs=0.01)


def test_other_currencies_are_not_compared() -> None:
    offers = [offer("a", 10, 5.0), offer("b", 20, 4.0), offer("c", 5, 1.0, currency="EUR")]
    found = front_of(offers, Limits())
    assert named(found, on_front=True) == ["a", "b"]


def test_a_limit_is_not_kept_by_an_amount_in_another_currency() -> None:
    [found] = front_of([offer("a", 10, 0.5, currency="EUR")], Limits(cost=1.0, currency="USD"))
    assert (found.in_cost, found.both) == (None, None)
    front = front_of_choices([found], Limits(cost=1.0, currency="USD"))
    assert front is not None
    assert (front.currency, front.cost_limit) == ("EUR", None)
    [same] = front_of([offer("a", 10, 0.5, currency="EUR")], Limits(cost=1.0, currency="EUR"))
    assert same.in_cost == 1.0


def test_the_picture_shows_what_has_a_price() -> None:
    limits = Limits(deadline_s=60.0, cost=3.0)
    found = front_of([offer("a", 10, 5.0), offer("b", 20, None)], limits)
    front = front_of_choices(found, limits)
    assert front is not None
    assert [point.system for point in front.points] == ["a"]
    assert front.deadline_s == 60.0
    assert front_of_choices(front_of([offer("b", 20, None)], limits), limits) is None
