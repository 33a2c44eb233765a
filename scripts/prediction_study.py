"""Predict runs from short probes, make the runs, and say how good the predictions were.

    .venv/bin/python scripts/prediction_study.py --store study [--only mnist-cnn] [--markdown]

Each prediction stands alone: one probe, a prediction stored before its run, one run with a seed
that is in no library. How long the probe may be, so that it takes less than a twentieth of its run,
a pilot of half a second says, which the prediction does not see. It takes about two hours and needs
a quiet machine; a study that was stopped goes on where it was when it is called again with its
store. The table is printed at the end; --markdown prints it as docs/prediction.md has it.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from timetrial import api, outlook, store
from timetrial.forecast import Scored, score_of
from timetrial.forecast.predict import Prediction
from timetrial.forecast.stored import read_predictions
from timetrial.forecast.tables import card_words
from timetrial.units import duration, percent

ROOT: Final = Path(__file__).resolve().parent.parent
SHORT: Final = 0.05  # of its run: what a probe may take, and what its score is counted for
ASKED: Final = 0.042  # of its run: what is asked for, as the pilot may be wrong
PILOT_S: Final = 0.5
AFTER: Final = 1.12  # a probe's seconds with its second look at evaluation


@dataclasses.dataclass(frozen=True)
class Combination:
    """What is predicted: a task to a target (None: all of its steps) on one system."""

    task: str
    target: float | None
    framework: str
    cores: int
    precision: str
    light: bool = False  # the task's fewer steps
    dataset: str | None = None

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        to = "" if self.target is None else f"-{self.target:g}"
        return f"{Path(self.task).stem}{to}-{self.framework}-{self.cores}-{self.precision}"

    @property
    def choices(self) -> dict[str, object]:
        """Return what probe, prediction and run share."""
        return {
            "framework": self.framework,
            "cores": self.cores,
            "precision": self.precision,
            "light": self.light,
            "dataset": self.dataset,
        }


def grid() -> list[Combination]:
    """Return the combinations: runs of a minute and more where frameworks and tasks have them.

    A twentieth of a shorter run is little more than warm-up, and less than what some take to
    compile. bfloat16 is left out: it is slow on processors that lack it.
    """
    images: dict[str, Any] = {"light": True, "dataset": "cifar10-jpeg"}
    return [
        *_on("mnist-cnn", None, [
            ("torch", 2, "float32"), ("torch", 1, "float32"), ("keras-tensorflow", 2, "float32"),
            ("jax", 2, "float32"), ("keras-torch", 2, "float32"), ("torch", 2, "float64"),
            ("keras-tensorflow", 1, "float32"),
        ]),
        *_on("cifar10-resnet20-v2", 0.4, [
            ("torch", 2, "float32"), ("keras-tensorflow", 2, "float32"), ("torch", 1, "float32"),
            ("keras-torch", 2, "float32"),
        ], **images),
        *_on("fashion-mnist-cnn", 0.9, [
            ("torch", 2, "float64"), ("torch", 1, "float64"), ("jax", 2, "float32"),
            ("jax", 1, "float32"), ("jax", 2, "float64"), ("jax", 1, "float64"),
            ("keras-torch", 2, "float32"), ("keras-torch", 1, "float32"),
            ("keras-torch", 2, "float64"), ("keras-torch", 1, "float64"),
            ("keras-tensorflow", 1, "float32"), ("keras-tensorflow", 2, "float64"),
        ]),
        *_on(str(ROOT / "examples/fashion_whole.py"), None, [
            ("torch", 2, "float64"), ("torch", 1, "float64"), ("keras-torch", 2, "float32"),
            ("keras-torch", 1, "float32"), ("keras-torch", 2, "float64"),
            ("keras-torch", 1, "float64"), ("keras-tensorflow", 1, "float64"),
            ("jax", 2, "float64"), ("jax", 1, "float64"),
        ]),
        *_on("mnist-cnn", None, [
            ("keras-tensorflow", 2, "float64"), ("keras-torch", 1, "float32"),
            ("torch", 1, "float64"),
        ]),
        *_on("cifar10-resnet20-v2", 0.4, [("torch", 2, "float64")], **images),
        *_on("mnist-cnn", None, [("keras-torch", 2, "float64")]),
        *_on("cifar10-resnet20-v2", 0.4, [("keras-torch", 1, "float32")], **images),
        *_on("mnist-cnn", None, [
            ("jax", 1, "float32"), ("jax", 2, "float64"), ("keras-tensorflow", 1, "float64"),
            ("keras-torch", 1, "float64"),
        ]),
    ]  # fmt: skip


def _on(
    task: str,
    target: float | None,
    systems: list[tuple[str, int, str]],
    *,
    light: bool = False,
    dataset: str | None = None,
) -> list[Combination]:
    return [Combination(task, target, *system, light, dataset) for system in systems]


def probe_seconds(combination: Combination, pilot: Path) -> float:
    """Return how long a probe may train, by what a pilot makes of the run's time."""
    outlook.probe(combination.task, seconds=PILOT_S, store_dir=pilot, **combination.choices)
    made = outlook.predict(combination.task, store_dir=pilot, target=combination.target,
                           kept=False, **combination.choices)  # fmt: skip
    own = next(one for one in made.predictions if not one.system.shipped)
    assert own.seconds is not None
    around = own.system.probe_s - AFTER * PILOT_S
    return max(PILOT_S, (ASKED * own.seconds - around) / AFTER)


def study(combination: Combination, folder: Path) -> None:
    """Probe, predict, run; what is there already is not done again."""
    place = folder / combination.name
    probes, runs = place / "probe", place / "run"
    if not list(probes.glob("*/done.json")):
        seconds = probe_seconds(combination, place / "pilot")
        outlook.probe(combination.task, seconds=seconds, store_dir=probes, **combination.choices)
    if not read_predictions(probes):
        outlook.predict(combination.task, store_dir=probes, target=combination.target,
                        **combination.choices)  # fmt: skip
    if not list(runs.glob("*/done.json")):
        api.run(combination.task, seeds=1, store_dir=runs, target=combination.target,
                **combination.choices)  # type: ignore[arg-type]  # fmt: skip


def scored_at(place: Path) -> list[Scored]:
    """Return the scored prediction of one combination; none before its run is done."""
    if not list((place / "run").glob("*/done.json")):
        return []
    made = [one for one in read_predictions(place / "probe") if not one.system.shipped]
    return outlook.scored(made, store.read_runs([place / "run"]))[0]


def scored_in(folder: Path) -> list[Scored]:
    """Return the scored predictions of all combinations that are done."""
    return [one for place in sorted(folder.iterdir()) for one in scored_at(place)]


def line(one: Scored) -> str:
    """Return a line of the table."""
    made: Prediction = one.prediction
    goal = "whole run" if made.target is None else made.target.split(" ")[2]
    assert made.seconds is not None
    low, high = (duration(end) if end else "–" for end in (made.low_s, made.high_s))
    return (
        f"| {made.task} | {goal} | {made.system.framework} | {made.system.cores} | "
        f"{made.system.precision} | {duration(made.seconds)} ({low} to {high}) | "
        f"{duration(one.measured_s)} | {100 * one.error:+.1f} % | "
        f"{'yes' if one.inside else 'no'} | {percent(one.probe_share, 1)} |"
    )


HEAD = """\
| task | to | framework | cores | precision | predicted (95 %) | measured | error | inside | probe |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def main() -> None:
    """Make the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--only", help="part of the names of the combinations to do")
    parser.add_argument("--markdown", action="store_true", help="print the table, run nothing")
    options = parser.parse_args()
    combinations = [one for one in grid() if not options.only or options.only in one.name]
    options.store.mkdir(parents=True, exist_ok=True)
    for number, combination in enumerate(combinations if not options.markdown else [], 1):
        print(f"{number} of {len(combinations)}: {combination.name}", flush=True)
        study(combination, options.store)
        for one in scored_at(options.store / combination.name):
            print(f"  {line(one)}", flush=True)
    found = scored_in(options.store)
    print(HEAD)
    for one in found:
        print(line(one))
    short = [one for one in found if one.probe_share <= SHORT]
    _print_score(f"probes of at most {percent(SHORT)} of their runs", short)
    if len(short) < len(found):
        _print_score("all of them, the longer probes too", found)


def _print_score(heading: str, found: Sequence[Scored]) -> None:
    card = score_of(found)
    if card is None:
        return
    print(f"\n{heading[0].upper()}{heading[1:]}:\n")
    for words in card_words(card):
        print(f"- {words}")
    shares = [one.probe_share for one in found]
    print(f"- a probe took {percent(statistics.median(shares), 1)} of its run in the median")


if __name__ == "__main__":
    main()
