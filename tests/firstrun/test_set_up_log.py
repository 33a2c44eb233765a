"""The log of scripts/first-run.sh becomes rows: counted, added up, and held against the runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from command_line import Outcome

from timetrial import firstrun, store
from timetrial.errors import FormatError, StoreError
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.store import RunRecord
from timetrial.testing import fakes, runs

LOG = """\
invoked\t1000.5
asked\tsu -c 'apt-get install python3-venv'
invoked\t1100
phase\tpackages\t1100\t1100.25\treused
phase\tenvironment\t1101\t1105\tdone
manual\tbrought the data
phase\ttimetrial\t1105\t1150\tdone
invoked\t1160
phase\ttimetrial\t1161\t1162\treused
manual\tbrought the data
finished\t1200
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "set-up.tsv"
        path.write_text(text)
        return path

    return written


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """Two short runs of the fake task, one after the other."""
    folder = tmp_path_factory.mktemp("set-up")
    fakes.write_plugin(folder / "plugin")
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(folder / "plugin"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        made = []
        for seed in (1, 2):
            run, named = runs.place(folder / "runs", runs.fake_plan(seed))
            supervise(run, named, LocalLauncher(), lambda events: None)
            made.append(store.read_run(run.path))
    return made


def test_commands_are_copying_each_beginning_and_each_line_asked_for(
    write: Callable[[str], Path],
) -> None:
    read = firstrun.read_log(write(LOG))
    assert read.commands == 1 + 3 + 1
    assert read.manual_steps == ("brought the data",)
    assert read.began_s == 1000.5
    assert max(phase.end_s for phase in read.phases) == 1162


def test_parts_are_added_up_and_count_as_reused_only_if_they_always_were(
    write: Callable[[str], Path],
) -> None:
    read = firstrun.read_log(write(LOG))
    assert firstrun.parts_of(read.phases) == [
        firstrun.Part("packages", 0.25, True),
        firstrun.Part("environment", 4.0, False),
        firstrun.Part("timetrial", 46.0, False),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "invoked\tnever",
        "invoked\t-3",
        "invoked\tnan",
        "phase\tdata\t3\t4",
        "phase\tdata\t3\t4\tperhaps",
        "phase\tData\t3\t4\tdone",
        "guess\t3",
        "",
    ],
)
def test_a_line_of_another_kind_is_refused_with_its_number(
    line: str, write: Callable[[str], Path]
) -> None:
    with pytest.raises(FormatError, match=r"line 2 is not of a set-up log"):
        firstrun.read_log(write(f"invoked\t3\n{line}\n"))


def test_a_log_without_a_beginning_or_without_a_file_is_refused(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match="no line that begins with invoked"):
        firstrun.read_log(write("manual\tbrought the data\n"))
    with pytest.raises(StoreError, match=r"Name the set-up\.tsv"):
        firstrun.read_log(tmp_path / "nowhere.tsv")


def test_the_first_step_is_the_runs_own_by_the_wall_clock(records: list[RunRecord]) -> None:
    for record in records:
        allocated, released = record.launcher[0], record.launcher[-1]
        at = firstrun.first_step_s(record)
        assert at is not None
        assert allocated.utc_ns / 1e9 < at < released.utc_ns / 1e9  # type: ignore[union-attr]


def test_the_clock_runs_from_the_first_beginning_to_the_first_step_of_all(
    records: list[RunRecord], write: Callable[[str], Path]
) -> None:
    steps = [firstrun.first_step_s(record) or 0.0 for record in records]
    began = steps[0] - 50
    log = f"invoked\t{began}\nphase\tdata\t{began + 1}\t{began + 3}\tdone\n"
    rows = {r.measure: r for r in firstrun.rows_of(firstrun.read_log(write(log)), records)}
    assert rows["time_to_first_step"].value == pytest.approx(50, abs=1e-3)
    assert rows["setup_data"].value == pytest.approx(2, abs=1e-3)
    assert rows["setup_start_of_run"].value == pytest.approx(47, abs=1e-3)
    assert rows["setup_commands"].value == 2
    assert rows["setup_manual_steps"].value == 0
    assert rows["run_time"].n == 2
    assert {row.n for name, row in rows.items() if name != "run_time"} == {1}
    assert rows["time_to_first_step"].low is None


def test_what_was_passed_through_after_the_first_step_is_not_part_of_the_way_to_it(
    records: list[RunRecord], write: Callable[[str], Path]
) -> None:
    """The first run trained and failed, so the script was begun again."""
    first = min(firstrun.first_step_s(record) or 0.0 for record in records)
    log = (
        f"invoked\t{first - 50}\nphase\tdata\t{first - 40}\t{first - 30}\tdone\n"
        f"invoked\t{first + 60}\nphase\tdata\t{first + 61}\t{first + 62}\treused\n"
    )
    rows = {r.measure: r for r in firstrun.rows_of(firstrun.read_log(write(log)), records)}
    assert rows["setup_data"].value == pytest.approx(10, abs=1e-3)
    assert rows["setup_start_of_run"].value == pytest.approx(30, abs=1e-3)
    assert rows["time_to_first_step"].value == pytest.approx(50, abs=1e-3)
    assert rows["setup_commands"].value == 3


def test_the_time_of_a_run_is_that_of_runs_that_did_their_work(
    records: list[RunRecord], write: Callable[[str], Path]
) -> None:
    whole, other = records
    assert other.done is not None
    failed = RunRecord(
        other.run,
        other.plan,
        msgspec.structs.replace(other.done, status="error"),
        other.launcher,
        other.worker,
    )
    began = (firstrun.first_step_s(whole) or 0.0) - 5
    set_up = firstrun.read_log(write(f"invoked\t{began}\n"))
    alone = {row.measure: row for row in firstrun.rows_of(set_up, [whole])}["run_time"]
    both = {row.measure: row for row in firstrun.rows_of(set_up, [whole, failed])}["run_time"]
    assert (both.n, both.value) == (1, alone.value)
    assert any("1 of 2 runs did not do all of the work" in note for note in both.notes)
    none = {row.measure: row for row in firstrun.rows_of(set_up, [failed])}["run_time"]
    assert (none.n, none.value) == (0, None)


def test_runs_from_before_the_set_up_do_not_count(
    records: list[RunRecord], write: Callable[[str], Path]
) -> None:
    between = sum(firstrun.first_step_s(record) or 0.0 for record in records) / 2
    [row] = [
        row
        for row in firstrun.rows_of(firstrun.read_log(write(f"invoked\t{between}\n")), records)
        if row.measure == "run_time"
    ]
    assert row.evidence == [records[1].run.path.name]
    with pytest.raises(StoreError, match="None of 2 runs began a training step"):
        firstrun.rows_of(firstrun.read_log(write(f"invoked\t{between + 1e6}\n")), records)


def test_the_command_line_prints_one_line_with_what_the_set_up_took(
    records: list[RunRecord],
    write: Callable[[str], Path],
    call: Callable[..., Outcome],
) -> None:
    began = (firstrun.first_step_s(records[0]) or 0.0) - 75
    log = write(
        f"invoked\t{began}\nmanual\tbrought the data\n"
        f"phase\tpackages\t{began}\t{began + 1}\treused\n"
    )
    shown = call("show", records[0].run.path.parent, "--set-up", log)
    assert shown.code == 0
    assert "Commands" in shown.out
    assert "1 min 15 s" in shown.out or "75.0 s" in shown.out
    assert "packages 1.00 s (reused)" in shown.out
    assert "brought the data" in shown.out
    assert "not from a bare machine" in shown.out
    rows = call("show", records[0].run.path.parent, "--set-up", log, "--json").json()
    assert {"setup_commands", "time_to_first_step"} <= {row["measure"] for row in rows}
