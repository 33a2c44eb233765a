"""Real workers that examine, and what is said of them everywhere."""

from __future__ import annotations

import base64
import csv
import io
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest
from command_line import run_timetrial
from rich.console import Console

from timetrial import audit, report
from timetrial.engine.events import WORKER_LOG, Found, Started
from timetrial.errors import FormatError
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.results import Runs
from timetrial.rows import Findings, Row
from timetrial.rundir import RunDir, seal, unseal
from timetrial.store import RunRecord, read_run
from timetrial.testing import examiner, runs


def carried_out(store: Path, tool: str = "fake-tool") -> RunRecord:
    run, plan = runs.place(store, runs.examination_plan(examiner.EXAMINATION, tool))
    supervise(run, plan, LocalLauncher(), lambda events: None)
    return read_run(run.path)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return carried_out(tmp_path_factory.mktemp("examined"))


@pytest.fixture(scope="module")
def found(record: RunRecord) -> Findings:
    return Runs([record]).findings()


def row_of(found: Findings, measure: str) -> Row:
    [row] = [row for row in found.rows if row.measure == measure]
    return row


def test_each_thing_sought_has_a_row_with_its_value_or_a_reason(record: RunRecord, found: Findings):
    assert record.status == "reached"
    assert found.examined == ["fake-examination"]
    letters, share, reached = (row_of(found, name) for name in ("letters", "share", "reached"))
    assert (letters.value, letters.unit, letters.n) == (8, "count", 1)
    assert letters.facts["word"] == "examined"
    assert (share.value, share.low, share.high, share.n) == (0.5, 0.157, 0.843, 8)
    assert "of one word" in share.notes
    assert (reached.value, reached.n) == (None, 0)
    assert reached.facts["reason"] == "nobody has it: bring one"
    assert reached.facts["reason"] in reached.notes
    for row in found.rows:
        assert (row.framework, row.task, row.origin) == (
            "fake-tool",
            "fake-examination",
            "measured",
        )
    assert row_of(found, "time_of_count").value > 0


def test_the_runs_own_segments_hold_the_time_of_its_steps(record: RunRecord, found: Findings):
    steps = sum(row.value for row in found.rows if row.measure.startswith("time_of_"))
    measure = sum(s.stop_s - s.start_s for s in record.stretches if s.name == "measure")
    assert 0 < steps <= measure


def test_the_audit_passes_and_finds_a_file_that_was_changed(record: RunRecord, tmp_path: Path):
    [verification] = audit.verify([record.run.path])
    assert verification.ok, verification
    changed = carried_out(tmp_path).run
    changed.exhibit("said.txt").write_text("a lie\n")
    [verification] = audit.verify([changed.path])
    wrong = {check.name: check.detail for check in verification.checks if not check.ok}
    assert "exhibits/said.txt was changed" in wrong["hashes"]
    assert "not the file that step draw left" in wrong["status"]


def test_a_finding_that_was_taken_out_of_the_log_is_missed(tmp_path: Path):
    run = carried_out(tmp_path).run
    events = WORKER_LOG.read(run.events(0))
    kept = [e for e in events if not (isinstance(e, Found) and e.measure == "share")]
    run.events(0).write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in kept))
    done = unseal(run.done.read_bytes(), "done")
    run.done.write_bytes(seal(msgspec.structs.replace(done, sha256=run.hashes())))
    [verification] = audit.verify([run.path])
    assert [c.detail for c in verification.checks if not c.ok] == ["not in the log: share"]


def test_the_table_has_a_line_for_each_and_says_what_is_lacking(found: Findings):
    [table] = found.tables
    assert (table.suite, [column.heading for column in table.columns]) == (
        "fake-examination",
        ["Finding", "fake-tool 1.5"],
    )
    assert len(table.lines) == 5 + 3  # what is sought, and the time of each step
    text = io.StringIO()
    report.render_terminal(found, Console(file=text, width=80))
    said = text.getvalue().replace("\n", " ")
    assert "fake-examination: 3 of 5 findings" in said
    assert "nobody has it: bring one" in said
    assert "yes" in said
    assert "A dot:" in said
    assert "time to target" not in said, "an examination has no section of its own"
    lines = list(csv.DictReader(io.StringIO(report.tables_csv(found.tables))))
    assert [line["system 0"] for line in lines[:2]] == ["8.0", "0.5"]


def test_the_page_shows_the_picture_and_names_the_other_file(found: Findings):
    page = report.render_html(found)
    assert base64.b64encode(examiner.dot_png()).decode() in page
    assert 'alt="one dark pixel"' in page
    assert "said.txt" in page
    assert "![" not in report.render_markdown(found)


def test_several_runs_have_a_mean_over_runs(record: RunRecord, tmp_path: Path):
    both = Runs([record, carried_out(tmp_path)]).findings()
    share = row_of(both, "share")
    assert (share.value, share.low, share.high, share.n) == (0.5, 0.5, 0.5, 2)
    assert "n counts runs: each has several observations" in share.notes


def test_a_run_that_failed_keeps_what_it_found_and_says_how_it_ended(tmp_path: Path):
    record = carried_out(tmp_path, "careless-tool")
    assert record.status == "error"
    found = Runs([record]).findings()
    assert row_of(found, "share").value is None
    assert "the run ended before it (error)" in row_of(found, "share").facts["reason"]
    [verification] = audit.verify([record.run.path])
    assert verification.ok, verification


def test_a_killed_run_goes_on_with_the_step_it_was_at(tmp_path: Path):
    run, plan = runs.place(tmp_path, runs.examination_plan(examiner.EXAMINATION, "waiting-tool"))
    killed = []

    def kill(_: object) -> None:
        events = WORKER_LOG.read(run.events(0))
        if not killed and any(isinstance(e, Found) and e.measure == "drawn" for e in events):
            [started] = [event for event in events if isinstance(event, Started)]
            os.kill(started.pid, signal.SIGKILL)
            killed.append(time.monotonic())

    assert supervise(run, plan, LocalLauncher(), kill).status is None
    assert run.exhibit("half.png").exists()
    done = run_timetrial("run", "--resume", "--store", tmp_path, "--json")
    assert done.code == 0, done.err
    rows = {row["measure"]: row for row in done.json()}
    assert rows["drawn"]["value"] == 1
    assert any("1 of 1 runs were resumed" in note for note in rows["drawn"]["notes"])
    assert not run.exhibit("half.png").exists()
    assert not run.scratch.exists(), "a finished run leaves nothing behind"
    [verification] = audit.verify([run.path])
    assert verification.ok, verification


def test_a_file_from_elsewhere_is_never_shown(record: RunRecord, tmp_path: Path):
    """A log that was sent to us may name anything."""
    copy = RunDir(tmp_path / "copy")
    copy.path.mkdir()
    for name in ("plan.json", "events.launcher.jsonl"):
        (copy.path / name).write_bytes((record.run.path / name).read_bytes())
    log = record.run.events(0).read_bytes().replace(b'"dot.png"', b'"../secret.png"')
    copy.events(0).write_bytes(log)
    (tmp_path / "secret.png").write_bytes(examiner.dot_png())
    copy.done.write_bytes(seal(msgspec.structs.replace(record.done, sha256=copy.hashes())))
    with pytest.raises(FormatError, match="no name of an exhibit"):
        Runs([read_run(copy.path)]).findings()
