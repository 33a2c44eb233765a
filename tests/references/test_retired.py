"""The documents' tools that cannot run today are named, with why, and never half-started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome

from timetrial import frameworks, references
from timetrial.errors import FormatError

TOOLS = references.retired_frameworks()


def test_each_retired_tool_says_when_it_ended_why_and_what_is_near() -> None:
    assert [tool.name for tool in TOOLS] == ["cntk", "mxnet", "neon", "theano"]
    for tool in TOOLS:
        assert tool.last_version
        assert 2017 <= int(tool.last_date[:4]) <= 2022
        assert tool.documents
        assert tool.source.startswith("https://")
        assert set(tool.instead) <= set(frameworks.REGISTRY.names())
        assert tool.name not in frameworks.REGISTRY.names()


@pytest.mark.parametrize("name", [n for tool in TOOLS for n in (tool.name, *tool.also)])
def test_asking_for_one_says_why_it_cannot_run(
    name: str, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    seen = call("run", "digits-cnn", "--framework", name, "--store", tmp_path / "runs")
    tool = next(tool for tool in TOOLS if name in (tool.name, *tool.also))

    assert seen.code == 1
    assert f"Framework {name} cannot run today" in seen.err
    assert tool.why in seen.err
    assert seen.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_other_names_pass() -> None:
    for name in (None, "torch", "keras-jax", "thean"):
        references.refuse_retired(name)


def test_they_are_listed_below_those_that_run(call: Callable[..., Outcome]) -> None:
    listed = call("list", "frameworks", "--json").json()

    assert [tool["name"] for tool in listed["retired"]] == [tool.name for tool in TOOLS]
    assert {row["framework"] for row in listed["frameworks"]} == set(frameworks.REGISTRY.names())
    assert "1.0.5 (2020-07-27)" in call("list", "frameworks").out


def test_an_unknown_key_in_the_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(references.__file__).with_name("retired.toml")
    text = file.read_text(encoding="utf-8").replace('why = "', 'reason = "', 1)
    (tmp_path / "retired.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(references.importlib.resources, "files", lambda _: tmp_path)

    with pytest.raises(FormatError, match=r"retired.toml: .*"):
        references.retired_frameworks()
