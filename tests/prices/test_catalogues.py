"""SkyPilot's and gpuhunt's files, by their documented columns, with lines that are wrong."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from timetrial import prices
from timetrial.errors import AmbiguousPriceError, UsageError

DAY = datetime.date(2026, 11, 1)
SKYPILOT = (
    "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,"
    "AvailabilityZone,Price,SpotPrice,Arch"
)
INFO = "\"{'Gpus': [{'Name': 'V100', 'Count': 1.0}], 'TotalGpuMemoryInMiB': 16384}\""
GPUHUNT = (
    "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,"
    "gpu_vendor,flags,cpu_arch,provider_data"
)


def skypilot(tmp_path: Path, *lines: str, cloud: str = "aws") -> prices.Book:
    path = tmp_path / "catalogs" / "v8" / cloud / "vms.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join([SKYPILOT, *lines]) + "\n", encoding="utf-8")
    return prices.read_book(path, read_on=DAY)


def gpuhunt(tmp_path: Path, *lines: str) -> prices.Book:
    path = tmp_path / "lambdalabs.csv"
    path.write_text("\n".join([GPUHUNT, *lines]) + "\n", encoding="utf-8")
    return prices.read_book(path, read_on=DAY)


def test_a_line_of_skypilot_is_a_price_on_demand_and_one_as_spot(tmp_path: Path) -> None:
    line = f"p3.2xlarge,8.0,61.0,V100,1.0,{INFO},us-east-1,us-east-1a,3.06,1.01,x86_64"
    book = skypilot(tmp_path, line)

    assert book.form == "SkyPilot"
    assert not book.problems
    on_demand, spot = book.prices
    assert (on_demand.per_hour, on_demand.spot, spot.per_hour, spot.spot) == (
        3.06, False, 1.01, True,
    )  # fmt: skip
    for price in book.prices:
        assert (price.provider, price.instance, price.region, price.zone) == (
            "aws", "p3.2xlarge", "us-east-1", "us-east-1a",
        )  # fmt: skip
        assert (price.accelerator, price.accelerators, price.covers) == ("V100", 1.0, "machine")
        assert (price.currency, price.read_on, price.source) == ("USD", DAY, "SkyPilot catalogue")
        assert (price.billing_step_s, price.fee_per_machine) == (None, None), "not stated"


def test_zones_that_cost_the_same_are_one_answer_and_others_are_not(tmp_path: Path) -> None:
    book = skypilot(
        tmp_path,
        f"p3.2xlarge,8.0,61.0,V100,1.0,{INFO},us-east-1,us-east-1a,3.06,1.01,x86_64",
        f"p3.2xlarge,8.0,61.0,V100,1.0,{INFO},us-east-1,us-east-1b,3.06,0.99,x86_64",
    )

    found = book.find(provider="aws", region="us-east-1", instance="p3.2xlarge")

    assert found is not None
    assert (found.per_hour, found.region, found.zone) == (3.06, "us-east-1", None)
    with pytest.raises(AmbiguousPriceError, match="us-east-1b, 1 V100, spot"):
        book.find(region="us-east-1", instance="p3.2xlarge", spot=True)
    zone = book.find(region="us-east-1b", instance="p3.2xlarge", spot=True)
    assert zone is not None
    assert zone.per_hour == 0.99


def test_wrong_lines_of_skypilot_are_named(tmp_path: Path) -> None:
    book = skypilot(
        tmp_path,
        "m5.large,2.0,8.0,,,,us-east-1,us-east-1a,0.096,0.04,x86_64",
        "m5.xlarge,4.0,16.0,,,,us-east-1,us-east-1a,,,x86_64",
        "m5.2xlarge,8.0,32.0,,,,us-east-1,us-east-1a,cheap,,x86_64",
        "m5.4xlarge,16.0,64.0,,,,us-east-1,us-east-1a,0.0,,x86_64",
        "m5.8xlarge,32.0,128.0,,,,us-east-1",
        "m5.12xlarge,48.0,192.0,,,,us-east-1,us-east-1a,-1,,x86_64",
    )

    assert len(book.prices) == 2
    messages = {problem.line: problem.message for problem in book.problems}
    assert list(messages) == [3, 4, 5, 6, 7]
    assert "not known, not 0" in messages[3]
    assert "'cheap' is no number" in messages[4]
    assert "per_hour 0 is not possible" in messages[5]
    assert "7 cells" in messages[6]
    assert "per_hour -1" in messages[7]


def test_only_a_spot_price_is_no_price_on_demand(tmp_path: Path) -> None:
    book = skypilot(tmp_path, "2B300,60.0,550.0,B300,2.0,,FIN-03,,,4.893,", cloud="verda")

    assert [price.spot for price in book.prices] == [True]
    assert book.find(instance="2B300") is None


def test_where_accelerators_are_sold_apart_a_machine_is_priced_without(tmp_path: Path) -> None:
    """As Google's file has it: the price of a2-highgpu-1g there does not hold its A100."""
    book = skypilot(
        tmp_path,
        "a2-highgpu-1g,12.0,85.0,,,,us-central1,us-central1-a,0.73948,0.36975,",
        ",,,A100,1.0,,us-central1,us-central1-a,2.9339,1.46,",
        cloud="gcp",
    )

    assert [price.covers for price in book.prices] == ["host", "host"] + 2 * ["accelerators"]
    assert book.find(provider="gcp", region="us-central1", instance="A100") is None


def test_the_path_says_whose_a_file_of_skypilots_is(tmp_path: Path) -> None:
    path = tmp_path / "downloads" / "vms.csv"
    path.parent.mkdir()
    path.write_text(f"{SKYPILOT}\nm5,2.0,8.0,,,,us-east-1,,0.1,,\n", encoding="utf-8")

    with pytest.raises(UsageError, match="--provider NAME"):
        prices.read_book(path)
    assert prices.read_book(path, provider="aws").prices[0].provider == "aws"


def test_a_line_of_gpuhunt_is_a_price(tmp_path: Path) -> None:
    book = gpuhunt(
        tmp_path,
        "gpu_1x_a10,us-east-1,0.75,30,200.0,1,A10,24.0,False,1400.0,nvidia,,x86,{}",
        'gpu_1x_a10,us-east-1,0.3,30,200.0,1,A10,24.0,True,,nvidia,,x86,"{""a"": 1}"',
        "cpu_4x,us-east-1,0.2,4,16.0,0,,,False,,,,x86,",
    )

    assert book.form == "gpuhunt"
    assert not book.problems
    a10, spot, cpu = book.prices
    assert (a10.provider, a10.region, a10.per_hour) == ("lambdalabs", "us-east-1", 0.75)
    assert (a10.accelerator, a10.accelerators) == ("A10", 1.0)
    assert a10.accelerator_memory_bytes == 24 * 2**30
    assert (spot.spot, spot.per_hour) == (True, 0.3)
    assert (cpu.accelerator, cpu.accelerators) == (None, None)


def test_memory_tells_gpus_of_one_name_apart(tmp_path: Path) -> None:
    book = gpuhunt(
        tmp_path,
        "a100,us,1.29,30,200.0,1,A100,40.0,False,,nvidia,,x86,",
        "a100_80,us,1.99,30,200.0,1,A100,80.0,False,,nvidia,,x86,",
    )

    found = book.find(
        accelerator="NVIDIA A100-SXM4-80GB", accelerators=1, accelerator_memory_bytes=81920 * 2**20
    )

    assert found is not None
    assert found.instance == "a100_80"


def test_wrong_lines_of_gpuhunt_are_named(tmp_path: Path) -> None:
    book = gpuhunt(
        tmp_path,
        "i1,us,,30,240,1,A10,24.0,False,,nvidia,,x86,",
        ",us,0.5,30,240,1,A10,24.0,False,,nvidia,,x86,",
        "i3,us,0.5,30,240,1,A10,24.0,,,nvidia,,x86,",
        "i4,us,0.5,30,240,2,,,False,,,,x86,",
        "i5,us,0,30,240,0,,,False,,,,x86,",
        "i6,us,0.5,30,240,x,A10,24.0,False,,nvidia,,x86,",
    )

    assert not book.prices
    messages = {problem.line: problem.message for problem in book.problems}
    assert list(messages) == [2, 3, 4, 5, 6, 7]
    assert "price is empty" in messages[2]
    assert "instance_name is empty" in messages[3]
    assert "spot ''" in messages[4]
    assert "disagree" in messages[5]
    assert "per_hour 0" in messages[6]
    assert "'x' is no number" in messages[7]


def test_a_catalogue_is_dated_by_its_file_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "aws.csv"
    path.write_text(f"{GPUHUNT}\ni1,us,0.5,30,240,0,,,False,,,,x86,\n", encoding="utf-8")
    noon = datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.UTC).timestamp()
    os.utime(path, (noon, noon))

    [price] = prices.read_book(path).prices

    assert price.read_on == datetime.date(2026, 7, 1)
    assert price.flaws == ("dated by its file: the catalogue has no date",)
    assert not prices.read_book(path, read_on=DAY).prices[0].flaws
