"""The tools of tools.toml, the document's table, and what binds versions."""

from __future__ import annotations

import importlib.resources

import pytest

from timetrial._registry import load_object
from timetrial.errors import FormatError, UnknownNameError
from timetrial.examinations.tools import registry
from timetrial.examinations.tools.examination import EXPERIMENT_TOOL, TOOLS
from timetrial.examinations.tools.records import COLUMNS, Sealed, read_line
from timetrial.references.experiment_tools import document_table


def test_every_line_of_the_document_has_a_tool_and_two_newer_ones_follow() -> None:
    named = [tool.document for tool in registry.tools()]

    assert [name for name in named if name] == [line.name for line in document_table().tool]
    assert [tool.name for tool in registry.tools() if not tool.document] == ["optuna", "wandb"]


def test_every_tool_has_one_exact_version_a_probe_and_an_examiner() -> None:
    probes = importlib.resources.files("timetrial.examinations.tools.probes")
    assert tuple(tool.name for tool in registry.tools()) == TOOLS

    for tool in registry.tools():
        assert tool.pin
        assert (probes / f"{tool.probe}.py").is_file()
        examiner = load_object(EXPERIMENT_TOOL.implementations[tool.name])
        assert examiner().versions() == {tool.name: tool.pin}  # type: ignore[operator]


def test_the_steps_are_the_columns_after_the_environment() -> None:
    assert [step.name for step in EXPERIMENT_TOOL.steps] == ["environment", *COLUMNS]


def test_constraints_bind_all_but_what_a_tool_cannot_live_with() -> None:
    bound = registry.constraints().splitlines()
    fewer = registry.constraints(("PROTOBUF", "typing-inspection")).splitlines()

    assert "torch==2.13.0" in bound  # any other one brings gigabytes of CUDA
    assert sorted(set(bound) - set(fewer)) == [
        line for line in sorted(bound) if line.startswith(("protobuf==", "typing-inspection=="))
    ]
    assert len(fewer) == len(bound) - 2


def test_an_unknown_tool_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mlflow'"):
        registry.find_tool("mlfow")


def test_a_probes_line_is_read_strictly() -> None:
    good = b'{"type": "sealed", "sealed": true, "how": "a namespace"}'

    assert read_line(good) == Sealed(sealed=True, how="a namespace")
    for bad in (b"hello", b'{"type": "sealed", "sealed": 1, "how": ""}', good[:-1] + b', "x": 1}',
                b'{"type": "other"}'):  # fmt: skip
        with pytest.raises(FormatError, match="A probe printed"):
            read_line(bad)
