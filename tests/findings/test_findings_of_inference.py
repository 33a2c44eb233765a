"""What is said of predictions that real runs timed, and of those that were not the model's."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from rich.console import Console

from timetrial import findings, report, store
from timetrial.engine.events import Inferred, Rescored, WorkerEvent
from timetrial.findings import inference
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.rows import Inference, Row
from timetrial.spec import Target
from timetrial.stats import clocks, measures
from timetrial.store import RunRecord
from timetrial.testing import fakes, runs

TARGET = fakes.TASK.targets[-1]
MISSED = Target(metric="accuracy", threshold=0.9999, direction="at_least", split="validation")
COUNT = fakes.TASK.dataset.test_count


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """Two runs of one system that reached the target and predicted for a moment."""
    folder = tmp_path_factory.mktemp("inferred")
    fakes.write_plugin(folder / "plugin")
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "plugin"), prepend=os.pathsep)
        for seed in (1, 2):
            plan = msgspec.structs.replace(runs.fake_plan(seed), target=TARGET, inference_s=0.2)
            run, named = runs.place(folder, plan)
            assert supervise(run, named, LocalLauncher(), lambda events: None).status == "reached"
            made.append(store.read_run(run.path))
    return made


def changed(
    record: RunRecord,
    change: Callable[[WorkerEvent], WorkerEvent | None] = lambda event: event,
    **fields: object,
) -> RunRecord:
    """The run with other events, None: without it, and another plan."""
    plan = msgspec.structs.replace(record.plan, **fields)
    events = [new for event in record.worker if (new := change(event)) is not None]
    return RunRecord(record.run, plan, record.done, record.launcher, events)


def found(records: list[RunRecord]) -> Inference:
    [seen] = findings.assemble(records, title="t", command="c").inferences
    return seen


def counted(record: RunRecord, batch: int) -> np.ndarray:
    return np.array(
        [
            ns / 1e9
            for event in record.worker
            if isinstance(event, Inferred) and event.batch == batch and not event.warm_up
            for ns in event.ns
        ]
    )


def in_calls(**fields: object) -> Callable[[WorkerEvent], WorkerEvent]:
    return lambda e: msgspec.structs.replace(e, **fields) if isinstance(e, Inferred) else e


def in_whole(**fields: object) -> Callable[[WorkerEvent], WorkerEvent]:
    return lambda e: msgspec.structs.replace(e, **fields) if isinstance(e, Rescored) else e


def said(row: Row) -> str:
    return " ".join(row.notes)


def test_rows_are_means_over_the_runs_by_the_number_of_examples(records: list[RunRecord]):
    seen = found(records)
    assert (seen.n, [line.batch for line in seen.lines]) == (2, [1, 8, 64, COUNT])
    for line in seen.lines:
        cells = line.cells
        middle, late, last = (cells[name] for name in inference.LATENCIES)
        assert 0 < middle.value <= late.value <= last.value
        times = [counted(record, line.batch) for record in records]
        p90 = [np.quantile(one, 0.9, method="inverted_cdf") for one in times]
        assert late.value == pytest.approx(np.mean(p90))
        rates = [line.batch * len(one) / one.sum() for one in times]
        assert cells[inference.THROUGHPUT].value == pytest.approx(np.mean(rates))
        for row in cells.values():
            assert (row.n, row.split, row.clock) == (2, "test", None)
            assert row.facts["batch"] == str(line.batch)
            assert row.facts["calls"] == str(sum(map(len, times)))
            assert float(row.facts["first_call_s"]) > 0
    assert {row.measure for row in inference.inference_rows(seen)} == {
        *inference.LATENCIES, inference.THROUGHPUT, inference.DAWNBENCH,
    }  # fmt: skip


def test_one_run_has_the_interval_of_its_calls_and_says_so(records: list[RunRecord]):
    row = found(records[:1]).lines[0].cells["inference_latency_p50"]
    assert row.n == 1
    assert row.low is not None
    assert row.high is not None
    assert row.low <= row.value <= row.high
    assert {row.low, row.value, row.high} <= set(counted(records[0], 1))
    assert "one run" in said(row)


def test_dawnbenchs_latency_is_the_mean_over_the_test_set_one_at_a_time(
    records: list[RunRecord],
):
    row = found(records).dawnbench
    assert row.value == pytest.approx(np.mean([counted(r, 1)[:COUNT].mean() for r in records]))
    assert (row.n, row.unit, row.target) == (2, "s", str(TARGET))
    assert row.facts["examples"] == str(COUNT)
    assert "DAWNBench asks for the target on test; this task's is on validation" in row.notes


def test_a_model_that_missed_the_target_has_none_of_dawnbenchs(records: list[RunRecord]):
    row = found([changed(record, target=MISSED) for record in records]).dawnbench
    assert (row.value, row.n) == (None, 0)
    assert "2 of 2 runs not in its figures: its model missed the target" in row.notes


def test_a_test_set_that_was_not_done_whole_says_how_long_it_would_take(
    records: list[RunRecord],
):
    def half(event: WorkerEvent) -> WorkerEvent | None:
        if isinstance(event, Inferred) and event.batch == 1 and not event.warm_up:
            return msgspec.structs.replace(event, ns=event.ns[:90]) if event.first == 0 else None
        return event

    seen = found([changed(records[0], half)])
    assert seen.dawnbench.value is None
    assert f"90 of {COUNT} examples were done one at a time; --inference" in said(seen.dawnbench)
    assert seen.lines[0].cells["inference_latency_p50"].value is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (in_calls(furthest=0.2), "up to 0.2 of the largest"),
        (in_calls(furthest=None), "is no number"),
        (in_whole(scores_sha256="0" * 64), "not those of its evaluation after step"),
        (in_whole(step=0), "was not evaluated after step 0"),
        (lambda e: None, "ended before its inference"),
    ],
)
def test_predictions_that_are_not_the_evaluated_models_do_not_count(
    records: list[RunRecord], change: Callable[[WorkerEvent], WorkerEvent | None], words: str
):
    def one(event: WorkerEvent) -> WorkerEvent | None:
        return change(event) if isinstance(event, Inferred | Rescored) else event

    seen = found([changed(records[0], one), records[1]])
    assert seen.n == 1
    for row in (seen.lines[0].cells["inference_latency_p50"], seen.dawnbench):
        assert row.n == 1
        assert any(note.startswith("1 of 2 runs not in its figures") for note in row.notes)
        assert words in said(row)


def test_no_clock_but_wall_and_billed_counts_inference(records: list[RunRecord]):
    record = records[0]
    seconds = measures.segment_seconds(record)["infer"]
    without = [one for one in record.stretches if one.name != "infer"]
    share = measures.data_share(record)
    for name, clock in clocks.CLOCKS.items():
        whole, rest = (
            clocks.elapsed_s(stretches, clock, data_share=share)
            for stretches in (record.stretches, without)
        )
        counts = name in ("wall", "billed")
        assert whole == (rest if rest is None else pytest.approx(rest + counts * seconds)), name


def test_runs_with_and_without_inference_are_two_systems(records: list[RunRecord]):
    plain = changed(
        records[1], lambda e: None if isinstance(e, Inferred | Rescored) else e, inference_s=None
    )
    seen = findings.assemble([records[0], plain], title="t", command="c")
    assert len({row.system for row in seen.rows if row.origin == "measured"}) == 2
    assert len(seen.inferences) == 1
    noted = [row for row in seen.rows if any("timed after training" in n for n in row.notes)]
    assert {row.system for row in noted} == {seen.inferences[0].system}
    assert {"wall", "cpu"} <= {row.measure for row in noted}
    assert "time_to_target" not in {row.measure for row in noted}


def test_every_report_shows_the_table(records: list[RunRecord]):
    seen = findings.assemble(records, title="t", command="c")
    console = Console(width=80, record=True, file=io.StringIO())
    report.render_terminal(seen, console)
    rate = found(records).lines[-1].cells[inference.THROUGHPUT]
    markdown, page = report.render_markdown(seen), report.render_html(seen)
    for text in (markdown, page, console.export_text()):
        assert "with the trained model, 2 runs" in text
        assert "Latency by DAWNBench's rule" in text.replace("&#x27;", "'")
    assert "Examples per second" in markdown
    assert "Examples per second" in page
    assert "Time of a prediction against the examples in it" in page
    assert rate.measure in report.render_csv(seen.rows)
