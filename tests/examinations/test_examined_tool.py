"""One tool through a real worker: what it leaves, its rows, and its line beside the document's."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from tool_records import borrow_environment, made_tool

from timetrial import audit
from timetrial.examinations.tools.examination import EXPERIMENT_TOOL, TOOLS
from timetrial.examinations.tools.examiners import file_of
from timetrial.examinations.tools.records import Checked, Sealed, Watched, read_line
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.plan import EXAMINATIONS
from timetrial.references.experiment_tools import document_table
from timetrial.results import Runs
from timetrial.rows import Row, Table, TableLine
from timetrial.store import RunRecord, read_run
from timetrial.suites.experiment_tools.tables import value_of
from timetrial.suites.tables import tables_of
from timetrial.testing import runs
from timetrial.testing.contracts import ExaminationContract

T = TypeVar("T")
# The worker's examiner of Visdom is one of a file of JSON lines: nothing has to be installed.
EXAMINER = """
import sys
sys.path.insert(0, {tests!r})
from tool_records import made_tool
from timetrial.examinations.tools.examiners import ToolExaminer
from timetrial.examinations.tools.examining import Effort

def build():
    effort = Effort(steps=10, pace_s=0.1, budget=30, searches=5, timeout_s=120.0)
    return ToolExaminer(made_tool(name="visdom", distribution="msgspec"), effort)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="probes need pipes to wait for")


class TestExperimentTool(ExaminationContract):
    @pytest.fixture
    def examination(self):  # type: ignore[no-untyped-def]
        return EXPERIMENT_TOOL


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = tmp_path_factory.mktemp("tool")
    (folder / "lines_examiner.py").write_text(EXAMINER.format(tests=str(Path(__file__).parent)))
    environ = {"TIMETRIAL_CACHE": str(folder / "cache")}
    borrow_environment(made_tool(name="visdom", distribution="msgspec"), environ)
    plan = msgspec.structs.replace(
        runs.examination_plan(EXPERIMENT_TOOL, "visdom", light=True),
        implementation="lines_examiner:build",
        suite="experiment-tools",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIMETRIAL_CACHE", environ["TIMETRIAL_CACHE"])
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        run, placed = runs.place(folder / "store", plan)
        supervise(run, placed, LocalLauncher(), lambda events: None)
    return read_run(run.path)


def seen(record: RunRecord, step: str, kind: type[T]) -> list[T]:
    lines = record.run.exhibit(file_of(step)).read_bytes().splitlines()
    return [item for item in map(read_line, lines) if isinstance(item, kind)]


def rows(record: RunRecord) -> dict[str, Row]:
    return {row.measure: row for row in Runs([record]).findings().rows}


@pytest.fixture
def table(record: RunRecord) -> Table:
    [table], notes = tables_of([record])
    assert notes == []
    return table


def line_of(table: Table, group: str, origin: str | None) -> TableLine:
    [line] = [line for line in table.lines if (line.group, line.origin) == (group, origin)]
    return line


def test_another_process_read_each_step_while_the_run_went_on(record: RunRecord) -> None:
    [watched] = seen(record, "monitoring", Watched)

    assert (watched.wrong, watched.late) == (0, 0)
    assert [one.step for one in watched.seen] == list(range(1, watched.steps + 1))
    assert all(0 < one.latency_ms < 60_000 for one in watched.seen)
    found = rows(record)
    assert found["steps_read_live"].value == 1
    assert found["monitoring_latency"].n == watched.steps


def test_each_question_about_the_sweep_was_asked_and_a_failure_kept(record: RunRecord) -> None:
    checks = seen(record, "organizing", Checked)

    assert {item.what: item.line for item in checks if not item.passed} == {
        "artefact": "KeyError: 'artefact'"
    }
    found = rows(record)
    assert [found[name].value for name in ("runs_listed", "runs_filtered", "runs_sorted",
                                           "artefact_fetched", "runs_compared")
            ] == [1, 1, 1, 0, 1]  # fmt: skip


def test_the_ratio_of_the_searches_has_its_interval(record: RunRecord) -> None:
    ratio = rows(record)["search_ratio"]

    assert ratio.n == 5
    assert ratio.value is not None
    assert ratio.low is not None
    assert ratio.high is not None
    assert 0 < ratio.low < ratio.value < ratio.high


def test_every_step_says_whether_it_had_a_network(record: RunRecord) -> None:
    for step in EXPERIMENT_TOOL.steps[1:]:
        assert len(seen(record, step.name, Sealed)) == 1


def test_the_run_is_complete_and_can_be_verified(record: RunRecord) -> None:
    assert (record.status, record.detail) == ("reached", "")
    [verification] = audit.verify([record.run.path])
    assert verification.ok, verification


def test_the_tools_line_stands_below_the_documents(table: Table) -> None:
    said = line_of(table, "Visdom", "published")
    assert (said.date, said.cells["organizing"]) == ("2019", "NO (Limited)")

    ours = line_of(table, "Visdom", "measured")
    assert ours.cells["monitoring"] == "yes"
    assert ours.cells["organizing"] == "limited"
    assert ours.cells["tuning"] == "yes"
    assert [note for note in ours.notes if note.startswith("other than in the document")] == [
        "other than in the document: tuning was NO, is yes",
        "other than in the document: open source was YES, is limited",
    ]
    assert any(note.startswith("monitoring, yes (no page): 10 of 10 steps") for note in ours.notes)


def test_tools_that_were_not_run_say_how_to_run_them(table: Table) -> None:
    missing = [line for line in table.lines if line.origin is None]

    assert len(missing) == len(TOOLS) - 1
    assert all("timetrial run experiment-tool --framework" in str(line.cells["line"])
               for line in missing)  # fmt: skip


def test_a_whole_examination_stands_before_a_light_one(record: RunRecord, tmp_path: Path) -> None:
    plan = msgspec.structs.replace(record.plan, light=False)
    copy = tmp_path / record.run.path.name
    shutil.copytree(record.run.path, copy)
    (copy / "done.json").chmod(0o644)
    (copy / "plan.json").chmod(0o644)
    (copy / "plan.json").write_bytes(msgspec.json.encode(plan))

    [table], _ = tables_of([read_run(copy), record])

    assert "light" not in str(line_of(table, "Visdom", "measured").cells["line"])


@pytest.mark.parametrize(
    ("said", "value"),
    [("YES", "yes"), ("NO", "no"), ("NO (Limited)", "limited"), ("Freemium", "limited")],
)
def test_the_documents_words_become_ours(said: str, value: str) -> None:
    assert value_of(said) == value


def test_the_document_has_eight_tools_and_the_examination_is_known() -> None:
    assert len(document_table().tool) == 8
    assert EXAMINATIONS.get("experiment-tool") is EXPERIMENT_TOOL
