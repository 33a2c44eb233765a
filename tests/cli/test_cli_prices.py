"""timetrial price: runs priced anew, books checked, owning beside renting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ROOT, Outcome, Ran

BOOK = ROOT / "examples" / "prices.toml"
WRONG = """provider,per_hour,currency,source,read_on
aws,3.06,USD,a page,2026-11-01
aws,,USD,a page,2026-11-01
gcp,2.0,EURO,a page,2026-11-01
"""


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.csv"
    path.write_text(WRONG, encoding="utf-8")
    return path


def test_runs_are_priced_anew_with_billed_and_train_only_cost_side_by_side(
    logreg: Ran, call: Callable[..., Outcome]
) -> None:
    seen = call("price", logreg.store, "--book", BOOK, "--as", "big", "--at", "2026-11-22")

    assert (seen.code, seen.err) == (0, "")
    assert widest(seen.out) <= 80
    for words in ("Cost, billed", "train only", "3.2 USD/h", "made up for this example"):
        assert words in one_line(seen.out).replace("Cost, Cost, Cost, train", "Cost, billed")
    assert "no less than 60.0 s" in one_line(seen.out)
    assert "old price" not in seen.out


def test_rows_as_json_are_rows_like_all_others(logreg: Ran, call: Callable[..., Outcome]) -> None:
    arguments = ("price", logreg.store, "--book", BOOK, "--as", "cellar", "--json")

    rows = call(*arguments, "--at", "2026-11-22").json()
    dollars = call(*arguments, "--at", "2026-11-22", "--currency", "USD").json()

    assert set(rows[0]) == set(logreg.outcome.json()[0])
    billed = next(
        row for row in rows if (row["measure"], row["clock"]) == ("cost_per_run", "billed")
    )
    assert billed["value"] == pytest.approx(0.35 + 0.5)  # an hour and a fee
    assert (billed["unit"], billed["n"]) == ("EUR", 3)
    assert dollars[0]["value"] == pytest.approx(billed["value"] * 1.1)
    assert {row["unit"] for row in dollars} == {"USD"}


def test_a_run_that_says_nothing_of_its_place_costs_unknown_never_0(
    logreg: Ran, call: Callable[..., Outcome]
) -> None:
    arguments = ("price", logreg.store, "--book", BOOK)

    rows = call(*arguments, "--json").json()
    words = call(*arguments)

    assert words.code == 0
    assert all(row["value"] is None for row in rows)
    assert "price unknown" in words.out
    assert "--as" in words.out


def test_history_is_marked_as_old_and_as_history(logreg: Ran, call: Callable[..., Outcome]) -> None:
    seen = call("price", logreg.store, "--history", "--as", "AWS/p3.2xlarge", "--at", "2026-11-22")
    before = call(
        "price", logreg.store, "--history", "--as", "AWS/p3.2xlarge", "--at", "2018-01-01", "--json"
    )

    assert "old price: of 2018-03-31, 3158 days before 2026-11-22" in one_line(seen.out)
    assert "history: published in March 2018" in one_line(seen.out)
    assert {row["value"] for row in before.json()} == {None}


def test_a_book_is_checked_and_summed_up(call: Callable[..., Outcome]) -> None:
    seen = call("price", "--book", BOOK)
    summary = call("price", "--book", BOOK, "--json").json()

    assert (seen.code, seen.err) == (0, "")
    assert "no wrong line" in seen.out
    assert (summary["prices"], summary["of_them_spot"], summary["problems"]) == (3, 1, [])
    assert summary["owned"] == ["laptop", "workstation"]


def test_wrong_lines_are_named_and_end_with_status_1(
    wrong: Path, call: Callable[..., Outcome]
) -> None:
    seen = call("price", "--book", wrong)
    going = call("price", "--book", wrong, "--keep-going")
    found = call("price", "--book", wrong, "--json")

    assert (seen.code, going.code, found.code) == (1, 0, 1)
    text = one_line(seen.out)
    assert "line 3: per_hour is empty" in text
    assert "line 4: currency 'EURO' is unknown" in text
    assert "2 wrong lines" in text
    assert [problem["line"] for problem in found.json()["problems"]] == [3, 4]


def test_runs_are_not_priced_by_a_book_with_wrong_lines_unless_told_to(
    wrong: Path, logreg: Ran, call: Callable[..., Outcome]
) -> None:
    arguments = ("price", logreg.store, "--book", wrong, "--as", "aws", "--json")
    refused = call(*arguments)
    wrong.write_text(WRONG.replace("aws,3.06", "cellar,3.06"), encoding="utf-8")
    going = call("price", logreg.store, "--book", wrong, "--keep-going", "--json")

    assert (refused.code, refused.out) == (1, "")
    assert "2 wrong lines" in refused.err
    assert "--keep-going" in refused.err
    assert going.code == 0
    assert "line 3" in going.err


def test_owning_or_renting(call: Callable[..., Outcome]) -> None:
    seen = call("price", "--book", BOOK, "--own", "laptop", "--rent", "cellar")
    found = call("price", "--book", BOOK, "--own", "laptop", "--rent", "cellar", "--json").json()
    unknown = call("price", "--book", BOOK, "--own", "workstation", "--rent", "cellar")

    # 1800 EUR over 48 months, 0.18 kW x 0.30: 37.5 / (0.35 - 0.054)
    assert found["hours_per_month"] == pytest.approx(37.5 / 0.296)
    assert "Owning costs less from 127 hours a month on" in seen.out
    assert "unknown: power_w of workstation not stated" in one_line(unknown.out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--as", "big"), "Add --book FILE"),
        (("--book", BOOK, "--own", "laptop"), "--own and --rent belong together"),
        (("runs", "--book", BOOK, "--own", "laptop", "--rent", "big"), "Leave out RUNS"),
        (("--book", BOOK, "--own", "laptob", "--rent", "big"), "Did you mean 'laptop'"),
        (("--book", BOOK, "--own", "laptop", "--rent", "workstation"), "is one's own"),
        (("--book", BOOK, "--at", "yesterday"), "--at yesterday is no day"),
        (("--book", "none.csv"), "Cannot read none.csv"),
        (("--book", BOOK, "--book", BOOK, "--provider", "aws"), "Name one --book"),
    ],
    ids=str,
)
def test_what_is_not_possible_is_said_in_one_line(
    arguments: tuple[str, ...], words: str, call: Callable[..., Outcome]
) -> None:
    seen = call("price", *arguments)

    assert (seen.code, seen.out) == (1, "")
    assert words in seen.err
    assert len(seen.err.splitlines()) == 1


def test_a_store_without_runs_is_an_error(tmp_path: Path, call: Callable[..., Outcome]) -> None:
    seen = call("price", tmp_path, "--book", BOOK)

    assert seen.code == 1
    assert "nothing to price" in seen.err


def test_an_ambiguous_name_is_an_error_that_names_the_prices(
    logreg: Ran, call: Callable[..., Outcome]
) -> None:
    seen = call("price", logreg.store, "--history", "--as", "K80")

    assert seen.code == 1
    assert "3 prices fit that differ" in seen.err
    assert "PROVIDER/INSTANCE" in seen.err


def test_the_shipped_prices_are_listed_as_history_with_their_days(
    call: Callable[..., Outcome],
) -> None:
    seen = call("list", "prices")
    rows = call("list", "prices", "--json").json()

    assert "historic price of" in seen.out
    assert "None is today's" in seen.out
    assert len(rows) == 15
    assert {row["date"][:4] for row in rows} == {"2018", "2019"}
    assert all(any(flaw.startswith("history") for flaw in row["flaws"]) for row in rows)
