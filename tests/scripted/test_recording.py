"""timetrial.record: the line it prints, the file it writes, what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import timetrial
from timetrial.errors import UsageError
from timetrial.scripted import predictions, variables
from timetrial.scripted.mllog import Line, LineReader


def test_outside_of_a_run_it_prints_its_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(variables.PREDICTIONS, raising=False)

    timetrial.record(step=3, accuracy=np.float32(0.5), predictions=[1, 2])

    prefix, text = capsys.readouterr().out.split(" ", 1)
    line = json.loads(text)
    assert (prefix, line["key"], line["value"]) == (":::MLLOG", "eval_accuracy", 0.5)
    assert line["metadata"] == {"step": 3, "split": "test"}
    assert list(tmp_path.iterdir()) == []


def test_in_a_run_it_names_a_whole_file_of_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variables.PREDICTIONS, str(tmp_path))
    scores = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)

    timetrial.record(step=1, predictions=scores, split="validation")

    [line] = LineReader().feed(capsys.readouterr().out.encode())
    assert isinstance(line, Line)
    assert line.metadata is not None
    [file] = tmp_path.iterdir()
    assert line.metadata["predictions"] == file.name
    read = predictions.read(
        tmp_path, file.name, examples=6, classes=3, latest_ns=file.stat().st_ctime_ns
    )
    assert (read == scores).all()
    assert list(tmp_path.iterdir()) == []  # it is taken


def test_nothing_to_report_is_an_error() -> None:
    with pytest.raises(UsageError, match="was given nothing"):
        timetrial.record(step=1)


def test_it_imports_next_to_nothing() -> None:
    code = (
        "import sys, timetrial\n"
        "timetrial.record(step=1, accuracy=0.5)\n"
        "heavy = {'numpy', 'scipy', 'msgspec', 'psutil', 'rich', 'typer', 'torch', 'sklearn'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_mlperfs_own_reader_reads_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    parser = pytest.importorskip(
        "mlperf_logging.compliance_checker.mlp_parser.ruleset_410",
        reason="pip install mlperf-logging",
    )
    timetrial.record(step=3, accuracy=0.5)

    lines, failed = parser.parse_generator(capsys.readouterr().out.splitlines())

    assert failed == []
    assert [(line.key, line.value["value"]) for line in lines] == [("eval_accuracy", 0.5)]
    assert lines[0].value["metadata"]["step"] == 3
