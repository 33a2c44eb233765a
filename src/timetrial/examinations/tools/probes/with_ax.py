"""Ax: its Client, whose state is saved to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timetrial.examinations.tools.probes import checking, looking, racing, training, watching
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling, main


def _client(seed: int | None = None) -> Any:
    from ax.api.client import Client

    return Client(random_seed=seed)


def _of_sweep() -> Any:
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    client = _client()
    client.configure_experiment(
        name="sweep",
        parameters=[
            RangeParameterConfig(
                name="C", parameter_type="float", bounds=(0.01, 10.0), scaling="log"
            ),
            ChoiceParameterConfig(
                name="penalty", parameter_type="str", values=["l1", "l2"], is_ordered=False
            ),
        ],
    )
    client.configure_optimization(objective="-loss")
    return client


def monitoring(order: Order, telling: Telling) -> None:
    """Attach the loss by step, save the client's state; another process loads that."""
    file = order.folder / "ax.json"
    client = _of_sweep()
    trial = client.attach_trial(parameters={"C": 1.0, "penalty": "l2"})

    def log(step: training.Step) -> None:
        client.attach_data(trial, {"loss": step.loss}, progression=step.step)
        part = file.with_suffix(".part.json")
        client.save_to_json_file(str(part))
        part.replace(file)

    watching.watched(
        order,
        telling,
        {"file": str(file)},
        log,
        means="snapshot",
        how="Client.attach_data(progression) and save_to_json_file at each step; "
        "Client.load_from_json_file",
    )


def watch(place: dict[str, str]) -> Reader:
    """Return what loads the client's state."""
    from ax.api.client import Client

    file = Path(place["file"])

    def read() -> Mapping[int, float]:
        if not file.exists():
            raise NotThereYet
        client = Client.load_from_json_file(str(file))
        table = client._experiment.lookup_data().full_df
        return {int(row["step"]): float(row["mean"]) for _, row in table.iterrows()}

    return read


def organizing(order: Order, telling: Telling) -> None:
    """Attach the sweep's runs as trials; ask the client's summary for them."""
    runs = training.sweep(order.folder)
    client = _of_sweep()
    for run in runs:
        trial = client.attach_trial(parameters=run.params._asdict(), arm_name=run.name)
        for step in run.curve[:-1]:
            client.attach_data(trial, {"loss": step.loss}, progression=step.step)
        last = run.curve[-1]
        client.complete_trial(trial, {"loss": last.loss}, progression=last.step)
    with checking.checked(telling, "list", "Client.summarize") as check:
        table = client.summarize()
        check.expect(sorted(table["arm_name"]), sorted(run.name for run in runs))
    with checking.checked(telling, "filter", "the data frame of summarize, by pandas") as check:
        table = client.summarize()
        check.expect(set(table[table["penalty"] == "l1"]["arm_name"]), training.with_l1(runs))
    with checking.checked(telling, "sort", "the data frame of summarize, by pandas") as check:
        check.expect(
            list(client.summarize().sort_values("loss")["arm_name"]), training.by_loss(runs)
        )
    with checking.checked(telling, "compare", "two rows of summarize") as check:
        table = client.summarize().set_index("arm_name")
        pair = [runs[0], runs[-1]]
        check.expect(
            [(float(table.loc[r.name]["C"]), table.loc[r.name]["penalty"]) for r in pair],
            [(r.params.C, r.params.penalty) for r in pair],
        )
    looking.absent(telling, "ax-platform", "artefact")


class _Search:
    def __init__(self, seed: int) -> None:
        from ax.api.configs import RangeParameterConfig

        self._client = _client(seed)
        self._client.configure_experiment(
            name="race",
            parameters=[
                RangeParameterConfig(name=name, parameter_type="float", bounds=bounds)
                for name, bounds in racing.BOUNDS.items()
            ],
        )
        self._client.configure_optimization(objective="-value")
        self._trial = -1

    def ask(self) -> racing.Point:
        ((self._trial, point),) = self._client.get_next_trials(max_trials=1).items()
        return {name: float(value) for name, value in point.items()}

    def tell(self, point: racing.Point, value: float) -> None:
        self._client.complete_trial(self._trial, {"value": value})


def tuning(order: Order, telling: Telling) -> None:
    """Search with the defaults."""
    racing.race(order, telling, _Search, how="Client.get_next_trials and complete_trial, defaults")


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, watch)
