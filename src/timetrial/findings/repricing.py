"""Runs priced anew from what they left: which price is theirs, and what they cost by it.

A price is a run's where all that it states is known of the run's machine and agrees: provider,
region, instance, accelerators, spot or not. Nothing is guessed: else the cost is unknown, and the
row says why.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from timetrial import prices, units
from timetrial.errors import AmbiguousPriceError
from timetrial.findings.estimates import completed, left_out_note, light_note, make_row, mean_row
from timetrial.findings.groups import Group, group_runs, place_of
from timetrial.prices import Asked, Book, Price
from timetrial.rows import Row, Table, TableColumn, TableLine
from timetrial.stats import clocks, measures
from timetrial.stats.intervals import Estimate
from timetrial.store import RunRecord

BILLED: Final = "billed"
CLOCKS: Final = (BILLED, clocks.HEADLINE, "train-only")
UNKNOWN: Final = "unknown"
NAME_IT: Final = "name a price with --as"
SPOT_UNKNOWN: Final = "whether it was spot is not known: priced on demand"
_COLUMNS: Final = (
    TableColumn(name="system", heading="System", text=True),
    TableColumn(name="price", heading="Price", text=True),
    TableColumn(
        name=BILLED,
        heading="Cost, billed",
        about="of a run: allocation to release in whole steps and no less than the minimum, all "
        "machines, with the fees that are stated",
    ),
    TableColumn(
        name=clocks.HEADLINE,
        heading="Cost, headline",
        about=f"seconds on the clock {clocks.HEADLINE} x price, no fees",
    ),
    TableColumn(
        name="train-only", heading="Cost, train only", about="seconds of training x price, no fees"
    ),
    TableColumn(name="fees", heading="Fees in it", about="in the cost billed, of every run"),
    TableColumn(
        name="all",
        heading="All runs",
        about="what all runs cost together, failed ones too, as billed",
    ),
)


class Wanted(NamedTuple):
    """How runs find their price."""

    at: datetime.date
    name: str | None = None  # --as
    spot: bool | None = None  # None: as the machine said
    currency: str | None = None  # None: that of each price
    hours_per_month: float | None = None  # of use of one's own machine


class Choice(NamedTuple):
    """The price of a run; None: unknown, and the notes say why."""

    price: Price | None
    notes: tuple[str, ...] = ()


class Repriced(NamedTuple):
    """What runs cost by a book."""

    rows: list[Row]
    table: Table


def reprice(records: Sequence[RunRecord], book: Book, wanted: Wanted) -> Repriced:
    """Return what the runs cost by the book, as rows and as a table.

    Raises:
        UsageError: What was named is ambiguous or not there, or there is no rate to the currency.
    """
    lines: list[TableLine] = []
    rows: list[Row] = []
    for group, choice in _priced_groups(records, book, wanted):
        found = _rows(group, choice, wanted.at)
        rows += found.values()
        lines.append(_line(group, choice, found))
    learned = [record for record in records if record.plan.learned is not None]
    ended = [record for record in learned if record.status is not None]
    notes = []
    if len(learned) < len(records):
        notes.append(f"{len(records) - len(learned)} runs learn nothing: left out")
    if len(ended) < len(learned):
        notes.append(f"{len(learned) - len(ended)} runs are not finished: left out")
    currencies = sorted({row.unit for row in rows if row.value is not None})
    if len(currencies) > 1:
        notes.append(
            f"amounts are in {', '.join(currencies)}, which are not compared: --currency and a "
            "[[rate]] in the book make them one"
        )
    table = Table(
        suite="price", title=f"by the prices of {wanted.at}", columns=_columns(lines), lines=lines,
        notes=notes,
    )  # fmt: skip
    return Repriced(rows, table)


def _columns(lines: Sequence[TableLine]) -> list[TableColumn]:
    """Return the columns: of fees and of all runs only where they say more than the others."""
    left_out = set()
    fees = [line.cells.get("fees") for line in lines]
    if not any(isinstance(cell, Row) and cell.value for cell in fees):
        left_out.add("fees")
    pairs = [(line.cells.get("all"), line.cells[BILLED]) for line in lines]
    if all(
        not isinstance(spent, Row) or (isinstance(one, Row) and spent.n == one.n)
        for spent, one in pairs
    ):
        left_out.add("all")
    return [column for column in _COLUMNS if column.name not in left_out]


def _priced_groups(
    records: Sequence[RunRecord], book: Book, wanted: Wanted
) -> list[tuple[Group, Choice]]:
    """Return the systems with their price; runs of one that had several are apart.

    What was given with --price-per-hour as they ran does not tell them apart.
    """
    merged: dict[tuple[object, ...], tuple[Group, Choice]] = {}
    for group in group_runs(records):
        system = group.system._replace(price_usd_per_h=None)
        for run in group.runs:
            choice = choice_of(run, book, wanted)
            key = (system, choice)
            known, _ = merged.get(key, (Group(system, group.task, []), choice))
            merged[key] = (known._replace(runs=[*known.runs, run]), choice)
    return list(merged.values())


# --- which price ----------------------------------------------------------------------------------


def choice_of(record: RunRecord, book: Book, wanted: Wanted) -> Choice:
    """Return the price of one run.

    Raises:
        UsageError: What `wanted` names is ambiguous or not there, or there is no rate.
    """
    found = _named(record, book, wanted) if wanted.name else _by_place(record, book, wanted)
    if found.price is None or wanted.currency is None:
        return found
    price = prices.in_currency(found.price, wanted.currency, book.rates, wanted.at)
    return found._replace(price=price)


def _named(record: RunRecord, book: Book, wanted: Wanted) -> Choice:
    assert wanted.name is not None
    spot, notes = _spot(record, wanted)
    found = book.named(wanted.name, spot=bool(spot), at=wanted.at)
    if found is None:
        kind = "spot" if spot else "on-demand"
        why = f"price unknown: no {kind} price of {wanted.name} of {wanted.at} or before"
        return Choice(None, (why,))
    if isinstance(found, Price):
        return Choice(found, notes if _sold_both_ways(found) else ())
    return _own(found, wanted)


def _own(owned: prices.Owned, wanted: Wanted) -> Choice:
    if owned.read_on > wanted.at:
        why = f"price unknown: {owned.name} is known from {owned.read_on} on, not at {wanted.at}"
        return Choice(None, (why,))
    price = prices.price_of_owned(owned, wanted.hours_per_month)
    if price is not None:
        return Choice(price)
    missing = ", ".join(prices.missing_of(owned, wanted.hours_per_month))
    return Choice(None, (f"price unknown: {missing} of {owned.name} not stated",))


def _spot(record: RunRecord, wanted: Wanted) -> tuple[bool | None, tuple[str, ...]]:
    """Return whether the machine was spot, and what is not sure of it."""
    if wanted.spot is not None:
        return wanted.spot, ()
    cloud = record.machine.cloud if record.machine is not None else None
    if cloud is None or cloud.spot is None:
        return None, (SPOT_UNKNOWN,)
    return cloud.spot, ()


def _by_place(record: RunRecord, book: Book, wanted: Wanted) -> Choice:
    place = place_of(record)
    if place.provider is None:
        return Choice(None, (f"price unknown: nobody says where it ran; {NAME_IT}",))
    for owned in book.owned:
        if owned.name == place.provider:
            return _own(owned, wanted)
    spot, notes = _spot(record, wanted)
    asked = _asked(record, book, wanted.at, spot=bool(spot))
    try:
        found = prices.choose(
            (
                price
                for price in book.of(asked)
                if price.covers == "machine" or not _has_accelerators(record)
            ),
            asked,
        )
    except AmbiguousPriceError as error:
        return Choice(None, (f"price unknown: {error}",))
    if found is None:
        kind = "spot price" if spot else "price"
        what = [asked.provider, asked.region, asked.instance, asked.accelerator]
        words = ", ".join(part for part in what if part)
        why = (
            f"price unknown: the book has no {kind} of {words} of {wanted.at} or before; {NAME_IT}"
        )
        return Choice(None, (why,))
    if found.instance is None and found.accelerator is not None:
        notes = (f"found by its accelerator, {asked.accelerator}", *notes)
    return Choice(found, notes if _sold_both_ways(found) else ())


def _sold_both_ways(price: Price) -> bool:
    """Return whether it may be sold as spot too: what has no name of its kind is the only one."""
    return price.instance is not None or price.accelerator is not None


def _asked(record: RunRecord, book: Book, at: datetime.date, *, spot: bool) -> Asked:
    """Return what is known of a run's machine, as a question.

    The image counts as its instance where the book has one of that name: nothing else declares it.
    """
    place, here = place_of(record), record.machine
    instance = here.cloud.instance_type if here is not None and here.cloud else None
    if instance is None and record.plan.image and book.has_instance(record.plan.image):
        instance = record.plan.image
    devices = here.accelerators if here is not None else ()
    if instance is not None or not devices or len({device.name for device in devices}) != 1:
        return Asked(place.provider, place.region, instance, spot=spot, at=at)
    return Asked(
        provider=place.provider,
        region=place.region,
        accelerator=devices[0].name,
        accelerators=float(len(devices)),
        accelerator_memory_bytes=devices[0].memory_bytes,
        spot=spot,
        at=at,
    )


def _has_accelerators(record: RunRecord) -> bool:
    """Return whether the machine shows accelerators, or the run used one."""
    shown = record.machine is not None and bool(record.machine.accelerators)
    return shown or record.plan.device != "cpu"


# --- what it costs --------------------------------------------------------------------------------


def _rows(group: Group, choice: Choice, at: datetime.date) -> dict[str, Row]:
    """Return the rows of cost by name of their column; `fees` only where they are stated."""
    done = completed(group)
    rows = {name: _cost_row(group, done, choice, name, at) for name in CLOCKS}
    price = choice.price
    if price is None:
        return rows
    fees = [_billed(run, group, price) for run in done.runs]
    stated = [None if cost is None else cost.fees for cost in fees]
    row = mean_row(done, "fees_per_run", price.currency, stated)
    if row is not None:
        rows["fees"] = _said(row, choice, BILLED, at)
    rows["all"] = _said(_spent_row(group, price), choice, BILLED, at)
    return rows


def _cost_row(group: Group, done: Group, choice: Choice, clock: str, at: datetime.date) -> Row:
    price = choice.price
    currency = price.currency if price is not None else "USD"
    costs: list[float | None] = [None for _ in done.runs]
    if price is not None and clock == BILLED:
        bills = [_billed(run, group, price) for run in done.runs]
        costs = [None if bill is None else bill.amount for bill in bills]
    elif price is not None:
        per_s = price.per_hour * group.system.hosts / 3600
        seconds = [_seconds(run, clock) for run in done.runs]
        costs = [None if second is None else second * per_s for second in seconds]
    row = mean_row(done, "cost_per_run", currency, costs)
    if row is None:
        n = len(done.runs) if price is None else 0
        nothing = Estimate(value=None, low=None, high=None, n=n, method=UNKNOWN)
        row = make_row(group, measure="cost_per_run", unit=currency, estimate=nothing)
    return _said(row, choice, clock, at, [*left_out_note(group)])


def _spent_row(group: Group, price: Price) -> Row:
    """Return what all runs cost together, failed ones too; a sum, without an interval."""
    bills = [_billed(run, group, price) for run in group.runs]
    known = [bill.amount for bill in bills if bill is not None]
    value = sum(known) if len(known) == len(bills) else None
    estimate = Estimate(value=value, low=None, high=None, n=len(bills), method="sum")
    return make_row(group, measure="cost_of_all_runs", unit=price.currency, estimate=estimate)


def _billed(run: RunRecord, group: Group, price: Price) -> prices.Cost | None:
    seconds = _seconds(run, BILLED)
    if seconds is None:
        return None
    return prices.billed_cost(price, seconds, machines=group.system.hosts)


def _seconds(run: RunRecord, clock: str) -> float | None:
    share = measures.data_share(run)
    return clocks.elapsed_s(run.stretches, clocks.find_clock(clock), data_share=share)


def _said(row: Row, choice: Choice, clock: str, at: datetime.date, more: Sequence[str] = ()) -> Row:
    """Return the row with its clock, and with whose price it is, of when, and what is not sure."""
    price = choice.price
    if price is None:
        notes = [*row.notes, *more, *choice.notes]
        return msgspec.structs.replace(row, clock=clock, notes=notes)
    mark = prices.age_note(price, at)
    notes = [*row.notes, *more, *([mark] if mark else []), *choice.notes, _source(price)]
    notes += [*_billing_words(price), *price.flaws]
    facts = {
        "price": f"{price.per_hour:g}",
        "currency": price.currency,
        "price_of": prices.words_of(price),
        "price_source": price.source,
        "price_date": prices.date_of(price).isoformat(),
        "price_read_on": price.read_on.isoformat(),
        "priced_at": at.isoformat(),
        "spot": "true" if price.spot else "false",
    }
    return msgspec.structs.replace(
        row, clock=clock, notes=list(dict.fromkeys(notes)), facts={**row.facts, **facts}
    )


def _source(price: Price) -> str:
    amount = units.stated(price.per_hour, f"{price.currency} per hour")
    read = f"of {price.date}, read" if price.date else "read"
    return f"{amount}, {prices.words_of(price)}: {price.source}, {read} {price.read_on}"


def _billing_words(price: Price) -> list[str]:
    """Say what of the billing is known."""
    said = []
    if price.covers == "host":
        said.append("the machine without the accelerators that its catalogue prices apart")
    if price.covers == "accelerators":
        said.append("the accelerators alone, without their machine")
    if price.billing_min_s:
        said.append(f"billed for no less than {units.duration(price.billing_min_s)}")
    if price.billing_step_s:
        said.append(f"billed in steps of {units.duration(price.billing_step_s)}")
    if price.fee_per_machine is None:
        return [*said, "fees are not stated, and not in it"]
    if price.fee_per_machine > 0:
        what = f" ({price.fee_for})" if price.fee_for else ""
        fee = units.stated(price.fee_per_machine, price.currency)
        said.append(f"with {fee} for each machine of each run{what}")
    return said


def _line(group: Group, choice: Choice, rows: dict[str, Row]) -> TableLine:
    price = choice.price
    cells: dict[str, Row | str] = {"system": group.system.name, **rows}
    cells["price"] = f"price {UNKNOWN}"
    if price is not None:
        cells["price"] = units.stated(price.per_hour, f"{price.currency}/h")
        cells.setdefault("fees", "not stated")
    light = light_note(group)
    notes = [*([light] if light else []), *(note for row in rows.values() for note in row.notes)]
    return TableLine(
        group=group.system.task,
        origin="measured",
        date=max(run.plan.created_utc for run in group.runs)[:10],
        source=f"timetrial {group.runs[-1].plan.timetrial}",
        n=len(group.runs),
        cells=cells,
        notes=list(dict.fromkeys(notes)),
        evidence=[run.run.path.name for run in group.runs],
    )
