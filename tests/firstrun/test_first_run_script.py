"""scripts/first-run.sh: what it refuses, what it asks for, and a run with what is there already."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from command_line import ROOT, Outcome

from timetrial import firstrun

SCRIPT = ROOT / "scripts" / "first-run.sh"
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="a script for bash"
)


def first_run(folder: Path, *arguments: str, **more: str) -> Outcome:
    """The script as it lies in an empty home: nothing of this machine's environment but PATH."""
    env = {"HOME": str(folder), "PATH": os.environ["PATH"], "COLUMNS": "80", **more}
    done = subprocess.run(
        ["bash", SCRIPT, *arguments],
        cwd=folder,
        env={name: value for name, value in env.items() if value},
        capture_output=True,
        encoding="utf-8",
        timeout=250,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def bare_path(folder: Path, *names: str, python: str | None = None) -> str:
    """A PATH of the few programs that every system has; `python` is what python3 does."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    usual = (
        "bash",
        "sed",
        "mkdir",
        "dirname",
        "basename",
        "cat",
        "date",
        "grep",
        "mv",
        "rm",
        "tail",
    )
    for name in (*usual, *names):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    if python is not None:
        (programs / "python3").write_text(f"#!/bin/bash\n{python}\n")
        (programs / "python3").chmod(0o755)
    return str(programs)


def said(folder: Path) -> list[list[str]]:
    log = folder / "timetrial-first-run" / "set-up.tsv"
    return [line.split("\t") for line in log.read_text().splitlines()]


def test_help_is_the_top_of_the_file_and_sets_nothing_up(tmp_path: Path) -> None:
    done = first_run(tmp_path, "--help")
    assert done.code == 0
    assert "TIMETRIAL_SOURCE" in done.out
    assert "set -euo" not in done.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TIMETRIAL_SOURCE", "/no/such/wheel.whl", "does not exist; allowed: a checkout"),
        ("TIMETRIAL_DATA", "/no/such/folder", "is no folder"),
        ("PYTHON", "/no/such/python3", "is no Python of 3.11 or newer"),
        ("PYTHON", "cat", "is no Python of 3.11 or newer: cat"),
        ("TIMETRIAL_FOLDER", "/dev/null/here", "Name another with TIMETRIAL_FOLDER=DIR"),
    ],
)
def test_what_cannot_be_used_is_named_before_anything_is_done(
    name: str, value: str, words: str, tmp_path: Path
) -> None:
    done = first_run(tmp_path, **{name: value})
    assert done.code == 1
    assert value in done.err
    assert words in done.err
    assert not (tmp_path / "timetrial-first-run" / "set-up.tsv").exists()


def test_without_python_and_without_apt_it_says_what_to_install(tmp_path: Path) -> None:
    done = first_run(tmp_path, PATH=bare_path(tmp_path, "id"))
    assert done.code == 1
    assert "no Python of 3.11 or newer with venv, and no apt-get" in done.err


@pytest.mark.parametrize("python", ["exit 1", '[ "$1" = -c ] && [[ $2 != *ensurepip* ]]'])
def test_without_root_it_asks_for_the_line_that_root_types_and_counts_it(
    python: str, tmp_path: Path
) -> None:
    path = bare_path(tmp_path, python=python)
    programs = Path(path)
    for name, does in {"id": "echo 1000", "apt-get": "exit 9"}.items():
        (programs / name).write_text(f"#!/bin/bash\n{does}\n")
        (programs / name).chmod(0o755)
    for _ in range(2):
        done = first_run(tmp_path, PATH=path)
        assert done.code == 1
        assert "su -c 'apt-get update && apt-get install -y python3-venv'" in done.err
    assert [line[0] for line in said(tmp_path)] == ["invoked", "asked"] * 2
    read = firstrun.read_log(tmp_path / "timetrial-first-run" / "set-up.tsv")
    assert read.commands == 1 + 2 + 2


def test_a_step_that_fails_ends_the_script_with_its_words_and_the_next_run_goes_on(
    tmp_path: Path,
) -> None:
    venv.create(tmp_path / "timetrial-first-run" / "venv", with_pip=False)
    pip = "-m pip --version"
    python = tmp_path / "timetrial-first-run" / "venv" / "bin" / "python"
    python.unlink()
    python.write_text(f'#!/bin/bash\n[ "$*" = "{pip}" ] && exit 0\necho no index today\nexit 7\n')
    python.chmod(0o755)
    done = first_run(tmp_path)
    assert done.code == 1
    assert "this failed (code 7)" in done.err
    assert "no index today" in done.err
    assert "it goes on here" in done.err
    assert [line[:2] for line in said(tmp_path)[1:]] == [
        ["phase", "packages"],
        ["phase", "environment"],
    ]
    assert all(line[-1] == "reused" for line in said(tmp_path)[1:])


@pytest.mark.parametrize(
    ("flags", "fetched"),
    [
        ([], "data fetch --of cloud-check"),
        (["--dataset", "cifar10-jpeg", "--seeds", "1"], "data fetch cifar10-jpeg"),
        (["--dataset=cifar10,cifar10-jpeg"], "data fetch cifar10 cifar10-jpeg"),
    ],
    ids=["own", "one", "two"],
)
def test_the_data_set_that_the_flags_choose_is_fetched(
    tmp_path: Path, flags: list[str], fetched: str
) -> None:
    folder = tmp_path / "timetrial-first-run"
    (folder / "venv" / "bin").mkdir(parents=True)
    for name, program in (("python", "exit 0"), ("timetrial", f'echo "$*" >>{tmp_path}/calls')):
        (folder / "venv" / "bin" / name).write_text(f"#!/bin/bash\n{program}\n")
        (folder / "venv" / "bin" / name).chmod(0o755)
    (folder / "venv" / "installed").write_text("timetrial torch,gpu,images\n")
    done = first_run(tmp_path, *flags)
    assert done.code == 0, done.err
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[1] == fetched
    assert calls[2].startswith(" ".join(["run cloud-check --light", *flags]))


@pytest.mark.slow
def test_a_machine_that_has_everything_gets_its_row_and_a_second_run_says_what_it_reused(
    tmp_path: Path,
) -> None:
    """The environment of these tests stands in for one that an earlier run made."""
    folder = tmp_path / "timetrial-first-run"
    (folder / "venv" / "bin").mkdir(parents=True)
    for name in ("python", "timetrial"):
        program = f'exec "{sys.executable}" ' + (
            '-m timetrial "$@"' if name == "timetrial" else '"$@"'
        )
        (folder / "venv" / "bin" / name).write_text(f"#!/bin/bash\n{program}\n")
        (folder / "venv" / "bin" / name).chmod(0o755)
    (folder / "venv" / "installed").write_text("timetrial torch,gpu,images\n")
    more = {"PYTHONPATH": str(ROOT / "src"), "TIMETRIAL_DATA": os.environ.get("TIMETRIAL_DATA", "")}
    task = "breast-cancer-logreg"
    first = first_run(tmp_path, task, "--seeds", "1", **more)
    assert first.code == 0, first.err
    assert f"timetrial run {task} --seeds 1" in first.out
    assert "To first step (n = 1)" in first.out
    assert "not from a bare machine: packages, environment, timetrial were there" in " ".join(
        first.out.split()
    )
    assert said(tmp_path)[-1][0] == "finished"
    second = first_run(tmp_path, task, "--seeds", "1", **more)
    assert second.code == 0, second.err
    assert [line[0] for line in said(tmp_path)].count("invoked") == 1
    assert len(list(folder.glob("set-up.2*.tsv"))) == 1


def test_it_is_clean_by_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian: apt-get install shellcheck)")
    scripts = [SCRIPT, ROOT / "scripts" / "first-run-check"]
    done = subprocess.run(
        ["shellcheck", *scripts], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_check_in_a_debian_root_is_skipped_aloud_without_root(tmp_path: Path) -> None:
    path = bare_path(tmp_path)
    (Path(path) / "id").write_text("#!/bin/bash\necho 1000\n")
    (Path(path) / "id").chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / "scripts" / "first-run-check"],
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0
    assert "skipped: it needs root and debootstrap" in done.stdout
