"""How long it takes to read a book of 200,000 prices, in each format.

    .venv/bin/python benchmarks/price_book.py [--rows 200000] [--rounds 5]

Allowed: 2 s for 200,000 lines, on a quiet machine; on a busy one the processor's seconds say more.
SkyPilot's lines hold two prices each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from timetrial import prices

GPU = "\"{'Gpus': [{'Name': 'V100', 'Count': 8.0}], 'TotalGpuMemoryInMiB': 16384}\""
FORMS: dict[str, tuple[str, Callable[[int], str]]] = {
    "own.csv": (
        "provider,region,instance,accelerator,accelerators,per_hour,currency,spot,source,read_on",
        lambda i: (
            f"p{i % 50},r{i % 40},i{i},V100,{i % 8 + 1},{0.1 + i / 1000:.4f},USD,"
            f"{'true' if i % 2 else 'false'},catalogue,2026-{i % 12 + 1:02d}-01"
        ),
    ),
    "v8/aws/vms.csv": (
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,"
        "Region,AvailabilityZone,Arch",
        lambda i: (
            f"i{i},V100,8.0,8.0,32.0,{GPU},{0.1 + i / 1000:.4f},{0.05 + i / 1000:.4f},"
            f"r{i % 40},r{i % 40}a,x86_64"
        ),
    ),
    "aws.csv": (
        "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,"
        "gpu_vendor,flags,cpu_arch,provider_data",
        lambda i: f"i{i},us,{0.5 + i / 100:.4f},30,240,1,A10,24.0,False,,nvidia,,x86,{{}}",
    ),
}


def main() -> None:
    """Print the median seconds per format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, (header, line) in FORMS.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join([header, *map(line, range(options.rows))]) + "\n")
            wall_s, cpu_s = [], []
            for _ in range(options.rounds):
                begun, used = time.perf_counter(), time.process_time()
                book = prices.read_book(path)
                wall_s.append(time.perf_counter() - begun)
                cpu_s.append(time.process_time() - used)
            print(
                f"{book.form:10} {len(book.prices):7} prices {statistics.median(wall_s):.2f} s "
                f"(min {min(wall_s):.2f}), processor {statistics.median(cpu_s):.2f} s "
                f"(min {min(cpu_s):.2f}), n = {len(wall_s)}"
            )


if __name__ == "__main__":
    main()
