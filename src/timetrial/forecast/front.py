"""Systems by time and cost: the Pareto front, and the chance to keep two limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from timetrial.forecast.predict import Drawn, Prediction
from timetrial.stats import forecast
from timetrial.stats.intervals import Estimate


class Limits(NamedTuple):
    """What a run may take and cost; None: no limit."""

    deadline_s: float | None = None
    cost: float | None = None
    currency: str = "USD"  # of `cost`: an amount in another is not compared with it


class Offer(NamedTuple):
    """A prediction and what its runs would cost; None: the price is unknown."""

    drawn: Drawn
    cost: np.ndarray | None
    currency: str | None
    price_source: str | None  # None: unknown


class Choice(NamedTuple):
    """One system as a recommendation shows it."""

    prediction: Prediction
    seconds: Estimate
    cost: Estimate | None
    currency: str | None
    price_source: str | None
    in_time: float  # chance
    in_cost: float | None  # None: the price is unknown, or in another currency than the limit
    both: float | None
    on_front: bool
    beaten_by: str | None  # a system that is quicker and cheaper


def front_of(offers: Sequence[Offer], limits: Limits) -> list[Choice]:
    """Return the systems, those of the front first, then by the chance to keep both limits.

    On the front is what no other system beats in both median time and median cost. A system whose
    price is unknown is on no front; nor is one that more likely than not never reaches the target.
    Costs of different currencies are not compared: the front is that of the most frequent one.
    """
    choices = [_choice(offer, limits) for offer in offers]
    currencies = [one.currency for one in choices if one.currency is not None]
    main = max(currencies, key=currencies.count, default=None)
    placed = [one for one in choices if _is_placed(one) and one.currency == main]
    marked = []
    for one in choices:
        beaten = next((other for other in placed if one in placed and _beats(other, one)), None)
        marked.append(
            one._replace(
                on_front=one in placed and beaten is None,
                beaten_by=_name(beaten) if beaten else None,
            )
        )
    return sorted(marked, key=_rank)


def _choice(offer: Offer, limits: Limits) -> Choice:
    made, draws = offer.drawn.prediction, offer.drawn.draws.seconds
    in_time = draws <= (np.inf if limits.deadline_s is None else limits.deadline_s)
    in_time &= np.isfinite(draws)
    in_cost = both = None
    cost = None
    if offer.cost is not None:
        cost = forecast.summarise(offer.cost, made.steps_n)
    comparable = limits.cost is None or offer.currency == limits.currency
    if offer.cost is not None and comparable:
        kept = offer.cost <= (np.inf if limits.cost is None else limits.cost)
        kept &= np.isfinite(offer.cost)
        in_cost, both = float(kept.mean()), float((kept & in_time).mean())
    elif limits.cost is None:
        both = float(in_time.mean())
    return Choice(
        prediction=made,
        seconds=made.estimate(),
        cost=cost,
        currency=offer.currency,
        price_source=offer.price_source,
        in_time=float(in_time.mean()),
        in_cost=in_cost,
        both=both,
        on_front=False,
        beaten_by=None,
    )


def _is_placed(one: Choice) -> bool:
    return one.seconds.value is not None and one.cost is not None and one.cost.value is not None


def _beats(other: Choice, one: Choice) -> bool:
    ours, theirs = _point(one), _point(other)
    return theirs != ours and theirs[0] <= ours[0] and theirs[1] <= ours[1]


def _point(one: Choice) -> tuple[float, float]:
    assert one.seconds.value is not None
    assert one.cost is not None
    assert one.cost.value is not None
    return one.seconds.value, one.cost.value


def _rank(one: Choice) -> tuple[bool, float, float]:
    seconds = one.seconds.value
    return not one.on_front, -(one.both or 0.0), float("inf") if seconds is None else seconds


def _name(one: Choice) -> str:
    from timetrial.forecast.predict import row_of

    return row_of(one.prediction).system
