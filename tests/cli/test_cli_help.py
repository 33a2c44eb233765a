"""Help texts, and what a terminal of 80 columns shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main
from command_line import Outcome, Ran

from timetrial.cli import app

VERBS = (
    "run", "list", "show", "doctor", "report", "compare", "probe", "predict", "recommend",
    "price", "tune", "parity", "verify", "machine", "export", "data", "convergence",
)  # fmt: skip


def leaf_commands(
    command: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from leaf_commands(inner, (*path, name))


LEAVES = dict(leaf_commands(typer.main.get_command(app)))


def widest(text: str) -> int:
    return max(map(len, text.splitlines()), default=0)


def test_the_verbs_are_those_of_the_design() -> None:
    assert tuple(dict.fromkeys(path[0] for path in LEAVES)) == VERBS
    assert {path[1] for path in LEAVES if path[0] == "data"} == {"list", "fetch", "check"}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_option_says_what_it_does(path: tuple[str, ...]) -> None:
    assert LEAVES[path].help
    silent = [
        parameter.name for parameter in LEAVES[path].params if not getattr(parameter, "help", None)
    ]
    assert silent == []


@pytest.mark.parametrize("path", [(), ("data",), *LEAVES], ids=" ".join)
def test_every_help_fits_80_columns_and_is_not_cut(
    path: tuple[str, ...], call: Callable[..., Outcome]
) -> None:
    seen = call(*path, "--help")

    assert (seen.code, seen.err) == (0, "")
    assert widest(seen.out) <= 80
    assert "..." not in seen.out.partition("Commands:")[2]  # no summary is cut


def test_json_is_offered_by_every_verb_that_prints_results() -> None:
    without = {
        path
        for path, command in LEAVES.items()
        if "--json" not in [name for parameter in command.params for name in parameter.opts]
    }

    assert without == {("data", "fetch"), ("convergence", "update")}


@pytest.mark.parametrize(
    "arguments",
    [
        *[
            ("list", kind)
            for kind in ("clocks", "datasets", "exporters", "frameworks", "launchers")
        ],
        *[("list", kind) for kind in ("prices", "references", "spaces", "suites", "tasks")],
        *[("show", name) for name in ("breast-cancer-logreg", "digits-cnn", "quick")],
        ("show", "fashion-mnist-cnn"),
        ("show", "mnist-cnn"),
    ],
    ids=" ".join,
)
def test_lists_and_pages_fit_80_columns(
    arguments: tuple[str, ...], call: Callable[..., Outcome]
) -> None:
    assert widest(call(*arguments).out) <= 80


@pytest.mark.parametrize("ran", ["digits", "logreg", "precisions"])
def test_reports_fit_80_columns(
    ran: str, call: Callable[..., Outcome], request: pytest.FixtureRequest
) -> None:
    store = request.getfixturevalue(ran).store
    run = next(store.glob("*/plan.json")).parent

    for arguments in (("report", store), ("show", run), ("list", "runs", "--store", store)):
        assert widest(call(*arguments).out) <= 80


def test_verdicts_fit_80_columns(precisions: Ran, call: Callable[..., Outcome]) -> None:
    sides = ("precision=float32", "precision=float64", "--store", precisions.store)

    assert widest(call("compare", *sides).out) <= 80


def test_names_in_tables_are_never_broken(call: Callable[..., Outcome]) -> None:
    for kind in ("clocks", "tasks", "references", "suites"):
        rows = call("list", kind, "--json").json()
        table = call("list", kind).out
        names = {str(next(iter(row.values()))) for row in rows}
        assert {name for name in names if name not in table} == set()
