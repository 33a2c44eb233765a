"""Other people's catalogues as CSV files, read offline: SkyPilot's schema 8 and gpuhunt's.

Sources: skypilot-org/skypilot-catalog, README.md, "Schema V8" (columns of vms.csv); and
dstackai/gpuhunt, src/gpuhunt/_internal/models.py (RawCatalogItem; "price: $ per hour"); both read
2026-11-23. Neither file holds a date, a currency, billing steps or fees: prices are in USD, steps
and fees are not stated.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from timetrial.errors import UsageError
from timetrial.prices.records import Price, Problem

SKYPILOT: Final = frozenset(
    {"InstanceType", "AcceleratorName", "AcceleratorCount", "Region", "Price", "SpotPrice"}
)
GPUHUNT: Final = frozenset(
    {"instance_name", "location", "price", "gpu_count", "gpu_name", "gpu_memory", "spot"}
)
GIB: Final = 2**30  # gpuhunt counts memory of GPUs in GB and means these: 80 for 81,920 MiB
SKYPILOT_SOURCE: Final = "SkyPilot catalogue"
GPUHUNT_SOURCE: Final = "gpuhunt catalogue"


class Lines:
    """The lines of a CSV text, and what was wrong with them."""

    def __init__(self, text: str, file: str) -> None:
        """Read the header.

        Raises:
            UsageError: The file is empty, or its header cannot be read.
        """
        self.file = file
        self.problems: list[Problem] = []
        self._reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            self.header = [cell.strip() for cell in next(self._reader, [])]
        except csv.Error as error:
            raise UsageError(f"{file}, line 1, is no CSV: {error}.") from error
        if not any(self.header):
            raise UsageError(f"{file} is empty. Its first line names the columns.")
        twice = sorted({name for name in self.header if self.header.count(name) > 1})
        if twice:
            raise UsageError(f"{file} has two columns {twice[0]!r}. Name each once.")

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the cells of each line that has as many as the header.

        Raises:
            UsageError: A line that is no CSV: what follows it cannot be told apart.
        """
        width, reader = len(self.header), self._reader
        try:
            for cells in reader:
                if len(cells) == width:
                    yield reader.line_num, cells
                elif any(cells):
                    self.refuse(
                        reader.line_num, f"{len(cells)} cells; the header names {width} columns"
                    )
        except csv.Error as error:
            raise UsageError(
                f"{self.file}, line {reader.line_num}, is no CSV: {error}. Correct its quotes."
            ) from error

    def refuse(self, line: int, message: str) -> None:
        """Keep why a line is left out."""
        self.problems.append(Problem(file=self.file, line=line, message=message))


def _reason(error: ValueError) -> str:
    """Return what is wrong with a line in words of people."""
    text = str(error).removeprefix("could not convert string to float: ")
    if text == str(error):
        return text
    return f"{text} is no number. Allowed: such as 3.06, without unit or separators"


def skypilot_provider(path: Path) -> str:
    """Return whose prices a file of SkyPilot's holds: v8/aws/vms.csv is of aws, and so is aws.csv.

    Raises:
        UsageError: Its path does not tell.
    """
    if path.stem != "vms":
        return path.stem
    folders = path.resolve().parts
    if len(folders) >= 3 and folders[-3].startswith("v") and folders[-3][1:].isdecimal():
        return folders[-2]
    raise UsageError(
        f"{path} does not tell whose prices it holds. Add --provider NAME, or keep it as SkyPilot "
        "does, in v8/NAME/vms.csv."
    )


def skypilot(
    lines: Lines, provider: str, read_on: datetime.date, flaws: tuple[str, ...]
) -> list[Price]:
    """Return the prices of SkyPilot's vms.csv: of a line, those on demand and as spot.

    A line without an instance is an accelerator that is added to one; the instances of such a file
    that name no accelerator are priced without (so Google's).
    """
    place = {name: column for column, name in enumerate(lines.header)}
    instance_at, region_at = place["InstanceType"], place["Region"]
    name_at, count_at = place["AcceleratorName"], place["AcceleratorCount"]
    columns = ((place["Price"], False), (place["SpotPrice"], True))
    zone_at = place.get("AvailabilityZone")
    file, apart = lines.file, False
    found: list[Price] = []
    for line, cells in lines:
        instance, accelerator = cells[instance_at], cells[name_at]
        apart = apart or not instance
        try:
            if not (instance or accelerator):
                raise ValueError("neither InstanceType nor AcceleratorName")
            if not (cells[columns[0][0]] or cells[columns[1][0]]):
                raise ValueError("neither Price nor SpotPrice: not known, not 0")
            count = float(cells[count_at]) if cells[count_at] else None
            found += [
                Price(
                    provider=provider,
                    region=cells[region_at] or None,
                    zone=(cells[zone_at] or None) if zone_at is not None else None,
                    instance=instance or None,
                    accelerator=accelerator or None,
                    accelerators=count,
                    covers="machine" if instance else "accelerators",
                    per_hour=float(cells[column]),
                    currency="USD",
                    spot=spot,
                    source=SKYPILOT_SOURCE,
                    read_on=read_on,
                    flaws=flaws,
                    file=file,
                    line=line,
                )
                for column, spot in columns
                if cells[column]
            ]
        except ValueError as error:
            lines.refuse(line, _reason(error))
    return [_without_accelerators(price) for price in found] if apart else found


def _without_accelerators(price: Price) -> Price:
    """Return what the price is in a catalogue that sells accelerators apart."""
    if price.covers == "accelerators" or price.accelerator is not None:
        return price
    return msgspec.structs.replace(price, covers="host")


def gpuhunt(
    lines: Lines, provider: str, read_on: datetime.date, flaws: tuple[str, ...]
) -> list[Price]:
    """Return the prices of gpuhunt's <provider>.csv."""
    place = {name: column for column, name in enumerate(lines.header)}
    instance_at, price_at, region_at = place["instance_name"], place["price"], place["location"]
    name_at, count_at, memory_at = place["gpu_name"], place["gpu_count"], place["gpu_memory"]
    spot_at, file = place["spot"], lines.file
    found: list[Price] = []
    for line, cells in lines:
        instance, price, memory = cells[instance_at], cells[price_at], cells[memory_at]
        try:
            if not instance or not price:
                missing = "price" if instance else "instance_name"
                raise ValueError(f"{missing} is empty: what is not known is not priced at 0")
            spot = cells[spot_at].lower()
            if spot not in ("true", "false"):
                raise ValueError(f"spot {spot!r} is not possible. Allowed: True, False")
            count = float(cells[count_at] or "0")
            name = cells[name_at] or None
            if (name is None) != (count == 0):
                raise ValueError(f"gpu_count {count:g} and gpu_name {name or ''!r} disagree")
            found.append(
                Price(
                    provider=provider,
                    region=cells[region_at] or None,
                    instance=instance,
                    accelerator=name,
                    accelerators=count or None,
                    accelerator_memory_bytes=float(memory) * GIB if name and memory else None,
                    per_hour=float(price),
                    currency="USD",
                    spot=spot == "true",
                    source=GPUHUNT_SOURCE,
                    read_on=read_on,
                    flaws=flaws,
                    file=file,
                    line=line,
                )
            )
        except ValueError as error:
            lines.refuse(line, _reason(error))
    return found
