"""A machine of one's own beside a rented one: what an hour of it costs, when buying pays.

An hour of use costs purchase / life in hours of use + power x tariff; a life in years is
life x 12 months x hours of use per month. Interest, repair, housing, and what it is sold for in the
end are left out.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from timetrial.errors import UsageError
from timetrial.prices.billing import age_note, old_note, words_of
from timetrial.prices.records import (
    HOURS_PER_MONTH_MAX,
    MONTHS_PER_YEAR,
    BreakEven,
    Owned,
    Price,
    Rate,
    check_hours,
)

LEFT_OUT = "interest, repair, housing and resale are left out"


def missing_of(owned: Owned, hours_per_month: float | None = None) -> list[str]:
    """Return what must be known for the cost of an hour and is not."""
    known = {
        "purchase": owned.purchase,
        "life_years or life_h": owned.life_years or owned.life_h,
        "hours_per_month": owned.life_h or hours_per_month or owned.hours_per_month,
        "power_w": owned.power_w,
        "tariff_per_kwh": owned.tariff_per_kwh,
    }
    return [name for name, value in known.items() if value is None]


def running_per_hour(owned: Owned) -> float | None:
    """Return what the power of an hour of use costs; None where draw or tariff is unknown."""
    if owned.power_w is None or owned.tariff_per_kwh is None:
        return None
    return owned.power_w / 1000 * owned.tariff_per_kwh


def cost_per_hour(owned: Owned, hours_per_month: float | None = None) -> float | None:
    """Return what an hour of use costs at so many hours per month, by default its own.

    None where something that it takes is unknown (`missing_of`).

    Raises:
        UsageError: More hours than a month has, or none.
    """
    _check(hours_per_month)
    running, life_h = running_per_hour(owned), life_hours(owned, hours_per_month)
    if owned.purchase is None or running is None or life_h is None:
        return None
    return owned.purchase / life_h + running


def life_hours(owned: Owned, hours_per_month: float | None = None) -> float | None:
    """Return how many hours it is used in its life; None where that is unknown."""
    if owned.life_h is not None:
        return owned.life_h
    use = hours_per_month or owned.hours_per_month
    if owned.life_years is None or use is None:
        return None
    return owned.life_years * MONTHS_PER_YEAR * use


def price_of_owned(owned: Owned, hours_per_month: float | None = None) -> Price | None:
    """Return the price of an hour of it as if it were rented; None where that is unknown.

    Raises:
        UsageError: More hours than a month has, or none; or it costs nothing at all.
    """
    per_hour = cost_per_hour(owned, hours_per_month)
    if per_hour is None:
        return None
    if per_hour == 0:
        raise UsageError(
            f"{owned.name} costs nothing by purchase 0 and no power: nothing is priced at 0. Leave "
            "out what is not known."
        )
    use = f"{life_hours(owned, hours_per_month):,.0f} hours of use in its life"
    return Price(
        provider="own",
        instance=owned.name,
        name=owned.name,
        per_hour=per_hour,
        currency=owned.currency,
        source=owned.source,
        url=owned.url,
        read_on=owned.read_on,
        fee_per_machine=0.0,
        flaws=(
            f"one's own: {owned.purchase:g} {owned.currency} over {use}, {owned.power_w:g} W at "
            f"{owned.tariff_per_kwh:g} {owned.currency} per kWh; {LEFT_OUT}",
            *owned.flaws,
        ),
        file=owned.file,
        line=owned.line,
    )


def break_even_hours_per_month(
    owned: Owned,
    rented: Price,
    rates: Sequence[Rate] = (),
    at: datetime.date | None = None,
    *,
    hours_per_month: float | None = None,
) -> BreakEven:
    """Return from how many hours of use per month on owning costs less than renting.

    With P the purchase, L its life in months, r the rent of an hour and e the power of an hour:
    P / L + e h < r h from h = P / L / (r - e) on. Amounts in two currencies need one of `rates`, of
    `at` or before; what is old then is marked in the notes. `hours_per_month` is the use at which
    an hour of owning is told, by default its own.

    Raises:
        UsageError: Two currencies and no rate between them.
    """
    here = in_currency(rented, owned.currency, rates, at)
    running = running_per_hour(owned)
    months = None if owned.life_years is None else owned.life_years * MONTHS_PER_YEAR
    fixed = None if owned.purchase is None or months is None else owned.purchase / months
    hours = least = None
    if running is None or owned.purchase is None:
        lacking = [n for n in missing_of(owned) if n in ("purchase", "power_w", "tariff_per_kwh")]
        reason = f"unknown: {', '.join(lacking)} of {owned.name} not stated"
    elif running >= here.per_hour:
        reason = f"never: the power alone costs {running:g} {owned.currency} per hour"
    else:
        hours = owned.purchase / (here.per_hour - running)
        least = None if months is None else hours / months
        reason = _reason(owned, hours, least)
        if least is not None and least > HOURS_PER_MONTH_MAX:
            least = None
    return BreakEven(
        own=owned.name,
        rent=words_of(rented),
        currency=owned.currency,
        rent_per_hour=here.per_hour,
        fixed_per_month=fixed,
        running_per_hour=running,
        hours=hours,
        hours_per_month=least,
        reason=reason,
        use_per_month=hours_per_month or owned.hours_per_month,
        own_per_hour=cost_per_hour(owned, hours_per_month),
        notes=(*_old(owned, rented, at), LEFT_OUT, *owned.flaws, *here.flaws),
    )


def _old(owned: Owned, rented: Price, at: datetime.date | None) -> list[str]:
    """Return marks of what is old at `at`."""
    if at is None:
        return []
    marks = {owned.name: old_note(owned.read_on, at), words_of(rented): age_note(rented, at)}
    return [f"{name}: {mark}" for name, mark in marks.items() if mark is not None]


def _reason(owned: Owned, hours: float, least: float | None) -> str:
    if least is None and owned.life_h is None:
        return "unknown: life_years not stated"
    if least is None:
        pays = "earned back within its life" if hours < (owned.life_h or 0) else "never earned back"
        return f"unknown: its life is {owned.life_h:g} hours of use; {pays}"
    if least > HOURS_PER_MONTH_MAX:
        return f"never: it would take {least:,.0f} hours a month, more than there are"
    return "owning costs less from there on"


def in_currency(
    price: Price, currency: str, rates: Sequence[Rate], at: datetime.date | None = None
) -> Price:
    """Return the price in another currency, by the latest of `rates` read on `at` or before.

    The rate stands in its flaws: it is dated, and has a source.

    Raises:
        UsageError: There is no such rate.
    """
    if price.currency == currency:
        return price
    pairs = {(price.currency, currency), (currency, price.currency)}
    fitting = [
        rate
        for rate in rates
        if (rate.from_, rate.to) in pairs and (at is None or rate.read_on <= at)
    ]
    if not fitting:
        day = "" if at is None else f" on {at} or before"
        raise UsageError(
            f"{words_of(price)} is in {price.currency}, and {currency} is asked for: no rate "
            f"between them is known{day}, and none is invented. Give one in the book, as [[rate]] "
            f'from = "{price.currency}", to = "{currency}", rate, source, read_on.'
        )
    rate = max(fitting, key=lambda found: found.read_on)
    factor = rate.rate if rate.from_ == price.currency else 1 / rate.rate
    fee = None if price.fee_per_machine is None else price.fee_per_machine * factor
    said = f"1 {rate.from_} = {rate.rate:g} {rate.to} ({rate.source}, {rate.read_on})"
    return msgspec.structs.replace(
        price,
        per_hour=price.per_hour * factor,
        fee_per_machine=fee,
        currency=currency,
        flaws=(*price.flaws, f"{price.per_hour:g} {price.currency}; {said}"),
    )


def _check(hours_per_month: float | None) -> None:
    try:
        check_hours(hours_per_month)
    except ValueError as error:
        raise UsageError(str(error)) from error
