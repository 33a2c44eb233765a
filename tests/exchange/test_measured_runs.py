"""Real workers that measure, and what is said of them everywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from command_line import Ran, run_timetrial

from timetrial import api, audit, findings, report
from timetrial.engine.events import WORKER_LOG, Exchanged
from timetrial.findings.exchanges import exchange_groups, latency_among, seconds_of
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.rows import Findings, Row
from timetrial.rundir import RunDir, pretty_json, seal, unseal
from timetrial.stats import exchanges
from timetrial.store import RunRecord, read_run
from timetrial.testing import fakes, runs

SIZES = fakes.EXCHANGE.sizes_bytes


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """Two runs of two workers each."""
    store = tmp_path_factory.mktemp("measured")
    made = []
    for _ in range(2):
        run, plan = runs.place(store, runs.exchange_plan(fakes.EXCHANGE))
        result = supervise(run, plan, LocalLauncher(), lambda events: None)
        assert result.status == "reached", run.stdout(0).read_text()
        made.append(read_run(run.path))
    return made


@pytest.fixture(scope="module")
def found(records: list[RunRecord]) -> Findings:
    return findings.assemble(records, title="t", command="c")


def row_of(found: Findings, measure: str, precision: str = "float32") -> Row:
    [row] = [r for r in found.rows if (r.measure, r.precision) == (measure, precision)]
    return row


def test_each_dtype_has_a_bandwidth_and_a_latency(found: Findings):
    assert len(found.rows) == 4
    for precision in fakes.EXCHANGE.dtypes:
        bandwidth, latency = (row_of(found, name, precision) for name in ("bandwidth", "latency"))
        assert (bandwidth.unit, latency.unit) == ("bit/s", "s")
        assert latency.value > 0
        for row in (bandwidth, latency):
            assert (row.task, row.dataset, row.workers, row.n) == ("fake-allreduce", "none", 2, 2)
            assert row.target is row.split is row.clock is None
            assert row.low <= row.value <= row.high
            assert row.status_counts == {"reached": 2}


def test_the_rows_are_what_the_logs_say(records: list[RunRecord], found: Findings):
    medians = [np.median(seconds_of(record, "float32")[4]) for record in records]
    assert row_of(found, "latency").value == pytest.approx(np.mean(medians))
    slopes = []
    for record in records:
        seconds = seconds_of(record, "float32")
        line = exchanges.fit_line(np.array(list(seconds), float), list(seconds.values()))
        slopes.append(line.s_per_byte)
    if min(slopes) > 0:  # on a busy machine time may not grow over so few bytes
        rates = [8 / slope for slope in slopes]
        assert row_of(found, "bandwidth").value == pytest.approx(np.mean(rates))


def test_a_repetition_is_the_mean_over_the_workers(records: list[RunRecord]):
    logs = [
        {e.bytes: e.seconds for e in events if isinstance(e, Exchanged) and e.dtype == "float16"}
        for events in records[0].workers_events.values()
    ]
    assert len(logs) == 2
    for size, seconds in seconds_of(records[0], "float16").items():
        assert seconds == pytest.approx(np.mean([log[size] for log in logs], axis=0))


def test_one_run_has_the_interval_of_its_repetitions(records: list[RunRecord]):
    latency = row_of(findings.assemble(records[:1], title="t", command="c"), "latency")
    assert latency.n == 1
    assert latency.low <= latency.value <= latency.high
    assert "one run: the interval is that of its repetitions (bootstrap)" in latency.notes


def test_the_picture_has_every_size_with_its_spread(found: Findings):
    assert [curve.dtype for curve in found.exchanges] == list(fakes.EXCHANGE.dtypes)
    for curve in found.exchanges:
        assert [point.bytes for point in curve.points] == list(SIZES)
        for point in curve.points:
            assert point.p5_s <= point.median_s <= point.p95_s
            assert point.n >= 2 * fakes.EXCHANGE.repetitions_min


def test_wall_time_and_runs_are_told_and_nothing_of_quality(found: Findings):
    [bar] = found.bars
    assert {"measure", "imports"} <= set(bar.seconds)
    assert {line.status for line in found.runs} == {"reached"}
    assert {line.quality for line in found.runs} == {None}


def test_the_audit_passes(records: list[RunRecord]):
    for record in records:
        [verification] = audit.verify([record.run.path])
        assert verification.ok, verification


def test_a_log_that_lacks_an_array_fails_the_audit(records: list[RunRecord], tmp_path: Path):
    path = Path(shutil.copytree(records[0].run.path, tmp_path / records[0].run.path.name))
    run = RunDir(path)
    lines = run.events(1).read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"exchanged"' not in line]
    run.events(1).write_bytes(b"".join(kept))
    done = unseal(run.done.read_bytes(), "done")
    run.done.write_bytes(seal(msgspec.structs.replace(done, sha256=run.hashes())))
    [verification] = audit.verify([path])
    [failed] = [check for check in verification.checks if not check.ok]
    assert failed.detail == "6 arrays of 12 are not in the logs"


def test_rules_that_are_not_those_of_the_hash_fail_the_audit(
    records: list[RunRecord], tmp_path: Path
):
    path = Path(shutil.copytree(records[0].run.path, tmp_path / records[0].run.path.name))
    run, plan = RunDir(path), records[0].plan
    rules = msgspec.structs.replace(fakes.EXCHANGE, warm_up=7)
    run.plan.write_bytes(pretty_json(msgspec.structs.replace(plan, exchange=rules)))
    assert not {check.name: check.ok for check in audit.verify([path])[0].checks}["rules"]


def test_latency_is_known_to_systems_in_the_same_place_alone(records: list[RunRecord]):
    groups = exchange_groups(records)
    latency = latency_among(groups)
    assert latency(groups[0]) > 0
    moved = groups[0]._replace(system=groups[0].system._replace(network="rate=1mbit"))
    assert latency(moved) is None


def test_every_report_shows_it(found: Findings, capsys: pytest.CaptureFixture[str]):
    from rich.console import Console

    report.render_terminal(found, Console(width=80))
    out = capsys.readouterr().out
    for text in (out, report.render_markdown(found), report.render_html(found)):
        assert "8 MiB" in text
        assert "each way between 2 workers" in " ".join(text.split())
    assert "time of an all-reduce against the size" in report.render_html(found).lower()
    assert "bandwidth" in report.render_csv(found.rows)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    store = tmp_path_factory.mktemp("light")
    options = ["--workers=2", "--light", "--seeds=1", "--set", "sample_every_s=0", "--json"]
    return Ran(store, run_timetrial("run", "allreduce", *options, f"--store={store}"))


def test_the_command_line_measures_and_lists_and_verifies(light: Ran):
    assert light.outcome.code == 0, light.outcome.err
    assert {row["measure"] for row in light.rows()} == {"bandwidth", "latency"}
    assert all("light" in row["system"] for row in light.rows())
    assert "allreduce" in run_timetrial("list", "runs", f"--store={light.store}").out
    verified = run_timetrial("verify", light.store)
    assert verified.code == 0, verified.out
    [run] = [path.parent for path in light.store.glob("*/plan.json")]
    assert "round trip" in run_timetrial("show", run).out


def test_a_whole_measurement_in_the_log_of_each_worker(light: Ran):
    [run] = [path.parent for path in light.store.glob("*/plan.json")]
    for rank in (0, 1):
        seen = [e for e in WORKER_LOG.read(RunDir(run).events(rank)) if isinstance(e, Exchanged)]
        assert max(event.bytes for event in seen) == 4 * 2**20
        assert all(event.seconds and event.left_out is None for event in seen)


def test_it_is_listed_and_shown_with_its_rules():
    assert "allreduce" in run_timetrial("list", "tasks").out
    shown = run_timetrial("show", "allreduce", "--markdown").out
    assert "64.0 MiB" in shown
    assert run_timetrial("show", "allreduce", "--json").json()["exchange"]["name"] == "allreduce"


def test_runs_that_measure_cannot_be_compared_as_trainings(light: Ran):
    loaded = api.load(light.store)
    assert not findings.group_runs(loaded)
