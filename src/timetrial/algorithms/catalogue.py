"""What each algorithm is, reads and sends. Planning and reports read it without PyTorch.

Formulas: n weights of s bytes each in L tensors, k workers. How each works stands in its file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from timetrial.algorithms import Description, Setting, Value
from timetrial.algorithms.topology import TOPOLOGIES, neighbours, torus_sides

Shapes: TypeAlias = Sequence[Sequence[int]]
Settings: TypeAlias = Mapping[str, Value]

MOMENTA: Final = ("local", "averaged", "reset")
SIGN_FORMS: Final = ("scaled", "majority")
INDEX_BYTES: Final = 4

_SUM: Final = "2 (k-1)/k n s"
_FEEDBACK: Final = Setting("feedback", True, "whether what was not sent is added to the next step")


def count_of(shapes: Shapes) -> int:
    """Return the number of weights."""
    return sum(math.prod(shape) for shape in shapes)


def kept(ratio: float, count: int) -> int:
    """Return how many of `count` entries top-k sends: a share of them, rounded up, at least 1."""
    return max(1, math.ceil(ratio * count - 1e-9))  # 0.07 * 100 is a little more than 7


def rank_of(rank: int, rows: int, columns: int) -> int:
    """Return the rank at which PowerSGD keeps a matrix."""
    return min(rank, rows, columns)


def _summed(numbers: float, itemsize: int, workers: int) -> float:
    return 2 * (workers - 1) / workers * numbers * itemsize


def _allreduce_bytes(shapes: Shapes, itemsize: int, workers: int, _settings: Settings) -> float:
    return _summed(count_of(shapes), itemsize, workers)


def _local_sgd_bytes(shapes: Shapes, itemsize: int, workers: int, settings: Settings) -> float:
    vectors = 2 if settings["momentum"] == "averaged" else 1
    return _summed(count_of(shapes), itemsize, workers) * vectors / int(settings["period"])


def _top_k_bytes(shapes: Shapes, itemsize: int, workers: int, settings: Settings) -> float:
    entries = kept(float(settings["ratio"]), count_of(shapes))
    return (workers - 1) * entries * (itemsize + INDEX_BYTES)


def _sign_bytes(shapes: Shapes, itemsize: int, workers: int, settings: Settings) -> float:
    scales = len(shapes) * itemsize if settings["form"] == "scaled" else 0
    return (workers - 1) * (math.ceil(count_of(shapes) / 8) + scales)


def _powersgd_bytes(shapes: Shapes, itemsize: int, workers: int, settings: Settings) -> float:
    numbers = 0
    for shape in shapes:
        if len(shape) < 2:
            numbers += math.prod(shape)
            continue
        rows, columns = shape[0], math.prod(shape[1:])
        numbers += rank_of(int(settings["rank"]), rows, columns) * (rows + columns)
    return _summed(numbers, itemsize, workers)


def _gossip_bytes(shapes: Shapes, itemsize: int, workers: int, settings: Settings) -> float:
    degree = len(neighbours(str(settings["topology"]), 0, workers))
    return degree * count_of(shapes) * itemsize


def _check_topology(workers: int, settings: Settings) -> None:
    if settings["topology"] == "torus":
        torus_sides(workers)


ALLREDUCE: Final = Description(
    title="gradients summed over all workers in every step, by one explicit call",
    division="closed",
    source="Goyal et al. 2017, Accurate, large minibatch SGD, arXiv 1706.02677, 4",
    sends=_SUM,
    bytes_per_step=_allreduce_bytes,
    build="timetrial.algorithms.allreduce:build",
    frameworks=("jax", "torch"),
)
DDP: Final = Description(
    title="the same as the framework does it: PyTorch's DistributedDataParallel, whose sums run "
    "beside the backward pass; in JAX one program",
    division="closed",
    source="Li et al. 2020, PyTorch Distributed, arXiv 2006.15704",
    sends=_SUM,
    bytes_per_step=_allreduce_bytes,
    build=None,
    frameworks=("jax", "torch"),
)
LOCAL_SGD: Final = Description(
    title="each worker trains alone; weights are averaged every few steps",
    division="open",
    source="Stich 2019, Local SGD converges fast and communicates little, arXiv 1805.09767, "
    "Algorithm 1",
    sends=f"{_SUM} / period; twice that with momentum=averaged",
    bytes_per_step=_local_sgd_bytes,
    build="timetrial.algorithms.local_sgd:build",
    settings=(
        Setting("period", 8, "steps from one averaging to the next", least=1),
        Setting("momentum", "local", "what becomes of it when averaging", choices=MOMENTA),
    ),
)
TOP_K: Final = Description(
    title="only the largest entries of each gradient, the rest carried over",
    division="open",
    source="Stich, Cordonnier and Jaggi 2018, Sparsified SGD with memory, arXiv 1809.07599, "
    "Algorithm 1",
    sends="(k-1) ceil(ratio n) (s + 4)",
    bytes_per_step=_top_k_bytes,
    build="timetrial.algorithms.top_k:build",
    settings=(Setting("ratio", 0.01, "share of the entries sent", above=0.0, most=1.0), _FEEDBACK),
)
SIGN: Final = Description(
    title="one bit per entry: scaled signs, the rest carried over; or a majority vote",
    division="open",
    source="scaled: Karimireddy et al. 2019, Error feedback fixes SignSGD, arXiv 1901.09847, "
    "Algorithm 1; majority: Bernstein et al. 2019, signSGD with majority vote, arXiv 1810.05291",
    sends="(k-1) (n/8 + L s); majority (k-1) n/8",
    bytes_per_step=_sign_bytes,
    build="timetrial.algorithms.sign:build",
    settings=(
        Setting("form", "scaled", "what the signs mean", choices=SIGN_FORMS),
        _FEEDBACK._replace(meaning="scaled: whether what was not sent is added to the next step"),
        Setting("size", 0.001, "majority: the gradient that a won vote counts as", above=0.0),
    ),
)
POWERSGD: Final = Description(
    title="each gradient matrix as a product of two thin ones, the rest carried over",
    division="open",
    source="Vogels, Karimireddy and Jaggi 2019, PowerSGD, arXiv 1905.13727, Algorithms 1 and 2",
    sends="2 (k-1)/k s (rank (rows + columns) of every matrix + all other weights)",
    bytes_per_step=_powersgd_bytes,
    build="timetrial.algorithms.powersgd:build",
    settings=(
        Setting("rank", 2, "columns of the thin matrices", least=1),
        _FEEDBACK,
    ),
)
GOSSIP: Final = Description(
    title="weights averaged with the neighbours' in every step; there is no centre",
    division="open",
    source="Lian et al. 2017, Can decentralized algorithms outperform centralized algorithms?, "
    "arXiv 1705.09056, Algorithm 1",
    sends="d n s, d neighbours: 2 on a ring, 4 on a torus, fewer where a side is 2",
    bytes_per_step=_gossip_bytes,
    build="timetrial.algorithms.gossip:build",
    settings=(Setting("topology", "ring", "who is whose neighbour", choices=TOPOLOGIES),),
    check_workers=_check_topology,
)
ASYNC_SGD: Final = Description(
    title="each worker at its own pace through a server of the weights, none too far ahead",
    division="open",
    source="Ho et al. 2013, More effective distributed ML via a stale synchronous parallel "
    "parameter server, NeurIPS 26, 2",
    sends="2 (k-1)/k n s in the mean; worker 0 (k-1) n s, the others n s",
    bytes_per_step=_allreduce_bytes,
    build="timetrial.algorithms.async_sgd:build",
    repeats=False,
    settings=(Setting("staleness", 4, "steps that a worker may be ahead of the slowest", least=0),),
)
