"""Real runs through the real command line, made once and shared by all folders that read them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from command_line import ONE_CORE, ROOT, Outcome, Ran, run_side_by_side, run_timetrial
from own_data import copy_examples

from timetrial.cli import main

# a busy machine is no failure: no example is timed
hypothesis.settings.register_profile(
    "timetrial", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("timetrial")


@pytest.fixture(scope="session")
def timetrial() -> Callable[..., Outcome]:
    """The command line in a process of its own."""
    return run_timetrial


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """The command line's main function in this process: quick, for what starts no run."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("TIMETRIAL_HOME", raising=False)

    def called(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["timetrial", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        seen = capsys.readouterr()
        code = exit_.value.code
        return Outcome(code if isinstance(code, int) else int(code is not None), *seen)

    return called


@pytest.fixture(scope="session")
def first_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Five runs of digits-cnn, and the default number of breast-cancer-logreg."""
    wanted = {"digits-cnn": ["--seeds=5"], "breast-cancer-logreg": []}
    stores = {task: tmp_path_factory.mktemp(task) / "runs" for task in wanted}
    outcomes = run_side_by_side(
        *(
            ["run", task, *wanted[task], *ONE_CORE, "--json", "--store", stores[task]]
            for task in wanted
        )
    )
    return {
        task: Ran(stores[task], outcome) for task, outcome in zip(wanted, outcomes, strict=True)
    }


@pytest.fixture(scope="session")
def digits(first_runs: dict[str, Ran]) -> Ran:
    """Five runs of digits-cnn."""
    return first_runs["digits-cnn"]


@pytest.fixture(scope="session")
def logreg(first_runs: dict[str, Ran]) -> Ran:
    """The default number of runs of breast-cancer-logreg."""
    return first_runs["breast-cancer-logreg"]


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds examples/ and the data they learn, as made by their own command."""
    return copy_examples(tmp_path_factory.mktemp("with examples"))


@pytest.fixture(scope="session")
def precisions(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Two systems that every machine has: the example grid, run from elsewhere."""
    folder = tmp_path_factory.mktemp("precisions")
    shutil.copy(ROOT / "examples" / "grid.toml", folder / "grid.toml")
    (folder / "elsewhere").mkdir()
    outcome = run_timetrial("run", "../grid.toml", *ONE_CORE, "--json", cwd=folder / "elsewhere")
    return Ran(folder / "runs", outcome)
