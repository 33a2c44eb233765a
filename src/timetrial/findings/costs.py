"""What a run costs: seconds on a clock times the price of an hour. An unknown price stays so."""

from __future__ import annotations

from typing import Final

import msgspec

from timetrial.findings.estimates import (
    completed,
    inference_note,
    left_out_note,
    make_row,
    mean_row,
)
from timetrial.findings.groups import Group
from timetrial.rows import Row
from timetrial.stats import clocks, measures
from timetrial.stats.intervals import Estimate

PRICE_SOURCE: Final = "given on the command line"
UNKNOWN_PRICE: Final = "price unknown: give it with --price-per-hour USD"


def cost_row(group: Group, clock_name: str) -> Row:
    """Return the row of cost_per_run on one clock; its value is None where the price is unknown.

    Of the runs that did their work: seconds on the clock x USD per hour / 3600, times the machines
    that the workers ran on: the price is that of one machine. Storage, set-up and other fees are
    not in it.
    """
    price = group.system.price_usd_per_h
    clock = clocks.find_clock(clock_name)
    done = completed(group)
    if price is None:
        return make_row(
            group,
            measure="cost_per_run",
            unit="USD",
            estimate=Estimate(value=None, low=None, high=None, n=len(done.runs), method="unknown"),
            clock=clock_name,
            notes=[UNKNOWN_PRICE],
        )
    found = mean_row(group, "cost_per_run", "USD", costs_usd(done, clock_name))
    if found is None:
        nothing = Estimate(value=None, low=None, high=None, n=0, method="unknown")
        found = make_row(
            group, measure="cost_per_run", unit="USD", estimate=nothing, notes=left_out_note(group)
        )
    date = group.runs[-1].plan.created_utc[:10]
    return msgspec.structs.replace(
        found,
        clock=clock_name,
        notes=[
            *found.notes,
            *(inference_note(group) if "infer" in clock.counts else []),
            f"at {price:g} USD per hour{_machines(group)}, {PRICE_SOURCE}, {date}; no fees",
        ],
        facts={"usd_per_h": f"{price:g}", "price_source": PRICE_SOURCE, "price_date": date},
    )


def costs_usd(group: Group, clock_name: str) -> list[float | None]:
    """Return what each run of the group cost; None without a price or where the clock is unknown.

    The price is that of an hour of one machine: it counts once for each that the workers ran on.
    """
    price, clock = group.system.price_usd_per_h, clocks.find_clock(clock_name)
    if price is None:
        return [None for _ in group.runs]
    seconds = [
        clocks.elapsed_s(run.stretches, clock, data_share=measures.data_share(run))
        for run in group.runs
    ]
    per_s = price * group.system.hosts / 3600
    return [None if second is None else second * per_s for second in seconds]


def _machines(group: Group) -> str:
    """Say how many machines the price counts for, where there are several workers."""
    workers, hosts = group.system.workers, group.system.hosts
    if workers == 1:
        return ""
    if hosts == 1:
        return f" for the one machine of all {workers} workers"
    return f" for each of {hosts} machines"


def cost_rows(group: Group) -> list[Row]:
    """Return the cost of a run, as billed and on the headline clock; [] without a price."""
    if group.system.price_usd_per_h is None:
        return []
    return [cost_row(group, "billed"), cost_row(group, clocks.HEADLINE)]
