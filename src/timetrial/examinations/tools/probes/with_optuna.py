"""Optuna over SQLite; its page is a distribution of its own, optuna-dashboard."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timetrial.examinations.tools.probes import checking, racing, serving, training, watching
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling, main


def _study(storage: str, name: str, sampler: Any = None) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(storage=storage, study_name=name, sampler=sampler)


def _storage(order: Order) -> str:
    return f"sqlite:///{order.folder / 'optuna.db'}"


def _page(order: Order, telling: Telling, column: str) -> None:
    port = serving.free_port()
    command = [
        str(Path(sys.executable).with_name("optuna-dashboard")),
        _storage(order),
        f"--host={serving.HOST}",
        f"--port={port}",
    ]
    with serving.Server(command, port, order.folder / "dashboard.log") as server:
        server.show_page(
            telling,
            column,
            served_by="optuna-dashboard",
            path="/dashboard",
            about="a distribution of its own",
        )


def monitoring(order: Order, telling: Telling) -> None:
    """Report intermediate values; another process loads the study."""
    study = _study(_storage(order), "watched")
    trial = study.ask()
    trial.suggest_float("C", 1.0, 1.0)
    watching.watched(
        order,
        telling,
        {"storage": _storage(order)},
        lambda step: trial.report(step.loss, step.step),
        means="reader",
        how="Trial.report; optuna.load_study and intermediate_values of its trials, over SQLite",
    )
    _page(order, telling, "monitoring")


def watch(place: dict[str, str]) -> Reader:
    """Return what loads the study's trial."""
    import optuna

    def read() -> Mapping[int, float]:
        study = optuna.load_study(study_name="watched", storage=place["storage"])
        if not study.trials or not study.trials[0].intermediate_values:
            raise NotThereYet
        values: dict[int, float] = study.trials[0].intermediate_values
        return values

    return read


def organizing(order: Order, telling: Telling) -> None:
    """Run the sweep's points as trials; ask the study for them."""
    import optuna
    from optuna.artifacts import FileSystemArtifactStore, download_artifact, upload_artifact

    runs = training.sweep(order.folder)
    (order.folder / "artefacts").mkdir()
    store = FileSystemArtifactStore(base_path=str(order.folder / "artefacts"))
    study = _study(_storage(order), "sweep")
    files = {}
    for run in runs:
        study.enqueue_trial(run.params._asdict(), user_attrs={"name": run.name})
        trial = study.ask()
        trial.suggest_float("C", 0.01, 10.0, log=True)
        trial.suggest_categorical("penalty", ["l1", "l2"])
        for step in run.curve:
            trial.report(step.loss, step.step)
        files[run.name] = upload_artifact(
            artifact_store=store, file_path=str(run.artefact), study_or_trial=trial
        )
        study.tell(trial, run.loss)
    again = optuna.load_study(study_name="sweep", storage=_storage(order))
    name = "user_attrs_name"
    with checking.checked(telling, "list", "Study.trials_dataframe") as check:
        check.expect(sorted(again.trials_dataframe()[name]), sorted(run.name for run in runs))
    with checking.checked(telling, "filter", "the data frame of the trials, by pandas") as check:
        table = again.trials_dataframe()
        check.expect(set(table[table["params_penalty"] == "l1"][name]), training.with_l1(runs))
    with checking.checked(telling, "sort", "the data frame of the trials, by pandas") as check:
        check.expect(
            list(again.trials_dataframe().sort_values("value")[name]), training.by_loss(runs)
        )
    with checking.checked(telling, "artefact", "optuna.artifacts.download_artifact") as check:
        first = runs[0]
        got = order.folder / "fetched.json"
        download_artifact(artifact_store=store, artifact_id=files[first.name], file_path=str(got))
        check.expect(got.read_bytes(), first.artefact.read_bytes())
    with checking.checked(telling, "compare", "params and intermediate_values of two") as check:
        pair = [runs[0], runs[-1]]
        trials = {trial.user_attrs["name"]: trial for trial in again.trials}
        check.expect(
            [(trials[r.name].params, list(trials[r.name].intermediate_values.values()))
             for r in pair],
            [(r.params._asdict(), [step.loss for step in r.curve]) for r in pair],
        )  # fmt: skip
    _page(order, telling, "organizing")


class _Search:
    def __init__(self, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        self._trial: Any = None

    def ask(self) -> racing.Point:
        self._trial = self._study.ask()
        return {
            name: float(self._trial.suggest_float(name, low, high))
            for name, (low, high) in racing.BOUNDS.items()
        }

    def tell(self, point: racing.Point, value: float) -> None:
        self._study.tell(self._trial, value)


def tuning(order: Order, telling: Telling) -> None:
    """Search with the default sampler, seeded."""
    racing.race(order, telling, _Search, how="Study.ask and tell, TPESampler with its defaults")


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, watch)
