"""What a price is, and what comes of it: frozen records that check themselves."""

from __future__ import annotations

import datetime
import math
from typing import Literal, TypeAlias

import msgspec

from timetrial.prices.currencies import CURRENCIES, check_currency
from timetrial.spec import Record

Covers: TypeAlias = Literal["machine", "host", "accelerators"]
"""What is had for the price: the whole machine, the machine without the accelerators that a
catalogue sells apart, or those accelerators alone."""

MONTHS_PER_YEAR = 12
HOURS_PER_MONTH_MAX = 365.25 * 24 / 12  # 24/7: 730.5


class Price(Record, frozen=True, kw_only=True, gc=False):
    """What an hour of one machine cost on a day, by whose word. None: not stated.

    Billing: `billing_step_s` None is to the second's fraction, `billing_min_s` None no minimum.
    `fee_per_machine` is charged once for every machine that is allocated; None is not stated, which
    is not 0.
    """

    provider: str
    per_hour: float  # in `currency`, of one machine
    currency: str  # ISO 4217
    source: str
    read_on: datetime.date  # when the source was read
    date: datetime.date | None = None  # of the price itself, where that is another day
    name: str | None = None  # of one's own, for --as
    region: str | None = None  # None: in all of them
    zone: str | None = None  # of the region
    instance: str | None = None
    accelerator: str | None = None
    accelerators: float | None = None  # how many; None: one, where there is an accelerator
    accelerator_memory_bytes: float | None = None  # of each
    covers: Covers = "machine"
    spot: bool = False
    billing_step_s: float | None = None
    billing_min_s: float | None = None
    fee_per_machine: float | None = None  # in `currency`
    fee_for: str | None = None
    url: str | None = None
    flaws: tuple[str, ...] = ()  # what is not sure or not comparable in it
    file: str = ""  # where it stands
    line: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no price can be."""
        if not 0 < self.per_hour < math.inf:
            raise ValueError(
                f"per_hour {self.per_hour:g} is not possible. Allowed: above 0; leave out what "
                "costs nothing, and what is not known"
            )
        if self.currency not in CURRENCIES:
            check_currency(self.currency)
        if not (self.provider and self.source):
            missing = "source" if self.provider else "provider"
            raise ValueError(f"{missing} is empty. Say whose price it is, and where it was read")
        if self.accelerators is not None and not 0 < self.accelerators < math.inf:
            raise ValueError(
                f"accelerators {self.accelerators:g} is not possible. Allowed: above 0; leave it "
                "out where there is none"
            )
        if self.billing_step_s or self.billing_min_s or self.fee_per_machine:
            for name in ("billing_step_s", "billing_min_s", "fee_per_machine"):
                value = getattr(self, name)
                if value is not None and not _possible(value, zero=True):
                    raise ValueError(f"{name} {value:g} is not possible. Allowed: not below 0")


class Cost(Record, frozen=True, kw_only=True):
    """What a stretch of time on some machines costs.

    `amount` is all that is known: `compute`, and `fees` where they are stated.
    """

    amount: float
    compute: float
    fees: float | None  # None: not stated
    currency: str
    billed_s: float  # of each machine, after minimum and step
    machines: int


class Owned(Record, frozen=True, kw_only=True):
    """A machine of one's own. What is not known is None, and what follows from it unknown.

    Its life is given in years of calendar time or in hours of use, not both.
    """

    name: str
    currency: str
    source: str
    read_on: datetime.date  # when purchase and tariff were read
    purchase: float | None = None  # in `currency`
    life_years: float | None = None
    life_h: float | None = None
    hours_per_month: float | None = None  # of use
    power_w: float | None = None  # drawn in use
    tariff_per_kwh: float | None = None  # in `currency`
    url: str | None = None
    flaws: tuple[str, ...] = ()
    file: str = ""
    line: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_currency(self.currency)
        if not self.name or not self.source:
            raise ValueError(f"{'source' if self.name else 'name'} is empty.")
        for field in ("purchase", "tariff_per_kwh"):
            value = getattr(self, field)
            if value is not None and not _possible(value, zero=True):
                raise ValueError(f"{field} {value:g} is not possible. Allowed: not below 0.")
        for field in ("life_years", "life_h", "power_w"):
            value = getattr(self, field)
            if value is not None and not _possible(value, zero=False):
                raise ValueError(
                    f"{field} {value:g} is not possible. Allowed: above 0; leave out what is not "
                    "known."
                )
        if self.life_years is not None and self.life_h is not None:
            raise ValueError(
                f"life_years {self.life_years:g} and life_h {self.life_h:g} are both given. Leave "
                "one out."
            )
        check_hours(self.hours_per_month)


class Rate(Record, frozen=True, kw_only=True):
    """What one unit of a currency was worth in another on a day, by whose word."""

    from_: str = msgspec.field(name="from")
    to: str
    rate: float
    source: str
    read_on: datetime.date
    url: str | None = None
    file: str = ""
    line: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_currency(self.from_)
        check_currency(self.to)
        if not _possible(self.rate, zero=False):
            raise ValueError(f"rate {self.rate:g} is not possible. Allowed: above 0.")
        if self.from_ == self.to or not self.source:
            raise ValueError(
                f"from {self.from_} to {self.to}, source {self.source!r}: give two currencies, and "
                "where the rate was read."
            )


class Problem(Record, frozen=True, kw_only=True):
    """Why a line of a file is not in the book, or what is wrong with it."""

    file: str
    line: int | None
    message: str


class BreakEven(Record, frozen=True, kw_only=True):
    """From how much use on owning costs less than renting; None with the `reason`.

    `hours` is the use after which the purchase is earned back, `hours_per_month` that use spread
    over the life of the machine. Where running it costs as much as renting, or more, there is none.
    """

    own: str
    rent: str
    currency: str
    rent_per_hour: float
    fixed_per_month: float | None  # of owning: purchase over its life
    running_per_hour: float | None  # of owning: power
    hours: float | None
    hours_per_month: float | None
    reason: str
    use_per_month: float | None = None  # hours at which `own_per_hour` is told
    own_per_hour: float | None = None
    notes: tuple[str, ...] = ()


def check_hours(hours_per_month: float | None) -> None:
    """Refuse a use per month that no month has.

    Raises:
        ValueError: Not above 0, or above 730.5 (24/7).
    """
    if hours_per_month is not None and not 0 < hours_per_month <= HOURS_PER_MONTH_MAX:
        raise ValueError(
            f"hours_per_month {hours_per_month:g} is not possible. Allowed: above 0, up to "
            f"{HOURS_PER_MONTH_MAX:g}, which is 24/7."
        )


def _possible(value: float, *, zero: bool) -> bool:
    return math.isfinite(value) and (value > 0 or (zero and value == 0))
