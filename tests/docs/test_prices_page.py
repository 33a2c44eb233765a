"""The page about prices: its book is the example, its table the record, its commands run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ROOT, Outcome, Ran

from timetrial.prices import read_book
from timetrial.prices.owncsv import COLUMNS

PAGE = (ROOT / "docs" / "prices.md").read_text(encoding="utf-8")
COMMANDS = [
    re.sub(r"\s{2,}#.*$", "", line.strip())
    for line in PAGE.splitlines()
    if line.startswith("    timetrial ")
]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_book_of_the_page_is_the_example() -> None:
    [book] = blocks("toml")

    assert book == (ROOT / "examples" / "prices.toml").read_text(encoding="utf-8")


def test_the_csv_of_the_page_is_a_book(tmp_path: Path) -> None:
    [text] = blocks("csv")
    (tmp_path / "book.csv").write_text(text, encoding="utf-8")

    book = read_book(tmp_path / "book.csv")

    assert (len(book.prices), list(book.problems)) == (1, [])


def test_the_table_of_the_page_has_every_field_of_a_price() -> None:
    first_cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]

    assert sorted(re.findall(r"`(\w+)`", "".join(first_cells))) == sorted(COLUMNS)


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_does_what_it_says(
    command: str,
    logreg: Ran,
    call: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(logreg.store, tmp_path / "timetrial-runs")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)

    seen = call(*shlex.split(command)[1:])

    assert (seen.code, seen.err) == (0, "")
    assert seen.out
