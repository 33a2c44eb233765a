"""Flights: the table is read to the last cell, in both forms."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tiny_dataset import searching

from timetrial import datasets
from timetrial.datasets import flights, sources
from timetrial.datasets.load import read_examples
from timetrial.errors import DataError, TimetrialError

HEADER = flights._HEADER.decode()
LINES = (
    "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z",
    "2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,N18120,EWR,RDU,NA,416,16,30,2013-01-01T21:00:00Z",
    "2013,9,30,2307,2245,22,2359,2353,6,B6,108,N193JB,JFK,PWM,56,273,22,45,2013-10-01T02:00:00Z",
)


def archive(*lines: str, name: str = "flights.csv") -> Mapping[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, "\n".join(lines) + "\n")
    return {"flights.csv.zip": buffer.getvalue()}


@pytest.mark.parametrize(("form", "times"), [("actual", (517, 2307)), ("scheduled", (515, 2245))])
def test_inputs_are_those_of_benchm_ml_and_cancelled_flights_are_left_out(form, times):
    found = flights.read(archive(HEADER, *LINES), departure=form)
    columns = flights.ACTUAL.columns
    named = [
        [c.categories[int(v)] if c.categories else v for c, v in zip(columns, row, strict=True)]
        for row in found.inputs
    ]
    assert named == [
        ["1", "1", "Tue", times[0], "UA", "EWR", "IAH", 1400],
        ["9", "30", "Mon", times[1], "B6", "JFK", "PWM", 273],
    ]
    assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (archive("year,month", *LINES), "begins with"),
        (archive(HEADER, LINES[0].replace("UA", "XX")), "a line that is no flight of 2013"),
        (archive(HEADER, LINES[0][:20]), "a line that is no flight of 2013"),
        (archive(HEADER, name="other.csv"), "not an archive that holds flights.csv"),
        ({"flights.csv.zip": b"PK no"}, "not an archive that holds flights.csv"),
    ],
)
def test_what_is_no_such_table_is_refused(content: Mapping[str, bytes], words: str):
    with pytest.raises(DataError, match=words):
        flights.read(content, departure="actual")


def test_all_flights_of_the_package(tmp_path: Path):
    info = datasets.get("flights-actual")
    try:
        located = sources.locate(info, searching(tmp_path, offline=True), fetch=False)
    except TimetrialError as error:
        pytest.skip(str(error))
    actual = read_examples(info, located.files)
    assert actual.inputs.shape == (328_521, 8)
    assert int(actual.labels.sum()) == 72_914
    counts = [len(column.categories) for column in info.columns]
    for column, count in enumerate(counts):
        if count:
            assert np.unique(actual.inputs[:, column]).tolist() == list(range(count))
