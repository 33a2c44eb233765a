"""What the documents promise: links lead somewhere, command lines are command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main
from command_line import ROOT, Outcome

from timetrial.cli import app

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/*.md")]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
FENCE = re.compile(r"^ {0,3}```")
PLACEHOLDER = re.compile(r"^[A-Z][A-Z_]+$|…|\.\.\.|^<.*>$|\[|\||^\$")
QUICK = {("list",), ("show",), ("--help",), ("--version",), ("data", "list")}


class Written(NamedTuple):
    """A command line in a document."""

    page: Path
    line: int
    text: str


def name(path: object) -> str:
    if isinstance(path, Path):
        return str(path.relative_to(ROOT))
    if isinstance(path, Written):
        return f"{path.page.relative_to(ROOT)}:{path.line}"
    return str(path)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def commands() -> Iterator[Written]:
    """Lines of code blocks and code spans that begin with `timetrial VERB`."""
    for page in PAGES:
        fenced = False
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if FENCE.match(line):
                fenced = not fenced
                continue
            texts = re.findall(r"`([^`]+)`", line)
            if fenced or line.startswith("    "):
                texts = [line.strip()]
            for text in texts:
                text = re.sub(r"^(\$ |% )?(\S*/)?timetrial ", "timetrial ", text)
                text = re.sub(r"\s{2,}#? .*$| # .*$", "", text)
                if text.startswith("timetrial ") and re.match(r"timetrial [a-z-]", text):
                    yield Written(page, number, text)


COMMANDS = [*commands()]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    text = without_code(page.read_text(encoding="utf-8"))
    targets = [next(filter(None, match.groups())) for match in LINK.finditer(text)]
    lost = []
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path) if path else page
        named = not anchor or aim.suffix != ".md" or (aim.exists() and anchor in anchors(aim))
        if not (aim.exists() and named):
            lost.append(target)

    assert lost == []


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("written", COMMANDS, ids=name)
def test_every_command_line_names_a_verb_and_options_that_exist(written: Written) -> None:
    words = shlex.split(written.text)[1:]
    command = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        verb = words.pop(0)
        for single in verb.split("|"):  # `timetrial report|compare`
            assert single in command.commands, f"{written.text}: no verb {single}"
        command = command.commands[verb.partition("|")[0]]
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {"--help", "-h"}

    if "--" in words:  # what follows is a command of its own
        words = words[: words.index("--")]

    unknown = [
        word for word in words if word.startswith("-") and word.partition("=")[0] not in known
    ]

    assert unknown == [], written.text


@pytest.mark.parametrize(
    "written",
    [
        written
        for written in COMMANDS
        if any(tuple(written.text.split()[1:])[: len(verb)] == verb for verb in QUICK)
        and not any(PLACEHOLDER.search(word) for word in written.text.split()[1:])
    ],
    ids=name,
)
def test_quick_commands_do_what_they_say(
    written: Written,
    call: Callable[..., Outcome],
    examples: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(examples)

    seen = call(*shlex.split(written.text)[1:])

    assert (seen.code, seen.err) == (0, "")


@pytest.mark.parametrize(
    "written",
    [
        written
        for written in COMMANDS
        if written.text.startswith("timetrial run")
        and not {"--resume", "--dry-run"} & set(written.text.split())
        and not any(PLACEHOLDER.search(word) for word in written.text.split()[1:])
    ],
    ids=name,
)
def test_runs_in_the_docs_can_be_planned(
    written: Written,
    call: Callable[..., Outcome],
    examples: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(examples)

    _, verb, *words = shlex.split(written.text)

    seen = call(verb, "--dry-run", *words)  # what follows -- is a command's own

    assert seen.code == 0 or "--cores" in seen.err or "had" in seen.err, seen.err
