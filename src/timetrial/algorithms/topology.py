"""Who talks to whom where there is no centre: rings and tori."""

from __future__ import annotations

import math
from typing import Final

from timetrial.errors import UsageError

TOPOLOGIES: Final = ("ring", "torus")


def torus_sides(workers: int) -> tuple[int, int]:
    """Return rows and columns of the most square torus of so many workers.

    Raises:
        UsageError: The number is no product of two numbers above 1.
    """
    rows = max(side for side in range(1, math.isqrt(workers) + 1) if workers % side == 0)
    if rows < 2:
        raise UsageError(
            f"--algorithm gossip:topology=torus is not possible with --workers {workers}. Allowed: "
            "a product of two numbers above 1, such as 4, 6, 8 or 9; or topology=ring."
        )
    return rows, workers // rows


def neighbours(topology: str, rank: int, workers: int) -> list[int]:
    """Return the workers that `rank` talks to, sorted; each talks to as many.

    A side of two has one neighbour along it, not the same one twice: two workers form a ring of
    one neighbour each, a torus of 2 x 2 is a ring of four.

    Raises:
        UsageError: No such torus.
    """
    if topology == "ring":
        found = {(rank - 1) % workers, (rank + 1) % workers}
    else:
        rows, columns = torus_sides(workers)
        row, column = divmod(rank, columns)
        found = {row * columns + (column + step) % columns for step in (-1, 1)}
        found |= {(row + step) % rows * columns + column for step in (-1, 1)}
    return sorted(found - {rank})
