"""All-reduce of arrays of 4 B to 64 MiB: latency and bandwidth as training sees them."""

from __future__ import annotations

from typing import Final

from timetrial.spec import Exchange, Source

ALLREDUCE: Final = Exchange(
    name="allreduce",
    version=1,
    title="All-reduce (sum) of arrays of 4 B to 64 MiB: bandwidth and latency between workers",
    operation="all-reduce",
    sizes_bytes=tuple(4**power for power in range(1, 14)),
    dtypes=("float32", "float16"),
    warm_up=2,
    repetitions_min=3,
    repetitions_max=50,
    seconds_per_point=4.0,
    seconds_per_point_max=60.0,
    implementations={
        "torch": "timetrial.frameworks.torch_collective:build",
        "jax": "timetrial.frameworks.jax_collective:build",
    },
    sources=(
        Source(
            text="Nishtala et al., NCCL tests, doc/PERFORMANCE.md: what bandwidth an all-reduce of "
            "S bytes shows, 2 (k - 1) / k S over its time",
            url="https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md",
            read_on="2026-11-22",
        ),
        Source(
            text="Thakur, Rabenseifner and Gropp, Optimization of collective communication "
            "operations in MPICH, IJHPCA 19 (2005): what an all-reduce costs",
        ),
    ),
    notes=(
        "latency is the time of a 4-byte all-reduce between two workers: one round trip, as a ring "
        "sends two messages one after the other, there and back",
        "bandwidth is what one direction of one worker's link carries, as payload: headers of TCP "
        "and IP come on top, about 5 % of a full Ethernet frame of 1,500 bytes",
        "the sum is checked once for each array; each repetition begins when all workers are ready",
    ),
    light_bytes_max=4**11,
    light_repetitions_max=10,
)
