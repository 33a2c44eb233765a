"""What can be computed again from published figures comes out as was published."""

from __future__ import annotations

import pytest
from command_line import ROOT

from timetrial import references
from timetrial.errors import FormatError
from timetrial.rows import Row

MNIST = references.published("mnist-cnn")
CLOUD = references.published("cifar10-vgg-published")


def by_line(rows: list[Row]) -> dict[str, dict[str, Row]]:
    lines: dict[str, dict[str, Row]] = {}
    for row in rows:
        name = row.measure if row.target is None else f"{row.measure} {row.target}"
        lines.setdefault(row.facts["line"], {})[name] = row
    return lines


def number(row: Row) -> float:
    assert row.value is not None
    return row.value


def test_the_cloud_table_has_its_six_rows_and_the_laptop_added_later() -> None:
    lines = list(by_line(CLOUD).values())
    seconds = [number(line["run_time"]) for line in lines]
    assert seconds == [354, 176, 262, 1461, 1428, 1431, 331]
    assert [line["run_time"].date for line in lines] == ["2018-03"] * 6 + ["2018-07-02"]
    laptop = lines[-1]
    assert set(laptop) == {"run_time"}, "no price: no cost"


def test_each_cost_of_a_run_is_seconds_times_price_to_the_printed_cent() -> None:
    priced = [line for line in by_line(CLOUD).values() if "cost_per_run" in line]
    assert len(priced) == 6
    for line in priced:
        computed = number(line["run_time"]) * number(line["price"]) / 3600
        assert round(computed, 2) == number(line["cost_per_run"])


def test_the_cheapest_run_is_2_62_times_as_cheap_as_the_next_not_2_5() -> None:
    lines = by_line(CLOUD).values()
    costs = sorted(
        number(line["run_time"]) * number(line["price"]) / 3600 for line in lines if "price" in line
    )
    assert costs[1] / costs[0] == pytest.approx(2.62, abs=0.005)
    assert round(costs[1], 2) / round(costs[0], 2) == pytest.approx(2.5)


def logged(framework: str, system: str) -> float:
    [row] = [
        row
        for row in MNIST
        if row.facts["reading"] == "from the run log"
        and (row.framework, row.system) == (framework, system)
        and row.measure == "train_time_after_10_epochs"
    ]
    return number(row)


def test_the_speed_claims_of_benchm_dl_follow_from_its_run_logs() -> None:
    tensorflow = logged("keras (tensorflow)", "AWS p2.xlarge, 1 K80")
    assert logged("keras (theano)", "AWS p2.xlarge, 1 K80") / tensorflow == pytest.approx(
        3.97, abs=0.005
    )
    assert logged("keras (tensorflow)", "AWS g2.2xlarge, 1 GRID K520") / tensorflow == (
        pytest.approx(1.52, abs=0.005)
    )


def test_each_printed_time_of_benchm_dl_is_its_log_to_half_a_second() -> None:
    printed = [row for row in MNIST if row.facts["reading"] == "printed" and row.unit == "s"]
    logs = [row for row in MNIST if row.facts["reading"] != "printed" and row.unit == "s"]
    pairs = [
        (number(one), number(log))
        for one in printed
        for log in logs
        if (one.framework, one.system) == (log.framework, log.system)
        and "later" not in one.facts["table"]
    ]
    assert len(pairs) == 5
    assert all(abs(one - log) <= 0.5 for one, log in pairs)


def test_node_hours_of_mlbench_follow_from_its_seconds_within_the_reading_of_a_figure() -> None:
    lines = by_line(references.published("cifar10-resnet20-v2")).values()
    told = [line for line in lines if "final_test_accuracy" in line]
    assert [row["final_test_accuracy"].workers for row in told] == [2, 4, 8, 16, 32, 64]
    for line in told:
        row = line["time_to_target accuracy >= 0.8 on test"]
        hours = row.workers * number(row) / 3600
        assert hours == pytest.approx(float(row.facts["node_hours_to_80"]), rel=0.02)
        assert row.facts["reading"] == "read off a figure"


def test_the_results_of_2020_are_six_methods_at_five_numbers_of_workers() -> None:
    lines = by_line(references.published("cifar10-resnet20-v1-2020")).values()
    rows = [line["time_to_target accuracy >= 0.8 on test"] for line in lines]
    assert len(rows) == 30
    assert {row.clock for row in rows} == {"mlbench-2020"}
    assert sorted({row.workers for row in rows}) == [1, 2, 4, 8, 16]
    alone = {row.system: number(row) for row in rows if row.workers == 1}
    assert set(alone.values()) == {171.2, 182.8}, "one measurement for three back ends"


def test_the_picture_of_depths_is_read_off_a_figure_and_falls_with_depth() -> None:
    errors = []
    for depth in (20, 32, 44, 56):
        [row] = references.published(f"cifar10-resnet{depth}-v1")
        assert row.facts["reading"] == "read off a figure"
        assert "read off a figure" in row.notes
        errors.append(number(row))
    assert errors == sorted(errors, reverse=True)


def test_the_accuracy_of_the_platform_task_is_the_mean_of_its_diagonal() -> None:
    rows = {row.measure: number(row) for row in references.published("cifar10-resnet18")}
    diagonal = [rows[f"accuracy_of_class_{place}"] for place in range(10)]
    assert sum(diagonal) / 10 == pytest.approx(rows["final_test_accuracy"])
    assert min(diagonal) == rows["accuracy_of_class_5"], "the dog"


def test_every_line_says_where_it_stood_and_how_it_was_read() -> None:
    for row in references.published():
        assert {"line", "table", "reading", "read_on"} <= set(row.facts)


def test_only_some_lines_stand_in_every_report_of_their_task() -> None:
    beside = references.published("mnist-cnn", beside_only=True)
    assert 0 < len({row.facts["line"] for row in beside}) < 6
    assert references.published("cifar10-vgg-published", beside_only=True) == []


def test_a_figure_whose_measure_the_file_does_not_name_is_refused() -> None:
    text = (ROOT / "src/timetrial/references/mila_course.toml").read_text(encoding="utf-8")
    file = references.decode_file(text.replace("{ accuracy = 0", "{ speed = 0").encode(), "mila")
    with pytest.raises(FormatError, match="'speed' is none of its measures"):
        references.rows_of("mila", file)
