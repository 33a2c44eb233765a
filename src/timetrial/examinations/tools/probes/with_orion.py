"""Orion: experiments in a pickled database, its tree-structured Parzen estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from timetrial.examinations.tools.probes import checking, looking, racing, training
from timetrial.examinations.tools.probes.telling import Order, Telling, main


def _experiment(folder: Path, name: str, space: dict[str, str], **more: Any) -> Any:
    from orion.client import build_experiment

    storage = {
        "type": "legacy",
        "database": {"type": "pickleddb", "host": str(folder / f"{name}.pkl")},
    }
    return build_experiment(name, space=space, storage=storage, **more)


def monitoring(order: Order, telling: Telling) -> None:
    """Look for anything that logs values by step."""
    looking.absent(telling, "orion", "monitoring")


def organizing(order: Order, telling: Telling) -> None:
    """Insert the sweep's runs as trials; ask the experiment for them."""
    runs = training.sweep(order.folder)
    experiment = _experiment(
        order.folder,
        "sweep",
        {"C": "loguniform(0.01, 10)", "penalty": "choices(['l1', 'l2'])"},
        max_trials=len(runs),
    )
    for run in runs:
        result = {"name": "loss", "type": "objective", "value": run.loss}
        experiment.insert(run.params._asdict(), results=[result])
    wanted = {(run.params.C, run.params.penalty): run.name for run in runs}

    def named(table: Any) -> list[str]:
        rows = zip(table["C"], table["penalty"], strict=True)
        return [wanted[float(c), str(kind)] for c, kind in rows]

    with checking.checked(telling, "list", "ExperimentClient.to_pandas") as check:
        check.expect(sorted(named(experiment.to_pandas())), sorted(wanted.values()))
    with checking.checked(telling, "filter", "the data frame of to_pandas, by pandas") as check:
        table = experiment.to_pandas()
        check.expect(set(named(table[table["penalty"] == "l1"])), training.with_l1(runs))
    with checking.checked(telling, "sort", "the data frame of to_pandas, by pandas") as check:
        check.expect(named(experiment.to_pandas().sort_values("objective")), training.by_loss(runs))
    with checking.checked(telling, "compare", "two rows of to_pandas") as check:
        found = experiment.to_pandas().iloc[[0, -1]]
        losses = {run.name: run.loss for run in runs}
        check.expect(
            [checking.close_to(v, losses[n]) for v, n in zip(found["objective"], named(found),
                                                             strict=True)],
            [True, True],
        )  # fmt: skip
    looking.absent(telling, "orion", "artefact")


class _Search:
    def __init__(self, seed: int, folder: Path) -> None:
        space = {name: f"uniform({low}, {high})" for name, (low, high) in racing.BOUNDS.items()}
        self._experiment = _experiment(
            folder, f"race-{seed}", space, algorithm={"tpe": {"seed": seed}}
        )
        self._trial: Any = None

    def ask(self) -> racing.Point:
        self._trial = self._experiment.suggest()
        return {name: float(value) for name, value in self._trial.params.items()}

    def tell(self, point: racing.Point, value: float) -> None:
        self._experiment.observe(
            self._trial, [{"name": "value", "type": "objective", "value": value}]
        )


def tuning(order: Order, telling: Telling) -> None:
    """Search by TPE: the default algorithm is random search."""
    racing.race(
        order,
        telling,
        lambda seed: _Search(seed, order.folder),
        how="ExperimentClient.suggest and observe with the algorithm tpe",
    )


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, None)
