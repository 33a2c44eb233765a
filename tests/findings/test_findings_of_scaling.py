"""Which systems are compared by their number of workers, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from team_runs import LINEAR, TARGET, TASK, Times, plan_for, write_run

from timetrial import findings
from timetrial.findings.scaling import families
from timetrial.rows import Findings, Row, Scaling, ScalingLine
from timetrial.spec import Task
from timetrial.stats import speedup
from timetrial.store import RunRecord

TIMES = {
    1: Times(0.040),
    2: Times(0.0205, 0.004, late=(0.0, 0.001)),
    4: Times(0.0112, 0.0085),
}


def runs_of(
    folder: Path,
    counts: Sequence[int],
    *,
    seeds: int = 3,
    task: Task = TASK,
    hosts: dict[int, Sequence[str]] | None = None,
    times: dict[int, Times] = TIMES,
    **fields: Any,
) -> list[RunRecord]:
    """Runs of each number of workers, a few per cent apart."""
    made = []
    for seed in range(1, seeds + 1):
        for count in counts:
            base = times[count]
            factor = 1 + 0.01 * (seed - 2)
            own = base._replace(computing=base.computing * factor, exchange=base.exchange * factor)
            plan = plan_for(count, task=task, seed=100 * count + seed, **fields)
            where = (hosts or {}).get(count, ["vm"] * count)
            made.append(write_run(folder, plan, own, hosts=where, peaks=[1000] * count))
    return made


def assembled(records: Sequence[RunRecord], **more: Any) -> Findings:
    return findings.assemble(records, title="t", command="c", **more)


def only(found: Findings) -> Scaling:
    [scaling] = found.scalings
    return scaling


def line_of(scaling: Scaling, workers: int) -> ScalingLine:
    return next(line for line in scaling.lines if line.workers == workers)


def answer(scaling: Scaling, measure: str) -> Row:
    return next(row for row in scaling.answers if row.measure == measure)


def test_one_worker_alone_is_no_scaling_and_has_no_row_of_communication(tmp_path: Path):
    found = assembled(runs_of(tmp_path, [1]))
    assert not found.scalings
    measures = {row.measure for row in found.rows}
    assert not {"communication_share", "speed_up", "exchange_rate"} & measures


def test_speed_up_and_efficiency_are_the_ratio_of_the_times_of_a_step(tmp_path: Path):
    scaling = only(assembled(runs_of(tmp_path, [1, 2, 4])))
    assert scaling.kind == "strong"
    assert [line.workers for line in scaling.lines] == [1, 2, 4]
    steps = {line.workers: line.cells["seconds_per_step"].value or 0 for line in scaling.lines}
    for workers in (2, 4):
        cells = line_of(scaling, workers).cells
        assert cells["speed_up"].value == pytest.approx(steps[1] / steps[workers])
        efficiency = cells["strong_efficiency"]
        assert efficiency.value == pytest.approx(steps[1] / steps[workers] / workers)
        assert efficiency.low is not None
        assert efficiency.high is not None
        assert efficiency.low < (efficiency.value or 0) < efficiency.high
        assert cells["speed_up"].facts == {"base_workers": "1", "base_n": "3"}
        times = [line_of(scaling, k).cells["time_to_target"].value or 0 for k in (1, workers)]
        assert cells["speed_up_to_target"].value == pytest.approx(times[0] / times[1])
    assert "speed_up" not in line_of(scaling, 1).cells


def test_the_rows_of_a_scaling_are_among_all_rows_once(tmp_path: Path):
    found = assembled(runs_of(tmp_path, [1, 2, 4]))
    shares = [
        (row.workers, row.value) for row in found.rows if row.measure == "communication_share"
    ]
    assert sorted(workers for workers, _ in shares) == [1, 2, 4]
    assert dict(shares)[1] == 0
    ups = [row.workers for row in found.rows if row.measure == "speed_up"]
    assert sorted(ups) == [2, 4]
    assert sum(row.measure == "break_even_workers" for row in found.rows) == 1
    assert sum(row.measure == "least_bandwidth" for row in found.rows) == 2


def test_weak_scaling_compares_examples_and_is_named_apart(tmp_path: Path):
    """A step of k workers has k mini-batches: the same step time is k times the examples."""
    times = {1: Times(0.040), 2: Times(0.040, 0.004)}
    records = runs_of(tmp_path, [1, 2], task=LINEAR, times=times)
    assert records[0].plan.task_hash != records[1].plan.task_hash
    scaling = only(assembled(records))
    assert scaling.kind == "weak"
    cells = line_of(scaling, 2).cells
    rates = [line_of(scaling, k).cells["examples_per_s"].value or 0 for k in (1, 2)]
    assert cells["speed_up"].value == pytest.approx(rates[1] / rates[0], rel=1e-3)
    assert cells["weak_efficiency"].value == pytest.approx(0.0405 / 0.0445, rel=1e-2)
    assert "strong_efficiency" not in cells
    assert scaling.notes[0].startswith("weak scaling")


def test_other_rules_are_no_scaling(tmp_path: Path):
    other = msgspec.structs.replace(TASK, steps_max=190)
    records = [*runs_of(tmp_path, [1]), *runs_of(tmp_path, [2], task=other)]
    assert not assembled(records).scalings


@pytest.mark.parametrize(
    "field",
    [
        {"launcher": "slurm"},
        {"framework": "jax"},
        {"cores": 2},
        {"precision": "float64"},
        {"device": "cuda"},
    ],
    ids=lambda field: next(iter(field)),
)
def test_systems_that_differ_in_more_than_the_number_of_workers_are_no_scaling(
    tmp_path: Path, field: dict[str, Any]
):
    assert not assembled([*runs_of(tmp_path, [1]), *runs_of(tmp_path, [2], **field)]).scalings


def test_one_worker_is_the_base_of_every_network_and_algorithm(tmp_path: Path):
    records = runs_of(tmp_path, [1], launcher="shaped", network="rate=1gbit")
    for network in ("rate=1gbit", "rate=10mbit"):
        records += runs_of(tmp_path, [2], launcher="shaped", network=network)
    records += runs_of(tmp_path, [2], launcher="shaped", network="rate=1gbit", algorithm="ddp")
    found = assembled(records)
    assert [scaling.lines[0].workers for scaling in found.scalings] == [1, 1, 1]
    assert len({scaling.system for scaling in found.scalings}) == 3


def test_the_base_is_of_the_same_network_where_there_is_one(tmp_path: Path):
    records = []
    for network, seeds in (("rate=1gbit", 3), ("rate=10mbit", 2)):
        fields = {"launcher": "shaped", "network": network, "seeds": seeds}
        records += runs_of(tmp_path, [1, 2], **fields)  # type: ignore[arg-type]
    found = assembled(records)
    assert [[line.n for line in scaling.lines] for scaling in found.scalings] == [[3, 3], [2, 2]]


def test_without_one_worker_speed_up_counts_from_the_fewest(tmp_path: Path):
    scaling = only(assembled(runs_of(tmp_path, [2, 4])))
    assert [line.ideal for line in scaling.lines] == [1, 2]
    cells = line_of(scaling, 4).cells
    assert (cells["strong_efficiency"].value or 0) == pytest.approx(
        (cells["speed_up"].value or 0) / 2
    )
    assert any("no run of one worker" in note for note in scaling.notes)


def test_workers_on_machines_of_their_own_and_on_one_machine_are_apart(tmp_path: Path):
    records = runs_of(tmp_path, [1, 2])
    records += runs_of(tmp_path, [2], hosts={2: ["a", "b"]})
    records += runs_of(tmp_path, [4], hosts={4: ["a", "b", "c", "d"]})
    counts = [[g.system.workers for g in f.groups] for f in families(findings.group_runs(records))]
    assert sorted(counts) == [[1, 2], [1, 2, 4]]


def test_faster_than_so_many_workers_can_be_is_said(tmp_path: Path):
    times = {1: Times(0.040), 2: Times(0.015)}
    scaling = only(assembled(runs_of(tmp_path, [1, 2], times=times)))
    row = line_of(scaling, 2).cells["strong_efficiency"]
    assert (row.low or 0) > 1
    assert any("dividing work alone cannot do that" in note for note in row.notes)


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"algorithm": "local-sgd:period=8"}, "local-sgd:period=8"),
        ({"partition": "dirichlet:alpha=0.5"}, "partition dirichlet:alpha=0.5"),
        ({"launcher": "slurm"}, "launcher slurm"),
        ({"launcher": "shaped", "network": "rate=1gbit"}, "network rate=1gbit"),
        ({"launcher": "ssh", "cluster": "hosts.txt"}, "cluster hosts.txt"),
    ],
    ids=["algorithm", "partition", "launcher", "network", "cluster"],
)
def test_what_the_workers_did_otherwise_is_in_the_name_and_never_averaged(
    tmp_path: Path, field: dict[str, Any], said: str
):
    plain, other = findings.group_runs(
        [*runs_of(tmp_path, [2], seeds=1), *runs_of(tmp_path, [2], seeds=1, **field)]
    )
    assert said not in plain.system.name
    assert said in other.system.name.split(", ")
    assert "2 workers" in plain.system.name.split(", ")


def test_algorithm_and_partition_say_nothing_of_one_worker(tmp_path: Path):
    records = runs_of(tmp_path, [1], seeds=1) + runs_of(tmp_path, [1], seeds=1, algorithm="ddp")
    [group] = findings.group_runs(records)
    assert "ddp" not in group.system.name
    assert "worker" not in group.system.name


def test_machines_of_the_workers_are_in_the_name(tmp_path: Path):
    [group] = findings.group_runs(runs_of(tmp_path, [2], hosts={2: ["a", "b"]}))
    assert "2 workers on 2 machines" in group.system.name.split(", ")
    assert group.system.hosts == 2


def test_more_workers_than_cores_are_marked(tmp_path: Path):
    """The test machine allows four cores."""
    crowded = runs_of(tmp_path, [4], cores=2)
    assert "4 workers of 2 cores each on 4 cores: more than there are" in (
        assembled(crowded).rows[0].notes
    )
    fits = runs_of(tmp_path, [4])
    assert not [note for note in assembled(fits).rows[0].notes if "more than" in note]


def test_verdicts_name_the_workers(tmp_path: Path):
    [verdict] = assembled(runs_of(tmp_path, [1, 2])).verdicts
    assert (verdict.a, verdict.b) == ("1 worker", "2 workers")
    assert verdict.verdict == "B faster"


# --- what pays -----------------------------------------------------------------------------------


def test_the_break_even_is_the_last_number_of_workers_that_is_clearly_faster(tmp_path: Path):
    times = {**TIMES, 4: Times(0.0112, 0.02)}
    row = answer(only(assembled(runs_of(tmp_path, [1, 2, 4], times=times))), "break_even_workers")
    assert (row.value, row.workers, row.target) == (2, 2, str(TARGET))
    assert row.facts["next"] == "4"
    assert row.facts["next_is"] == "slower"
    assert row.facts["counts"] == "1: 3, 2: 3, 4: 3"


def test_one_run_each_tells_nothing(tmp_path: Path):
    row = answer(only(assembled(runs_of(tmp_path, [1, 2], seeds=1))), "break_even_workers")
    assert row.value == 1
    assert row.facts["next_is"] == "not distinguishable"


def test_without_a_reached_target_examples_per_second_decide(tmp_path: Path):
    missed = [
        write_run(tmp_path, plan_for(k, seed=10 * k + s), t, accuracies=(0.2,), status="budget")
        for s in (1, 2)
        for k, t in ((1, Times(0.04 + s / 10**4)), (2, Times(0.02 + s / 10**4, 0.002)))
    ]
    row = answer(only(assembled(missed)), "break_even_workers")
    assert (row.value, row.target, row.facts["by"]) == (2, None, "examples_per_s")


def test_the_price_counts_once_for_every_machine(tmp_path: Path):
    one = runs_of(tmp_path, [1, 2], price_usd_per_h=3.6)
    two = runs_of(tmp_path, [2], price_usd_per_h=3.6, hosts={2: ["a", "b"]})
    costs = {
        (row.workers, " on 2 machines" in row.system): row
        for row in assembled([*one, *two]).rows
        if row.measure == "cost_per_run" and row.clock == "billed"
    }
    shared, apart = costs[2, False], costs[2, True]
    assert apart.value == pytest.approx(2 * (shared.value or 0))
    assert any("for the one machine of all 2 workers" in note for note in shared.notes)
    assert any("for each of 2 machines" in note for note in apart.notes)
    assert any(note.startswith("at 3.6 USD per hour, given") for note in costs[1, False].notes)


def test_the_lowest_cost_is_named_with_those_that_cannot_be_told_from_it(tmp_path: Path):
    records = runs_of(tmp_path, [1, 2], price_usd_per_h=3.6)
    row = answer(only(assembled(records)), "cheapest_workers")
    assert (row.value, row.clock, row.facts["ties"]) == (2, "billed", "")
    assert not [
        r for r in only(assembled(runs_of(tmp_path, [1, 2]))).answers
        if r.measure == "cheapest_workers"
    ]  # fmt: skip


def test_the_least_bandwidth_is_where_both_steps_take_as_long(tmp_path: Path):
    records = runs_of(tmp_path, [1, 2])
    row = answer(only(assembled(records)), "least_bandwidth")
    size = float(row.facts["parameters_bytes"])
    saved = 0.0405 - (0.0205 + 0.001 + 0.0005)
    assert row.value == pytest.approx(8 * speedup.ring_bytes(size, 2) / saved, rel=1e-3)
    assert row.low is not None
    assert row.high is not None
    assert row.low < (row.value or 0) < row.high
    assert (row.facts["latency"], row.facts["n"]) == ("included", "3 and 3")
    ran = [r for r in assembled(records).rows if r.measure == "exchange_rate"]
    assert [r.value for r in ran] == [pytest.approx(8 * size / 0.004, rel=1e-2)]
    assert float(row.facts["ran_at_bit_per_s"]) == pytest.approx(ran[0].value, rel=1e-4)


def test_latency_that_was_measured_is_taken_out(tmp_path: Path):
    groups = findings.group_runs(runs_of(tmp_path, [1, 2]))
    from timetrial.findings.paying import least_bandwidth_row

    rows = [least_bandwidth_row(*groups, lambda group, wait=wait: wait) for wait in (None, 0.002)]
    included, apart = rows
    assert included is not None
    assert apart is not None
    assert (included.facts["latency"], apart.facts["latency"]) == ("included", "apart")
    assert (apart.value or 0) > (included.value or 0)


@pytest.mark.parametrize(
    "field", [{"algorithm": "powersgd:rank=1"}, {"algorithm": "ddp"}], ids=["squeezed", "ddp"]
)
def test_nothing_is_said_of_bandwidth_where_the_bytes_or_the_exchange_are_not_known(
    tmp_path: Path, field: dict[str, Any]
):
    records = runs_of(tmp_path, [1]) + runs_of(tmp_path, [2], **field)
    assert not [r for r in only(assembled(records)).answers if r.measure == "least_bandwidth"]


def test_quality_after_a_time_is_read_at_the_same_times_for_all(tmp_path: Path):
    records = runs_of(tmp_path, [1, 2])
    assert only(assembled(records)).after == ["accuracy_after_2s"]  # after 1 s nobody has any
    asked = only(assembled(records, after_s=[1.7]))
    assert asked.after == ["accuracy_after_1.7s"]
    values = [line.cells["accuracy_after_1.7s"].value for line in asked.lines]
    assert values[0] is not None
    assert values[1] is not None
    assert values[0] <= values[1]


def test_the_parts_of_a_step_tile_it_for_every_number_of_workers(tmp_path: Path):
    scaling = only(assembled(runs_of(tmp_path, [1, 2, 4])))
    for line in scaling.lines:
        assert sum(line.parts_s.values()) == pytest.approx(TIMES[line.workers].step(), rel=1e-3)
    assert "exchange" not in line_of(scaling, 1).parts_s
