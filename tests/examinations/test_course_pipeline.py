"""The course's pipeline: the order of the rows, the figures that it prints, its pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scenes import found_by

from timetrial import datasets
from timetrial.datasets import breast_cancer, sources
from timetrial.engine.events import Found
from timetrial.errors import DataError
from timetrial.examinations.course_frameworks import FRAMEWORKS
from timetrial.examinations.course_hardware import HARDWARE
from timetrial.examinations.course_pipeline import ORDERS, PIPELINE, order
from timetrial.spec import Examination
from timetrial.testing.contracts import ExaminationContract

with_sklearn = pytest.importorskip("timetrial.examinations.course_pipeline.with_sklearn")
FILES = sources.locate(
    datasets.get("breast-cancer"), sources.search_path(os.environ), fetch=False
).files


class TestCourseExaminations(ExaminationContract):
    @pytest.fixture(params=[PIPELINE, FRAMEWORKS, HARDWARE], ids=lambda one: one.name)
    def examination(self, request: pytest.FixtureRequest) -> Examination:
        found: Examination = request.param
        return found


@pytest.fixture(scope="module")
def malignant() -> np.ndarray:
    contents = {name: Path(path).read_bytes() for name, path in FILES.items()}
    return breast_cancer.read(contents).labels


def found(folder: Path, step: str) -> dict[str, Found]:
    return found_by(folder, with_sklearn.Pipeline(), PIPELINE, step, files=FILES)


# --- the order of the rows -----------------------------------------------------------------------


def test_the_kept_order_is_the_one_that_the_document_ran_in() -> None:
    kept = order.document_order()
    assert order.digest(kept) == "78da1152af0200c2ef9be365bde752652161ca0f"
    assert sorted(kept.tolist()) == list(range(569))
    assert kept[:7].tolist() == [0, 210, 190, 193, 194, 196, 197]
    assert kept[-3:].tolist() == [269, 268, 568]


def test_sorting_as_the_document_did_gives_it_again(malignant: np.ndarray) -> None:
    computed = order.computed_order(malignant)
    assert computed.tolist() == order.document_order().tolist()
    assert malignant[computed].tolist() == [1] * 212 + [0] * 357


def test_only_in_that_order_does_the_printed_sample_stand_where_it_is_printed(
    malignant: np.ndarray,
) -> None:
    assert order.document_order()[289] == 463
    assert order.stable_order(malignant).tolist().index(463) == 487


def test_a_changed_file_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / order.FILE).write_text("1,0,2")
    monkeypatch.setattr(order, "files", lambda _: tmp_path)
    with pytest.raises(DataError, match="it was changed"):
        order.document_order()


# --- the figures ---------------------------------------------------------------------------------


def test_the_two_figures_of_the_slides_come_out(tmp_path: Path) -> None:
    seen = found(tmp_path, "predict")
    assert seen["train_correct"].value == 546
    assert round(100 * seen["train_accuracy"].value, 1) == 96.0
    mean = seen["mean_test_accuracy"]
    assert round(100 * mean.value, 4) == 94.5419
    assert mean.low < mean.value < mean.high
    assert mean.n == 3
    assert seen["fit_time"].low > 0


def test_each_order_gives_its_own_three_splits_and_fits_to_the_end_agree(tmp_path: Path) -> None:
    """At scikit-learn's own tolerance one row may fall to either side, by the processor's BLAS."""
    seen = found(tmp_path, "row_order")
    expected = {
        "uci": [94.152, 97.076, 92.398],
        "uci_benign": [94.152, 94.737, 94.152],
        "stable": [94.152, 97.076, 92.398],
        "document": [94.152, 94.737, 94.737],
    }
    for name, splits in expected.items():
        facts = seen[f"{name}_converged_mean_accuracy"].facts
        assert [round(100 * float(facts[f"split {n}"]), 3) for n in (1, 2, 3)] == splits
        assert round(seen[f"{name}_converged_train_accuracy"].value * 569) == 546
        for number, split in enumerate(splits, 1):
            usual = 100 * seen[f"{name}_split_{number}_accuracy"].value
            assert usual == pytest.approx(split, abs=100 / 171 + 0.001)
        assert seen[f"{name}_train_accuracy"].value * 569 == pytest.approx(546, abs=1.001)
    means = [round(100 * seen[f"{name}_converged_mean_accuracy"].value, 4) for name in ORDERS]
    assert means == [94.5419, 94.347, 94.5419, 94.5419]
    assert round(100 * seen["document_mean_accuracy"].value, 4) == 94.5419


def test_the_sample_and_the_counts_are_those_of_the_document(tmp_path: Path) -> None:
    explored = found(tmp_path, "explore")
    assert [explored[name].value for name in ("examples", "features", "missing_values")] == [
        569,
        30,
        0,
    ]
    (tmp_path / "process").mkdir()
    seen = found(tmp_path / "process", "process")
    assert (seen["sample_289"].value, seen["sample_289_stable"].value) == (463, 487)
    assert seen["scales"].value > 1e4


def test_scaling_moves_the_accuracy_more_than_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(with_sklearn, "SENSITIVITY_SEEDS", 3)
    seen = found(tmp_path, "sensitivity")
    train = {
        name: round(100 * seen[f"sensitivity_{name}_train_accuracy"].value, 2)
        for name in ("course", "lbfgs_raw", "lbfgs_scaled")
    }
    assert train["lbfgs_scaled"] == 98.77
    assert train["course"] == pytest.approx(95.96, abs=0.2)
    assert train["lbfgs_raw"] < train["course"], "100 iterations are too few"
    assert seen["sensitivity_lbfgs_scaled_difference"].value > 0.01
    assert any("not converged" in note for note in seen["sensitivity_lbfgs_raw_accuracy"].notes)
    assert seen["sensitivity_course_accuracy"].n == 9


def test_seeds_move_the_mean_of_three_splits_by_whole_points_and_the_order_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(with_sklearn, "OTHER_SEEDS", 12)
    seen = found(tmp_path, "split_seeds")
    assert seen["highest_seeds"].value - seen["lowest_seeds"].value > 0.01
    assert seen["lowest_seeds"].value < 0.945419 < seen["highest_seeds"].value
    shift = seen["order_difference"]
    assert shift.low < shift.value < shift.high


# --- the pictures --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures():  # type: ignore[no-untyped-def]
    pytest.importorskip("seaborn")
    from timetrial.examinations.course_pipeline import with_seaborn

    with_seaborn.draw_to_files()
    return with_seaborn


@pytest.fixture(scope="module")
def frame(pictures):  # type: ignore[no-untyped-def]
    contents = {name: Path(path).read_bytes() for name, path in FILES.items()}
    examples = breast_cancer.read(contents)
    return pictures.frame_of(examples.inputs, examples.labels).iloc[order.document_order()]


def test_the_pie_is_the_documents(pictures, frame) -> None:  # type: ignore[no-untyped-def]
    [axes] = pictures.pie(frame).axes
    texts = [text.get_text() for text in axes.texts]
    assert sorted(texts) == ["37.3%", "62.7%", "Benign", "Malignant"]
    first, second = axes.patches
    assert first.theta1 == 90
    assert second.theta2 - second.theta1 == pytest.approx(360 * 357 / 569, abs=0.01)
    assert np.hypot(*first.center) == 0
    assert np.hypot(*second.center) == pytest.approx(0.1)


def test_the_relplot_is_the_documents(pictures, frame) -> None:  # type: ignore[no-untyped-def]
    figure = pictures.relplot(frame)
    axes = figure.axes[0]
    [points] = axes.collections
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("texture_mean", "smoothness_mean")
    sizes = points.get_sizes()
    assert (sizes.min(), sizes.max()) == pytest.approx((40, 400))
    assert points.get_alpha() == 0.5
    assert len(points.get_offsets()) == 569
    assert figure.get_size_inches()[1] == 6


def test_the_pairplot_is_the_documents(pictures, frame) -> None:  # type: ignore[no-untyped-def]
    figure = pictures.pairplot(frame)
    below = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert list(dict.fromkeys(sorted(below))) == list(dict.fromkeys(sorted(pictures.PAIRED[1:])))
    png = pictures.png_of(figure)
    assert png.startswith(b"\x89PNG")
    assert len(png) > 50_000


def test_columns_have_the_names_of_kaggles_copy(frame) -> None:  # type: ignore[no-untyped-def]
    names = ["diagnosis", "radius_mean", "texture_mean", "perimeter_mean", "area_mean"]
    assert frame.columns.tolist()[:5] == names
    assert frame.columns[8] == "concave points_mean"
    assert frame.columns[-1] == "fractal_dimension_worst"
    assert frame.shape == (569, 31)
