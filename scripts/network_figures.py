#!/usr/bin/env python3
"""What the emulated networks of the launcher "shaped" really give: round trip, TCP rate, cost.

scripts/network_figures.py --rate 10mbit,100mbit,1gbit --delay 0,5ms,20ms --seconds 60

Two processes in networks of their own send to each other as much as they can, both ways at once.
Prints a table in Markdown. Needs the rights that the launcher needs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from timetrial.launch.network.wires import Wires, address
from timetrial.spec.network import parse_network
from timetrial.testing.talk import Talk


def main() -> int:
    """Measure every network of the grid; return 1 where one stalled or garbled."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rate", default="10mbit,100mbit,1gbit")
    parser.add_argument("--delay", default="0,5ms,20ms")
    parser.add_argument("--loss", default="0")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    print(
        "| network | round trip: median (range) | TCP, each way | longest pause | switch's CPU |",
        end="",
    )
    print(" late over 1 ms | load |")
    print("|---|---|---|---|---|---|---|", flush=True)
    right = True
    for rate, delay, loss in itertools.product(
        options.rate.split(","), options.delay.split(","), options.loss.split(",")
    ):
        right &= measure(f"rate={rate},delay={delay},loss={loss}", options.seconds)
    return 0 if right else 1


def measure(text: str, seconds: float) -> bool:
    """Print the row of one network; return whether all arrived as it was sent."""
    network = parse_network(text)
    with (
        tempfile.TemporaryDirectory() as folder,
        Wires(network, 2, seed=1, folder=Path(folder)) as wires,
    ):
        command = [sys.executable, "-m", "timetrial.testing.talk"]
        talkers = [
            subprocess.Popen(
                [*wires.prefix(rank), *command, str(rank), address(0), str(seconds)],
                stdout=subprocess.PIPE,
            )
            for rank in range(2)
        ]
        said = [talker.communicate(timeout=3 * seconds + 120)[0] for talker in talkers]
    if not all(said):
        print(f"| {network} | stalled |", flush=True)
        return False
    talks = [msgspec.json.decode(line, type=Talk) for line in said]
    trips = [1e3 * trip for trip in talks[0].round_trips_s]
    account = wires.account
    cells = [
        str(network),
        f"{statistics.median(trips):.2f} ms ({min(trips):.2f} to {max(trips):.2f})",
        " and ".join(f"{talk.bit_per_s / 1e6:.4g}" for talk in talks) + " Mbit/s",
        f"{1e3 * max(talk.longest_pause_s for talk in talks):.0f} ms",
        f"{100 * account.cpu_s / account.seconds:.1f} %" if account else "none",
        f"{100 * account.late / max(account.trains, 1):.2g} %" if account else "none",
        f"{os.getloadavg()[0]:.1f}",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)
    return all(talk.intact for talk in talks)


if __name__ == "__main__":
    sys.exit(main())
