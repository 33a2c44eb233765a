"""Real measurements, small: of the whole, and of single children in this process."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from timetrial.ceilings import children, disk, probe, session
from timetrial.ceilings.orders import Began, Found, Lacked, Order
from timetrial.machine.ceilings import UNITS, Ceilings

TINY = session.Effort(
    ("matmul_fp32", "matmul_tf32", "memory_triad", "op_launch", "kernel_launch", "disk_read",
     "allreduce_bandwidth", "allreduce_latency"),
    rounds=7,
    round_s=0.005,
    budget_s=0.0,
    file_bytes=8 * disk.BLOCK,
    array_bytes_max=2**20,
)  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ceilings, list[float]]:
    pytest.importorskip("torch")
    shares: list[float] = []
    found = session.measure(
        tmp_path_factory.mktemp("disk"),
        effort=TINY,
        say=lambda _measure, _where, share: shares.append(share),
    )
    return found, shares


def test_all_that_is_asked_for_is_measured_or_says_why_not(
    measured: tuple[Ceilings, list[float]],
) -> None:
    found, shares = measured

    seen = {c.measure for c in found.ceilings} | {m.measure for m in found.missing}
    assert seen == set(TINY.measures)
    assert {m.measure for m in found.missing} >= {"matmul_tf32"}
    assert all(m.why for m in found.missing)
    assert not found.light
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


def test_products_and_memory_are_measured_on_one_core_and_on_all(
    measured: tuple[Ceilings, list[float]],
) -> None:
    found, _ = measured
    here = found.cpu.allowed_cores or 1

    for measure in ("matmul_fp32", "memory_triad", "op_launch"):
        on = sorted(c.cores or 0 for c in found.ceilings if c.measure == measure)
        assert on == sorted({1, here})
        one, most = found.find(measure, cores=1), found.find(measure)
        assert one is not None
        assert most is not None
        assert (one.cores, most.cores) == (1, here)
    assert found.find("matmul_fp32", "cuda:0") is None
    assert found.find("matmul_fp32", cores=here + 1) is None


def test_every_ceiling_has_n_interval_unit_and_how(
    measured: tuple[Ceilings, list[float]],
) -> None:
    found, _ = measured

    for ceiling in found.ceilings:
        assert ceiling.n == TINY.rounds
        assert ceiling.unit == UNITS[ceiling.measure]
        assert ceiling.low is not None
        assert ceiling.high is not None
        assert 0 < ceiling.low <= ceiling.value <= ceiling.high
        if ceiling.median is not None and ceiling.unit == "s":
            assert ceiling.high == ceiling.value <= ceiling.median
        elif ceiling.median is not None:
            assert ceiling.low == ceiling.value >= ceiling.median
        assert ceiling.how
        assert ceiling.size
        assert ceiling.derivation
    latency = found.find("allreduce_latency")
    assert latency is not None
    assert latency.workers == 2


def test_the_record_survives_json(measured: tuple[Ceilings, list[float]]) -> None:
    found, _ = measured

    assert msgspec.json.decode(msgspec.json.encode(found), type=Ceilings) == found


def test_the_disk_is_read_past_the_page_cache_or_not_at_all(tmp_path: Path) -> None:
    order = Order(
        measures=("disk_read",), library="none", rounds=4, round_s=0, folder=str(tmp_path),
        file_bytes=4 * disk.BLOCK,
    )  # fmt: skip

    [answer] = probe.answers(order, lambda _what, _share: None, until_s=0)

    assert list(tmp_path.iterdir()) == [], "the file is gone"
    if isinstance(answer, Found):
        assert len(answer.seconds) == 4
        assert any(word in answer.how for word in ("O_DIRECT", "DONTNEED", "F_NOCACHE"))
    else:
        assert isinstance(answer, Lacked)
        assert answer.why


def test_a_folder_in_memory_is_no_disk() -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or not os.access(memory, os.W_OK):
        pytest.skip("needs Linux's /dev/shm")
    order = Order(
        measures=("disk_read",), library="none", rounds=1, round_s=0, folder=str(memory),
        file_bytes=disk.BLOCK,
    )  # fmt: skip

    [answer] = probe.answers(order, lambda _what, _share: None, until_s=0)

    assert isinstance(answer, Lacked)
    assert "lies in memory" in answer.why


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    order = Order(
        measures=("disk_read",), library="none", rounds=1, round_s=0,
        folder=str(tmp_path / "gone"), file_bytes=disk.BLOCK,
    )  # fmt: skip

    [answer] = probe.answers(order, lambda _what, _share: None, until_s=0)

    assert isinstance(answer, Lacked)
    assert "cannot be written" in answer.why


def test_without_pytorch_numpy_measures_what_it_can() -> None:
    order = Order(
        measures=("matmul_fp64", "matmul_bf16", "memory_copy", "memory_triad", "op_launch"),
        library="numpy", threads=2, rounds=2, round_s=0.002, array_bytes=2**18,
    )  # fmt: skip

    answers = list(probe.answers(order, lambda _what, _share: None, until_s=0))

    assert isinstance(answers[0], Began)
    assert answers[0].versions == {"numpy": np.__version__}
    found = {answer.measure: answer for answer in answers if isinstance(answer, Found)}
    assert set(found) == {"matmul_fp64", "memory_copy", "memory_triad", "op_launch"}
    assert found["memory_triad"].amount / found["memory_copy"].amount == 1.5
    assert [a.measure for a in answers if isinstance(a, Lacked)] == ["matmul_bf16"]


def test_the_triad_of_numpy_adds_what_it_should() -> None:
    from timetrial.ceilings import with_numpy

    memory = with_numpy.Memory(
        Order(measures=(), library="numpy", threads=3, rounds=1, round_s=0, array_bytes=8 * 10_001)
    )

    [work] = memory.works(("memory_triad",))
    work.call()

    assert (memory._a == 1.0 + 3.0 * 2.0).all()


@pytest.mark.parametrize("in_turns", [False, True])
def test_a_child_that_fails_is_a_reason_and_no_number(in_turns: bool) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs CPU affinity")
    order = Order(
        measures=("matmul_fp32",), library="numpy", cpus=(9999,), rounds=2, round_s=0.001,
        in_turns=in_turns,
    )  # fmt: skip
    good = msgspec.structs.replace(order, cpus=None)
    orders = (order, good) if in_turns else (order,)

    failed, *rest = children.run_part(
        children.Part(orders, 1.0), lambda _measure, _where, _share: None, 0.0, 1.0
    )

    assert failed.failure.startswith("its process ended with exit code 1: OSError")
    assert failed.answers == ((),)
    for heard in rest:  # one that takes turns goes on without it
        assert heard.failure == ""
        assert [len(a.seconds) for a in heard.answers[0] if isinstance(a, Found)] == [2]
