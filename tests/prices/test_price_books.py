"""Files of one's own become books; what is wrong is named by line; a question has one answer."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from command_line import ROOT

from timetrial import prices
from timetrial.errors import AmbiguousPriceError, UnknownNameError, UsageError
from timetrial.prices.owncsv import COLUMNS

DAY = datetime.date(2026, 11, 22)
HEADER = "provider,region,instance,accelerator,per_hour,currency,spot,source,read_on"
GOOD = "aws,us-east-1,p3.2xlarge,V100,3.06,USD,false,aws.amazon.com,2026-11-01"


def book_of(tmp_path: Path, *lines: str, name: str = "book.csv") -> prices.Book:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return prices.read_book(path)


def problems_of(book: prices.Book) -> dict[int | None, str]:
    return {problem.line: problem.message for problem in book.problems}


# --- CSV ------------------------------------------------------------------------------------------


def test_a_csv_file_has_the_fields_of_a_price_as_columns(tmp_path: Path) -> None:
    values = {
        "provider": "aws", "per_hour": "3.06", "currency": "USD", "source": "a page",
        "read_on": "2026-11-01", "date": "2026-10-31", "name": "big", "region": "us-east-1",
        "zone": "us-east-1a", "instance": "p3.2xlarge", "accelerator": "V100",
        "accelerators": "1", "accelerator_memory_bytes": "17179869184", "covers": "machine",
        "spot": "true", "billing_step_s": "1", "billing_min_s": "60", "fee_per_machine": "5",
        "fee_for": "storage", "url": "https://example.com", "flaws": "one; two",
    }  # fmt: skip
    assert tuple(values) == COLUMNS

    book = book_of(tmp_path, ",".join(values), ",".join(values.values()))

    [price] = book.prices
    assert (price.per_hour, price.spot, price.billing_min_s) == (3.06, True, 60.0)
    assert (price.read_on, price.date) == (datetime.date(2026, 11, 1), datetime.date(2026, 10, 31))
    assert price.flaws == ("one", "two")
    assert (price.fee_per_machine, price.accelerator_memory_bytes) == (5.0, 2**34)
    assert (Path(price.file).name, price.line) == ("book.csv", 2)
    assert not book.problems


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GOOD.replace("USD", ""), "currency is empty: an amount needs its unit"),
        (GOOD.replace("USD", "dollars"), "currency 'dollars' is unknown"),
        (GOOD.replace("USD", "usd"), "Write USD"),
        (GOOD.replace("3.06", ""), "per_hour is empty: a price that is not known is left out"),
        (GOOD.replace("3.06", "0"), "per_hour 0 is not possible"),
        (GOOD.replace("3.06", "-3.06"), "per_hour -3.06 is not possible"),
        (GOOD.replace("3.06", "nan"), "per_hour nan is not possible"),
        (GOOD.replace("3.06", "$3.06"), "per_hour '$3.06' is not possible. Allowed: a number"),
        (GOOD.replace("3.06", '"3,06"'), "per_hour '3,06' is not possible. Allowed: a number"),
        (GOOD.replace("2026-11-01", "yesterday"), "read_on 'yesterday' is not possible"),
        (GOOD.replace("2026-11-01", ""), "read_on is empty: say when"),
        (GOOD.replace("aws.amazon.com", ""), "source is empty: say where"),
        (GOOD.replace("false", "maybe"), "spot 'maybe' is not possible. Allowed: true, false"),
        (GOOD + ",more", "10 cells; the header names 9 columns"),
        ("aws", "1 cells; the header names 9 columns"),
    ],
)
def test_a_wrong_line_is_left_out_and_named(tmp_path: Path, line: str, words: str) -> None:
    book = book_of(tmp_path, HEADER, GOOD, "", line)

    assert len(book.prices) == 1
    assert words in problems_of(book)[4]


def test_good_lines_beside_wrong_ones_are_all_kept(tmp_path: Path) -> None:
    lines = [GOOD.replace("us-east-1", f"r{number}") for number in range(2500)]
    for wrong in (0, 1200, 2499):
        lines[wrong] = lines[wrong].replace("3.06", "free")

    book = book_of(tmp_path, HEADER, *lines)

    assert len(book.prices) == 2497
    assert sorted(problems_of(book)) == [2, 1202, 2501]
    assert [price.line for price in book.prices[:2]] == [3, 4]


def test_doubles_are_named_and_those_that_differ_are_no_answer(tmp_path: Path) -> None:
    other = GOOD.replace("3.06", "2.95")
    book = book_of(tmp_path, HEADER, GOOD, GOOD, other)

    assert "the same price as line 2" in problems_of(book)[3]
    assert "line 2 has it at 3.06 USD/h" in problems_of(book)[4]
    with pytest.raises(AmbiguousPriceError, match=r"3.06 USD/h \(line 2\); .* 2.95 USD/h"):
        book.find(provider="aws", instance="p3.2xlarge")


def test_200_000_lines_are_read_whole(tmp_path: Path) -> None:
    lines = [f"aws,r{n % 40},i{n},V100,{1 + n / 1000:.3f},USD,,page,2026-11-01"
             for n in range(200_000)]  # fmt: skip
    lines[123_456] = lines[123_456].replace("USD", "XXX")

    book = book_of(tmp_path, HEADER, *lines)

    assert len(book.prices) == 199_999
    assert list(problems_of(book)) == [123_458]
    found = book.find(provider="aws", region="r7", instance="i199007")
    assert found is not None
    assert (found.per_hour, found.line) == (200.007, 199_009)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("book.csv", b"", "is empty"),
        ("book.csv", b"a,b\n1,2\n", "lacks currency, per_hour"),
        ("book.csv", b"provider;per_hour;currency\n", "is no price file"),
        ("book.csv", HEADER.encode() + b",region\n", "two columns 'region'"),
        ("book.csv", HEADER.encode() + b",colour\n", "Unknown column"),
        ("book.csv", HEADER.encode() + b'\n"aws', "line 2, is no CSV"),
        ("book.csv", b"\xff\xfe\x00", "is not UTF-8"),
        ("book.xlsx", b"x", "no known ending"),
        ("book.toml", b"[[price]\n", "is not TOML"),
        ("book.toml", b"colour = 1\n", "Unknown key 'colour'"),
        ("book.toml", b"source = 'x'\n", "has no price"),
        ("book.toml", b"price = 3\n", "price is no list of tables"),
    ],
)
def test_a_file_that_is_no_book_is_an_error(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(UsageError, match=words):
        prices.read_book(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .*none\.csv"):
        prices.read_book(tmp_path / "none.csv")


# --- TOML -----------------------------------------------------------------------------------------

TOML = """
source = "a page"
read_on = 2026-11-01
currency = "USD"
flaws = ["of all"]

[[price]]
provider = "aws"
instance = "p3.2xlarge"
per_hour = 3.06
flaws = ["of one"]

[[price]]
provider = "aws"
per_hour = -1
"""


def test_a_toml_file_says_once_what_all_prices_share(tmp_path: Path) -> None:
    book = book_of(tmp_path, TOML, name="book.toml")

    [price] = book.prices
    assert (price.source, price.read_on, price.currency) == (
        "a page", datetime.date(2026, 11, 1), "USD",
    )  # fmt: skip
    assert price.flaws == ("of one", "of all")
    assert price.line == 7
    [problem] = book.problems
    assert (problem.line, "per_hour -1" in problem.message) == (13, True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('per_hour = "3"', "per_hour '3' is not possible. Allowed: a number"),
        ("", "per_hour is missing"),
        ('per_hour = 3\ncurrency = "euro"', "currency 'euro' is unknown"),
        ("per_hour = 3\nprice = 4", "unknown key 'price'"),
        ('per_hour = 3\nread_on = "May"', "read_on 'May' is not possible. Allowed: a day"),
        ("per_hour = 3\nflaws = 1", "flaws 1 is not possible. Allowed: a list"),
        ('per_hour = 3\ncovers = "half"', "Allowed: machine, host, accelerators"),
        ("per_hour = 3\nspot = 1", "spot 1 is not possible. Allowed: true, false"),
    ],
)
def test_a_wrong_table_is_left_out_and_named(tmp_path: Path, line: str, words: str) -> None:
    top = 'source = "x"\nread_on = 2026-11-01\ncurrency = "USD"'
    book = book_of(tmp_path, top, '[[price]]\nprovider = "a"', line, name="book.toml")

    assert not book.prices
    assert words in problems_of(book)[4]


def test_machines_of_ones_own_and_rates_stand_in_the_same_file() -> None:
    book = prices.read_book(ROOT / "examples" / "prices.toml")

    assert not book.problems
    assert [owned.name for owned in book.owned] == ["laptop", "workstation"]
    [rate] = book.rates
    assert (rate.from_, rate.to, rate.rate) == ("EUR", "USD", 1.1)
    assert all("made up" in price.source for price in book.prices)


def test_two_machines_of_one_name_are_a_problem(tmp_path: Path) -> None:
    owned = '[[owned]]\nname = "laptop"\ncurrency = "EUR"\nsource = "x"\nread_on = 2026-01-01\n'
    book = book_of(tmp_path, owned, owned, name="book.toml")

    assert "owned 'laptop' is there twice" in problems_of(book)[7]


# --- questions ------------------------------------------------------------------------------------


def entry(provider: str = "aws", per_hour: float = 3.06, **more: object) -> prices.Price:
    fields = {"currency": "USD", "source": "a page", "read_on": DAY, **more}
    return prices.Price(provider=provider, per_hour=per_hour, **fields)


def test_the_latest_price_of_the_day_asked_or_before_is_found() -> None:
    days = [datetime.date(2026, month, 1) for month in (1, 5, 9)]
    book = prices.Book([entry(per_hour=i + 1.0, instance="p3", read_on=day)
                        for i, day in enumerate(days)])  # fmt: skip

    def at(day: datetime.date | None) -> float | None:
        found = book.find(instance="p3", at=day)
        return None if found is None else found.per_hour

    assert at(None) == 3.0
    assert at(datetime.date(2026, 8, 31)) == 2.0
    assert at(datetime.date(2026, 5, 1)) == 2.0
    assert at(datetime.date(2025, 12, 31)) is None


def test_spot_and_on_demand_are_never_mixed() -> None:
    book = prices.Book([entry(instance="p3"), entry(per_hour=1.0, instance="p3", spot=True)])

    on_demand, spot = book.find(instance="p3"), book.find(instance="p3", spot=True)

    assert on_demand is not None
    assert spot is not None
    assert (on_demand.per_hour, spot.per_hour) == (3.06, 1.0)
    assert prices.Book([entry(instance="p3")]).find(instance="p3", spot=True) is None


def test_several_prices_that_differ_are_an_error_that_names_them() -> None:
    book = prices.Book([
        entry(instance="p3", region="us-east-1"),
        entry(per_hour=3.5, instance="p3", region="eu-west-1"),
    ])  # fmt: skip

    with pytest.raises(AmbiguousPriceError, match=r"us-east-1 3.06 USD/h; .*eu-west-1 3.5 USD/h"):
        book.find(instance="p3")
    found = book.find(instance="p3", region="eu-west-1")
    assert found is not None
    assert found.per_hour == 3.5


def test_two_currencies_are_ambiguous_even_at_one_number() -> None:
    book = prices.Book([entry(instance="p3"), entry(instance="p3", currency="EUR", region="eu")])

    with pytest.raises(AmbiguousPriceError):
        book.find(instance="p3")


def test_one_price_in_many_places_is_an_answer_without_a_place() -> None:
    book = prices.Book([entry(instance="p3", region=region) for region in ("a", "b")])

    found = book.find(instance="p3")

    assert found is not None
    assert (found.instance, found.region) == ("p3", None)


def test_a_regions_own_price_goes_before_that_of_all_regions() -> None:
    book = prices.Book([entry(instance="p3"), entry(per_hour=4.0, instance="p3", region="eu")])

    inside, outside = book.find(instance="p3", region="eu"), book.find(instance="p3", region="us")

    assert inside is not None
    assert outside is not None
    assert (inside.per_hour, outside.per_hour) == (4.0, 3.06)


@pytest.mark.parametrize(
    ("listed", "seen", "same"),
    [
        ("V100", "Tesla V100-SXM2-16GB", True),
        ("A100-80GB", "NVIDIA A100-SXM4-80GB", True),
        ("A100-80GB", "NVIDIA A100-SXM4-40GB", False),
        ("RTX4090", "NVIDIA GeForce RTX 4090", True),
        ("RTX 3090", "NVIDIA GeForce RTX 3090", True),
        ("RTX 3090", "NVIDIA GeForce RTX 3090 Ti", False),
        ("A6000", "NVIDIA RTX A6000", True),
        ("T4", "Tesla T4", True),
        ("T4", "NVIDIA T4G", False),
        ("K80", "Tesla V100-SXM2-16GB", False),
        ("", "Tesla T4", False),
        ("GTX 1070", "NVIDIA GeForce GTX 1070 with Max-Q Design", False),
    ],
)
def test_a_catalogues_name_fits_a_drivers_or_not(listed: str, seen: str, same: bool) -> None:
    assert prices.same_accelerator(listed, seen) is same


def test_the_closest_name_of_an_accelerator_is_taken() -> None:
    book = prices.Book([
        entry(per_hour=1.0, accelerator="A100", instance="small"),
        entry(per_hour=2.0, accelerator="A100-80GB", instance="large"),
    ])  # fmt: skip

    found = book.find(accelerator="NVIDIA A100-SXM4-80GB", accelerators=1)

    assert found is not None
    assert found.instance == "large"
    assert book.find(accelerator="NVIDIA A100-SXM4-80GB", accelerators=8) is None


@pytest.mark.parametrize(
    "name", ["big", "p3.2xlarge", "aws/p3.2xlarge", "AWS/us-east-1/p3.2xlarge", "aws/V100"]
)
def test_a_price_is_named_by_itself_or_by_its_place(name: str) -> None:
    price = entry(name="big", instance="p3.2xlarge", region="us-east-1", accelerator="V100")

    assert prices.Book([price]).named(name) == price


def test_an_unknown_name_is_told_the_nearest() -> None:
    book = prices.Book([entry(name="big", instance="p3.2xlarge")])

    with pytest.raises(UnknownNameError, match=r"Did you mean 'aws/p3\.2xlarge'"):
        book.named("aws/p3.2xlarg")


def test_a_name_that_has_no_price_so_early_is_unknown_not_an_error() -> None:
    book = prices.Book([entry(name="big")])

    assert book.named("big", at=datetime.date(2020, 1, 1)) is None
    assert book.named("big", spot=True) is None
