"""What people ask a whole book: what is in it, and whether owning pays by it."""

from __future__ import annotations

import datetime

from timetrial import units
from timetrial.errors import UnknownNameError, UsageError
from timetrial.prices.billing import date_of
from timetrial.prices.book import Book
from timetrial.prices.owning import break_even_hours_per_month
from timetrial.prices.records import HOURS_PER_MONTH_MAX, BreakEven, Price


def summary(book: Book) -> dict[str, str | int | list[str]]:
    """Return what a book holds: label -> text, number or texts."""
    days = [date_of(price) for price in book.prices]
    return {
        "files": list(book.files),
        "format": book.form,
        "prices": len(book.prices),
        "of_them_spot": sum(price.spot for price in book.prices),
        "providers": sorted({price.provider for price in book.prices}),
        "currencies": sorted({price.currency for price in book.prices}),
        "dates": [] if not days else list(dict.fromkeys([str(min(days)), str(max(days))])),
        "owned": [owned.name for owned in book.owned],
        "rates": [f"{rate.from_} to {rate.to}, {rate.read_on}" for rate in book.rates],
    }


def owning_or_renting(
    book: Book,
    own: str,
    rent: str,
    *,
    spot: bool = False,
    at: datetime.date | None = None,
    hours_per_month: float | None = None,
) -> BreakEven:
    """Return from how much use on the machine `own` of the book costs less than its price `rent`.

    Raises:
        UnknownNameError: The book has no such machine, or no such price.
        UsageError: The price is ambiguous, too new for `at`, or in a currency without a rate.
    """
    machines = {owned.name: owned for owned in book.owned}
    if own not in machines:
        raise UnknownNameError("machine of one's own", own, machines)
    rented = book.named(rent, spot=spot, at=at)
    if not isinstance(rented, Price):
        why = "is one's own" if rented is not None else f"has no price of {at} or before"
        raise UsageError(f"--rent {rent} {why}. Name a price of something rented.")
    return break_even_hours_per_month(
        machines[own], rented, book.rates, at, hours_per_month=hours_per_month
    )


def break_even_words(found: BreakEven) -> list[str]:
    """Return a break-even as sentences."""

    def amount(value: float | None, of: str) -> str:
        return "unknown" if value is None else f"{units.money(value, found.currency)} {of}"

    lines = [
        f"{found.own}: {amount(found.fixed_per_month, 'per month')}, and in use "
        f"{amount(found.running_per_hour, 'per hour')}.",
        f"{found.rent}: {amount(found.rent_per_hour, 'per hour')}.",
    ]
    if found.own_per_hour is not None and found.use_per_month is not None:
        lines.append(
            f"{found.own} at {units.significant(found.use_per_month)} hours a month: "
            f"{amount(found.own_per_hour, 'per hour')}."
        )
    if found.hours_per_month is not None:
        lines.append(
            f"Owning costs less from {units.significant(found.hours_per_month)} hours a month on "
            f"(24/7 is {HOURS_PER_MONTH_MAX:g})."
        )
    else:
        lines.append(f"Hours a month from which owning costs less: {found.reason}.")
    if found.hours is not None:
        lines.append(f"The purchase is earned back in {found.hours:,.0f} hours of use.")
    return [*lines, *(f"Note: {note}" for note in found.notes)]
