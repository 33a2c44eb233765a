"""What is billed for a stretch of time, and how old a price is. Pure."""

from __future__ import annotations

import datetime
import math
from typing import Final

from timetrial.errors import UsageError
from timetrial.prices.records import Cost, Price

OLD_AFTER_DAYS: Final = 90
_STEP_DIGITS: Final = 9  # a float's error must not cost a step


def billed_cost(price: Price, billed_s: float, *, machines: int = 1) -> Cost:
    """Return what `billed_s` seconds from allocation to release cost on so many machines.

    No less than the minimum is billed, and whole steps; the fee once for each machine.

    Raises:
        UsageError: A time that is negative or not finite, or no machine.
    """
    if not (math.isfinite(billed_s) and billed_s >= 0) or machines < 1:
        raise UsageError(
            f"{billed_s:g} s on {machines} machines cannot be billed. Allowed: a time from 0, at "
            "least 1 machine."
        )
    seconds = max(billed_s, price.billing_min_s or 0.0)
    if price.billing_step_s and seconds > 0:
        steps = math.ceil(round(seconds / price.billing_step_s, _STEP_DIGITS))
        seconds = max(steps, 1) * price.billing_step_s
    compute = price.per_hour * (seconds / 3600) * machines
    fees = None if price.fee_per_machine is None else price.fee_per_machine * machines
    return Cost(
        amount=compute + (fees or 0.0),
        compute=compute,
        fees=fees,
        currency=price.currency,
        billed_s=seconds,
        machines=machines,
    )


def date_of(price: Price) -> datetime.date:
    """Return the day for which the price is known."""
    return price.date or price.read_on


def age_note(price: Price, at: datetime.date) -> str | None:
    """Return a mark for a price that is more than OLD_AFTER_DAYS older than `at`, else None."""
    return old_note(date_of(price), at)


def old_note(day: datetime.date, at: datetime.date) -> str | None:
    """Return a mark for an amount of a day more than OLD_AFTER_DAYS before `at`, else None."""
    days = (at - day).days
    return f"old price: of {day}, {days} days before {at}" if days > OLD_AFTER_DAYS else None


def words_of(price: Price) -> str:
    """Return which price it is, such as "aws p3.2xlarge, us-east-1, spot"."""
    count = price.accelerators or 1
    device = price.accelerator and f"{count:g} {price.accelerator}"
    named = " ".join(part for part in (price.provider, price.instance) if part)
    parts = [named, price.zone or price.region, device, "spot" if price.spot else None]
    return ", ".join(part for part in parts if part)
