"""What the suite tabular says of runs whose quality is known, and what it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from suite_runs import ours, row_in
from team_runs import TASK, Times, plan_for, write_run

from timetrial import batch
from timetrial.rows import Row, Table
from timetrial.spec import Target
from timetrial.store import RunRecord
from timetrial.suites import find_suite, runs_of
from timetrial.suites.tables import tables_of
from timetrial.suites.tabular import LIGHT_SEEDS

AUC = Target(metric="auc", threshold=0.75, direction="at_least", split="validation")
DOCUMENTS = {"linear": 0.70, "forest": 0.80, "boosting": 0.90, "mlp": 0.75, "net": 0.78}
SEEDS = (0.0, 0.002, 0.004)  # added to the quality of a kind: a run each


def records_of(
    folder: Path,
    quality: Mapping[str, float],
    *,
    spread: float = 1.0,
    dataset: str = "flights-actual",
    framework: str = "fake",
) -> list[RunRecord]:
    """Write three runs of each kind; its quality on test is the given one and a little more."""
    use = msgspec.structs.replace(
        TASK.dataset, name=dataset, validation_count=1000, test_count=1000
    )
    made = []
    for kind, value in quality.items():
        task = msgspec.structs.replace(
            TASK,
            name=f"flights-delay-{kind}-100k",
            dataset=use,
            targets=(msgspec.structs.replace(AUC, threshold=0.65), AUC),
            light_target=AUC,
            stops_at_target=False,
            steps_max=2 * TASK.eval_every_steps,
        )
        for seed, more in enumerate(SEEDS):
            plan = plan_for(
                1, task=task, seed=seed, suite="tabular", framework=framework, target=None
            )
            end = value + spread * more + 0.01  # the helper's test split has 0.01 less
            times = Times(computing=0.01)
            made.append(write_run(folder, plan, times, accuracies=(0.5, end), status="budget"))
    return made


def tables(records: Sequence[RunRecord]) -> list[Table]:
    found, notes = tables_of(records)
    assert notes == []
    return found


def about_order(table: Table) -> list[str]:
    return [note for note in table.notes if "rder" in note]


def claims(records: Sequence[RunRecord]) -> dict[tuple[str, str], tuple[Row, str]]:
    table = tables(records)[-1]
    assert "document 004" in table.title
    return {
        (str(line.cells["against"]).split()[0], str(line.cells["net"]).split()[0]): (
            row_in(line, "difference"),
            str(line.cells["answer"]),
        )
        for line in table.lines
    }


def test_an_order_without_overlaps_is_the_documents(tmp_path: Path) -> None:
    quality = tables(records_of(tmp_path, DOCUMENTS))[0]
    order, documents = about_order(quality)
    assert "boosting 90.20 % > forest 80.20 % > net 78.20 % > mlp 75.20 % > linear 70.20 %" in order
    assert "no two intervals overlap" in order
    assert "holds here" in documents
    assert quality.answer.startswith(f"{quality.title}: order on test, the best library of each")
    assert quality.answer.endswith(documents)
    assert [line.cells["method"] for line in ours(quality)] == list(DOCUMENTS)
    forest = next(line for line in ours(quality) if line.cells["method"] == "forest")
    assert row_in(forest, "quality").value == pytest.approx(0.802)
    assert row_in(forest, "quality").measure == "final_test_auc"


def test_neighbours_that_overlap_are_named_and_decide_nothing(tmp_path: Path) -> None:
    quality = tables(records_of(tmp_path, {**DOCUMENTS, "mlp": 0.799}))[0]
    order, documents = about_order(quality)
    assert "not told apart by their intervals: forest and mlp" in order
    assert "is not decided here" in documents


def test_an_order_that_is_the_other_way_round_is_said_to_be(tmp_path: Path) -> None:
    quality = tables(records_of(tmp_path, {**DOCUMENTS, "mlp": 0.95}))[0]
    assert "does not hold here" in about_order(quality)[1]


def test_each_net_is_compared_with_each_kind_of_trees(tmp_path: Path) -> None:
    found = claims(records_of(tmp_path, {**DOCUMENTS, "net": 0.801, "mlp": 0.95}))
    assert set(found) == {(t, n) for t in ("forest", "boosting") for n in ("mlp", "net")}
    row, answer = found["boosting", "net"]
    assert answer == "holds"
    assert row.value == pytest.approx(0.099)
    assert row.unit == "points"
    assert row.low is not None
    assert row.low > 0
    assert found["forest", "net"][1] == "not decided: the interval holds 0"
    assert found["forest", "mlp"][1] == "does not hold: the net is ahead"


def test_one_run_each_decides_nothing(tmp_path: Path) -> None:
    first = [record for record in records_of(tmp_path, DOCUMENTS) if record.plan.seed == 0]
    assert {answer for _, answer in claims(first).values()} == {"not decided: too few runs"}


def test_the_best_library_of_a_kind_stands_for_it(tmp_path: Path) -> None:
    records = records_of(tmp_path / "a", DOCUMENTS)
    records += records_of(tmp_path / "b", {"boosting": 0.76}, framework="other")
    found = claims(records)
    assert found["boosting", "net"][0].value == pytest.approx(0.12)
    order = about_order(tables(records)[0])[0]
    assert order.count("boosting") == 1
    assert "boosting 90.20 %" in order
    said = "The best library of boosting is chosen by the same runs"
    assert any(said in note for note in tables(records)[0].notes)
    assert not any(said in note for note in tables(records_of(tmp_path / "c", DOCUMENTS))[0].notes)


def test_both_forms_are_tables_of_their_own_and_published_rows_stand_in_the_first(
    tmp_path: Path,
) -> None:
    records = records_of(tmp_path / "a", DOCUMENTS)
    records += records_of(tmp_path / "b", DOCUMENTS, dataset="flights-scheduled")
    first, second, *phases, _ = tables(records)
    assert "actual time of departure" in first.title
    assert "scheduled time of departure" in second.title
    published = [line for line in first.lines if line.origin == "published"]
    libraries = " ".join(str(line.cells["library"]) for line in published)
    assert all(name in libraries for name in ("H2O", "xgboost", "lightgbm", "keras"))
    assert any("other flights" in note for note in first.notes)
    assert not [line for line in second.lines if line.origin == "published"]
    assert [table.title.split(":")[0] for table in phases] == ["Phases", "Phases"]
    read = row_in(ours(phases[0])[0], "data")
    assert (read.value, read.unit) == (pytest.approx(0.5), "s")


def test_light_is_the_same_tasks_of_100000_by_one_library_of_each_kind() -> None:
    requests, _, _ = batch.expand("tabular", {"light": True})
    assert not any(request.light for request in requests), "light runs would stop at a target"
    assert {request.seeds_max for request in requests} == {LIGHT_SEEDS}
    kinds = {(str(request.task).split("-")[2], request.dataset) for request in requests}
    assert len(kinds) == len(requests), "two libraries of one kind"
    assert {dataset for _, dataset in kinds} == {"flights-actual", "flights-scheduled"}
    assert runs_of(find_suite("tabular"), light=True) == LIGHT_SEEDS * len(requests)


def test_the_whole_suite_has_every_table_in_every_size() -> None:
    requests, _, _ = batch.expand("tabular", {})
    names = {str(request.task) for request in requests}
    assert {
        "flights-delay-linear",
        "flights-delay-linear-100k",
        "flights-delay-linear-10k",
    } <= names
    assert {"breast-cancer-forest", "digits-tabular-forest"} <= names
