"""The page of the open division says what a script is really told."""

from __future__ import annotations

from command_line import ROOT

from timetrial.scripted.variables import MEANINGS


def test_the_page_lists_every_variable_with_its_meaning() -> None:
    text = (ROOT / "docs/open-division.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `TIMETRIAL_")]

    assert rows == [f"| `{name}` | {meaning} |" for name, meaning in MEANINGS.items()]
