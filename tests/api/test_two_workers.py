"""Two real workers through the API: what they leave becomes speed-up, communication, an answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import timetrial as tt
from timetrial import audit
from timetrial.plan import restrict_cpus
from timetrial.stats import communication, measures


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tt.Runs:
    """Two runs each of one and of two workers of a core each, in steps that are often split."""
    folder = tmp_path_factory.mktemp("two")
    return tt.run(
        "digits-cnn",
        workers=[1, 2],
        cores=1,
        seeds=2,
        settings={"fence_every_steps": 4, "sample_every_s": 0.2},
        store_dir=folder / "runs",
    )


def test_both_learn_the_task_and_pass_the_audit(runs: tt.Runs) -> None:
    assert {record.status for record in runs} == {"reached"}
    assert sorted(record.plan.workers for record in runs) == [1, 1, 2, 2]
    found = audit.verify([record.run.path for record in runs])
    wrong = [check for one in found for check in one.checks if not check.ok]
    assert wrong == []


def test_two_workers_spend_time_on_the_exchange_and_one_none(runs: tt.Runs) -> None:
    for record in runs:
        share = communication.communication_share(record)
        step = communication.split_step(record)
        assert share is not None
        assert step is not None
        if record.plan.workers == 1:
            assert share == 0
            continue
        assert 0 < share < 1
        assert 0 < step.exchange <= step.exchange + step.waiting < step.total
        assert len(record.others) == 1
        assert set(record.exits) == {0, 1}
        assert measures.meter_values(record)["cpu"] > 0


def test_they_are_one_scaling_with_all_its_estimates(runs: tt.Runs) -> None:
    [scaling] = runs.findings().scalings
    assert (scaling.kind, [line.workers for line in scaling.lines]) == ("strong", [1, 2])
    cells = scaling.lines[1].cells
    for name in ("speed_up", "strong_efficiency", "speed_up_to_target", "communication_share"):
        assert cells[name].n == 2
        assert cells[name].value is not None
    steps = [line.cells["seconds_per_step"].value for line in scaling.lines]
    assert cells["speed_up"].value == pytest.approx((steps[0] or 0) / (steps[1] or 1))
    assert {row.measure for row in scaling.answers} >= {"break_even_workers", "least_bandwidth"}
    crowded = [note for note in cells["speed_up"].notes if "more than there are" in note]
    assert bool(crowded) == (restrict_cpus(None)[1] < 2)


def test_the_report_shows_them(runs: tt.Runs, tmp_path: Path) -> None:
    page = runs.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "digits-cnn with 1 and 2 workers" in page
    assert "exchange of gradients" in page
