"""Real runs through the real command line, made once and shared by all folders that read them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import filelock
import hypothesis
import msgspec
import pytest
from command_line import ONE_CORE, ROOT, Outcome, Ran, run_side_by_side, run_timetrial
from own_data import copy_examples

from timetrial.cli import main

# a busy machine is no failure: no example is timed
hypothesis.settings.register_profile(
    "timetrial", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("timetrial")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests: of two processes, neither ends long before."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)  # stable: files stay whole and in order


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Mapping[str, Ran]]
) -> dict[str, Ran]:
    """What `make` leaves in the folder it is given, for all processes of this test run."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # every process has a folder of its own below it
    kept = base / f"{name}.json"
    with filelock.FileLock(base / f"{name}.lock"):
        if not kept.exists():
            (base / name).mkdir()
            made = make(base / name)
            kept.write_bytes(
                msgspec.json.encode({key: [str(r[0]), r[1]] for key, r in made.items()})
            )
    return {
        key: Ran(Path(store), Outcome(*outcome))
        for key, (store, outcome) in msgspec.json.decode(kept.read_bytes()).items()
    }


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

    def make(folder: Path) -> dict[str, Ran]:
        stores = {task: folder / task / "runs" for task in wanted}
        outcomes = run_side_by_side(
            *(
                ["run", task, *wanted[task], *ONE_CORE, "--json", "--store", stores[task]]
                for task in wanted
            )
        )
        return {
            task: Ran(stores[task], outcome) for task, outcome in zip(wanted, outcomes, strict=True)
        }

    return made_once(tmp_path_factory, "first_runs", make)


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

    def make(folder: Path) -> dict[str, Ran]:
        shutil.copy(ROOT / "examples" / "grid.toml", folder / "grid.toml")
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        outcome = run_timetrial("run", "../grid.toml", *ONE_CORE, "--json", cwd=elsewhere)
        return {"grid": Ran(folder / "runs", outcome)}

    return made_once(tmp_path_factory, "precisions", make)["grid"]
