"""The course's claims on hardware, measured in PyTorch."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from timetrial.ceilings import session
from timetrial.errors import CannotExamineError
from timetrial.examinations.course_hardware import overlap
from timetrial.examine.scene import Scene
from timetrial.frameworks import torch as ours
from timetrial.machine import Ceiling, Ceilings, kept
from timetrial.stats import exchanges, intervals

PART_S: Final = 0.03  # that preparing a batch takes, and computing it
BATCHES: Final = 16  # of a trial; the first is not counted: nothing is beside it
PAIRS: Final = 8  # of trials, one of each kind in turn
REQUESTS: Final = 400
BATCH: Final = 256
BATCHES_TIMED: Final = 12
_SIDE: Final = 256  # of the matrices that computing multiplies
_QUICK: Final = session.Effort(("matmul_fp32", "matmul_bf16"), rounds=5, round_s=0.1, budget_s=3.0)


class Hardware:
    """This machine by the PyTorch of this process."""

    def versions(self) -> Mapping[str, str]:
        """Return what else measures."""
        return {"numpy": np.__version__}

    def carry_out(self, scene: Scene) -> None:
        """Do one step."""
        _STEPS[scene.step.name](scene)


# --- matrix products -----------------------------------------------------------------------------


def _matrix(scene: Scene) -> None:
    found = _ceilings(scene)
    cores = scene.plan.cores
    cpu, one = (found.find("matmul_fp32", "cpu", count) for count in (cores, 1))
    if cpu is None or one is None:
        why = "; ".join(dict.fromkeys(missing.why for missing in found.missing))
        raise CannotExamineError(f"the matrix product could not be measured: {why or 'no reason'}")
    _tell(scene, "cpu_product", cpu, found)
    _tell(scene, "one_core_product", one, found)
    if cores > 1:
        scene.find("cores_speed_up", cpu.value / one.value, n=cpu.n, facts={"cores": str(cores)})
    else:
        scene.lacks("cores_speed_up", "the run has one core: --cores says how many")
    short = found.find("matmul_bf16", "cpu", cores)
    if short is None:
        whys = [missing.why for missing in found.missing if missing.measure == "matmul_bf16"]
        scene.lacks("cpu_product_bf16", whys[0] if whys else "it was not measured")
    else:
        _tell(scene, "cpu_product_bf16", short, found)
    faster = [
        one
        for one in found.ceilings
        if one.measure == "matmul_fp32" and one.device != "cpu" and one.unit == cpu.unit
    ]
    if not faster:
        scene.lack_the_rest(_no_accelerator())
        return
    best = max(faster, key=lambda ceiling: ceiling.value)
    _tell(scene, "accelerator_product", best, found)
    scene.find("accelerator_speed_up", best.value / cpu.value, n=best.n)


def _ceilings(scene: Scene) -> Ceilings:
    """Return the ceilings that the run carries, else those that a few seconds tell."""
    file = scene.run_dir.ceilings(socket.gethostname())
    if file.is_file():
        found = kept.read_ceilings(file)
        if found.find("matmul_fp32", "cpu", scene.plan.cores) is not None:
            return found
    return session.measure(
        scene.scratch, effort=_QUICK, say=lambda _what, _where, _share: scene.look_up()
    )


def _tell(scene: Scene, measure: str, ceiling: Ceiling, found: Ceilings) -> None:
    facts = {
        "device": ceiling.device,
        "precision": ceiling.precision,
        "size": ceiling.size,
        "how": ceiling.how,
        "measured": found.measured_utc,
    }
    if ceiling.theoretical is not None:
        facts |= {"theoretical": repr(ceiling.theoretical), "derivation": ceiling.derivation}
    notes = [f"busy machine: {found.busy}"] if found.busy else []
    scene.find(
        measure,
        ceiling.value,
        low=ceiling.low,
        high=ceiling.high,
        n=ceiling.n,
        facts=facts,
        notes=notes,
    )


def _no_accelerator() -> str:
    return f"no accelerator here: PyTorch {torch.__version__} sees none"


# --- overlap -------------------------------------------------------------------------------------


class _Prepared(Dataset[np.ndarray]):
    """Batches that are prepared when they are asked for."""

    def __init__(self, times: int) -> None:
        self._times = times

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, batch: int) -> np.ndarray:
        return overlap.prepare(batch, self._times)


def _overlap(scene: Scene) -> None:
    """Compute on all cores but one in both ways: what is left prepares, or waits."""
    cores = scene.plan.cores
    torch.set_num_threads(max(1, cores - 1))
    try:
        compute, preparing, computing = _parts()
        before: list[float] = []
        beside: list[float] = []
        for pair in range(PAIRS):
            ways = ((0, before), (1, beside))
            for workers, seconds in ways if pair % 2 == 0 else reversed(ways):
                scene.look_up()
                seconds.append(_trial(preparing.times, compute, workers))
    finally:
        torch.set_num_threads(cores)
    ratios = intervals.mean_interval(np.log(np.array(before) / np.array(beside)))
    assert ratios.value is not None  # there are pairs
    ends = [None if end is None else math.exp(end) for end in (ratios.low, ratios.high)]
    notes = [] if cores > 1 else ["one core: preparing and computing share it"]
    scene.find(
        "overlap_speed_up",
        math.exp(ratios.value),
        low=ends[0],
        high=ends[1],
        n=PAIRS,
        facts={"workers": "1 process of DataLoader", "batches": str(BATCHES - 1)},
        notes=notes,
    )
    for measure, seconds in (("batch_time_before", before), ("batch_time_beside", beside)):
        mean = intervals.mean_interval(np.array(seconds))
        scene.find(measure, float(np.mean(seconds)), low=mean.low, high=mean.high, n=PAIRS)
    most = (preparing.seconds + computing) / max(preparing.seconds, computing)
    scene.find(
        "overlap_most",
        most if cores > 1 else 1.0,
        n=5,
        facts={"preparing": f"{preparing.seconds:.4g} s", "computing": f"{computing:.4g} s"},
        notes=notes,
    )


class _Preparing(NamedTuple):
    """How many times a batch is prepared over, and what that takes."""

    times: int
    seconds: float


def _parts() -> tuple[Callable[[], object], _Preparing, float]:
    """Return work that takes about PART_S to compute, what to prepare for as long, and its time."""
    left, right = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    out = torch.empty(_SIDE, _SIDE)

    def multiply(times: int) -> None:
        for _ in range(times):
            torch.mm(left, right, out=out)

    products = overlap.times_for(multiply, PART_S)
    times = overlap.times_for(lambda count: overlap.prepare(0, count), PART_S)
    preparing = _Preparing(times, overlap.median_s(lambda: overlap.prepare(0, times), 5))

    def compute() -> None:
        multiply(products)

    return compute, preparing, overlap.median_s(compute, 5)


def _trial(times: int, compute: Callable[[], object], workers: int) -> float:
    """Return the seconds of a batch, from the first one's being there to the last one's end."""
    beside: dict[str, Any] = {"prefetch_factor": 2, "timeout": 60} if workers else {}
    loader = DataLoader(_Prepared(times), batch_size=None, num_workers=workers, **beside)
    batches = iter(loader)
    next(batches)
    compute()
    begun = time.perf_counter()
    for _ in batches:
        compute()
    return (time.perf_counter() - begun) / (BATCHES - 1)


# --- inference -----------------------------------------------------------------------------------


def _inference(scene: Scene) -> None:
    cpu = _answer_on(torch.device("cpu"), scene)
    scene.find("cpu_latency", cpu.value, low=cpu.low, high=cpu.high, n=REQUESTS)
    rate = _rate_on(torch.device("cpu"), scene)
    scene.find("cpu_throughput", rate.value, low=rate.low, high=rate.high, n=BATCHES_TIMED)
    if not torch.accelerator.is_available():
        scene.lack_the_rest(_no_accelerator())
        return
    device = torch.accelerator.current_accelerator()
    assert device is not None  # it is available
    fast = _answer_on(device, scene)
    facts = {"device": ours.device_name(device)}
    scene.find("accelerator_latency", fast.value, low=fast.low, high=fast.high, n=REQUESTS,
               facts=facts)  # fmt: skip
    rate = _rate_on(device, scene)
    scene.find("accelerator_throughput", rate.value, low=rate.low, high=rate.high,
               n=BATCHES_TIMED, facts=facts)  # fmt: skip
    scene.find("latency_speed_up", cpu.value / fast.value, n=REQUESTS, facts=facts)


class _Timed(NamedTuple):
    """An estimate that is there."""

    value: float
    low: float | None
    high: float | None


def _network(device: torch.device) -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    layers += [torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    layers += [torch.nn.Conv2d(64, 128, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    layers += [torch.nn.Flatten(), torch.nn.Linear(128 * 4 * 4, 80), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(80, 10)).eval().to(device)


def _ask(device: torch.device, images: int) -> Callable[[], object]:
    """Return a question: images go to the device, scores come back to the CPU."""
    network, inputs = _network(device), torch.rand(images, 3, 32, 32)

    def ask() -> object:
        with torch.inference_mode():
            return network(inputs.to(device)).cpu()

    return ask


def _answer_on(device: torch.device, scene: Scene) -> _Timed:
    """Return the median seconds of one image, one after the other, and its interval."""
    ask = _ask(device, 1)
    overlap.timed(ask, REQUESTS // 10)  # the first ones warm caches and clocks
    scene.look_up()
    seconds = overlap.timed(ask, REQUESTS)
    found = exchanges.from_draws(
        float(np.median(seconds)), exchanges.median_draws(seconds), REQUESTS
    )
    assert found.value is not None  # seconds are finite
    return _Timed(found.value, found.low, found.high)


def _rate_on(device: torch.device, scene: Scene) -> _Timed:
    """Return images per second in batches, the mean over batches, and its interval."""
    ask = _ask(device, BATCH)
    scene.look_up()
    rates = BATCH / overlap.timed(ask, BATCHES_TIMED)
    found = intervals.mean_interval(rates)
    assert found.value is not None  # there are batches
    return _Timed(found.value, found.low, found.high)


_STEPS: Final[Mapping[str, Callable[[Scene], None]]] = {
    "matrix": _matrix,
    "overlap": _overlap,
    "inference": _inference,
}
