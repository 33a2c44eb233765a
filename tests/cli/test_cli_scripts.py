"""Scripts of one's own through the command line: rows, limits, Ctrl-C, errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ONE_CORE, Outcome, environment, timetrial_command

from timetrial.errors import LaunchError
from timetrial.meter.cgroup import open_cgroup

LINE = 'print(\':::MLLOG {"key": "eval_accuracy", "value": 0.98}\', flush=True)\n'
OPEN = ("--division=open", "--task=digits-cnn")


def written(folder: Path, text: str) -> Path:
    path = folder / "train.py"
    path.write_text(text)
    return path


def test_a_command_with_options_of_its_own_gives_open_rows(
    timetrial: Callable[..., Outcome], tmp_path: Path
) -> None:
    written(tmp_path, "import sys; assert sys.argv[1:] == ['--x', '1'], sys.argv\n" + LINE)

    seen = timetrial(
        "run", *OPEN, "--seeds=2", *ONE_CORE, "--framework=own", "--json", "--store=runs",
        "--", sys.executable, "train.py", "--x", "1",
        cwd=tmp_path,
    )  # fmt: skip

    assert seen.code == 0, seen.err
    rows = [row for row in seen.json() if row["origin"] == "measured"]
    assert {(row["division"], row["framework"], row["precision"]) for row in rows} == {
        ("open", "own", "its own")
    }
    assert all("train.py --x 1" in row["system"] for row in rows)
    headline = [
        row for row in rows if (row["measure"], row["clock"]) == ("time_to_target", "mlperf")
    ]
    assert [(row["n"], row["target"]) for row in headline] == [(2, "accuracy >= 0.97 on test")]
    assert not {"seconds_per_step", "examples_per_s"} & {row["measure"] for row in rows}
    page = (tmp_path / "runs/report.html").read_text(encoding="utf-8")
    assert "accuracy as the script reported it, not recomputed" in page
    [first, second] = tmp_path.glob("runs/*/plan.json")
    seeds = {json.loads(path.read_bytes())["seed"] for path in (first, second)}
    assert len(seeds) == 2


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups on this system")
def test_ctrl_c_ends_the_script_and_resume_starts_it_anew(
    timetrial: Callable[..., Outcome], call: Callable[..., Outcome], tmp_path: Path
) -> None:
    waits = "import os, time\nif not os.path.exists('begun'):\n    open('begun', 'w').close()\n"
    written(tmp_path, waits + "    time.sleep(600)\n" + LINE)
    command = ["run", "./train.py", *OPEN, "--seeds=1", "--store=runs"]
    with subprocess.Popen(
        timetrial_command(*command),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline, "it never began"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "timetrial run --resume --store runs" in err

    resumed = timetrial("run", "--resume", "--json", "--store", tmp_path / "runs")  # from elsewhere

    assert resumed.code == 0, resumed.err
    notes = {note for row in resumed.json() for note in row["notes"]}
    assert any("each from its beginning" in note for note in notes)
    assert call("verify", tmp_path / "runs").code == 0


def test_the_memory_limit_is_the_scripts(timetrial: Callable[..., Outcome], tmp_path: Path) -> None:
    try:
        open_cgroup("of-this-test", memory_bytes=2**30).close()
    except LaunchError as error:
        pytest.skip(str(error))
    written(tmp_path, "held = b'x' * (900 * 2**20)\n" + LINE)

    seen = timetrial(
        "run", "./train.py", *OPEN, "--seeds=1", "--memory=300MiB", "--json", "--store=runs",
        cwd=tmp_path,
    )  # fmt: skip

    assert seen.code == 3, seen.err
    assert "out_of_memory" in seen.err


def test_a_comparison_with_closed_runs_says_that_it_is_not_the_same_work(
    timetrial: Callable[..., Outcome], call: Callable[..., Outcome], tmp_path: Path
) -> None:
    written(tmp_path, LINE)
    task = "breast-cancer-logreg"
    own = ["./train.py", "--division=open", f"--task={task}"]
    for what in ([task], own):
        seen = timetrial("run", *what, "--seeds=2", "--json", "--store=runs", cwd=tmp_path)
        assert seen.code == 0, seen.err

    [verdict] = call(
        "compare", "division=closed", "division=open", "--store", tmp_path / "runs", "--json"
    ).json()

    assert verdict["notes"][0].startswith("not the same work: A follows the task to the letter")
    assert "B's clock holds its imports, A's does not" in verdict["notes"]
    assert "closed division" in verdict["a"]


def test_a_failed_script_ends_with_status_3_and_its_last_lines(
    timetrial: Callable[..., Outcome], tmp_path: Path
) -> None:
    written(tmp_path, "raise SystemExit('the made-up reason')")

    seen = timetrial("run", "./train.py", *OPEN, "--seeds=1", "--json", cwd=tmp_path)

    assert seen.code == 3
    assert "exit code 1: the made-up reason" in seen.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["./train.py"], "Add --division open --task NAME"),
        (["./train.py", "--division=open"], "Add --task NAME"),
        (["./train.py", "--task=digits-cnn"], "Add --division open"),
        (["./other.py", *OPEN], "There is no script ./other.py"),
        ([*OPEN], "--task digits-cnn needs a command"),
        (["./train.py", "--division=open", "--task=digit-cnn"], "Did you mean 'digits-cnn'?"),
        (["./train.py", *OPEN, "--resume"], "--resume finishes runs as they were planned"),
        (["train.txt", *OPEN], "For the file in this folder write ./train.txt"),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str],
    words: str,
    call: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, LINE)
    (tmp_path / "train.txt").write_text("text")

    seen = call("run", *arguments)

    assert seen.code == 1
    assert words in seen.err
    assert not (tmp_path / "timetrial-runs").exists()


def test_a_dry_run_shows_the_command(
    call: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, LINE)

    [plan] = call(
        "run", "./train.py", *OPEN, "--seeds=1", "--budget=5s", "--dry-run", "--json"
    ).json()

    assert plan["script"] == [sys.executable, str(path)]
    assert (plan["budget_s"], plan["target"]["split"]) == (5.0, "test")
    assert len(plan["script_sha256"]) == 64
