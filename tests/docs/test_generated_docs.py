"""Pages and schemas made from the program are those of the program as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from command_line import ROOT, Ran

from timetrial.engine.events import LauncherEvent, WorkerEvent
from timetrial.plan import EXAMINATIONS, MEASUREMENTS, TASKS, Plan
from timetrial.rows import Row

SCHEMAS = sorted((ROOT / "docs/schema").glob("*.json"))


def test_they_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/make_docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_task_has_its_page() -> None:
    pages = {path.stem for path in (ROOT / "docs/tasks").glob("*.md")} - {"README"}

    assert pages == {*TASKS.names(), *MEASUREMENTS.names(), *EXAMINATIONS.names()}


@pytest.mark.parametrize("ran", ["digits", "logreg", "precisions"])
def test_rows_printed_as_json_are_rows(ran: str, request: pytest.FixtureRequest) -> None:
    out: Ran = request.getfixturevalue(ran)

    rows = msgspec.json.decode(out.outcome.out, type=list[Row])

    assert msgspec.to_builtins(rows) == out.outcome.json()


def test_the_files_of_a_run_are_what_the_schemas_say(digits: Ran) -> None:
    for run in (path.parent for path in digits.store.glob("*/plan.json")):
        msgspec.json.decode((run / "plan.json").read_bytes(), type=Plan)
        for line in (run / "events.launcher.jsonl").read_bytes().splitlines():
            msgspec.json.decode(line, type=LauncherEvent)
        for line in (run / "events.0.jsonl").read_bytes().splitlines():
            msgspec.json.decode(line, type=WorkerEvent)


def known_fields(schema: dict[str, Any]) -> list[str]:
    name = schema["$ref"].rpartition("/")[2]
    return sorted(schema["$defs"][name]["properties"])


def test_the_published_schemas_name_the_fields_that_are_printed(digits: Ran) -> None:
    row = json.loads((ROOT / "docs/schema/row.json").read_text(encoding="utf-8"))
    plan = json.loads((ROOT / "docs/schema/plan.json").read_text(encoding="utf-8"))
    kept = json.loads(next(digits.store.glob("*/plan.json")).read_bytes())

    assert known_fields(row) == sorted(digits.outcome.json()[0])
    assert known_fields(plan) == sorted(kept)


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_every_reference_inside_a_schema_resolves(path: Any) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    found: list[str] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            found.extend([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)
    assert found
    assert {ref.rpartition("/")[2] for ref in found} <= set(schema["$defs"])
