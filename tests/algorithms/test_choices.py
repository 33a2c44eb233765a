"""Algorithms as they are written on the command line, and what is known of each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import ROOT, Outcome

from timetrial.algorithms import (
    REGISTRY,
    bytes_per_step,
    check_algorithm,
    describe,
    parse_algorithm,
)
from timetrial.algorithms.sign import Packing
from timetrial.algorithms.topology import neighbours, torus_sides
from timetrial.errors import UnknownNameError, UsageError
from timetrial.plan import CLOSED_ALGORITHMS

SHAPES = ((16, 1, 3, 3), (16,), (512, 64), (64,))
COUNT = 144 + 16 + 512 * 64 + 64


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("allreduce", "allreduce"),
        ("top-k", "top-k:ratio=0.01:feedback=true"),
        ("top-k:feedback=false:ratio=1e-2", "top-k:ratio=0.01:feedback=false"),
        ("powersgd:rank=4", "powersgd:rank=4:feedback=true"),
        ("gossip:topology=torus", "gossip:topology=torus"),
        ("local-sgd:momentum=averaged", "local-sgd:period=8:momentum=averaged"),
    ],
)
def test_a_text_is_read_and_written_with_every_setting(text: str, canonical: str) -> None:
    assert parse_algorithm(text).text == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("topk", r"Unknown algorithm 'topk'. Did you mean 'top-k'\?"),
        ("", r"Unknown algorithm ''"),
        ("top-k:ration=0.1", r"Unknown setting of algorithm top-k 'ration'. Did you mean 'ratio'"),
        ("allreduce:ratio=0.1", r"Unknown setting of algorithm allreduce 'ratio'.*none"),
        ("top-k:ratio", r"says ratio without a value. Allowed: ratio=VALUE once, such as ratio=0"),
        ("top-k:ratio=0.1:ratio=0.2", r"says ratio twice"),
        ("top-k:ratio=0", r"top-k:ratio=0 is not possible. Allowed: a number, above 0, up to 1"),
        ("top-k:ratio=1.5", r"ratio=1.5 is not possible"),
        ("top-k:ratio=nan", r"ratio=nan is not possible"),
        ("top-k:ratio=few", r"ratio=few is not possible"),
        ("top-k:feedback=yes", r"feedback=yes is not possible. Allowed: true, false"),
        ("local-sgd:period=0", r"period=0 is not possible. Allowed: a whole number, 1 and more"),
        ("local-sgd:period=2.5", r"period=2.5 is not possible"),
        ("sign:size=inf", r"size=inf is not possible"),
        ("gossip:topology=star", r"topology=star is not possible. Allowed: ring, torus"),
        ("async-sgd:staleness=-1", r"staleness=-1 is not possible. Allowed: a whole number, 0 and"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_algorithm(text)


def test_the_closed_division_is_what_the_plan_takes_for_it() -> None:
    closed = {name for name in REGISTRY.names() if describe(name).division == "closed"}

    assert closed == set(CLOSED_ALGORITHMS)


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 7])
def test_a_torus_needs_two_sides(workers: int) -> None:
    with pytest.raises(UsageError, match=rf"torus is not possible with --workers {workers}"):
        check_algorithm(parse_algorithm("gossip:topology=torus"), workers=workers)


def test_an_algorithm_is_refused_where_it_has_no_file() -> None:
    check_algorithm(parse_algorithm("allreduce"), workers=2, framework="jax")
    with pytest.raises(UsageError, match=r"--algorithm sign is not possible in jax.*torch"):
        check_algorithm(parse_algorithm("sign"), workers=2, framework="jax")


@pytest.mark.parametrize("topology", ["ring", "torus"])
@pytest.mark.parametrize("workers", [4, 6, 8, 9, 12])
def test_everybody_is_the_neighbour_of_as_many_who_are_his(topology: str, workers: int) -> None:
    found = [neighbours(topology, rank, workers) for rank in range(workers)]

    for rank, near in enumerate(found):
        assert rank not in near
        assert all(rank in found[other] for other in near)
    # equal shares 1 / (d + 1) then form a symmetric, doubly stochastic matrix
    assert len({len(near) for near in found}) == 1
    assert math.prod(torus_sides(workers)) == workers


def test_two_and_three_workers_on_a_ring() -> None:
    assert neighbours("ring", 0, 2) == [1]
    assert neighbours("ring", 1, 3) == [0, 2]
    assert neighbours("ring", 0, 1) == []


@pytest.mark.parametrize(
    ("text", "workers", "expected"),
    [
        ("allreduce", 2, COUNT * 4),
        ("allreduce", 1, 0),
        ("ddp", 4, 1.5 * COUNT * 4),
        ("local-sgd:period=10", 2, COUNT * 4 / 10),
        ("local-sgd:period=10:momentum=averaged", 2, COUNT * 4 / 5),
        ("top-k:ratio=0.01", 3, 2 * 330 * 8),
        ("sign", 2, COUNT // 8 + 4 * 4),
        ("sign:form=majority", 2, COUNT // 8),
        ("powersgd:rank=2", 2, 4 * (2 * (16 + 9) + 16 + 2 * (512 + 64) + 64)),
        ("gossip", 5, 2 * COUNT * 4),
        ("gossip:topology=torus", 9, 4 * COUNT * 4),
        ("gossip:topology=torus", 6, 3 * COUNT * 4),
        ("async-sgd", 2, COUNT * 4),
    ],
)
def test_bytes_per_step_are_those_of_the_formula(text: str, workers: int, expected: float) -> None:
    found = bytes_per_step(parse_algorithm(text), SHAPES, itemsize=4, workers=workers)

    assert found == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_signs_are_packed_eight_to_a_byte_and_come_back(count: int) -> None:
    values = torch.randn(count, generator=torch.Generator().manual_seed(count))
    packing = Packing(values)

    packed = packing.pack(values >= 0)

    assert packed.dtype == torch.uint8
    assert packed.numel() == math.ceil(count / 8)
    assert torch.equal(packing.unpack(packed), torch.where(values >= 0, 1.0, -1.0))


def test_the_command_line_lists_and_shows_algorithms(call: Callable[..., Outcome]) -> None:
    listed = call("list", "algorithms", "--json")
    shown = call("show", "top-k", "--markdown")

    assert [each["algorithm"].partition(":")[0] for each in listed.json()] == REGISTRY.names()
    assert "top-k:ratio=0.01:feedback=true" in call("list", "algorithms").out
    assert shown.out.startswith("# top-k\n")
    assert shown.out.split("# top-k\n")[1] in (ROOT / "docs/algorithms.md").read_text()
    assert json.loads(call("show", "sign", "--json").out)["settings"][0]["name"] == "form"


def test_a_run_is_planned_with_every_setting_said(
    call: Callable[..., Outcome], tmp_path: Path
) -> None:
    asked = ["run", "digits-cnn", "--workers=2", "--division=open", "--dry-run", "--json"]

    seen = call(*asked, "--algorithm=top-k,gossip", "--partition=dirichlet:alpha=1e0", "--seeds=1")

    plans = seen.json()
    assert [each["algorithm"] for each in plans] == [
        "top-k:ratio=0.01:feedback=true",
        "gossip:topology=ring",
    ]
    assert {each["partition"] for each in plans} == {"dirichlet:alpha=1"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--algorithm=top-k:ratio=2"], "ratio=2 is not possible"),
        (["--algorithm=top-q"], "Unknown algorithm 'top-q'. Did you mean 'top-k'?"),
        (["--partition=by-label"], "Unknown partition 'by-label'"),
        (["--algorithm=gossip:topology=torus"], "topology=torus is not possible with --workers 2"),
        (["--algorithm=sign", "--framework=jax"], "--algorithm sign is not possible in jax"),
        (["--partition=iid", "--framework=jax"], "--partition iid is not possible in jax"),
    ],
)
def test_what_no_run_can_do_is_said_before_it_starts(
    words: list[str], message: str, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    seen = call("run", "digits-cnn", "--workers=2", "--division=open", "--dry-run", *words)

    assert seen.code == 1
    assert message in " ".join(seen.err.split())


def test_names_are_known(call: Callable[..., Outcome]) -> None:
    with pytest.raises(UnknownNameError, match="top-k"):
        describe("top-q")
