"""What the quick commands leave unimported: nobody waits for what is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import environment

FRAMEWORKS = {"torch", "sklearn", "jax", "tensorflow", "keras", "matplotlib", "pandas"}
NUMERICAL = {"numpy", "scipy"}


def loaded_after(statement: str, folder: Path) -> set[str]:
    """The top-level packages in a fresh interpreter after `statement`."""
    code = (
        "import contextlib, io, sys\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    {statement}\n"
        "print(' '.join({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return set(done.stdout.split())


def command(*arguments: str) -> str:
    return f"sys.argv = {['timetrial', *arguments]!r}; from timetrial.cli import main; main()"


def test_importing_timetrial_imports_next_to_nothing(tmp_path: Path) -> None:
    loaded = loaded_after("import timetrial", tmp_path)

    assert loaded & (FRAMEWORKS | NUMERICAL | {"rich", "typer", "msgspec", "psutil"}) == set()


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("--version",)])
def test_help_imports_nothing_numerical(arguments: tuple[str, ...], tmp_path: Path) -> None:
    loaded = loaded_after(command(*arguments), tmp_path)

    assert loaded & (FRAMEWORKS | NUMERICAL | {"rich", "psutil"}) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",), ("show", "mnist-cnn"), ("list", "suites"), ("list", "algorithms"),
        ("show", "top-k"),
    ],
)  # fmt: skip
def test_rules_are_listed_and_shown_without_anything_numerical(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    loaded = loaded_after(command(*arguments), tmp_path)

    assert loaded & (FRAMEWORKS | NUMERICAL) == set()


def test_the_parent_of_a_real_run_imports_no_framework(tmp_path: Path) -> None:
    run = command("run", "breast-cancer-logreg", "--seeds=1", "--store=runs")

    loaded = loaded_after(run, tmp_path)

    assert loaded & FRAMEWORKS == set()
    assert len(list(tmp_path.glob("runs/*/done.json"))) == 1
