from __future__ import annotations

import io
import sys

import pytest
from example_findings import empty, findings, hostile

from timetrial.errors import MissingExtraError
from timetrial.report import figure


def test_the_figure_has_a_chart_per_task_with_every_system_and_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # others may need it
    drawn = figure(findings())
    assert len(drawn.axes) == 2
    legend = drawn.axes[0].get_legend()
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["1 core (n = 5)", "2 cores (n = 5)", "target 89 %"]
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("found", [hostile(), empty()], ids=["hostile", "empty"])
def test_any_findings_can_be_drawn(found) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("matplotlib")
    picture = io.BytesIO()
    figure(found).savefig(picture, format="svg")
    assert picture.tell() > 0


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"timetrial\[notebook\]"):
        figure(findings())
