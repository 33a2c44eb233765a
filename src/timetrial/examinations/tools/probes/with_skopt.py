"""scikit-optimize: a library that proposes points, and keeps nothing by itself."""

from __future__ import annotations

from timetrial.examinations.tools.probes import looking, racing
from timetrial.examinations.tools.probes.telling import Order, Telling, main


class _Search:
    def __init__(self, seed: int) -> None:
        from skopt import Optimizer

        self._optimizer = Optimizer(list(racing.BOUNDS.values()), random_state=seed)
        self._asked: list[float] = []

    def ask(self) -> racing.Point:
        self._asked = [float(value) for value in self._optimizer.ask()]
        return dict(zip(racing.BOUNDS, self._asked, strict=True))

    def tell(self, point: racing.Point, value: float) -> None:
        self._optimizer.tell(self._asked, value)


def monitoring(order: Order, telling: Telling) -> None:
    """Look for anything that logs values."""
    looking.absent(telling, "scikit-optimize", "monitoring")


def organizing(order: Order, telling: Telling) -> None:
    """Look for anything that lists runs, or keeps files of them."""
    looking.absent(telling, "scikit-optimize", "organizing", "artefact")


def tuning(order: Order, telling: Telling) -> None:
    """Search with the defaults: a Gaussian process, ten points at random before it."""
    racing.race(order, telling, _Search, how="skopt.Optimizer, defaults; ask and tell")


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, None)
