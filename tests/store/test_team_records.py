"""Records of several workers: every log is read, the first worker's way counts, meters add up."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from team_runs import Times, plan_for, write_run

from timetrial.engine.events import Exited, Fenced, Stopped
from timetrial.stats import measures
from timetrial.store import RunRecord

TIMES = Times(0.02, 0.004)


@pytest.fixture
def three(tmp_path: Path) -> RunRecord:
    """Three workers on two hosts."""
    return write_run(tmp_path, plan_for(3), TIMES, hosts=["a", "b", "b"], peaks=[1000, 2000, 4000])


def test_the_logs_of_all_workers_are_read_by_rank(three: RunRecord):
    assert list(three.workers_events) == [0, 1, 2]
    for rank, events in three.workers_events.items():
        assert events[0].rank == rank  # type: ignore[union-attr]
        assert sum(isinstance(event, Fenced) for event in events) > 5
    assert {exit_.rank for exit_ in three.exits.values()} == {0, 1, 2}
    assert three.last_exit is three.exits[0]


def test_the_wall_time_is_tiled_by_the_first_worker_though_others_end_before_it(three: RunRecord):
    ends = {e.rank: e.t_ns for e in three.launcher if isinstance(e, Exited)}
    assert ends[2] < ends[1] < ends[0]
    stretches = three.stretches
    assert all(a.stop_s == b.start_s for a, b in itertools.pairwise(stretches))
    assert [s.name for s in stretches[-2:]] == ["teardown", "teardown"]
    assert stretches[-2].stop_s == ends[0] / 1e9


def test_meters_of_workers_are_summed_and_those_of_a_machine_counted_once_a_host(three: RunRecord):
    assert three.hosts == 2
    assert three.places == {0: "a", 1: "b", 2: "b"}
    values = measures.meter_values(three)
    assert values["cpu"] == 3 * 3.0
    assert values["cores_used"] == pytest.approx(3 * 0.75)
    assert values["peak_memory"] == 7000
    assert values["steal"] == 2 * 0.25
    assert values["energy"] == 2 * 40.0
    assert values["gpu_energy"] == 2 * 200.0
    assert values["gpu_peak_memory"] == 2 * 1000
    assert values["gpu_busy_any_kernel"] == 0.5
    assert three.meter is not None
    assert "need not fall together" in (three.meter.methods["memory_bytes"].method or "")
    assert "once for each of 2 hosts" in (three.meter.methods["steal_s"].method or "")


def test_a_sum_that_lacks_a_worker_is_unknown_and_never_a_part(three: RunRecord, tmp_path: Path):
    three.run.meter("b", 0, 1).unlink()
    again = RunRecord(
        three.run, three.plan, three.done, three.launcher, three.worker, others=three.others
    )
    values = measures.meter_values(again)
    assert "cpu" not in values
    assert "peak_memory" not in values
    assert "energy" not in values
    assert measures.fit_use(again).cores_used is None


def test_without_a_sampler_the_launchers_counters_are_summed(tmp_path: Path):
    two = write_run(tmp_path, plan_for(2), TIMES)
    assert measures.meter_values(two) == {"cpu": 5.0, "peak_memory": 200.0}
    assert two.meter is None
    assert two.hosts == 1


def test_each_worker_has_its_own_network_where_the_launcher_gives_it_one(tmp_path: Path):
    fields = {"hosts": ["a", "a"], "peaks": [1, 1]}
    local = write_run(tmp_path, plan_for(2), TIMES, **fields)  # type: ignore[arg-type]
    shaped = write_run(tmp_path, plan_for(2, launcher="shaped"), TIMES, **fields)  # type: ignore[arg-type]
    assert local.meter is not None
    assert shaped.meter is not None
    assert (local.meter.network_rx_bytes, shaped.meter.network_rx_bytes) == (7, 14)


def test_cores_used_in_training_are_those_of_all_workers_and_gpus_count_once(three: RunRecord):
    used = measures.fit_use(three)
    assert used.cores_used == pytest.approx(3 * 0.75)
    assert (used.gpus_present, used.gpus_busy) == (2, 2)  # one a host


def test_the_machine_is_the_first_workers(tmp_path: Path):
    record = write_run(tmp_path, plan_for(2), TIMES, hosts=["a", "b"], peaks=[1, 1])
    assert record.machine is not None
    assert record.machine.hostname == "a"


def test_the_last_word_is_that_of_the_worker_that_failed_first(three: RunRecord):
    def word(t_ns: int, status: str | None, detail: str) -> Stopped:
        return Stopped(t_ns=t_ns, step=1, status=status, detail=detail)  # type: ignore[arg-type]

    others = {1: [word(5, "error", "it broke")], 2: [word(7, "error", "later")]}
    lost = RunRecord(
        three.run, three.plan, None, three.launcher, [word(9, None, "lost")], others=others
    )
    assert lost.detail == "it broke"
