"""The table of cloud-check: machine by machine, with prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from timetrial import findings, references, units
from timetrial.findings import Group
from timetrial.rows import Row, Table, TableColumn, TableLine
from timetrial.suites.cloud_check import TASK
from timetrial.suites.lines import (
    gpus_of,
    machine_of,
    measured_line,
    published_lines,
    software_of,
)

CLOCK: Final = "cloud-check"
UNKNOWN: Final = "unknown"
COLUMNS: Final = (
    TableColumn(name="provider", heading="Provider", text=True),
    TableColumn(name="region", heading="Region", text=True),
    TableColumn(name="gpu", heading="GPU", text=True),
    TableColumn(name="image", heading="Image", text=True),
    TableColumn(
        name="time",
        heading="Run time",
        about="clock cloud-check: loaders, network and training; the test left out",
    ),
    TableColumn(name="price", heading="Price", about="as given with --price-per-hour"),
    TableColumn(name="cost", heading="Cost per run", about="run time x price / 3600"),
    TableColumn(
        name="billed",
        heading="Cost billed",
        about="the same from the start of the command to its end; without set-up and storage",
    ),
    TableColumn(name="fees", heading="Fixed fees", about="in no cost per run"),
    TableColumn(name="accuracy", heading="Test accuracy", about="dropout off"),
    TableColumn(
        name="dropout_on", heading="with dropout on", about="test accuracy as the document took it"
    ),
)
_NOTES: Final = (
    "The network is called VGG16 in the document; its script has 17 convolutions, as the task.",
    "Published accuracy was taken with dropout on during the test, and only as a range: compare it "
    "with the column of that name, not with test accuracy.",
    "A network without batch norm at this learning rate can fail to learn for some seeds: one run "
    "each does not show that.",
)


def tables(groups: Sequence[Group]) -> list[Table]:
    """Return the document's table: measured lines, then the published ones."""
    flaws = references.flaws_of("cloud_check.toml")
    lines = [_measured(group) for group in groups]
    lines += published_lines([TASK], _published, general=flaws)
    return [
        Table(
            suite="cloud-check",
            title=f"{TASK}, machine by machine",
            columns=COLUMNS,
            lines=lines,
            notes=[*(f"published: {flaw}" for flaw in flaws), *_NOTES],
        )
    ]


def _measured(group: Group) -> TableLine:
    place = findings.place_of(group.runs[-1])
    price = group.system.price_usd_per_h
    gpus = gpus_of(group)
    hardware = machine_of(group)
    image = f"{place.image or UNKNOWN}, {software_of(group)}"
    return measured_line(
        group,
        {
            "provider": f"provider {UNKNOWN}" if place.provider is None else place.provider,
            "region": f"region {UNKNOWN}" if place.region is None else place.region,
            "gpu": hardware if group.system.device != "cpu" else _unused(gpus, hardware),
            "image": image,
            "time": findings.run_time_row(group, CLOCK),
            "price": UNKNOWN if price is None else units.quantity(price, "USD/h"),
            "cost": findings.cost_row(group, CLOCK),
            "billed": findings.cost_row(group, "billed"),
            "fees": UNKNOWN,
            "accuracy": findings.per_run_row_of(group, "final_test_accuracy"),
            "dropout_on": findings.own_value_row(group, "accuracy_with_dropout_on", "fraction"),
        },
    )


def _unused(gpus: int | None, hardware: str) -> str:
    if gpus is None:
        return f"GPUs {UNKNOWN}: {hardware}"
    return f"no GPU: {hardware}" if gpus == 0 else f"{gpus} GPU not used: {hardware}"


def _published(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    first = rows["run_time"]
    return {
        **{name: first.facts[name] for name in ("provider", "region", "gpu", "image", "fees")},
        "time": first,
        "price": rows.get("price"),
        "cost": rows.get("cost_per_run"),
    }
