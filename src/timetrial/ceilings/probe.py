"""A measuring child: python -m timetrial.ceilings.probe, an order in a line of its standard input.

The answers go to what was its standard output; whatever a library prints goes to standard error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from timetrial.ceilings import disk, rounds
from timetrial.ceilings.orders import Answer, Began, Found, Lacked, Order, Ready, Stepped
from timetrial.ceilings.rounds import Work
from timetrial.errors import TimetrialError
from timetrial.machine import hardware
from timetrial.machine.ceilings import MATMULS

_ALLREDUCE: Final = ("allreduce_bandwidth", "allreduce_latency")
_TINY: Final = ("op_launch", "kernel_launch")
_COPIES: Final = ("host_to_device", "device_to_host")
_ROUND_S_MIN: Final = 0.08  # shorter ones seldom hold an undisturbed product


def main() -> int:
    """Follow one order."""
    begun_s = time.monotonic()
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    if order.cpus is not None:
        os.sched_setaffinity(0, order.cpus)  # before a library counts the CPUs
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)

        def say(what: str, share: float) -> None:
            _tell(out, Stepped(what=what, share=share))

        def wait() -> None:
            if order.in_turns:
                _tell(out, Ready())
                sys.stdin.buffer.readline()

        for answer in answers(order, say, wait, until_s=begun_s + order.budget_s):
            _tell(out, answer)
    return 0


def _tell(out: BinaryIO, answer: Answer) -> None:
    out.write(msgspec.json.encode(answer) + b"\n")


def answers(
    order: Order,
    say: Callable[[str, float], None],
    wait: Callable[[], None] = lambda: None,
    *,
    until_s: float,
) -> Iterator[Answer]:
    """Measure what is asked for; yield what was found, and what could not be measured.

    `wait` returns when the next round of products and memory may begin. Rounds are made shorter
    where else they would last beyond `until_s` of the monotonic clock.
    """
    if order.measures == ("disk_read",):
        yield _read_disk(order, say)
        return
    yield _begin(order)
    if set(order.measures) & set(_ALLREDUCE):
        from timetrial.ceilings import pair

        yield from pair.sums(order, say if order.rank == 0 else lambda _what, _share: None)
        return
    why_not: dict[str, str] = {}
    works = _works(order, why_not)
    for measure, why in why_not.items():
        yield Lacked(measure=measure, why=why)
    left_s = (until_s - time.monotonic()) / (order.rounds * max(len(works), 1))
    round_s = min(order.round_s, max(left_s, _ROUND_S_MIN))
    for work, seconds in rounds.take_turns(works, order.rounds, round_s, say, wait):
        yield Found(
            measure=work.measure,
            amount=work.amount,
            seconds=seconds,
            precision=work.precision,
            size=work.size,
            how=work.how,
        )


def _begin(order: Order) -> Began:
    if order.library == "numpy":
        from timetrial.ceilings import with_numpy

        return Began(versions=with_numpy.versions(), settings=with_numpy.settings(), devices=())
    from timetrial.ceilings import with_torch
    from timetrial.frameworks import torch as ours

    return Began(
        versions=with_torch.versions(order),
        settings=ours.settings(ours.find_device(order.device)),
        devices=with_torch.devices(),
        device_uuid=with_torch.uuid_of(order.device),
    )


def _works(order: Order, why_not: dict[str, str]) -> list[tuple[Work, ...]]:
    """Return the works of each measure, of products the best sizes; without any, say why."""
    found: list[tuple[Work, ...]] = []
    for measure in order.measures:
        if measure in MATMULS:
            best = rounds.best_of(_products(order, measure, why_not), order.round_s)
            found += [best] if best else []
    asked = set(order.measures)
    single: list[Work] = []
    if order.library == "numpy":
        from timetrial.ceilings import with_numpy

        single += with_numpy.Memory(order).works(order.measures) if order.array_bytes else []
        single += [with_numpy.tiny_operation()] if asked & set(_TINY) else []
    else:
        from timetrial.ceilings import with_torch

        single += with_torch.memory(order) if order.array_bytes else []
        single += with_torch.host_copies(order) if asked & set(_COPIES) else []
        single += [with_torch.tiny_operation(order)] if asked & set(_TINY) else []
    return found + [(work,) for work in single]


def _products(order: Order, measure: str, why_not: dict[str, str]) -> Iterator[Work]:
    if order.library == "numpy":
        from timetrial.ceilings import with_numpy

        return with_numpy.products(measure, why_not)
    from timetrial.ceilings import with_torch

    return with_torch.products(order, measure, why_not)


def _read_disk(order: Order, say: Callable[[str, float], None]) -> Found | Lacked:
    folder = Path(order.folder)
    file_system = hardware.disk(folder).file_system
    try:
        say("disk_read", 0.0)
        with disk.written_file(folder, order.file_bytes) as (path, written):
            part = written // disk.BLOCK // order.rounds * disk.BLOCK
            if part == 0:
                return Lacked(
                    measure="disk_read",
                    why=f"only {written} bytes could be written in time: too few to read",
                )
            with disk.opened(path, file_system) as reading:
                seconds = []
                for number in range(order.rounds):
                    say("disk_read", number / order.rounds)
                    seconds.append(disk.read_part(reading, number * part, part))
    except TimetrialError as error:
        return Lacked(measure="disk_read", why=str(error))
    return Found(
        measure="disk_read",
        amount=float(part),
        seconds=tuple(seconds),
        precision="uint8",
        size=f"{part / 2**20:.0f} MiB",
        how=f"read once in blocks of {disk.BLOCK // 2**20} MiB, {reading.how}; {file_system}; "
        "caches below the system may hold what was just written",
    )


if __name__ == "__main__":
    sys.exit(main())
