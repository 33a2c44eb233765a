"""The steps of the course's pipeline in scikit-learn: each reads from top to bottom."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

from timetrial.datasets import breast_cancer
from timetrial.examinations.course_pipeline import (
    CONVERGED,
    ORDERS,
    OTHER_SEEDS,
    SEED,
    SENSITIVITY_SEEDS,
    SPLITS,
    TEST_FRACTION,
    VARIANTS,
    order,
)
from timetrial.examine.scene import Scene
from timetrial.rundir import sha256
from timetrial.stats import intervals

FITS_TIMED: Final = 20
_ITERATIONS_MAX: Final = 10_000  # of fits to the end, which take about thirty
_DRAWS_WITH: Final = ("matplotlib", "pandas", "seaborn")


class Pipeline:
    """The pipeline in the scikit-learn of this process."""

    def versions(self) -> Mapping[str, str]:
        """Return what reads, sorts and draws, as far as it is installed, and what multiplies."""
        here = {
            name: importlib.metadata.version(name)
            for name in ("numpy", "scipy", *_DRAWS_WITH)
            if importlib.util.find_spec(name) is not None
        }
        return {**here, "blas": _blas()}

    def carry_out(self, scene: Scene) -> None:
        """Do one step."""
        _STEPS[scene.step.name](scene)


class _Rows(NamedTuple):
    """The table in UCI's order."""

    inputs: np.ndarray  # (569, 30)
    malignant: np.ndarray  # 1 or 0


def _read(scene: Scene) -> _Rows:
    contents = {name: Path(path).read_bytes() for name, path in scene.plan.data_files.items()}
    examples = breast_cancer.read(contents)
    return _Rows(examples.inputs, examples.labels)


# --- the steps -----------------------------------------------------------------------------------


def _explore(scene: Scene) -> None:
    [(name, path)] = scene.plan.data_files.items()
    rows = _read(scene)
    facts = {
        "file": name,
        "sha256": sha256(Path(path)),
        "bytes": str(Path(path).stat().st_size),
        "from": scene.plan.data_sources.get(name, ""),
    }
    scene.find("examples", len(rows.inputs), facts=facts)
    scene.find("features", rows.inputs.shape[1])
    scene.find("missing_values", int(np.isnan(rows.inputs).sum()))


def _import(scene: Scene) -> None:
    rows = _read(scene)
    count = int(rows.malignant.sum())
    scene.find("malignant", count)
    scene.find("benign", len(rows.malignant) - count)
    kept = order.document_order()
    scene.answer(
        "order_again",
        bool(np.array_equal(order.computed_order(rows.malignant), kept)),
        facts={"sha1": order.digest(kept), "numpy": np.__version__},
    )
    if missing := [name for name in _DRAWS_WITH if importlib.util.find_spec(name) is None]:
        why = f"{', '.join(missing)}: not installed: pip install 'timetrial[course]'"
        for measure in ("order_by_pandas", "pie", "relplot", "pairplot"):
            scene.lacks(measure, why)
        return
    from timetrial.examinations.course_pipeline import with_seaborn

    with_seaborn.draw_to_files()
    frame = with_seaborn.frame_of(rows.inputs, rows.malignant)
    by_pandas = frame.sort_values("diagnosis", ascending=False)
    kind = str(frame["diagnosis"].dtype)
    scene.answer(
        "order_by_pandas",
        by_pandas.index.tolist() == kept.tolist(),
        facts={"dtype": kind},
        notes=["pandas sorts text that it keeps in Arrow stably, whatever kind of sort is asked"],
    )
    sorted_frame = frame.iloc[kept]
    for measure, drawn in with_seaborn.PICTURES.items():
        scene.look_up()
        scene.keep(
            f"{measure}.png",
            with_seaborn.png_of(drawn.draw(sorted_frame)),
            title=drawn.title,
            about=drawn.about,
        )
        scene.answer(measure, True, facts={"file": f"exhibits/{measure}.png"})


def _process(scene: Scene) -> None:
    rows = _read(scene)
    kept = order.document_order()
    sample = rows.inputs[kept[order.SAMPLE_PLACE]]
    scene.find(
        "sample_289",
        int(kept[order.SAMPLE_PLACE]),
        facts={"values": ", ".join(f"{value:g}" for value in sample)},
    )
    stable = order.stable_order(rows.malignant).tolist()
    scene.find("sample_289_stable", stable.index(order.SAMPLE_ROW))
    deviations = rows.inputs.std(axis=0)
    widest, narrowest = int(deviations.argmax()), int(deviations.argmin())
    scene.find(
        "scales",
        float(deviations.max() / deviations.min()),
        facts={"widest": str(widest), "narrowest": str(narrowest)},
        notes=["the features are used as they are: a penalty on weights treats them unequally"],
    )


def _predict(scene: Scene) -> None:
    rows = _read(scene)
    kept = order.document_order()
    inputs, labels = rows.inputs[kept], rows.malignant[kept]
    model = _model(_Fit()).fit(inputs, labels)
    right = int((model.predict(inputs) == labels).sum())
    note = "tested on the rows that it was fitted to: it says nothing of other rows"
    scene.find("train_correct", right, notes=[note])
    scene.find("train_accuracy", right / len(labels), n=len(labels), notes=[note])
    tested = _test(inputs, labels, [SEED])
    estimate = _over_splits(tested)
    scene.find(
        "mean_test_accuracy",
        float(tested.accuracies.mean()),
        low=estimate.low,
        high=estimate.high,
        n=SPLITS,
        facts=_by_split(tested),
    )
    seconds = []
    for _ in range(FITS_TIMED):
        begun = time.perf_counter()
        _model(_Fit()).fit(inputs, labels)
        seconds.append(time.perf_counter() - begun)
    mean = intervals.mean_interval(np.array(seconds))
    scene.find("fit_time", float(np.mean(seconds)), low=mean.low, high=mean.high, n=FITS_TIMED)


def _row_order(scene: Scene) -> None:
    rows = _read(scene)
    as_it_was = np.arange(len(rows.malignant))
    ways = {  # name -> order and labels
        "uci": (as_it_was, rows.malignant),
        "uci_benign": (as_it_was, 1 - rows.malignant),
        "stable": (order.stable_order(rows.malignant), rows.malignant),
        "document": (order.document_order(), rows.malignant),
    }
    for name in ORDERS:
        scene.look_up()
        places, labels = ways[name][0], ways[name][1][ways[name][0]]
        inputs = rows.inputs[places]
        fitted = _model(_Fit()).fit(inputs, labels)
        train = float((fitted.predict(inputs) == labels).mean())
        scene.find(f"{name}_train_accuracy", train, n=len(labels))
        tested = _test(inputs, labels, [SEED])
        for number, accuracy in enumerate(tested.accuracies[0], 1):
            test = intervals.proportion_interval(round(accuracy * tested.test), tested.test)
            scene.find(
                f"{name}_split_{number}_accuracy",
                float(accuracy),
                low=test.low,
                high=test.high,
                n=tested.test,
            )
        estimate = _over_splits(tested)
        scene.find(
            f"{name}_mean_accuracy",
            float(tested.accuracies.mean()),
            low=estimate.low,
            high=estimate.high,
            n=SPLITS,
        )
        _to_the_end(scene, name, inputs, labels)


def _to_the_end(scene: Scene, name: str, inputs: np.ndarray, labels: np.ndarray) -> None:
    """Find the same of fits that do not stop before rounding is all that is left."""
    fitted, stalled = _fitted(inputs, labels, _Fit(tolerance=CONVERGED))
    tested = _test(inputs, labels, [SEED], fit=_Fit(tolerance=CONVERGED))
    stuck = tested.stalled + stalled
    notes = [f"{stuck} of {SPLITS + 1} fits did not come to an end"] if stuck else []
    estimate = _over_splits(tested)
    scene.find(
        f"{name}_converged_train_accuracy",
        float((fitted.predict(inputs) == labels).mean()),
        n=len(labels),
        notes=notes,
    )
    scene.find(
        f"{name}_converged_mean_accuracy",
        float(tested.accuracies.mean()),
        low=estimate.low,
        high=estimate.high,
        n=SPLITS,
        facts=_by_split(tested),
        notes=notes,
    )


def _split_seeds(scene: Scene) -> None:
    rows = _read(scene)
    seeds = list(range(OTHER_SEEDS))
    kept = order.document_order()
    uci = _test(rows.inputs, rows.malignant, seeds, scene.look_up).accuracies.mean(axis=1)
    document = _test(rows.inputs[kept], rows.malignant[kept], seeds, scene.look_up).accuracies.mean(
        axis=1
    )
    mean = intervals.mean_interval(uci)
    note = "over seeds, of the same 569 rows in UCI's order: not an interval for other rows"
    scene.find(
        "accuracy_over_seeds", float(uci.mean()), low=mean.low, high=mean.high, n=len(seeds),
        notes=[note],
    )  # fmt: skip
    low, high = np.quantile(uci, [0.025, 0.975])
    scene.find("lowest_seeds", float(low), n=len(seeds))
    scene.find("highest_seeds", float(high), n=len(seeds))
    shift = intervals.mean_interval(document - uci)
    scene.find(
        "order_difference",
        float((document - uci).mean()),
        low=shift.low,
        high=shift.high,
        n=len(seeds),
        notes=["over seeds: an order is no better than another, it only draws other rows"],
    )


def _sensitivity(scene: Scene) -> None:
    rows = _read(scene)
    seeds = list(range(SENSITIVITY_SEEDS))
    course: _Tested | None = None
    for name, (solver, scaled, _) in VARIANTS.items():
        fit = _Fit(solver, scaled)
        fitted, stalled = _fitted(rows.inputs, rows.malignant, fit)
        notes = (
            ["100 iterations, the default, are too few: it had not converged"] if stalled else []
        )
        train = float((fitted.predict(rows.inputs) == rows.malignant).mean())
        scene.find(f"sensitivity_{name}_train_accuracy", train, n=len(rows.malignant), notes=notes)
        tested = _test(rows.inputs, rows.malignant, seeds, scene.look_up, fit=fit)
        if tested.stalled:
            notes = [f"{tested.stalled} of {tested.accuracies.size} fits had not converged after "
                     "100 iterations, the default"]  # fmt: skip
        estimate = _over_splits(tested)
        scene.find(
            f"sensitivity_{name}_accuracy",
            float(tested.accuracies.mean()),
            low=estimate.low,
            high=estimate.high,
            n=tested.accuracies.size,
            notes=notes,
        )
        if course is None:
            course = tested
            continue
        apart = tested._replace(accuracies=tested.accuracies - course.accuracies)
        difference = _over_splits(apart)
        scene.find(
            f"sensitivity_{name}_difference",
            float(apart.accuracies.mean()),
            low=difference.low,
            high=difference.high,
            n=apart.accuracies.size,
            notes=notes,
        )


_STEPS: Final[Mapping[str, Callable[[Scene], None]]] = {
    "explore": _explore,
    "import": _import,
    "process": _process,
    "predict": _predict,
    "row_order": _row_order,
    "split_seeds": _split_seeds,
    "sensitivity": _sensitivity,
}


# --- fitting and testing -------------------------------------------------------------------------


def _blas() -> str:
    """Return the library of products that scikit-learn's fits call, and for which processors."""
    found = {
        f"{one['internal_api']} {one['version']} for {one.get('architecture', 'any')}"
        for one in threadpool_info()
        if one["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) or "unknown"


class _Tested(NamedTuple):
    """Accuracies of many splits."""

    accuracies: np.ndarray  # (seeds, splits of a seed)
    train: int  # rows of one split
    test: int
    stalled: int  # fits that had not converged


class _Fit(NamedTuple):
    """How a logistic regression is fitted; as it stands, as the course does."""

    solver: str = "liblinear"
    scaled: bool = False
    tolerance: float | None = None  # None: scikit-learn's own, with its own 100 iterations at most


def _model(fit: _Fit) -> ClassifierMixin:
    """Return the estimator, all else as scikit-learn has it."""
    regression = LogisticRegression(solver=fit.solver)
    if fit.tolerance is not None:
        regression.set_params(tol=fit.tolerance, max_iter=_ITERATIONS_MAX)
    return make_pipeline(StandardScaler(), regression) if fit.scaled else regression


def _fitted(inputs: np.ndarray, labels: np.ndarray, fit: _Fit) -> tuple[ClassifierMixin, bool]:
    """Return a fitted estimator, and whether it had not converged."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        model = _model(fit).fit(inputs, labels)
    stalled = [one for one in said if issubclass(one.category, ConvergenceWarning)]
    return model, bool(stalled)


def _test(
    inputs: np.ndarray,
    labels: np.ndarray,
    seeds: Sequence[int],
    look_up: Callable[[], None] = lambda: None,
    *,
    fit: _Fit = _Fit(),  # noqa: B008 - it cannot be changed
) -> _Tested:
    """Return the test accuracies of the course's splits, drawn with each of the seeds."""
    accuracies: list[list[float]] = []
    stalled = train_size = test_size = 0
    for seed in seeds:
        look_up()
        splits = StratifiedShuffleSplit(SPLITS, test_size=TEST_FRACTION, random_state=seed)
        accuracies.append([])
        for train, test in splits.split(inputs, labels):
            model, stuck = _fitted(inputs[train], labels[train], fit)
            stalled += stuck
            right = model.predict(inputs[test]) == labels[test]
            accuracies[-1].append(float(right.mean()))
            train_size, test_size = len(train), len(test)
    return _Tested(np.array(accuracies), train_size, test_size, stalled)


def _over_splits(tested: _Tested) -> intervals.Estimate:
    return intervals.resampled_mean(tested.accuracies.ravel(), train=tested.train, test=tested.test)


def _by_split(tested: _Tested) -> dict[str, str]:
    """Return the accuracies of one seed's splits."""
    return {f"split {place}": f"{one:.6f}" for place, one in enumerate(tested.accuracies[0], 1)}
