"""The course's claims on hardware: small measurements, made smaller here."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from ceiling_records import ceiling, ceilings, here
from scenes import found_by

from timetrial.examinations.course_hardware import HARDWARE, overlap
from timetrial.rundir import RunDir, pretty_json

with_torch = pytest.importorskip("timetrial.examinations.course_hardware.with_torch")


def matrix(folder: Path, *more: object) -> dict:  # type: ignore[type-arg]
    machine = here()
    kept = ceilings(machine)
    kept = msgspec.structs.replace(kept, ceilings=(*kept.ceilings, *more))
    RunDir(folder).ceilings(machine.hostname).write_bytes(pretty_json(kept))
    return found_by(folder, with_torch.Hardware(), HARDWARE, "matrix")


def test_without_an_accelerator_the_cpu_is_told_and_why_there_is_no_ratio(tmp_path: Path) -> None:
    seen = matrix(tmp_path)
    assert seen["cpu_product_bf16"].value == 1e12
    assert seen["one_core_product"].value == 100e9
    assert "no accelerator here: PyTorch" in seen["accelerator_speed_up"].reason


def test_an_accelerator_is_compared_in_the_same_precision(tmp_path: Path) -> None:
    gpu = ceiling(device="cuda:0", cores=None, value=20e12, low=20e12, high=21e12)
    half = ceiling("matmul_fp16", device="cuda:0", cores=None, value=200e12)
    seen = matrix(tmp_path, gpu, half)
    assert seen["accelerator_product"].value == 20e12
    assert seen["accelerator_speed_up"].value == 20e12 / seen["cpu_product"].value


def test_batches_prepared_beside_computing_are_compared_in_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(with_torch, "PAIRS", 2)
    monkeypatch.setattr(with_torch, "BATCHES", 4)
    monkeypatch.setattr(with_torch, "PART_S", 0.005)
    seen = found_by(tmp_path, with_torch.Hardware(), HARDWARE, "overlap")
    ratio = seen["overlap_speed_up"]
    assert ratio.low < ratio.value < ratio.high
    assert ratio.n == 2
    assert 1 <= seen["overlap_most"].value <= 2


def test_one_image_and_batches_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(with_torch, "REQUESTS", 20)
    monkeypatch.setattr(with_torch, "BATCHES_TIMED", 2)
    seen = found_by(tmp_path, with_torch.Hardware(), HARDWARE, "inference")
    latency = seen["cpu_latency"]
    assert 0 < latency.low <= latency.value <= latency.high
    assert seen["cpu_throughput"].value > 0


def test_the_network_has_the_parameters_that_are_told() -> None:
    import torch

    network = with_torch._network(torch.device("cpu"))
    assert sum(one.numel() for one in network.parameters()) == 257_978
    assert any("0.26 million" in note for note in HARDWARE.notes)


def test_work_is_repeated_for_about_as_long_as_asked() -> None:
    calls: list[int] = []

    def work(times: int) -> None:
        calls.append(times)
        for _ in range(times * 2000):
            pass

    assert overlap.times_for(work, 0.01) > calls[0] == 1


def test_a_prepared_batch_is_normalised_and_the_same_each_time() -> None:
    batch = overlap.prepare(3, 1)
    assert batch.shape == (64, 3, 32, 32)
    assert batch.dtype == np.float32
    assert abs(batch).max() <= 2
    assert (overlap.prepare(3, 1) == batch).all()
    assert (overlap.prepare(4, 1) != batch).any()
