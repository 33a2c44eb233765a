"""From what was seen of a tool to its cells: each rule, and what it must not take for a yes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from tool_records import absent, checks, installed, licensed, made_tool, page, raced, watched

from timetrial.examinations.tools import judging
from timetrial.examinations.tools.judging import Cell
from timetrial.examinations.tools.records import (
    Attempted,
    Column,
    Failed,
    Observation,
    Race,
    Raced,
    Refused,
)
from timetrial.examinations.tools.registry import Server, Tool

SEPARATE = Server(kind="separate", about="a product of its own", licence="SSPL-1.0", source="there")
CLOSED = Server(kind="closed", about="runs at its owner", source="there")


def cell(column: Column, *seen: Observation, tool: Tool | None = None) -> Cell:
    return judging.judge(tool or made_tool(), [installed(), *seen])[column]


@pytest.mark.parametrize(
    ("seen", "value", "short"),
    [
        ([watched(), page("monitoring")], "yes", ""),
        ([watched(means="reader")], "yes", "no page"),
        ([watched(), page("monitoring", status=500)], "yes", "no page"),
        ([watched(), page("monitoring", missing=1)], "yes", "no page"),
        ([watched(means="snapshot")], "limited", "own snapshots"),
        ([watched(means="raw file")], "limited", "raw file"),
        ([watched(4)], "limited", "too late"),
        ([watched(8, wrong=2), page("monitoring")], "limited", "wrong values"),
        ([watched(0)], "no", "only after the run"),
        ([], "unknown", "nothing seen"),
    ],
)
def test_monitoring_is_what_another_process_reads_in_time(
    seen: Sequence[Observation], value: str, short: str
) -> None:
    judged = cell("monitoring", *seen)

    assert (judged.value, judged.short) == (value, short)


def test_a_page_without_its_scripts_is_none_and_says_so() -> None:
    judged = cell("organizing", *checks(), page("organizing", missing=2))

    assert (judged.value, judged.short) == ("limited", "no page")
    assert "2 of its 3 scripts are missing" in judged.reason


def test_what_was_seen_of_a_client_alone_is_said_to_be_without_its_server() -> None:
    seen = watched(means="raw file")

    apart = cell("monitoring", seen, tool=made_tool(server=CLOSED))

    assert (apart.value, apart.without_server) == ("limited", True)
    assert apart.reason.startswith("without its server, which runs at its owner")
    assert not cell("monitoring", seen).without_server


def test_the_latency_stands_in_the_reason_with_how_fine_it_can_be_told() -> None:
    judged = cell("monitoring", watched())

    assert "20.0 ms after they were logged" in judged.reason
    assert "a read took 2.00 ms" in judged.reason


@pytest.mark.parametrize(
    ("seen", "value", "short"),
    [
        ([*checks(), page("organizing")], "yes", ""),
        (checks(), "limited", "no page"),
        ([*checks("artefact"), page("organizing")], "limited", "no artefact"),
        ([*checks("list", "filter", "sort", "artefact", "compare")], "no", ""),
        ([absent("organizing")], "no", ""),
        ([absent("organizing", "lines.api:list_runs")], "unknown", "not looked at"),
        ([*checks()[:4]], "unknown", "nothing seen"),
    ],
)
def test_organizing_needs_all_five_and_a_page(
    seen: Sequence[Observation], value: str, short: str
) -> None:
    judged = cell("organizing", *seen)

    assert (judged.value, judged.short) == (value, short)


def test_what_a_tool_has_no_name_for_counts_as_lacking() -> None:
    four = [item for item in checks() if item.what != "artefact"]  # type: ignore[union-attr]

    judged = cell("organizing", *four, absent("artefact"), page("organizing"))

    assert (judged.value, judged.short) == ("limited", "no artefact")
    assert "none of 100 public names" in judged.reason


@pytest.mark.parametrize("server", [SEPARATE, CLOSED])
def test_what_only_its_absent_server_could_do_is_unknown_and_not_a_no(server: Server) -> None:
    every = checks("list", "filter", "sort", "artefact", "compare", line="ValueError: no account")

    judged = cell("organizing", *every, tool=made_tool(server=server))

    assert judged.value == "unknown"
    assert "ValueError: no account" in judged.reason


@pytest.mark.parametrize(
    ("factor", "value", "short"),
    [
        (0.1, "yes", ""),
        (1.0, "limited", "not told from random"),
        (8.0, "limited", "worse than random"),
    ],
)
def test_tuning_must_beat_random_search_with_its_whole_interval(
    factor: float, value: str, short: str
) -> None:
    judged = cell("tuning", raced(factor))

    assert (judged.value, judged.short) == (value, short)


def test_the_ratio_is_a_geometric_mean_of_pairs_with_students_interval() -> None:
    tool, random = np.array([0.1, 0.4, 0.02, 0.3]), np.array([0.5, 0.3, 0.2, 0.9])
    pairs = zip(tool.tolist(), random.tolist(), strict=True)
    some = Raced(
        function="branin",
        budget=30,
        races=tuple(Race(seed=n, tool=a, random=b) for n, (a, b) in enumerate(pairs)),
        seconds_per_point=0.01,
        how="",
    )

    ratio = judging.ratio_of(some)

    paired = stats.ttest_rel(np.log(tool), np.log(random)).confidence_interval()
    assert ratio.n == 4
    np.testing.assert_allclose(
        [ratio.value, ratio.low, ratio.high],
        [np.exp(np.log(tool / random).mean()), np.exp(paired.low), np.exp(paired.high)],
    )


def test_a_search_that_found_the_least_value_itself_has_a_ratio() -> None:
    found = Raced(
        function="branin",
        budget=30,
        races=(Race(seed=1, tool=0.0, random=0.1), Race(seed=2, tool=1e-12, random=0.1)),
        seconds_per_point=0.01,
        how="",
    )

    assert judging.ratio_of(found).value == pytest.approx(judging.LEAST_ABOVE / 0.1)


def test_a_search_that_could_not_be_started_says_what_was_tried() -> None:
    tried = Attempted(column="tuning", what="lines.Optimizer", worked=False, line="no API key")

    judged = cell("tuning", tried, tool=made_tool(server=CLOSED))

    assert judged.value == "unknown"
    assert "lines.Optimizer: no API key" in judged.reason


def test_a_name_near_a_capability_is_a_no_only_once_somebody_has_looked_at_it() -> None:
    near = absent("tuning", "lines.glue:suggest_pin")
    known = made_tool(not_it={"tuning": {"lines.glue:*": "is glue of another tool's"}})

    assert cell("tuning", near).value == "unknown"
    judged = cell("tuning", near, tool=known)
    assert judged.value == "no"
    assert "is glue of another tool's" in judged.reason


@pytest.mark.parametrize(
    ("said", "is_open"),
    [
        (licensed("Apache-2.0"), True),
        (licensed("LicenseRef-Proprietary", "MIT"), False),
        (licensed("", "", "License :: OSI Approved :: MIT License"), True),
        (licensed("", "Apache License 2.0"), True),
        (licensed("", "", "License :: Other/Proprietary License"), False),
        (licensed(), False),
    ],
)
def test_an_open_licence_is_one_of_the_osis_list(said: Observation, is_open: bool) -> None:
    judged = cell("licence", said, page("monitoring"))

    assert judged.value == ("yes" if is_open else "no")


@pytest.mark.parametrize(
    ("server", "pages", "value", "short"),
    [
        (Server(kind="none", about="a library"), [], "yes", ""),
        (Server(kind="included", about="serve"), [], "limited", "server not seen"),
        (SEPARATE, [], "limited", "server apart"),
        (CLOSED, [page("monitoring")], "limited", "server closed"),
    ],
)
def test_an_open_client_of_a_server_that_cannot_be_hosted_is_limited(
    server: Server, pages: Sequence[Observation], value: str, short: str
) -> None:
    judged = cell("licence", licensed("MIT"), *pages, tool=made_tool(server=server))

    assert (judged.value, judged.short) == (value, short)


def test_a_tool_that_cannot_be_installed_says_so_in_every_cell() -> None:
    refused = Refused(step="pip install", line="ERROR: no matching distribution", wanted="lines")

    cells = judging.judge(made_tool(), [refused])

    assert {one.value for one in cells.values()} == {"unknown"}
    assert all("ERROR: no matching distribution" in one.reason for one in cells.values())


def test_a_probe_that_failed_leaves_the_other_columns_alone() -> None:
    failed = Failed(column="tuning", line="python ended with exit code 1: ImportError: x")

    cells = judging.judge(made_tool(), [installed(), watched(), page("monitoring"), failed])

    assert cells["monitoring"].value == "yes"
    assert cells["tuning"].value == "unknown"
    assert "ImportError: x" in cells["tuning"].reason
