"""course-pipeline: explore, import, process, predict, as the ML tools course does (document 002).

order         the order of the rows in which the document printed its 94.5 %
with_sklearn  carries the steps out
with_seaborn  draws the three pictures
"""

from __future__ import annotations

from typing import Final

from timetrial.spec import YES_NO, Examination, ExaminationStep, Sought, Source

SPLITS: Final = 3
TEST_FRACTION: Final = 0.3
SEED: Final = 42  # of the document's splits
OTHER_SEEDS: Final = 100  # of the same three splits, to tell what a seed decides
SENSITIVITY_SEEDS: Final = 10  # of them, for other solvers and scaling
CONVERGED: Final = 1e-9  # tolerance, in place of scikit-learn's 1e-4, at which rounding is not seen

ORDERS: Final = {  # name in measures -> what it is
    "uci": "UCI's order, malignant is 1",
    "uci_benign": "UCI's order, benign is 1 (scikit-learn's own labels)",
    "stable": "sorted by diagnosis, M first, equal ones as they were",
    "document": "sorted by diagnosis, M first, by the unstable sort of the document",
}
VARIANTS: Final = {  # name in measures -> solver, whether scaled, what it is
    "course": ("liblinear", False, "liblinear on raw features, as in the course"),
    "lbfgs_raw": ("lbfgs", False, "lbfgs on raw features"),
    "liblinear_scaled": ("liblinear", True, "liblinear on features scaled to mean 0, deviation 1"),
    "lbfgs_scaled": ("lbfgs", True, "lbfgs on features scaled to mean 0, deviation 1"),
}


def _accuracies(name: str, about: str) -> tuple[Sought, ...]:
    """Return what is sought of one order of the rows."""
    trained = Sought(
        measure=f"{name}_train_accuracy", unit="fraction", about=f"training accuracy; {about}"
    )
    splits = (
        Sought(
            measure=f"{name}_split_{number}_accuracy",
            unit="fraction",
            about=f"test accuracy, split {number}; {about}",
        )
        for number in range(1, SPLITS + 1)
    )
    mean = Sought(
        measure=f"{name}_mean_accuracy", unit="fraction", about=f"mean of the splits; {about}"
    )
    converged = (
        Sought(
            measure=f"{name}_converged_train_accuracy",
            unit="fraction",
            about=f"training accuracy of a fit to the end; {about}",
        ),
        Sought(
            measure=f"{name}_converged_mean_accuracy",
            unit="fraction",
            about=f"mean of the splits, fits to the end; {about}",
        ),
    )
    return (trained, *splits, mean, *converged)


def _of_variant(name: str, about: str) -> tuple[Sought, ...]:
    """Return what is sought of one solver and scaling."""
    found = (
        Sought(
            measure=f"{name}_train_accuracy", unit="fraction", about=f"training accuracy; {about}"
        ),
        Sought(
            measure=f"{name}_accuracy",
            unit="fraction",
            about=f"test accuracy over many splits; {about}",
        ),
    )
    if name == "course":
        return found
    about = f"test accuracy less that of the course on the same splits; {about}"
    return (*found, Sought(measure=f"{name}_difference", unit="points", about=about))


PIPELINE: Final = Examination(
    name="course-pipeline",
    version=1,
    title="Breast cancer from the file to the prediction, as the ML tools course does it",
    steps=(
        ExaminationStep(
            name="explore",
            about="looks at the file as it is",
            seeks=(
                Sought(measure="examples", unit="count", about="rows of the file"),
                Sought(measure="features", unit="count", about="columns beside the diagnosis"),
                Sought(measure="missing_values", unit="count", about="fields without a number"),
            ),
        ),
        ExaminationStep(
            name="import",
            about="reads the table, sorts it by diagnosis, draws the course's three pictures",
            seeks=(
                Sought(measure="malignant", unit="count", about="rows with diagnosis M"),
                Sought(measure="benign", unit="count", about="rows with diagnosis B"),
                Sought(
                    measure="order_again",
                    unit=YES_NO,
                    about="whether NumPy's quicksort gives the document's order here",
                ),
                Sought(
                    measure="order_by_pandas",
                    unit=YES_NO,
                    about="whether pandas' sort_values gives the document's order here",
                ),
                Sought(measure="pie", unit=YES_NO, about="pie chart of the diagnoses drawn"),
                Sought(
                    measure="relplot",
                    unit=YES_NO,
                    about="relplot of texture and smoothness drawn",
                ),
                Sought(measure="pairplot", unit=YES_NO, about="pairplot of three columns drawn"),
            ),
        ),
        ExaminationStep(
            name="process",
            about="takes inputs and labels, looks at the sample that the slide prints",
            seeks=(
                Sought(
                    measure="sample_289",
                    unit="count",
                    about="row of UCI's file at position 289, whose 30 values the slide prints",
                ),
                Sought(
                    measure="sample_289_stable",
                    unit="count",
                    about="position of that row after a stable sort",
                ),
                Sought(
                    measure="scales",
                    unit="1",
                    about="largest standard deviation of a feature over the smallest",
                ),
            ),
        ),
        ExaminationStep(
            name="predict",
            about="fits the logistic regression, tests it on three splits",
            seeks=(
                Sought(
                    measure="train_correct",
                    unit="count",
                    about="of all 569 rows, those predicted right by the fit to all of them",
                ),
                Sought(measure="train_accuracy", unit="fraction", about="the same as a share"),
                Sought(
                    measure="mean_test_accuracy",
                    unit="fraction",
                    about="mean over StratifiedShuffleSplit(3, test 0.3, seed 42)",
                ),
                Sought(measure="fit_time", unit="s", about="time of one fit to all rows"),
            ),
        ),
        ExaminationStep(
            name="row_order",
            about="repeats it with the rows in other orders",
            seeks=tuple(one for name, about in ORDERS.items() for one in _accuracies(name, about)),
        ),
        ExaminationStep(
            name="split_seeds",
            about=f"repeats the three splits with {OTHER_SEEDS} other seeds",
            seeks=(
                Sought(
                    measure="accuracy_over_seeds",
                    unit="fraction",
                    about="mean over the seeds of what three splits give",
                ),
                Sought(
                    measure="lowest_seeds",
                    unit="fraction",
                    about="2.5 % of the seeds give less for three splits",
                ),
                Sought(
                    measure="highest_seeds",
                    unit="fraction",
                    about="2.5 % of the seeds give more for three splits",
                ),
                Sought(
                    measure="order_difference",
                    unit="points",
                    about="the document's order less UCI's, mean over the seeds",
                ),
            ),
        ),
        ExaminationStep(
            name="sensitivity",
            about="other solvers and scaling on the same splits",
            seeks=tuple(
                Sought(measure=f"sensitivity_{one.measure}", unit=one.unit, about=one.about)
                for name, (_, _, about) in VARIANTS.items()
                for one in _of_variant(name, about)
            ),
        ),
    ),
    implementations={"sklearn": "timetrial.examinations.course_pipeline.with_sklearn:Pipeline"},
    sources=(
        Source(
            text="Mila, course on ML tools, slides: LogisticRegression(solver='liblinear'), "
            "StratifiedShuffleSplit(3, test 0.3, seed 42), pie chart, relplot, pairplot",
        ),
        Source(
            text="Data: UCI Breast Cancer Wisconsin (Diagnostic), as shipped in scikit-learn",
            url="https://archive.ics.uci.edu/dataset/17",
            read_on="2026-11-22",
        ),
    ),
    notes=(
        "The course reads Kaggle's copy of the table, which has two columns more: an id and an "
        "empty one. Its rows and values are UCI's, as scikit-learn ships them.",
        "A split draws rows by their place: the order of the rows decides which of them it tests.",
        "scikit-learn's fit stops at a tolerance of 1e-4. A row that lies on the border then falls "
        "to either side by rounding, which differs between processors and orders of the rows; "
        "fits to the end (1e-9) agree.",
        "Intervals over splits of the same 569 rows are Nadeau and Bengio's: the splits overlap.",
    ),
    dataset="breast-cancer",
    light_without=("split_seeds", "sensitivity"),
    timeout_s=600.0,
    extra="course",
)
