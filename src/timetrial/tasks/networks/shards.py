"""Which part of the data each worker sees."""

from __future__ import annotations


def part_of(begin: int, end: int, rank: int, workers: int) -> tuple[int, int]:
    """Return the places of worker `rank`'s part of begin … end - 1, in order.

    The parts are as equal as can be; where the number does not divide, the first are one longer.
    A part is empty where there are fewer places than workers.
    """
    count = end - begin
    size, longer = divmod(count, workers)
    start = begin + rank * size + min(rank, longer)
    return start, start + size + (1 if rank < longer else 0)
